//go:build unix

package responder

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe in a list's place makes nobody wait.
func TestPublicFileIsAPipe(t *testing.T) {
	h := newHall(t, 100).listens(t)
	put(t, h.dir, "crl/root/0.crl", "a list")
	if err := syscall.Mkfifo(filepath.Join(h.dir, "crl", "root", "1.crl"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := client(1)
	defer c.CloseIdleConnections()
	if code, _, _ := h.file(t, c, "/crl/root/1.crl"); code != 404 {
		t.Errorf("%d", code)
	}
}
