package main

import (
	"bytes"
	"database/sql"
	"errors"
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
	sigill(0, "acts lead to the root that was signed", "log verify-copy "+copied)
	sigill(0, `"erased":0`, "--json log verify-copy "+copied)
	sigill(1, "does not prove", "log verify-copy "+copied+"-none")
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

// TestExportAfterRetention: what retention has erased does not end the copying. It is copied
// as erased, the copy proves all the rest, and is enough for a database that had it.
func TestExportAfterRetention(t *testing.T) {
	dir, copied := filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), "copy")
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: config.Defaults(), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	a, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Sequencer.CatchUp(t.Context()), a.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "sigill.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, erase := range []string{
		`UPDATE intents SET tbs = x'' WHERE serial IN (SELECT serial FROM log_leaves WHERE number = 1)`,
		`UPDATE events SET body = x'' WHERE number = 2`,
	} {
		if r, err := db.Exec(erase); err != nil {
			t.Fatal(err)
		} else if n, err := r.RowsAffected(); err != nil || n != 1 {
			t.Fatalf("%s: %d rows, %v", erase, n, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ want, args string }{
		{"acts and", "log export --out=" + copied},
		{"1 of them were erased when they were copied, the last with index 1", "log verify-copy " + copied},
		{`"erased":1,"last":0`, "--json log verify-copy " + copied},
		{"Would take over 0 acts", "reconcile --from=" + copied},
		{"acts and", "log export --out=" + copied},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(strings.Fields(x.args), "--dir="+dir), strings.NewReader(""), &out, &errs)
		if text := out.String() + errs.String(); code != 0 || !strings.Contains(text, x.want) {
			t.Errorf("sigill %s: %d, want %q:\n%s", x.args, code, x.want, text)
		}
	}
}
