package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/app"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/orders/issue"
)

// TestReconcileCommands: a copy of the logs is written, the database is put back to what
// it was, and brought up to date from the copy: told first, then done, then nothing is left.
func TestReconcileCommands(t *testing.T) {
	dir, copied := filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), "copy")
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: config.Defaults(), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	database := filepath.Join(dir, "sigill.db")
	old, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	err = a.DB.Issue().Update(t.Context(), func(tx *issue.Tx) error {
		return tx.Events.Append(issue.NewEvent(audit.OrderExpired, time.Now(), "system", issue.F("order", "ord_1"), issue.F("card", "9752000000000000009")))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	sigill := func(code int, want, args string) {
		t.Helper()
		var out, errs bytes.Buffer
		got := run(t.Context(), append(strings.Fields(args), "--dir="+dir), strings.NewReader(""), &out, &errs)
		if text := out.String() + errs.String(); got != code || !strings.Contains(text, want) {
			t.Errorf("sigill %s: %d, want %d and %q:\n%s", args, got, code, want, text)
		}
	}
	sigill(0, "acts and", "log export --out="+copied)
	sigill(0, "Would take over 0 acts", "reconcile --from="+copied)
	if err := os.WriteFile(database, old, 0o600); err != nil {
		t.Fatal(err)
	}
	sigill(1, "no such file", "reconcile --from="+copied+"-none")
	sigill(2, "--identity", "reconcile --from=https://127.0.0.1:1")
	sigill(2, "https://", "reconcile --from=http://127.0.0.1:1 --identity=soft:x")
	for range 2 { // saying changes nothing
		sigill(0, "Would take over 3 acts", "reconcile --from="+copied)
	}
	sigill(0, "order.expired", "reconcile --from="+copied)
	sigill(0, "Took over 3 acts", "reconcile --yes --from="+copied)
	sigill(0, `"done":true`, "--json reconcile --yes --from="+copied)
	sigill(0, "Would take over 0 acts", "reconcile --from="+copied)
	sigill(0, "not proven: no place keeps", "doctor")
}
