//go:build cgo

package keys

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/checkpoint"
)

const tokenPIN = "482916"

// softHSM makes an empty token and returns the beginning of its keys' names.
func softHSM(t *testing.T) string {
	t.Helper()
	util, err := exec.LookPath("softhsm2-util")
	var module string
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			module = path
		}
	}
	if err != nil || module == "" {
		if os.Getenv("SIGILL_REQUIRE") != "" {
			t.Fatal("softhsm2 is not installed")
		}
		t.Skip("softhsm2 is not installed")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(config, []byte("directories.tokendir = "+dir+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", config)
	out, err := exec.Command(util, "--init-token", "--free", "--label", "sigill", "--so-pin", "12345678", "--pin", tokenPIN).CombinedOutput()
	if err != nil {
		t.Fatalf("making a token: %v\n%s", err, out)
	}
	return "pkcs11:module-path=" + module + ";token=sigill;max-sessions=8"
}

// An issuing CA whose key is in a token: made there, found again, and not in any
// file.
func TestIssuerInToken(t *testing.T) {
	token := softHSM(t)
	p := testPlan(t, t.TempDir())
	p.Issuers = p.Issuers[:1]
	p.Issuers[0].KeyURI = token + ";id=01;object=issuer"
	p.Passphrase = NewPassphrase([]byte(tokenPIN))
	h, err := Create(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(filepath.Join(h.Dir, keyDir)); err != nil || len(files) != 0 {
		t.Errorf("a key of a token is in a file too: %v", files)
	}
	h, err = Load(h.Dir)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := h.OpenIssuer(t.Context(), h.Issuers[0].ID, p.Passphrase)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	if _, err := issuer.Signer.Sign(nil, digest[:], crypto.SHA256); err != nil {
		t.Error(err)
	}
	if err := issuer.Close(); err != nil {
		t.Error(err)
	}
	_, err = h.OpenIssuer(t.Context(), h.Issuers[0].ID, NewPassphrase([]byte("000000")))
	if err == nil || strings.Contains(fmt.Sprintf("%+v", err), "000000") {
		t.Errorf("a wrong PIN: %v", err)
	}
	if _, err := OpenKey(t.Context(), token+";object=nobody", p.Passphrase); err == nil {
		t.Error("a key that is not in the token was opened")
	}
	if _, err := CreateKey(t.Context(), p.Issuers[0].KeyURI, P256, p.Passphrase); err == nil || errors.Is(err, ErrPassphrase) {
		t.Errorf("a key in a token was made twice: %v", err)
	}
}

// The logs' keys may be in a token too, apart from the issuing keys, by the same names.
func TestLogsInToken(t *testing.T) {
	token := softHSM(t)
	dir := t.TempDir()
	pin := NewPassphrase([]byte(tokenPIN))
	plan := LogsPlan{Dir: dir, StatusURL: "http://status.example:8080", Passphrase: pin,
		CertificatesKey: token + ";id=11;object=log-certificates", ActsKey: token + ";id=12;object=log-acts"}
	if _, err := CreateLogs(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	l, err := LoadLogs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if l.Acts.Origin != "status.example:8080/log/acts" {
		t.Errorf("origin %s", l.Acts.Origin)
	}
	for _, k := range []LogKey{l.Certificates, l.Acts} {
		if file, ok := l.File(k); ok {
			t.Errorf("%s is in the file %s", k.Origin, file)
		}
		key, err := l.Open(t.Context(), k, pin)
		if err != nil {
			t.Fatal(err)
		}
		log, err := checkpoint.NewLog(k.Origin, key.Signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Sign(key.Signer, 0, checkpoint.EmptyRoot(), time.Now()); err != nil {
			t.Error(err)
		}
		if err := key.Close(); err != nil {
			t.Error(err)
		}
	}
	// Exchanged names are noticed: the index holds the public keys.
	l.Acts.KeyURI = l.Certificates.KeyURI
	if _, err := l.Open(t.Context(), l.Acts, pin); err == nil {
		t.Error("the key of the other log was taken")
	}
}
