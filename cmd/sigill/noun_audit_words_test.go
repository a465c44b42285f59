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
	"sigill/internal/auditor/book"
	"sigill/internal/config"
)

// TestAuditorsErrors: what an auditor does wrong at first is answered with what is missing
// and what to do, and where nothing was looked at nothing is said to be well.
func TestAuditorsErrors(t *testing.T) {
	at := t.TempDir()
	dir, keys, memory, garbage := filepath.Join(at, "d"), filepath.Join(at, "keys"), filepath.Join(at, "memory"), filepath.Join(at, "garbage")
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: config.Defaults(), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbage, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := book.Open(t.Context(), memory)
	if err != nil {
		t.Fatal(err)
	}
	sigill := func(code int, want string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		got := run(t.Context(), args, strings.NewReader(""), &out, &errs)
		if text := out.String() + errs.String(); got != code || !strings.Contains(text, want) {
			t.Errorf("sigill %s: %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, want, text)
		}
	}
	sigill(0, "BEGIN PUBLIC KEY", "log", "show", "--dir", dir, "--out", keys)
	acts, certificates := "h.example/log/acts="+filepath.Join(keys, "acts.pem"), "h.example/log/certificates="+filepath.Join(keys, "certificates.pem")
	issuers := filepath.Join(dir, "public", "aia")
	entries, err := os.ReadDir(issuers)
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	authority := filepath.Join(issuers, entries[0].Name())

	sigill(1, "in use by another sigill audit", "audit", "findings", "--state", memory)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	sigill(1, "nothing was followed into "+memory+" yet: sigill audit follow", "audit", "findings", "--state", memory)
	sigill(1, "sigill audit follow --state "+keys+" makes one", "audit", "findings", "--state", keys)
	sigill(2, "both are the same", "audit", "compare", memory, memory+"/", "--log", acts)
	sigill(1, "neither an auditor's memory nor a checkpoint", "audit", "compare", memory, filepath.Join(at, "none"), "--log", acts)
	sigill(1, "there is no auditor's memory", "audit", "compare", memory, keys, "--log", acts)
	sigill(1, "is no receipt", "audit", "verify-receipt", garbage, "--log", acts)
	sigill(2, "HOST/log/acts=FILE, which sigill log show --out writes", "audit", "verify-receipt", garbage, "--log", certificates)
	sigill(1, "one of the given CAs itself", "audit", "prove", authority, "--issuer", issuers, "--log", certificates)
}
