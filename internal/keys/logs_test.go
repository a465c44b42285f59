package keys

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLogs(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadLogs(dir); !errors.Is(err, ErrNoLogs) {
		t.Errorf("before they are made: %v", err)
	}
	pass := NewPassphrase([]byte("correct horse battery staple"))
	plan := LogsPlan{Dir: dir, StatusURL: "https://status.example", Passphrase: pass}
	made, err := CreateLogs(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateLogs(t.Context(), plan); err == nil {
		t.Error("made twice")
	}
	l, err := LoadLogs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(l.Acts.Public) != string(made.Acts.Public) || string(l.Acts.Public) == string(l.Certificates.Public) {
		t.Error("the public keys are not those that were made, or one")
	}
	if _, err := l.Open(t.Context(), l.Acts, NewPassphrase([]byte("another passphrase, as long"))); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	key, err := l.Open(t.Context(), l.Acts, pass)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Open(t.Context(), LogKey{Origin: "x", KeyURI: l.Certificates.KeyURI, Public: l.Acts.Public}, pass); err == nil {
		t.Error("a key was taken for another's public key")
	}
	if err := os.WriteFile(filepath.Join(dir, logDir, logIndex), []byte(`{"certificates":{},"acts":{},"more":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadLogs(dir); err == nil {
		t.Error("an index with something unknown was read")
	}
	if _, err := CreateLogs(t.Context(), LogsPlan{Dir: t.TempDir(), StatusURL: "no address", Passphrase: pass}); err == nil {
		t.Error("a log without a name was made")
	}
}
