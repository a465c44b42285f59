package translog_test

import (
	"errors"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/internal/translog"
)

// A database goes back under a running process, to a state in which the logs were
// smaller: nothing is numbered, not even once, for what would be told under numbers that
// were told already.
func TestNothingIsNumberedOverATreeThatShrank(t *testing.T) {
	db, exec := writable(t)
	var told []error
	q := &audit.Sequencer{Store: db.Audit()}
	if _, err := translog.Attach(q, translog.Config{Store: db.Translog(), Now: time.Now, Acts: newKeyed(t, "acts"), Certificates: newKeyed(t, "certificates"),
		Found: func(err error) { told = append(told, err) }}); err != nil {
		t.Fatal(err)
	}
	addLeaf(t, db, 1)
	addLeaf(t, db, 2)
	if err := q.CatchUp(t.Context()); err != nil || len(told) > 0 {
		t.Fatal(err, told)
	}
	exec("UPDATE log_tiles SET hashes = substr(hashes, 1, 32) WHERE log = 'certificates'")
	exec("UPDATE log_leaves SET number = NULL WHERE number = 2")
	exec("DELETE FROM log_heads")
	addLeaf(t, db, 3)
	_, err := q.Pass(t.Context())
	shrunk, ok := errors.AsType[*translog.ShrunkError](err)
	if !ok || !errors.Is(err, translog.ErrForked) || *shrunk != (translog.ShrunkError{Tree: audit.CertificateTree, Has: 1, Had: 2}) {
		t.Errorf("Pass = %v", err)
	}
	if len(told) != 1 || !errors.Is(told[0], translog.ErrForked) {
		t.Errorf("told: %v", told)
	}
	err = db.Translog().View(t.Context(), func(tx *translog.Tx) error {
		if size, err := tiles.Size(tx, audit.CertificateTree); err != nil || size != 1 {
			t.Errorf("the tree has %d leaves: %v", size, err)
		}
		if _, err := tx.Head(audit.CertificateTree, translog.Newest); !errors.Is(err, translog.ErrNotFound) {
			t.Errorf("a head is signed: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
