package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// memLog is a store in memory that holds its callers to the contract: numbers
// without gaps, each event once, leaves that are those of the events. It runs
// every closure of Update twice, as it may.
type memLog struct {
	mu     sync.Mutex
	events []Record // committed, in the order of their commit
	links  []Link
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
	r, err := Seal(e)
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
	if err := fn(&Tx{Log: tx}); err != nil {
		return err
	}
	if m.race != nil {
		m.race(m)
	}
	tx = &memTx{events: m.events, links: slices.Clone(m.links), writing: true}
	if err := fn(&Tx{Log: tx}); err != nil {
		return err
	}
	if kind == rolledBack {
		return errFault
	}
	m.links = tx.links
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
	m.views++
	m.mu.Unlock()
	return fn(&Tx{Log: tx})
}

type memTx struct {
	events  []Record
	links   []Link
	writing bool
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
