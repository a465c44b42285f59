package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/tiles"
)

// memLog is a store in memory that holds its callers to the contract: numbers
// without gaps, each event once, leaves that are those of the events. It runs
// every closure of Update twice, as it may.
type memLog struct {
	mu     sync.Mutex
	events []Record // committed, in the order of their commit
	links  []Link
	trees  memTrees
	// fault, if set, is asked before each Update and says how it fails.
	fault func() fault
	// race, if set, runs between the two runs of Update's closure, with the lock
	// held and on the state that the closure will see.
	race    func(*memLog)
	updates int
	views   int
}

type fault int

const (
	sound fault = iota
	notBegun
	rolledBack
	lost // committed, but the answer did not arrive
)

var errFault = errors.New("planted fault")

func (m *memLog) append(e Event) Record {
	r, err := seal(e)
	if err != nil {
		panic(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, r)
	return r
}

// counts returns how many events and links are committed.
func (m *memLog) counts() (events, links int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events), len(m.links)
}

func (m *memLog) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updates++
	kind := sound
	if m.fault != nil {
		kind = m.fault()
	}
	if kind == notBegun {
		return errFault
	}
	tx := &memTx{events: m.events, links: slices.Clone(m.links), writing: true}
	if err := fn(tx.with(m.trees.clone())); err != nil {
		return err
	}
	if m.race != nil {
		m.race(m)
	}
	tx = &memTx{events: m.events, links: slices.Clone(m.links), writing: true}
	trees := m.trees.clone()
	if err := fn(tx.with(trees)); err != nil {
		return err
	}
	if kind == rolledBack {
		return errFault
	}
	m.links, m.trees = tx.links, *trees
	if kind == lost {
		return errFault
	}
	return nil
}

func (m *memLog) View(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	tx := &memTx{events: slices.Clone(m.events), links: slices.Clone(m.links)}
	trees := m.trees.clone()
	m.views++
	m.mu.Unlock()
	return fn(tx.with(trees))
}

// memTrees are the trees in memory. Leaves of certificates are numbered from the first.
type memTrees struct {
	tiles.Memory
	leaves   []tlog.Hash // of certificates, in the order of their insertion
	numbered int
	links    *[]Link // of the transaction
}

func (m memTrees) clone() *memTrees {
	m.Memory = maps.Clone(m.Memory)
	if m.Memory == nil {
		m.Memory = tiles.Memory{}
	}
	return &m
}

func (m *memTrees) ActLeaves(after int64, limit int) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, l := range *m.links {
		if l.Number > after && len(out) < limit {
			out = append(out, l.Leaf)
		}
	}
	return out, nil
}

func (m *memTrees) UnnumberedLeaves(limit int) ([]tlog.Hash, error) {
	rest := m.leaves[m.numbered:]
	return rest[:min(limit, len(rest))], nil
}

func (m *memTrees) NumberLeaves(first int64, leaves []tlog.Hash) error {
	if first != int64(m.numbered)+1 || !slices.Equal(leaves, m.leaves[m.numbered:m.numbered+len(leaves)]) {
		return fmt.Errorf("leaves from %d after %d: %w", first, m.numbered, ErrConflict)
	}
	m.numbered += len(leaves)
	return nil
}

type memTx struct {
	events  []Record
	links   []Link
	writing bool
}

func (t *memTx) with(trees *memTrees) *Tx {
	trees.links = &t.links
	return &Tx{Log: t, Trees: trees}
}

func (t *memTx) numbered(id string) bool {
	return slices.ContainsFunc(t.links, func(l Link) bool { return l.Event == id })
}

func (t *memTx) Unnumbered(limit int) ([]Record, error) {
	var out []Record
	for _, r := range t.events {
		if len(out) < limit && !t.numbered(r.ID) {
			r.Personal = nil
			out = append(out, r)
		}
	}
	return out, nil
}

func (t *memTx) Event(id string) (Record, int64, error) {
	for _, r := range t.events {
		if r.ID != id {
			continue
		}
		for _, l := range t.links {
			if l.Event == id {
				return r, l.Number, nil
			}
		}
		return r, 0, nil
	}
	return Record{}, 0, ErrNotFound
}

func (t *memTx) HeadLink() (*Link, error) {
	if len(t.links) == 0 {
		return nil, ErrNotFound
	}
	l := slices.MaxFunc(t.links, func(a, b Link) int { return int(a.Number - b.Number) })
	return &l, nil
}

func (t *memTx) AppendLinks(links []Link) error {
	if !t.writing {
		return errors.New("AppendLinks in a View")
	}
	for _, l := range links {
		taken := func(o Link) bool { return o.Number == l.Number || o.Event == l.Event }
		if slices.ContainsFunc(t.links, taken) {
			return fmt.Errorf("number %d, event %s: %w", l.Number, l.Event, ErrConflict)
		}
		i := slices.IndexFunc(t.events, func(r Record) bool { return r.ID == l.Event })
		if i < 0 || t.events[i].Leaf != l.Leaf {
			return fmt.Errorf("contract: link %d is to no committed event", l.Number)
		}
		if l.Number != int64(len(t.links))+1 {
			return fmt.Errorf("contract: link %d after %d", l.Number, len(t.links))
		}
		t.links = append(t.links, l)
	}
	return nil
}

func (t *memTx) Linked(after int64, limit int) ([]Record, []Link, error) {
	links := slices.Clone(t.links)
	slices.SortStableFunc(links, func(a, b Link) int { return int(a.Number - b.Number) })
	links = slices.DeleteFunc(links, func(l Link) bool { return l.Number <= after })
	links = links[:min(limit, len(links))]
	recs := make([]Record, len(links))
	for i, l := range links {
		for _, r := range t.events {
			if r.ID == l.Event {
				recs[i] = r
			}
		}
	}
	return recs, links, nil
}

// told returns the i-th event of a story, with a personal field.
func told(i int) Event {
	return Event{
		ID: fmt.Sprintf("evt_%04d", i), At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Second),
		Act: OrderPlaced, By: "per_1",
		Public:   []Field{{"order", fmt.Sprintf("ord_%d", i)}, {"type", "ordinary"}},
		Personal: []Field{{"name", "Åsa Öberg"}, {"email", fmt.Sprintf("asa%d@vard.example", i)}},
	}
}
