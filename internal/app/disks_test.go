package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/keep"
	"sigill/internal/translog"
	"sigill/internal/witness"
	"sigill/policy"
	"sigill/revocation"
)

// withWitness starts a witness of an installation's logs and names it in its
// configuration.
func (b *backup) withWitness() checkpoint.Witness {
	t := b.t
	t.Helper()
	at := filepath.Join(t.TempDir(), "witness")
	key, err := witness.Init(at, "w.example")
	b.must(err)
	in, err := openQuiet(t.Context(), b.dir, false)
	b.must(err)
	logs := in.logs()
	b.must(in.Close())
	server, err := witness.Open(witness.Config{Dir: at, Logs: []*checkpoint.Log{logs.Acts, logs.Certificates}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	b.must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, server.Close()); err != nil {
			t.Error(err)
		}
	})
	b.configure("\n  witnesses: []\n", fmt.Sprintf("\n  witnesses: [{url: 'http://%s', key: '%s'}]\n", l.Addr(), key))
	return key
}

// TestRestoredWithItsDisks: a machine with all that is on it is put back to where it was.
// A witness shows it, the target has the lists, and with the disk that was given up
// everything is there again.
func TestRestoredWithItsDisks(t *testing.T) {
	b := newBackup(t, "\n  keep: {}\n")
	key := b.withWitness()
	at := t.TempDir()
	withTarget(t, b.dir, at)
	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Trusted {
		t.Fatalf("a new installation is %s, %v", state, why)
	}
	stolen := b.holder()
	serial := stolen.Certificate().Serial
	b.eventually("the witness's signature is under the head that is shown", func() bool {
		head, err := b.app.Logs.Head(t.Context(), audit.ActTree)
		b.must(err)
		_, by, err := b.app.Logs.Reader.Acts.Witnessed(head.Note, []checkpoint.Witness{key})
		return err == nil && len(by) == 1
	})
	b.must(b.app.Logs.Reader.Store.View(t.Context(), func(tx *translog.Tx) error {
		_, err := tx.Head(audit.CertificateTree, translog.Witnessed)
		return err
	}))
	b.stop()
	old, last := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "last")
	copyTree(t, b.dir, old)

	b.serve()
	b.block(stolen)
	lost := b.holder()
	in := b.intent(serial)
	b.onList(in)
	was := b.list(in.Issuer, in.Partition)
	gone := b.intent(lost.Certificate().Serial)
	b.stop() // brings the lists to the target
	copyTree(t, b.dir, last)

	b.must(os.RemoveAll(b.dir))
	copyTree(t, old, b.dir)
	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Restored || !strings.Contains(why.Error(), "w.example") {
		t.Fatalf("it is %s, %v", state, why)
	}
	if a := b.ask(in); a.Status != ocsp.Revoked || !a.RevokedAt.Equal(listed(was, serial).RevocationTime) {
		t.Errorf("OCSP says %d of what the target's list says is revoked", a.Status)
	}
	if is := b.list(in.Issuer, in.Partition); is.Number.Cmp(was.Number) < 0 || listed(is, serial) == nil {
		t.Errorf("the list has number %v, and had %v", is.Number, was.Number)
	}
	b.stop()
	done, err := b.reconcile(last, true)
	b.must(err)
	if len(done.Lost) == 0 {
		t.Errorf("nothing was lost: %+v", done)
	}
	b.sound()
	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Trusted {
		t.Fatalf("it is %s, %v", state, why)
	}
	b.onList(gone)
	if a := b.ask(gone); a.Status != ocsp.Revoked {
		t.Errorf("OCSP says %d of what was lost", a.Status)
	}
	b.must(b.app.DB.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
		e, is, err := tx.Revocation(serial)
		if err == nil && (!is || e.Rule != "card.blocked" || !e.At.Equal(listed(was, serial).RevocationTime)) {
			t.Errorf("the ledger has %+v, %v", e, is)
		}
		return err
	}))
	if d := b.app.Modes.MayWork(policy.WorkIssue); !d.Allow {
		t.Errorf("issuing: %+v", d)
	}
	b.stop()
}
