package translog_test

import (
	"bytes"
	"context"
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

	"sigill/ca"
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

func newKeyed(t *testing.T, name string) translog.Keyed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	log, err := checkpoint.NewLog("two.test/log/"+name, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return translog.Keyed{Log: log, Signer: key}
}

// twoProcesses returns two processes' logs over one database, each with its clock, and
// what the first key does before it signs.
func twoProcesses(t *testing.T, db *store.DB, clocks [2]func() time.Time) (logs [2]*translog.Service, sequencers [2]*audit.Sequencer, first [2]*func()) {
	t.Helper()
	acts, certificates := newKeyed(t, "acts"), newKeyed(t, "certificates")
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

// writable returns a database and what writes to it past the store.
func writable(t *testing.T) (*store.DB, func(query string, args ...any)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sigill.db")
	db := storetest.New(t, store.Config{URL: "sqlite:" + path})
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return db, func(query string, args ...any) {
		t.Helper()
		if _, err := raw.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
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
			db, exec := writable(t)
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
			addLeaf(t, db, 3) // the second leaf of another history, numbered by who has seen none
			if err := (&audit.Sequencer{Store: db.Audit()}).CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			addLeaf(t, db, 4)
			if err := sequencers[0].CatchUp(t.Context()); !errors.Is(err, translog.ErrForked) {
				t.Errorf("it goes on: %v", err)
			}
			if head, err := logs[0].Head(t.Context(), audit.CertificateTree); err == nil && head.Size > 1 {
				t.Errorf("a head of %d leaves of another history was signed", head.Size)
			}
		})
	}
}

// broken is a store that writes nothing while it is broken.
type broken struct {
	translog.Store
	now bool
}

func (b *broken) Update(ctx context.Context, fn func(*translog.Tx) error) error {
	if b.now {
		return errors.New("the disk is gone")
	}
	return b.Store.Update(ctx, fn)
}

// thrice lets a wait pass once and look once, and is over.
type thrice struct{ n int }

func (w *thrice) Next(baton chan<- struct{}, _ <-chan struct{}) (translog.Woken, error) {
	switch w.n++; w.n {
	case 1:
		baton <- struct{}{}
		return translog.Passes, nil
	case 2:
		return translog.Looks, nil
	}
	return 0, errors.New("over")
}

func (*thrice) Stop() {}

// A leaf has its number and its head is signed, but not stored: nobody is told that the
// log has it, and nobody can read it, until it is.
func TestNobodyIsToldBeforeTheHeadIsStored(t *testing.T) {
	db := storetest.SQLite(t)
	q := &audit.Sequencer{Store: db.Audit()}
	s := &broken{Store: db.Translog()}
	logs, err := translog.Attach(q, translog.Config{Store: s, Acts: newKeyed(t, "acts"), Certificates: newKeyed(t, "certificates"), Now: time.Now,
		Wait: func(context.Context) translog.Waiter { return new(thrice) }})
	if err != nil {
		t.Fatal(err)
	}
	await := func(n byte) error {
		return logs.Await(t.Context(), ca.LogLeaf{Hash: tlog.RecordHash([]byte{n}), Time: time.UnixMilli(1).UTC()})
	}
	addLeaf(t, db, 1)
	if err := await(1); err != nil {
		t.Fatal(err)
	}
	s.now = true
	addLeaf(t, db, 2)
	if err := await(2); err == nil {
		t.Error("told of a head that is not stored")
	}
	if index, err := logs.IndexOf(t.Context(), tlog.RecordHash([]byte{2})); err != nil || index != 1 {
		t.Errorf("the leaf has no number, so that nothing was tried: %d, %v", index, err)
	}
	s.now = false
	if err := await(2); err != nil {
		t.Errorf("with the disk again: %v", err)
	}
}

