// Package revtest is what the tests of revocation and of the packages below it
// share: a store in memory that breaks on purpose, and small CAs.
package revtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/revocation"
)

// Fault is what happens to one transaction.
type Fault int

const (
	None Fault = iota
	NotBegun
	RolledBack
	Lost // committed, but the answer is an error
)

func (f Fault) String() string {
	return [...]string{"none", "not begun", "rolled back", "committed but lost"}[f]
}

var ErrFault = errors.New("store: outcome unknown")

// Store is a revocation.Store in memory. It holds its users to the contract:
// it calls each closure twice and keeps the second call's effect, gives out and
// takes copies, and fails the test on a nested transaction, on a write in a View
// and on whatever a real store's constraints would refuse.
type Store struct {
	t  testing.TB
	mu sync.Mutex

	Entries   []revocation.Entry
	Numbers   map[string]int64 // by event
	Head      int64
	Released  map[ca.Serial]ca.IssuerID
	Published []revocation.Publication
	Copies    map[revocation.Copy][][]byte // parts

	Read   int       // how often a whole list was read
	Hidden ca.Serial // is left out of EntriesIn, as no store should

	open  atomic.Bool // a transaction is open
	Count int         // transactions so far
	At    int         // the transaction that fails, counted from 1; 0 for none
	Fault Fault
}

// NewStore returns an empty store.
func NewStore(t testing.TB) *Store {
	return &Store{t: t, Numbers: map[string]int64{}, Released: map[ca.Serial]ca.IssuerID{}}
}

// Sequence numbers what is committed, as the sequencer does.
func (s *Store) Sequence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.Entries {
		if s.Numbers[e.Event] == 0 {
			s.Head++
			s.Numbers[e.Event] = s.Head
		}
	}
}

// NoTransaction fails the test if a transaction is open: it is called where the
// key is used.
func (s *Store) NoTransaction() {
	if s.open.Load() {
		s.t.Error("the key is used while a transaction is open")
	}
}

func (s *Store) Update(ctx context.Context, fn func(*revocation.Tx) error) error {
	return s.run(ctx, fn, false)
}

func (s *Store) View(ctx context.Context, fn func(*revocation.Tx) error) error {
	return s.run(ctx, fn, true)
}

