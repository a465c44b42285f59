package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/tiles"
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

// Sequencer numbers committed events and chains them, numbers the leaves of the
// certificate log, and extends the Merkle trees of both by what it numbered, in one
// transaction: rows and trees cannot disagree. It is the only writer of chain and
// trees, outside the transactions of the acts: a chain head inside them would be one
// row that every transaction changes.
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
	// Grown, if set, is told which leaves of certificates a pass has numbered, as Advanced
	// is told the head.
	Grown func([]Numbered)
	// Heads, if set, signs the trees as they are now. It is called after each pass that
	// changed something, from the goroutine of the pass, and again by the next pass if it
	// failed.
	Heads func(context.Context) error
	// Hold, if set, says that nothing may be numbered now.
	Hold func() bool
	// Seen, if set, is asked before a transaction begins what was seen of the trees until
	// then. What it returns is asked in the transaction, before anything is numbered: its
	// error, that the trees do not continue what was seen, ends the pass. Then the other is
	// told that error.
	Seen func() (continues func(tiles.Records) error, told func(error))
	// Failed, if set, is told the errors that Run goes on after.
	Failed func(error)

	once   sync.Once
	bell   chan struct{}
	signed atomic.Bool // Heads was called after the last change that this process made
}

// Numbered is a leaf of the certificate log with its number: 1, 2, 3, …
type Numbered struct {
	Leaf   tlog.Hash
	Number int64
}

// Pass numbers up to a batch of committed events, and as many leaves, in one
// transaction, and returns how many numbers and leaves of trees that were. 0 and nil:
// there was nothing to do. Then it has the heads of the trees signed.
//
// After an error the pass may still have been committed (see [Store]). Passing
// again is always right: it begins from the head that is stored.
func (s *Sequencer) Pass(ctx context.Context) (int, error) {
	if s.Hold != nil && s.Hold() {
		return 0, nil
	}
	for range maxConflicts {
		n, err := s.pass(ctx)
		if errors.Is(err, ErrConflict) {
			if err := ctx.Err(); err != nil {
				return 0, fmt.Errorf("numbering events: %w", err)
			}
			continue
		}
		if err != nil {
			s.signed.Store(false) // it may have been committed all the same
			return n, err
		}
		return n, s.heads(ctx, n > 0)
	}
	return 0, fmt.Errorf("numbering events: %d times in a row: %w", maxConflicts, ErrConflict)
}

// heads has the trees signed if they changed, or if it is not known that they were.
func (s *Sequencer) heads(ctx context.Context, changed bool) error {
	if s.Heads == nil || !changed && s.signed.Load() {
		return nil
	}
	s.signed.Store(false)
	if err := s.Heads(ctx); err != nil {
		return fmt.Errorf("signing the heads of the logs: %w", err)
	}
	s.signed.Store(true)
	return nil
}

func (s *Sequencer) pass(ctx context.Context) (int, error) {
	idle, err := s.idle(ctx)
	if err != nil || idle {
		return 0, err
	}
	var links []Link
	var leaves []Numbered
	moved := 0
	continues, told := func(tiles.Records) error { return nil }, func(error) {}
	if s.Seen != nil {
		continues, told = s.Seen() // before the transaction, which then is no older
	}
	var gone error
	err = s.Store.Update(ctx, func(tx *Tx) error {
		links, leaves, moved = nil, nil, 0 // the closure may run more than once
		if gone = continues(tx.Trees); gone != nil {
			return gone
		}
		if err := whole(tx); err != nil {
			return err
		}
		made, err := next(tx, s.batch())
		if err != nil {
			return err
		}
		if len(made) > 0 {
			if err := tx.AppendLinks(made); err != nil {
				return fmt.Errorf("appending links: %w", err)
			}
		}
		numbered, grown, err := grow(tx, s.batch())
		if err != nil {
			return err
		}
		links, leaves, moved = made, numbered, max(len(made), grown)
		return nil
	})
	if gone != nil {
		told(gone) // after the transaction: what it does may need one
	}
	if err != nil {
		return 0, fmt.Errorf("numbering events: %w", err)
	}
	if len(links) > 0 && s.Advanced != nil {
		s.Advanced(links[len(links)-1])
	}
	if len(leaves) > 0 && s.Grown != nil {
		s.Grown(leaves)
	}
	return moved, nil
}

// whole returns an error if the tree has leaves that the chain has not: rows were taken
// away. To go on would be to tell other acts under numbers that were told already.
func whole(tx *Tx) error {
	head, err := headOrNone(tx)
	if err != nil {
		return err
	}
	size, err := tiles.Size(tx.Trees, ActTree)
	if err == nil && head.Number < size {
		err = fmt.Errorf("the tree of acts has %d leaves, but the chain ends at %d: rows were taken away", size, head.Number)
	}
	return err
}

// grow extends both trees by up to batch leaves each, and returns the certificates' and
// the larger of both counts. That of the acts follows the numbers, so that it catches up
// with events that were numbered before there was a tree.
func grow(tx *Tx, batch int) ([]Numbered, int, error) {
	size, err := tiles.Size(tx.Trees, ActTree)
	if err != nil {
		return nil, 0, err
	}
	acts, err := tx.Trees.ActLeaves(size, batch)
	if err != nil {
		return nil, 0, fmt.Errorf("reading leaves of acts: %w", err)
	}
	if _, err := tiles.Append(tx.Trees, ActTree, acts); err != nil {
		return nil, 0, err
	}
	leaves, err := tx.Trees.UnnumberedLeaves(batch)
	if err != nil {
		return nil, 0, fmt.Errorf("reading leaves of certificates: %w", err)
	}
	if len(leaves) == 0 {
		return nil, len(acts), nil
	}
	end, err := tiles.Append(tx.Trees, CertificateTree, leaves)
	if err != nil {
		return nil, 0, err
	}
	first := end - int64(len(leaves)) + 1
	if err := tx.Trees.NumberLeaves(first, leaves); err != nil {
		return nil, 0, fmt.Errorf("numbering leaves of certificates: %w", err)
	}
	numbered := make([]Numbered, len(leaves))
	for i, l := range leaves {
		numbered[i] = Numbered{Leaf: l, Number: first + int64(i)}
	}
	return numbered, max(len(acts), len(leaves)), nil
}

// idle looks in a read-only snapshot first, so that a service at rest does not
// begin a writing transaction ten times a second.
func (s *Sequencer) idle(ctx context.Context) (bool, error) {
	var idle bool
	err := s.Store.View(ctx, func(tx *Tx) error {
		recs, err := tx.Unnumbered(1)
		if err != nil || len(recs) > 0 {
			return err
		}
		leaves, err := tx.Trees.UnnumberedLeaves(1)
		if err != nil || len(leaves) > 0 {
			return err
		}
		head, err := headOrNone(tx)
		if err != nil {
			return err
		}
		size, err := tiles.Size(tx.Trees, ActTree)
		idle = size >= head.Number
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
		head = head.Next(r.ID, r.Leaf)
		links = append(links, head)
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
