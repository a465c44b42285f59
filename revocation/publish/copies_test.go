package publish_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// pair is two processes on one store, each with its own directory.
type pair struct {
	a, b  *bench
	leads *bench
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{a: newBench(t)}
	p.leads = p.a
	p.b = &bench{t: t, Store: p.a.Store, issuer: p.a.issuer, key: p.a.key, dir: t.TempDir()}
	p.restart(p.a)
	p.restart(p.b)
	return p
}

func (p *pair) restart(b *bench) {
	b.t.Helper()
	b.restart()
	b.p.Leader = func(context.Context) (bool, error) { return p.leads == b, nil }
}

// octets are what relying parties are given; nil: nothing.
func (b *bench) octets(partition int) []byte {
	b.t.Helper()
	der, err := os.ReadFile(b.path(partition))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return der
}

// same fails unless both serve the same list with this number.
func (p *pair) same(partition int, number int64) {
	p.a.t.Helper()
	if got := p.a.number(partition); got != number || !bytes.Equal(p.a.octets(partition), p.b.octets(partition)) {
		p.a.t.Fatalf("list %d: number %d here and %d there, want %d and the same octets", partition, got, p.b.number(partition), number)
	}
}

// One process publishes, and the other serves the same octets; when it takes over,
// numbers go on, from the lists that it has copied.
func TestFollowersServeTheSame(t *testing.T) {
	p := newPair(t)
	p.b.publish(revtest.Start, 0)
	if p.b.octets(0) != nil {
		t.Fatal("who does not lead has published")
	}
	p.a.publish(revtest.Start, 2)
	p.b.publish(revtest.Start, 0)
	p.same(0, 1)
	p.same(1, 1)

	e := p.a.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	at := revtest.Start.Add(time.Minute)
	p.b.publish(at, 0)
	p.a.publish(at, 1)
	p.b.publish(at, 0)
	p.same(0, 2)
	if lists(p.b.public(0), e.Serial) == nil {
		t.Fatal("the copy lacks what is revoked")
	}

	p.leads = p.b
	read := p.a.Read
	at = at.Add(time.Minute)
	p.b.publish(at, 0) // nothing is due: what it copied is what is published
	e = p.a.Revoke(revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise))
	p.a.publish(at, 0)
	p.b.publish(at, 1)
	p.a.publish(at, 0)
	p.same(0, 3)
	if lists(p.a.public(0), e.Serial) == nil || p.a.Read != read {
		t.Errorf("the list was read from the ledger %d times, want none: it was made from the copy", p.a.Read-read)
	}

	// A file that was lost or replaced is copied again.
	for _, damage := range []func() error{
		func() error { return os.Remove(p.a.path(0)) },
		func() error { return os.WriteFile(p.a.path(0), p.a.octets(1), 0o644) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		_, err := p.a.p.Publish(t.Context(), at)
		if err != nil { // another partition's list is told, as to one who leads
			if err := os.Remove(p.a.path(0)); err != nil {
				t.Fatal(err)
			}
			p.a.publish(at.Add(time.Minute), 0)
		}
		p.same(0, 3)
	}
}

// A list of more than one part goes over whole, and only the newest is kept.
func TestFollowersCopyLargeLists(t *testing.T) {
	p := newPair(t)
	p.a.publish(revtest.Start, 2)
	for range 27_000 {
		e := revtest.NewEntry(revtest.Person, 0, ca.Superseded)
		e.Version = 1
		p.a.Entries = append(p.a.Entries, e)
	}
	p.a.Sequence()
	p.a.publish(revtest.Start.Add(time.Minute), 1)
	p.b.publish(revtest.Start.Add(time.Minute), 0)
	p.same(0, 2)
	parts := p.a.Copies[revocation.Copy{Issuer: revtest.Person, Scope: "0", Number: 2}]
	if len(parts) != 2 || len(parts[0]) != 1<<20 || len(p.a.Copies) != 2 {
		t.Errorf("%d parts of %d lists", len(parts), len(p.a.Copies))
	}
}

