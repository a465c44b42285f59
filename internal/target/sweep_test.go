package target

import (
	"os"
	"path/filepath"
	"testing"
)

// What a publisher that was killed has left goes; what others keep in the directory
// stays, however it is called.
func TestCheckSweepsItsOwn(t *testing.T) {
	dir := t.TempDir()
	own := []string{"crl/ca/.0.crl.123.tmp", "aia/.ca.cer.9.tmp"}
	others := []string{".upload.1.tmp", "www/.index.html.2.tmp", "crl/.list.3.tmp", "ocsp/.x.4.tmp", "crl/ca/0.crl"}
	for _, name := range append(own, others...) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range own {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); !os.IsNotExist(err) {
			t.Errorf("%s is still there, %v", name, err)
		}
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
