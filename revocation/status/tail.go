package status

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sigill/revocation"
)

// Times of the tail.
const (
	// TailEvery is how long a revocation of another process stays unseen, at most,
	// beside the time that it takes to be numbered and to be read.
	TailEvery = 100 * time.Millisecond
	// TailDegraded is the age of the tail from which on other processes' revocations
	// can be missing for longer than relying parties expect.
	TailDegraded = 60 * time.Second

	tailStep   = 1000
	tailWithin = 10 * time.Second
)

// Viewer runs fn in a read-only snapshot, as [revocation.Store] does.
type Viewer interface {
	View(ctx context.Context, fn func(*revocation.Tx) error) error
}

// Tail follows the numbered revocations of all processes on one database, so that
// what another one has revoked leaves this one's cache.
//
// It begins at the head, and empties the cache when it does: what was put there
// before could be older than the head. It does both again when the head is found
// behind it: the database was restored beneath this process, or another one has taken
// its place that lacks the last commits, and what is revoked there has numbers that
// were passed here already. Fields are set before first use. Look and Run
// are for one goroutine; Through, Age and Degraded for any.
type Tail struct {
	Store Viewer
	Cache *Cache
	Now   func() time.Time
	// Told, if set, is called once when the tail has become too old to be trusted,
	// with the last error, and once when it is not any more.
	Told func(degraded bool, age time.Duration, err error)
	// Back, if set, is called each time the numbers have gone back, after the cache
	// was emptied.
	Back func(was, is int64)

	begun bool
	at    int64        // the number up to which everything was given to Cache
	seen  atomic.Int64 // at, for others
	first atomic.Pointer[time.Time]
	last  atomic.Pointer[time.Time] // when the last successful look began
	err   atomic.Pointer[error]     // of the last look
	backs atomic.Int64
}

// Look gives everything that was numbered since the last time to the cache.
func (t *Tail) Look(ctx context.Context) error {
	began := t.Now()
	t.first.CompareAndSwap(nil, &began)
	for {
		more, err := t.step(ctx)
		if err != nil {
			return fmt.Errorf("following revocations from number %d: %w", t.at, err)
		}
		if !more {
			t.last.Store(&began)
			return nil
		}
	}
}

func (t *Tail) step(ctx context.Context) (more bool, err error) {
	var head int64
	var found []revocation.Numbered
	err = t.Store.View(ctx, func(tx *revocation.Tx) (err error) {
		if head, err = tx.HeadNumber(); err != nil || !t.begun || head < t.at {
			return err
		}
		found, err = tx.NumberedEntries(t.at, tailStep)
		return err
	})
	if err != nil {
		return false, err
	}
	if was := t.at; !t.begun || head < was {
		t.Cache.Clear()
		t.reach(head)
		if t.begun {
			t.backs.Add(1)
			if t.Back != nil {
				t.Back(was, head)
			}
		}
		t.begun = true
		return false, nil
	}
	entries := make([]revocation.Entry, len(found))
	for i := range found {
		entries[i] = found[i].Entry
	}
	if len(entries) > 0 {
		t.Cache.Revoked(entries)
	}
	if more = len(found) == tailStep; more {
		head = found[len(found)-1].Number
	}
	// Most numbers are not revocations': those up to head are behind us too.
	t.reach(head)
	return more, nil
}

func (t *Tail) reach(number int64) {
	t.at = number
	t.seen.Store(number)
}

// Through returns the number up to which no answer of the cache is older than what is
// revoked; 0 before the first look.
func (t *Tail) Through() int64 { return t.seen.Load() }

// WentBack returns how often the numbers have gone back since the start.
func (t *Tail) WentBack() int64 { return t.backs.Load() }

// Age returns the time since the last successful look began, or since the first one
// if none was.
func (t *Tail) Age() time.Duration {
	since := t.last.Load()
	if since == nil {
		since = t.first.Load()
	}
	if since == nil {
		return 0
	}
	return max(0, t.Now().Sub(*since))
}

// Degraded reports whether the tail is too old.
func (t *Tail) Degraded() bool { return t.Age() > TailDegraded }

// Run looks every TailEvery until ctx ends. A look that fails is repeated; one that
// takes too long is given up.
func (t *Tail) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.watch(ctx) })
	every(ctx, TailEvery, func() {
		within, cancel := context.WithTimeout(ctx, tailWithin)
		defer cancel()
		err := t.Look(within)
		t.err.Store(&err)
	})
}

// watch tells when the tail becomes too old. It is not the goroutine that looks: a
// look that hangs must not silence it.
func (t *Tail) watch(ctx context.Context) {
	was := false
	every(ctx, time.Second, func() {
		age := t.Age()
		is := age > TailDegraded
		if is == was || t.Told == nil {
			return
		}
		was = is
		var err error
		if last := t.err.Load(); last != nil {
			err = *last
		}
		t.Told(is, age, err)
	})
}

// every does something at once and then with this pause, until ctx ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
