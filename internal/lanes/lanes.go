// Package lanes bounds how much is done at once and keeps a part of it for those
// who have priority. It owns who waits, in which order and for how long, and
// knows neither who has priority nor what is done.
//
// Its central rules: a place that is reserved is never an ordinary caller's; who
// came first of his kind goes first; and a place comes back however its work
// ends, by a panic too.
package lanes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrBusy says that the wait for a place was longer than it may be, or that too
// many wait already. Nothing was done.
var ErrBusy = errors.New("no place came free in time")

// aheadMost is how many priority callers may go ahead of an ordinary one that
// waits for a place which both could have: priority is to go first, not to shut
// everybody else out for as long as it lasts.
const aheadMost = 4

// Config says how many places there are.
type Config struct {
	// Places is how many callers are inside at once; at least 1.
	Places int
	// Reserved of them are for priority callers only; fewer than Places.
	Reserved int
	// Wait is how long a caller waits for a place; more than 0.
	Wait time.Duration
	// Queue is how many wait at once, of each kind; more than 0. It bounds
	// memory: a caller who is refused comes again, one who waits holds on.
	Queue int
}

// Lane lets callers in. It is safe for concurrent use.
type Lane struct {
	config Config

	mu       sync.Mutex
	inside   [2]int // by kind
	waiting  [2][]*waiter
	ahead    int // priority callers let in since an ordinary one was, while one waited
	refused  [2]int64
	longest  time.Duration
	admitted [2]int64
}

// Kinds of callers, as indexes.
const (
	ordinary = iota
	priority
)

// waiter is a caller who waits. turn is closed when a place is his.
type waiter struct {
	turn  chan struct{}
	since time.Time
}

// New returns a lane.
func New(c Config) (*Lane, error) {
	switch {
	case c.Places < 1:
		return nil, fmt.Errorf("lanes: %d places", c.Places)
	case c.Reserved < 0 || c.Reserved >= c.Places:
		return nil, fmt.Errorf("lanes: %d of %d places reserved", c.Reserved, c.Places)
	case c.Wait <= 0 || c.Queue < 1:
		return nil, errors.New("lanes: nobody could wait")
	}
	return &Lane{config: c}, nil
}

// Do runs fn in a place and returns its error. It waits for the place at most as
// long as configured, and no longer than ctx lasts: then fn is not run, and the
// error is [ErrBusy] or that of ctx.
func (l *Lane) Do(ctx context.Context, hasPriority bool, fn func() error) error {
	kind := ordinary
	if hasPriority {
		kind = priority
	}
	if err := l.enter(ctx, kind); err != nil {
		return err
	}
	defer l.leave(kind)
	return fn()
}

func (l *Lane) enter(ctx context.Context, kind int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	// Where a place is free nobody of the kind waits: release saw to that.
	if l.free(kind) {
		l.take(kind)
		l.mu.Unlock()
		return nil
	}
	if len(l.waiting[kind]) >= l.config.Queue {
		l.refused[kind]++
		l.mu.Unlock()
		return fmt.Errorf("%w: %d wait already", ErrBusy, l.config.Queue)
	}
	w := &waiter{turn: make(chan struct{}), since: time.Now()}
	l.waiting[kind] = append(l.waiting[kind], w)
	l.mu.Unlock()
	return l.wait(ctx, kind, w)
}

func (l *Lane) wait(ctx context.Context, kind int, w *waiter) error {
	timer := time.NewTimer(l.config.Wait)
	defer timer.Stop()
	var err error
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = fmt.Errorf("%w: waited for %s", ErrBusy, l.config.Wait)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.waiting[kind] {
		if other == w {
			l.waiting[kind] = append(l.waiting[kind][:i:i], l.waiting[kind][i+1:]...)
			if errors.Is(err, ErrBusy) {
				l.refused[kind]++
			}
			return err
		}
	}
	// The place came in the same moment. Who was only tired of waiting takes
	// it; who has gone gives it back.
	if errors.Is(err, ErrBusy) {
		return nil
	}
	l.release(kind)
	return err
}

func (l *Lane) leave(kind int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(kind)
}

// What follows is called with mu held.

// free reports whether a caller of a kind may come in.
func (l *Lane) free(kind int) bool {
	if l.inside[ordinary]+l.inside[priority] >= l.config.Places {
		return false
	}
	return kind == priority || l.inside[ordinary] < l.config.Places-l.config.Reserved
}

func (l *Lane) take(kind int) {
	l.inside[kind]++
	l.admitted[kind]++
}

// release gives a place back and lets in whoever may come.
func (l *Lane) release(kind int) {
	l.inside[kind]--
	for {
		next, ok := l.next()
		if !ok {
			return
		}
		w := l.waiting[next][0]
		l.waiting[next] = l.waiting[next][1:]
		l.longest = max(l.longest, time.Since(w.since))
		l.take(next)
		close(w.turn)
	}
}

// next returns the kind that goes next into a place that is free.
func (l *Lane) next() (kind int, ok bool) {
	first := len(l.waiting[priority]) > 0 && l.free(priority)
	other := len(l.waiting[ordinary]) > 0 && l.free(ordinary)
	switch {
	case first && other:
		if l.ahead < aheadMost {
			l.ahead++
			return priority, true
		}
		l.ahead = 0
		return ordinary, true
	case other:
		l.ahead = 0
		return ordinary, true
	}
	return priority, first
}

// Stats are figures of a lane.
type Stats struct {
	Places, Reserved int
	Ordinary         Kind
	Priority         Kind
	// Longest is the longest wait that ended in a place.
	Longest time.Duration
}

// Kind are the figures of callers of one kind.
type Kind struct {
	Inside, Waiting   int
	Admitted, Refused int64 // since start
}

// Stats returns the figures, all of one moment.
func (l *Lane) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := func(kind int) Kind {
		return Kind{Inside: l.inside[kind], Waiting: len(l.waiting[kind]), Admitted: l.admitted[kind], Refused: l.refused[kind]}
	}
	return Stats{Places: l.config.Places, Reserved: l.config.Reserved, Ordinary: of(ordinary), Priority: of(priority), Longest: l.longest}
}
