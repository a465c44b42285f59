// Package tokentest holds what tests of several packages need of cards: a
// SoftHSM2 of their own, certificates for keys, and the suite that every kind of
// card passes.
package tokentest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sigill/internal/token"
)

// SoftHSM is an installation of SoftHSM2 with tokens in a directory of the
// test's own.
type SoftHSM struct {
	Module string // path of the library
	Config string // value of SOFTHSM2_CONF, set for this process and its children
	util   string
}

// StartSoftHSM prepares SoftHSM2. Where it is not installed the test is skipped,
// or fails with SIGILL_REQUIRE=1. It sets an environment variable, so the test
// can't be parallel.
func StartSoftHSM(t testing.TB) *SoftHSM {
	t.Helper()
	h := &SoftHSM{}
	for _, path := range []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
		"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	} {
		if _, err := os.Stat(path); err == nil {
			h.Module = path
			break
		}
	}
	util, err := exec.LookPath("softhsm2-util")
	if h.Module == "" || err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatal("SoftHSM2 is not installed (Debian: softhsm2)")
		}
		t.Skip("SoftHSM2 is not installed (Debian: softhsm2): cards over PKCS #11 are not tested")
	}
	h.util = util
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	h.Config = filepath.Join(dir, "softhsm2.conf")
	text := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens)
	if err := os.WriteFile(h.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", h.Config)
	return h
}

// NewToken makes an empty token.
func (h *SoftHSM) NewToken(t testing.TB, label, pin string) {
	t.Helper()
	cmd := exec.Command(h.util, "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", pin, "--module", h.Module)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util: %v: %s", err, out)
	}
}

// URI names the card of one token, or of two (authentication, signing).
func (h *SoftHSM) URI(label string, second ...string) string {
	u := token.URI{Module: h.Module, Token: label}
	if len(second) > 0 {
		u.Token2 = second[0]
	}
	return u.String()
}
