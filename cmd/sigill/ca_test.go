package main

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/app"
	"sigill/internal/config"
	"sigill/internal/keys"
)

// away makes an installation whose root's directory is elsewhere, as in production.
func away(t *testing.T) (dir, root, passphrase string, h *keys.Hierarchy) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "d")
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: config.Defaults(), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	safe := t.TempDir()
	root, passphrase = filepath.Join(safe, "root"), filepath.Join(safe, "passphrase")
	for from, to := range map[string]string{"root": root, "secrets/root-passphrase": passphrase} {
		if err := os.Rename(filepath.Join(dir, from), to); err != nil {
			t.Fatal(err)
		}
	}
	h, err := keys.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, root, passphrase, h
}

// TestRevokeCACommand: where the root is, a list is signed that takes a CA back;
// where it is served, it is put in place, and never goes back.
func TestRevokeCACommand(t *testing.T) {
	dir, root, passphrase, h := away(t)
	out := filepath.Join(t.TempDir(), "new.crl")
	cert := h.CertificatePath(keys.PersonHSA3)
	offline := []string{"--root", root, "--passphrase-file", passphrase}
	revoke := func(more ...string) outcome {
		return program(t, "", append(append([]string{"--json", "ca", "revoke-ca", cert}, offline...), more...)...)
	}
	public := func() *x509.RevocationList {
		t.Helper()
		list, err := h.RootCRL()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}

	// Only told.
	would := decoded[rootList](t, revoke("--reason", "superseded", "--out", out))
	if would.Signed || would.Number.Int64() != 2 || len(would.Revoked) != 1 || would.Revoked[0].Reason != "superseded" ||
		would.Revoked[0].Name != "TEST Sigill Person HSA-id 3 CA v1" {
		t.Errorf("would = %+v", would)
	}
	if _, err := os.Stat(out); err == nil || public().Number.Int64() != 1 {
		t.Error("telling what would be done did it")
	}
	// Done, and again with a graver reason: the date stays.
	first := decoded[rootList](t, revoke("--reason", "superseded", "--out", out, "--yes"))
	if !first.Signed || first.File != out || first.Number.Int64() != 2 || public().Number.Int64() != 1 {
		t.Errorf("first = %+v, public %v", first, public().Number)
	}
	graver := filepath.Join(t.TempDir(), "graver.crl")
	second := decoded[rootList](t, revoke("--reason", "cACompromise", "--out", graver, "--yes"))
	if second.Number.Int64() != 3 || len(second.Revoked) != 1 || second.Revoked[0].Reason != "cACompromise" || !second.Revoked[0].Since.Equal(first.Revoked[0].Since) {
		t.Errorf("second = %+v after %+v", second, first)
	}
	// A lesser one again signs nothing.
	none := filepath.Join(t.TempDir(), "none.crl")
	if again := decoded[rootList](t, revoke("--reason", "superseded", "--out", none, "--yes")); again.Number.Int64() != 3 {
		t.Errorf("again = %+v", again)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a list was signed that says nothing new")
	}

	for name, c := range map[string]struct {
		out  outcome
		code int
		want string
	}{
		"file is there":     {revoke("--reason", "cessationOfOperation", "--out", out, "--yes", "--previous", graver), 0, ""},
		"older previous":    {revoke("--reason", "superseded", "--previous", out, "--yes"), 1, "number 3 was signed here"},
		"keyCompromise":     {revoke("--reason", "keyCompromise"), 2, "reason"},
		"no reason":         {revoke(), 2, "--reason"},
		"the root":          {program(t, "", "ca", "revoke-ca", h.CertificatePath(keys.RootID), "--root", root, "--reason", "superseded"), 1, "the root's own"},
		"no key here":       {program(t, "", "ca", "revoke-ca", cert, "--dir", dir, "--reason", "superseded"), 1, "not here"},
		"no terminal":       {program(t, "", "ca", "root-crl", "--root", root, "--out", none), 1, "terminal"},
		"over another file": {program(t, "", append([]string{"ca", "root-crl", "--out", out}, offline...)...), 1, "exists"},
	} {
		if text := c.out.out + c.out.err; c.out.code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", name, c.out.code, c.code, c.want, text)
		}
	}

	imported := func(file string) outcome { return program(t, "", "ca", "import-crl", "--dir", dir, file) }
	if o := imported(graver); o.code != 0 || !strings.Contains(o.out, "number 3") || !strings.Contains(o.out, "cACompromise") {
		t.Errorf("import: %+v", o)
	}
	if o := imported(out); o.code != 1 || !strings.Contains(o.err, "number 3") || public().Number.Int64() != 3 {
		t.Errorf("import of an older one: %+v", o)
	}
	if o := imported(graver); o.code != 0 || !strings.Contains(o.out, "in place already") {
		t.Errorf("import again: %+v", o)
	}
	// The year's list keeps what is revoked.
	if o := program(t, "", append([]string{"ca", "root-crl", "--out", none}, offline...)...); o.code != 0 {
		t.Fatalf("root-crl: %+v", o)
	}
	if o := imported(none); o.code != 0 || public().Number.Int64() != 4 || len(public().RevokedCertificateEntries) != 1 {
		t.Errorf("the next year's list: %+v, %+v", o, public().RevokedCertificateEntries)
	}
}

// TestRootCRLCommandInPlace: a TEST installation with its root beside it signs and
// serves at once.
func TestRootCRLCommandInPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: config.Defaults(), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	list := decoded[rootList](t, program(t, "", "--json", "ca", "root-crl", "--dir", dir))
	h, err := keys.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	public, err := h.RootCRL()
	if err != nil || public.Number.Cmp(list.Number) != 0 || list.Number.Int64() != 2 || !list.Signed {
		t.Errorf("public %v, told %+v, %v", public, list, err)
	}
}