// Only the log's own promise, for these very bytes, is one.
func TestCheckSCT(t *testing.T) {
	db := storetest.SQLite(t)
	service := func() *translog.Service {
		s, err := translog.New(translog.Config{Store: db.Translog(), Acts: newKeyed(t, "acts"), Certificates: newKeyed(t, "certificates"), Now: time.Now,
			Pass: func(context.Context) (int, error) { return 0, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	own, other := service(), service()
	p := ca.PreCert{IssuerKeyHash: [32]byte{1}, TBS: []byte("to be signed")}
	promise, err := own.Promise(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err := own.Check(promise.SCTList, p); err != nil || leaf != promise.Leaf {
		t.Errorf("own promise: %+v, %v", leaf, err)
	}
	if _, err := other.Check(promise.SCTList, p); err == nil {
		t.Error("another log's promise is believed")
	}
	changed := bytes.Clone(promise.SCTList)
	changed[len(changed)-1] ^= 1
	later := bytes.Clone(promise.SCTList)
	later[2+2+1+32+7] ^= 1 // the last octet of the time
	for name, c := range map[string]struct {
		list []byte
		p    ca.PreCert
	}{
		"other bytes":         {promise.SCTList, ca.PreCert{IssuerKeyHash: p.IssuerKeyHash, TBS: []byte("to be signee")}},
		"other issuer":        {promise.SCTList, ca.PreCert{TBS: p.TBS}},
		"changed signature":   {changed, p},
		"other time":          {later, p},
		"nothing":             {nil, p},
		"octets behind":       {append(bytes.Clone(promise.SCTList), 0), p},
		"list without an SCT": {[]byte{0, 0}, p},
	} {
		if _, err := own.Check(c.list, c.p); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

// While nothing may be numbered no head is signed anew: the tree may be an old one.
func TestHeldLogsSignNothing(t *testing.T) {
	db := storetest.SQLite(t)
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	now := func() time.Time { return at }
	logs, sequencers, _ := twoProcesses(t, db, [2]func() time.Time{now, now})
	held := true
	sequencers[0].Hold = func() bool { return held }
	if err := logs[0].Heads(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A first head could be another one than places have seen.
	if head, err := logs[0].Head(t.Context(), audit.CertificateTree); !errors.Is(err, translog.ErrNotFound) {
		t.Fatalf("a first head was signed: %+v, %v", head, err)
	}
	held = false
	if err := logs[0].Heads(t.Context()); err != nil {
		t.Fatal(err)
	}
	held = true
	first, err := logs[0].Head(t.Context(), audit.CertificateTree)
	if err != nil {
		t.Fatal(err)
	}
	addLeaf(t, db, 1)
	at = at.Add(24 * time.Hour)
	for _, do := range []func() error{
		func() error { return logs[0].Heads(t.Context()) },
		func() error { return sequencers[0].CatchUp(t.Context()) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if head, err := logs[0].Head(t.Context(), audit.CertificateTree); err != nil || string(head.Note) != string(first.Note) {
			t.Errorf("a head of %s, with %d leaves: %v", head.Time, head.Size, err)
		}
	}
	held = false
	if err := sequencers[0].CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if head, err := logs[0].Head(t.Context(), audit.CertificateTree); err != nil || head.Size != 1 || !head.Time.Equal(at) {
		t.Errorf("afterwards a head of %s, with %d leaves: %v", head.Time, head.Size, err)
	}
}

// A row that says that a leaf has a place in the log, where another leaf is, lets nothing
// be signed.
func TestPlaceIsHeldAgainstTheTree(t *testing.T) {
	db, exec := writable(t)
	logs, sequencers, _ := twoProcesses(t, db, [2]func() time.Time{time.Now, time.Now})
	sequencers[1].Hold = func() bool { return true } // it only looks
	addLeaf(t, db, 1)
	if err := sequencers[0].CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	addLeaf(t, db, 2)
	leaf := func(n byte) ca.LogLeaf { return ca.LogLeaf{Hash: tlog.RecordHash([]byte{n})} }
	if err := logs[1].Await(t.Context(), leaf(1)); err != nil {
		t.Errorf("numbered elsewhere: %v", err)
	}
	exec(`DELETE FROM log_leaves WHERE number = 1`)
	exec(`UPDATE log_leaves SET number = 1`)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := logs[1].Await(ctx, leaf(2)); err == nil {
		t.Error("a leaf that is not in the tree is in the log")
	}
}

// The tree grows while the clock is behind the last head: the next head is not of an
// earlier time.
func TestHeadsGrowWhileTheClockIsBehind(t *testing.T) {
	db := storetest.SQLite(t)
	begun := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	now := begun
	clock := func() time.Time { return now }
	logs, sequencers, _ := twoProcesses(t, db, [2]func() time.Time{clock, clock})
	for i, sequencer := range []*audit.Sequencer{sequencers[0], sequencers[0], sequencers[1]} { // the second process remembers nothing
		addLeaf(t, db, byte(i+1))
		if err := sequencer.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		head, err := logs[0].Head(t.Context(), audit.CertificateTree)
		if err != nil || head.Size != int64(i+1) || head.Time.Before(begun) {
			t.Errorf("with the clock at %s the head of %d leaves is of %s: %v", now, head.Size, head.Time, err)
		}
		now = now.Add(-time.Minute)
	}
}
