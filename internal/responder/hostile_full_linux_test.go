package responder

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/internal/store"
	"sigill/revocation/publish"
)

type everyList struct{}

func (everyList) LintCRL([]byte) error { return nil }

// The public directory's disk is full when a list is due: the one before stays public
// and whole, the error says why, nothing half is left, and as soon as there is room the
// next one comes. It needs the right to mount a small file system.
func TestDiskFullWhilePublishing(t *testing.T) {
	h := newHall(t, 100)
	if err := syscall.Mount("tmpfs", h.dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system of a known size can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(h.dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	h.listens(t)
	ledger := revtest.NewStore(t)
	signer, err := crl.NewSigner(h.authority.Cert, h.authority.Key)
	if err != nil {
		t.Fatal(err)
	}
	p := &publish.Publisher{Store: ledger, Dir: h.dir, Now: h.now, Log: slog.New(slog.DiscardHandler), Lint: everyList{},
		Scopes: []publish.Scope{{Issuer: revtest.Person, URL: revtest.URLOf(revtest.Person, 0), Signer: signer}}}
	c := client(1)
	defer c.CloseIdleConnections()
	path := "/" + filepath.ToSlash(publish.CRLPath(revtest.Person, 0))
	pass := func(want int) error {
		t.Helper()
		h.pass(2 * time.Second)
		n, err := p.Publish(t.Context(), h.now())
		if n != want {
			t.Fatalf("%d lists are published, want %d: %v", n, want, err)
		}
		return err
	}
	public := func() string {
		t.Helper()
		code, body, _ := h.file(t, c, path)
		if code != 200 {
			t.Fatalf("the list is not public: %d", code)
		}
		return body
	}
	for range 100 {
		ledger.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	}
	if err := pass(1); err != nil {
		t.Fatal(err)
	}
	before := public()

	others := filepath.Join(h.dir, "others")
	if err := os.WriteFile(others, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	e := ledger.Revoke(revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise))
	for range 3 {
		if err := pass(0); !store.IsFull(err) {
			t.Errorf("an error that does not say why: %v", err)
		}
		if public() != before {
			t.Fatal("another list is public")
		}
		h.pass(time.Minute) // after whatever pause
	}
	if err := filepath.WalkDir(h.dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".tmp") {
			t.Errorf("%s is left", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	if err := os.Remove(others); err != nil {
		t.Fatal(err)
	}
	if err := pass(1); err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList([]byte(public()))
	if err != nil || len(list.RevokedCertificateEntries) != 101 {
		t.Fatalf("the list after: %v", err)
	}
	if err := list.CheckSignatureFrom(h.authority.Cert); err != nil {
		t.Error(err)
	}
	for _, each := range list.RevokedCertificateEntries {
		if each.SerialNumber.Cmp(e.Serial.Int()) == 0 {
			return
		}
	}
	t.Error("the revocation is not on the list")
}
