package app

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigill/internal/config"
	"sigill/internal/mode"
)

// TestStartOnAFullDisk: a real file system that somebody else has filled to the last
// octet while nobody served. Without the reserve the database cannot be opened; with
// it the service starts, gives it back, serves status, and only takes back.
func TestStartOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no file system of a known size can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	installation := filepath.Join(dir, "installation")
	copyTree(t, make1(t, ""), installation)
	cfg, err := config.Load(installation)
	if err != nil {
		t.Fatal(err)
	}
	reserve := disk(cfg).Reserve.(mode.File)
	if err := reserve.Make(); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(dir, "others"))
	serving(t, installation, func(at Addresses) {
		if status, body := get(t, at.Ops+"/readyz"); status != http.StatusOK || !strings.Contains(body, `"modes":["disk-low"]`) {
			t.Errorf("readyz: %d %s", status, body)
		}
		if status, _ := get(t, at.Status+"/crl/root/0.crl"); status != http.StatusOK {
			t.Errorf("the root's list: %d", status)
		}
	})
	if reserve.Held() {
		t.Error("the reserve was not given back")
	}

	// With nothing to give back it is an error that tells, and no half-open service.
	fill(t, filepath.Join(dir, "more"))
	a, err := open(t, installation, time.Now)
	if err == nil {
		a.Close()
		t.Error("a full disk without a reserve was not noticed: this test fills nothing")
	}
}

// fill takes all room that there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