func (s *Store) run(ctx context.Context, fn func(*revocation.Tx) error, readOnly bool) error {
	if s.open.Load() {
		s.t.Error("a transaction is begun within another")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Count++
	f := None
	if s.Count == s.At {
		f = s.Fault
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if f == NotBegun {
		return ErrFault
	}
	s.open.Store(true)
	defer func() { s.open.Store(false) }()
	var tx *fakeTx
	for range 2 {
		tx = &fakeTx{s: s, readOnly: readOnly, entries: slices.Clone(s.Entries), published: slices.Clone(s.Published), copies: maps.Clone(s.Copies)}
		if err := fn(&revocation.Tx{Ledger: tx, Statuses: tx, Publications: tx, Entries: tx, Copies: tx}); err != nil {
			return err
		}
	}
	if f == RolledBack {
		return ErrFault
	}
	s.Entries, s.Published, s.Copies = tx.entries, tx.published, tx.copies
	if f == Lost {
		return ErrFault
	}
	return nil
}

// fakeTx works on copies, which become the state at commit.
type fakeTx struct {
	s         *Store
	readOnly  bool
	entries   []revocation.Entry
	published []revocation.Publication
	copies    map[revocation.Copy][][]byte
}

func (tx *fakeTx) write() {
	if tx.readOnly {
		tx.s.t.Error("a View writes")
	}
}

func (tx *fakeTx) InsertRevocation(e revocation.Entry) error {
	tx.write()
	for _, old := range tx.entries {
		if old.Serial == e.Serial && old.Version == e.Version || old.Event == e.Event {
			return fmt.Errorf("version %d of %s or event %s is taken", e.Version, e.Serial, e.Event)
		}
	}
	tx.entries = append(tx.entries, e)
	return nil
}

func (tx *fakeTx) Revocation(serial ca.Serial) (revocation.Entry, bool, error) {
	var found revocation.Entry
	for _, e := range tx.entries {
		if e.Serial == serial && e.Version > found.Version {
			found = e
		}
	}
	return found, found.Version > 0, nil
}

func (tx *fakeTx) Status(issuer ca.IssuerID, serial ca.Serial) (bool, *revocation.Entry, error) {
	released := tx.s.Released[serial] == issuer
	e, revoked, _ := tx.Revocation(serial)
	if !revoked || e.Issuer != issuer {
		return released, nil, nil
	}
	return released, &e, nil
}

func (tx *fakeTx) NewestPublication(issuer ca.IssuerID, scope string, state revocation.PublicationState) (*revocation.Publication, error) {
	var found revocation.Publication
	for _, p := range tx.published {
		if p.Issuer == issuer && p.Scope == scope && (state == "" || p.State == state) && p.Number > found.Number {
			found = p
		}
	}
	if found.Number == 0 {
		return nil, revocation.ErrNotFound
	}
	return &found, nil
}

func (tx *fakeTx) InsertPublication(p *revocation.Publication) error {
	tx.write()
	if p.State != revocation.Reserved || p.SHA256 != [32]byte{} || p.Number < 1 {
		tx.s.t.Errorf("inserted as %+v, which is not a reservation", p)
	}
	for _, old := range tx.published {
		if old.Issuer == p.Issuer && old.Scope == p.Scope && old.Number == p.Number {
			tx.s.t.Errorf("number %d of %s/%s is reserved twice", p.Number, p.Issuer, p.Scope)
			return errors.New("number is taken")
		}
	}
	tx.published = append(tx.published, *p)
	return nil
}

func (tx *fakeTx) FinishPublication(p *revocation.Publication) error {
	tx.write()
	for i, old := range tx.published {
		if old.Issuer != p.Issuer || old.Scope != p.Scope || old.Number != p.Number {
			continue
		}
		if old.State != revocation.Reserved || p.State != revocation.Published || p.SHA256 == [32]byte{} {
			return fmt.Errorf("%v becomes %v", old.State, p.State)
		}
		tx.published[i] = *p
		return nil
	}
	return revocation.ErrNotFound
}

func (tx *fakeTx) Copied() ([]revocation.Copy, error) {
	return slices.Collect(maps.Keys(tx.copies)), nil
}

func (tx *fakeTx) CopyPart(c revocation.Copy, part int) ([]byte, error) {
	if part >= len(tx.copies[c]) {
		return nil, revocation.ErrNotFound
	}
	return slices.Clone(tx.copies[c][part]), nil
}

func (tx *fakeTx) InsertCopyPart(c revocation.Copy, part int, octets []byte) error {
	tx.write()
	if part != len(tx.copies[c]) || len(octets) == 0 || len(octets) > 1<<20 {
		tx.s.t.Errorf("part %d of %v has %d octets, after %d parts", part, c, len(octets), len(tx.copies[c]))
	}
	if tx.copies == nil {
		tx.copies = map[revocation.Copy][][]byte{}
	}
	tx.copies[c] = append(slices.Clip(tx.copies[c]), slices.Clone(octets))
	return nil
}

func (tx *fakeTx) DeleteCopy(issuer ca.IssuerID, scope string) error {
	tx.write()
	maps.DeleteFunc(tx.copies, func(c revocation.Copy, _ [][]byte) bool { return c.Issuer == issuer && c.Scope == scope })
	return nil
}

// newest returns the entry of the highest version of each serial of a list, by
// serial.
func (tx *fakeTx) newest(list revocation.List, since time.Time) []revocation.Entry {
	newest := map[ca.Serial]revocation.Entry{}
	for _, e := range tx.entries {
		if e.Serial != tx.s.Hidden && e.Issuer == list.Issuer && (list.Partition == revocation.Whole || e.Partition == list.Partition) &&
			!e.NotAfter.Before(since) && e.Version > newest[e.Serial].Version {
			newest[e.Serial] = e
		}
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b revocation.Entry) int { return bytes.Compare(a.Serial[:], b.Serial[:]) })
}

func (tx *fakeTx) EntriesIn(list revocation.List, since, until time.Time, yield func(revocation.Entry) error) error {
	for _, e := range tx.newest(list, since) {
		if !until.IsZero() && !e.NotAfter.Before(until) {
			continue
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

func (tx *fakeTx) Lines(list revocation.List, since time.Time, yield func([]byte) error) error {
	tx.s.Read++
	for _, e := range tx.newest(list, since) {
		line := slices.Clone(e.Line)
		if err := yield(line); err != nil {
			return err
		}
		clear(line) // it was lent
	}
	return nil
}

func (tx *fakeTx) NumberedEntries(after int64, limit int) ([]revocation.Numbered, error) {
	var list []revocation.Numbered
	for _, e := range tx.entries {
		if n := tx.s.Numbers[e.Event]; n > after {
			list = append(list, revocation.Numbered{Entry: e, Number: n})
		}
	}
	slices.SortFunc(list, func(a, b revocation.Numbered) int { return int(a.Number - b.Number) })
	return list[:min(limit, len(list))], nil
}

func (tx *fakeTx) UnnumberedEntries(yield func(revocation.Entry) error) error {
	for _, e := range tx.entries {
		if tx.s.Numbers[e.Event] == 0 {
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tx *fakeTx) HeadNumber() (int64, error) { return tx.s.Head, nil }
