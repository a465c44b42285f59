package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	defaultBatch    = 1000
	defaultInterval = 100 * time.Millisecond
	// maxPause is the longest rest after repeated errors: an event waits at most
	// that long for its number once the database is back.
	maxPause = 5 * time.Second
	// maxConflicts bounds how often one pass begins anew. Each conflict means
	// that another sequencer got on, so a few suffice; an endless row of them is
	// a damaged table (an event that is numbered and unnumbered at once).
	maxConflicts = 32
)

// Sequencer numbers committed events and chains them. It is the only writer of
// the chain, outside the transactions of the acts: a chain head inside them
// would be one row that every transaction changes.
//
// Several sequencers on one database do no harm: numbers and events are unique
// in the chain, so that the later of two gets [ErrConflict], reads the new head
// and goes on. The fields are set before the first use and not changed after;
// the methods may be called concurrently.
type Sequencer struct {
	Store Store
	// Batch is how many events one transaction numbers; 0 means 1,000.
	Batch int
	// Interval is how long an event waits for its number where nobody calls
	// Wake; 0 means 100 ms.
	Interval time.Duration
	// Advanced, if set, is told the new head after it is durable, to wake those
	// who wait for numbers. It is not told after a commit whose answer was lost,
	// so they look for themselves too. It is called from the goroutine of the
	// pass and must not block.
	Advanced func(Link)
	// Failed, if set, is told the errors that Run goes on after.
	Failed func(error)

	once sync.Once
	bell chan struct{}
}

// Pass numbers up to a batch of committed events in one transaction and returns
// how many. 0 and nil: there was nothing to number.
//
// After an error the pass may still have been committed (see [Store]). Passing
// again is always right: it begins from the head that is stored.
func (s *Sequencer) Pass(ctx context.Context) (int, error) {
	for range maxConflicts {
		n, err := s.pass(ctx)
		if !errors.Is(err, ErrConflict) {
			return n, err
		}
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("numbering events: %w", err)
		}
	}
	return 0, fmt.Errorf("numbering events: %d times in a row: %w", maxConflicts, ErrConflict)
}

func (s *Sequencer) pass(ctx context.Context) (int, error) {
	idle, err := s.idle(ctx)
	if err != nil || idle {
		return 0, err
	}
	var links []Link
	err = s.Store.Update(ctx, func(tx *Tx) error {
		links = nil // the closure may run more than once
		made, err := next(tx, s.batch())
		if err != nil || len(made) == 0 {
			return err
		}
		if err := tx.AppendLinks(made); err != nil {
			return fmt.Errorf("appending links: %w", err)
		}
		links = made
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("numbering events: %w", err)
	}
	if len(links) > 0 && s.Advanced != nil {
		s.Advanced(links[len(links)-1])
	}
	return len(links), nil
}

// idle looks in a read-only snapshot first, so that a service at rest does not
// begin a writing transaction ten times a second.
func (s *Sequencer) idle(ctx context.Context) (bool, error) {
	var idle bool
	err := s.Store.View(ctx, func(tx *Tx) error {
		recs, err := tx.Unnumbered(1)
		idle = len(recs) == 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for unnumbered events: %w", err)
	}
	return idle, nil
}

// next makes the links of the next batch, over the leaves that were written in
// the transactions of the acts. A body that was changed since then is chained
// under its true leaf and found by [Verify]; refusing it here would let one
// damaged row stop the numbering of all.
func next(tx *Tx, batch int) ([]Link, error) {
	head, err := headOrNone(tx)
	if err != nil {
		return nil, err
	}
	recs, err := tx.Unnumbered(batch)
	if err != nil {
		return nil, fmt.Errorf("reading unnumbered events: %w", err)
	}
	links := make([]Link, 0, len(recs))
	for _, r := range recs {
		link := Link{Number: head.Number + 1, Event: r.ID, Leaf: r.Leaf}
		link.Hash = chainHash(link.Number, head.Hash, link.Leaf)
		links = append(links, link)
		head = link
	}
	return links, nil
}

// CatchUp passes until no event is without a number.
func (s *Sequencer) CatchUp(ctx context.Context) error {
	for {
		n, err := s.Pass(ctx)
		if err != nil {
			return err
		}
		// A short batch is not yet the end: others may commit beside us, and
		// events told before this call must have their numbers when it returns.
		if n == 0 {
			return nil
		}
	}
}

// Wake makes Run pass at once instead of at its next tick. It never blocks, may
// be called from any goroutine and before Run; several calls are one.
func (s *Sequencer) Wake() {
	select {
	case s.ring() <- struct{}{}:
	default: // it is awake, or will be
	}
}

// Run passes at every tick and every Wake until ctx ends, and returns ctx's
// error. An error of the store is told to Failed and tried again after a pause
// that grows to five seconds; it never ends Run, because events that nobody
// numbers hold up the publisher.
func (s *Sequencer) Run(ctx context.Context) error {
	interval := s.Interval
	if interval <= 0 {
		interval = defaultInterval
	}
	pause := interval
	timer := time.NewTimer(0) // the first pass is now: there may be a backlog
	defer timer.Stop()
	for {
		bell := s.ring()
		if pause > interval {
			bell = nil // in a pause after an error nobody wakes us: the store needs rest
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-bell:
		}
		err := s.full(ctx)
		switch {
		case err == nil:
			pause = interval
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			if s.Failed != nil {
				s.Failed(err)
			}
			pause = min(2*pause, maxPause)
		}
		timer.Reset(pause)
	}
}

// full passes while batches are full. Under load that leaves the rest to the next
// tick, in one batch, where CatchUp would make a transaction of every few events.
func (s *Sequencer) full(ctx context.Context) error {
	for {
		n, err := s.Pass(ctx)
		if err != nil || n < s.batch() {
			return err
		}
	}
}

func (s *Sequencer) ring() chan struct{} {
	s.once.Do(func() { s.bell = make(chan struct{}, 1) })
	return s.bell
}

func (s *Sequencer) batch() int {
	if s.Batch > 0 {
		return s.Batch
	}
	return defaultBatch
}