// Nothing of a copy is believed.
func TestFollowersRefuse(t *testing.T) {
	name := func(number int64) revocation.Copy {
		return revocation.Copy{Issuer: revtest.Person, Scope: "0", Number: number}
	}
	for what, c := range map[string]struct {
		spoil func(*pair)
		want  string // "": it is left alone without a word
	}{
		"an octet": {func(p *pair) { p.a.Copies[name(2)][0][100] ^= 1 }, "number 2 is not put in place"},
		"its end":  {func(p *pair) { p.a.Copies[name(2)][0] = p.a.Copies[name(2)][0][:100] }, "number 2 is not put in place"},
		"another partition's": {func(p *pair) {
			p.a.Copies[name(2)] = p.a.Copies[revocation.Copy{Issuer: revtest.Person, Scope: "1", Number: 1}]
		}, "it is the list of"},
		"the one before": {func(p *pair) { p.a.Copies[name(2)] = [][]byte{p.b.octets(0)} }, "does not have the hash"},
		"a hash": {func(p *pair) {
			i := slices.IndexFunc(p.a.Published, func(x revocation.Publication) bool { return x.Number == 2 })
			p.a.Published[i].SHA256[0] ^= 1
		}, "does not have the hash"},
		"a forger's, who writes the database": {func(p *pair) {
			f := newBench(p.a.t) // the same name, another key
			f.publish(revtest.Start, 2)
			f.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
			f.publish(revtest.Start.Add(time.Minute), 1)
			i := slices.IndexFunc(p.a.Published, func(x revocation.Publication) bool { return x.Number == 2 })
			p.a.Published[i].SHA256 = sha256.Sum256(f.octets(0))
			p.a.Copies[name(2)] = [][]byte{f.octets(0)}
		}, "number 2 is not put in place"},
		"its number": {func(p *pair) {
			i := slices.IndexFunc(p.a.Published, func(x revocation.Publication) bool { return x.Number == 2 })
			p.a.Published[i].Number = 3
			p.a.Copies = map[revocation.Copy][][]byte{name(3): p.a.Copies[name(2)]}
		}, "it has number 2"},
		"a part is missing": {func(p *pair) { p.a.Copies[name(2)] = nil }, ""},
		"no row":            {func(p *pair) { p.a.Published = p.a.Published[:2] }, ""},
		"it is going on":    {func(p *pair) { p.a.Copies = map[revocation.Copy][][]byte{name(1): p.a.Copies[name(2)]} }, ""},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPair(t)
			p.a.publish(revtest.Start, 2)
			p.b.publish(revtest.Start, 0)
			p.a.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
			p.a.publish(revtest.Start.Add(time.Minute), 1)
			had, good, rows := p.b.octets(0), p.a.octets(0), slices.Clone(p.a.Published)
			c.spoil(p)
			_, err := p.b.p.Publish(t.Context(), revtest.Start.Add(time.Minute))
			if !bytes.Equal(p.b.octets(0), had) {
				t.Fatal("it is public")
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Publish = %v", err)
			}
			p.a.Published, p.a.Copies = rows, map[revocation.Copy][][]byte{name(2): {good}}
			p.b.publish(revtest.Start.Add(2*time.Minute), 0)
			p.same(0, 2)
		})
	}
}

// A process that dies with a list in place and not recorded keeps it while it
// follows; the next one publishes above it, due or not, so that all are alike again.
func TestFollowerHasWhatNobodyRecorded(t *testing.T) {
	p := newPair(t)
	p.a.publish(revtest.Start, 2)
	p.b.publish(revtest.Start, 0)
	if err := os.Remove(p.a.path(0)); err != nil {
		t.Fatal(err)
	}
	at := revtest.Start.Add(time.Minute)
	p.a.At, p.a.Fault = p.a.Count+5, revtest.NotBegun // after two looks, the reservation and the entries: finish
	if _, err := p.a.p.Publish(t.Context(), at); err == nil || !strings.Contains(err.Error(), "public but not recorded") {
		t.Fatalf("Publish = %v", err)
	}
	p.a.At = 0
	p.leads = nil
	p.restart(p.a)
	p.a.publish(at, 0)
	if p.a.number(0) != 2 {
		t.Fatalf("number %d is public: it went backwards", p.a.number(0))
	}
	p.leads = p.b // nothing was revoked, and its file is what the table calls published
	p.b.publish(at, 1)
	p.a.publish(at, 0)
	p.same(0, 3)
	p.b.publish(at.Add(time.Minute), 0)

	// One that is newer than every number of the database is told: the database is
	// older than what relying parties have seen.
	p.a.Published = slices.DeleteFunc(p.a.Published, func(x revocation.Publication) bool { return x.Scope == "0" && x.Number > 1 })
	old := newPair(t)
	old.a.issuer, old.a.key = p.a.issuer, p.a.key
	p.a.Copies = map[revocation.Copy][][]byte{{Issuer: revtest.Person, Scope: "0", Number: 1}: {{1}}}
	p.restart(p.a)
	if _, err := p.a.p.Publish(t.Context(), at); err == nil || !strings.Contains(err.Error(), "the database is older") {
		t.Errorf("Publish = %v", err)
	}
}

// meddler publishes with another process in the middle of a publication.
type meddler struct {
	linter
	do func()
}

func (m *meddler) LintCRL(der []byte) error {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.linter.LintCRL(der)
}

// Two that lead at the same time: each number is one list's, what was made of an older
// state is not recorded, and all have the same in the end.
func TestTwoLeadersDoNoHarm(t *testing.T) {
	p := newPair(t)
	both := func(context.Context) (bool, error) { return true, nil }
	p.a.publish(revtest.Start, 2)
	p.b.publish(revtest.Start, 0)
	p.a.p.Leader, p.b.p.Leader = both, both
	p.b.publish(revtest.Start, 0)
	e := p.a.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	at := revtest.Start.Add(time.Minute)
	m := &meddler{do: func() { p.b.publish(at, 1) }}
	p.a.p.Lint = m
	if _, err := p.a.p.Publish(t.Context(), at); err == nil || !strings.Contains(err.Error(), "another process has published number 3 meanwhile") {
		t.Fatalf("Publish = %v", err)
	}
	for range 3 { // while both lead, too
		at = at.Add(time.Minute)
		p.a.publish(at, 0)
		p.b.publish(at, 0)
	}
	p.same(0, 3)
	// Both in turn: who did not know goes on from what the other has published.
	for i, b := range []*bench{p.b, p.a, p.b} {
		e = p.a.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
		at = at.Add(time.Minute)
		b.publish(at, 1)
		p.a.publish(at, 0)
		p.b.publish(at, 0)
		p.same(0, int64(4+i))
	}
	if lists(p.a.public(0), e.Serial) == nil {
		t.Error("the list lacks what is revoked")
	}
	numbers := map[int64]int{}
	for _, x := range p.a.Published {
		if x.Scope == "0" {
			numbers[x.Number]++
		}
	}
	for n, times := range maps.All(numbers) {
		if times != 1 {
			t.Errorf("number %d was reserved %d times", n, times)
		}
	}
}

var _ publish.Linter = (*meddler)(nil)
