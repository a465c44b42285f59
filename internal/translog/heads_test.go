package translog_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/store"
	"sigill/internal/store/storetest"
	"sigill/internal/translog"
	"sigill/orders/issue"
)

// pausing is a key that lets something happen before it signs for the first time.
type pausing struct {
	crypto.Signer
	first *func()
}

func (p pausing) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if do := *p.first; do != nil {
		*p.first = nil
		do()
	}
	return p.Signer.Sign(r, digest, opts)
}

// twoProcesses returns two processes' logs over one database, each with its clock, and
// what the first key does before it signs.
func twoProcesses(t *testing.T, db *store.DB, clocks [2]func() time.Time) (logs [2]*translog.Service, sequencers [2]*audit.Sequencer, first [2]*func()) {
	t.Helper()
	key := func(name string) translog.Keyed {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		log, err := checkpoint.NewLog("two.test/log/"+name, k.Public())
		if err != nil {
			t.Fatal(err)
		}
		return translog.Keyed{Log: log, Signer: k}
	}
	acts, certificates := key("acts"), key("certificates")
	for i := range logs {
		first[i], sequencers[i] = new(func()), &audit.Sequencer{Store: db.Audit()}
		var err error
		logs[i], err = translog.Attach(sequencers[i], translog.Config{Store: db.Translog(), Now: clocks[i],
			Acts:         translog.Keyed{Log: acts.Log, Signer: pausing{acts.Signer, first[i]}},
			Certificates: translog.Keyed{Log: certificates.Log, Signer: pausing{certificates.Signer, first[i]}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return logs, sequencers, first
}

func addLeaf(t *testing.T, db *store.DB, n byte) {
	t.Helper()
	in := storetest.Intent(n)
	in.Leaf.Hash, in.Leaf.Time = tlog.RecordHash([]byte{n}), time.UnixMilli(1).UTC()
	if err := db.Issue().Update(t.Context(), func(tx *issue.Tx) error { return tx.InsertIntent(in) }); err != nil {
		t.Fatal(err)
	}
}

// Two processes sign heads of one tree at once: that of the later time stays, whichever
// is stored last.
func TestHeadsOfTwoProcesses(t *testing.T) {
	db := storetest.SQLite(t)
	begun := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	logs, sequencers, first := twoProcesses(t, db, [2]func() time.Time{func() time.Time { return begun }, func() time.Time { return begun.Add(time.Second) }})
	addLeaf(t, db, 1)
	*first[0] = func() {
		if err := logs[1].Heads(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := sequencers[0].CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	head, err := logs[0].Head(t.Context(), audit.CertificateTree)
	if err != nil || head.Size != 1 || !head.Time.Equal(begun.Add(time.Second)) {
		t.Errorf("the head is of %s, with %d leaves: %v", head.Time, head.Size, err)
	}
}

// A process whose clock is ahead stores a head of a smaller tree while another signs that
// of the larger one: it is signed anew, with a time that is not before.
func TestHeadIsSignedAnewAfterALaterOne(t *testing.T) {
	db := storetest.SQLite(t)
	begun := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	logs, sequencers, first := twoProcesses(t, db, [2]func() time.Time{func() time.Time { return begun }, func() time.Time { return begun.Add(10 * time.Second) }})
	addLeaf(t, db, 1)
	reached, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	*first[1] = func() {
		close(reached)
		<-goOn
	}
	go func() { done <- sequencers[1].CatchUp(t.Context()) }()
	<-reached // it has read the tree of one leaf
	addLeaf(t, db, 2)
	*first[0] = func() {
		close(goOn)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := sequencers[0].Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	head, err := logs[0].Head(t.Context(), audit.CertificateTree)
	if err != nil || head.Size != 2 || head.Time.Before(begun.Add(10*time.Second)) {
		t.Errorf("the head is of %s, with %d leaves: %v", head.Time, head.Size, err)
	}
}

// Who can write the database takes leaves away and the stored head with them, or puts an
// older head in its place: the process that has seen more signs nothing over what is left.
func TestForkedTreeWithoutItsHead(t *testing.T) {
	for _, c := range []struct {
		name string
		sql  func(old []byte) (string, []any)
	}{
		{"deleted", func([]byte) (string, []any) { return `DELETE FROM log_heads`, nil }},
		{"replaced", func(old []byte) (string, []any) {
			return `UPDATE log_heads SET size = 1, note = $1 WHERE log = 'certificates'`, []any{old}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sigill.db")
			db := storetest.New(t, store.Config{URL: "sqlite:" + path})
			raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			exec := func(query string, args ...any) {
				t.Helper()
				if _, err := raw.ExecContext(t.Context(), query, args...); err != nil {
					t.Fatal(err)
				}
			}
			now := func() time.Time { return time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC) }
			logs, sequencers, _ := twoProcesses(t, db, [2]func() time.Time{now, now})
			add := func(n byte) {
				t.Helper()
				addLeaf(t, db, n)
				if err := sequencers[0].CatchUp(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			add(1)
			old, err := logs[0].Head(t.Context(), audit.CertificateTree)
			if err != nil {
				t.Fatal(err)
			}
			add(2)
			query, args := c.sql(old.Note)
			exec(query, args...)
			exec(`DELETE FROM log_leaves WHERE number = 2`)
			exec(`UPDATE log_tiles SET hashes = substr(hashes, 1, 32) WHERE log = 'certificates'`)
			addLeaf(t, db, 3) // the second leaf of another history
			if err := sequencers[0].CatchUp(t.Context()); !errors.Is(err, translog.ErrForked) {
				t.Errorf("it goes on: %v", err)
			}
			if head, err := logs[0].Head(t.Context(), audit.CertificateTree); err == nil && head.Size == 2 {
				t.Error("a second head of two leaves was signed")
			}
		})
	}
}
