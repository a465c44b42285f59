package status_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/status"
)

// ledger numbers revocations, and can be away or hang.
type ledger struct {
	mu      sync.Mutex
	entries []revocation.Numbered
	head    int64
	err     error
	hang    bool
	steps   int
	most    int
}

func (l *ledger) View(ctx context.Context, fn func(*revocation.Tx) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hang {
		l.mu.Unlock()
		<-ctx.Done()
		l.mu.Lock()
		return ctx.Err()
	}
	if l.err != nil {
		return l.err
	}
	return fn(&revocation.Tx{Entries: l})
}

func (l *ledger) HeadNumber() (int64, error) { return l.head, nil }

func (l *ledger) NumberedEntries(after int64, limit int) ([]revocation.Numbered, error) {
	l.steps++
	var out []revocation.Numbered
	for _, e := range l.entries {
		if e.Number > after && len(out) < limit {
			out = append(out, e)
		}
	}
	l.most = max(l.most, len(out))
	return out, nil
}

func (l *ledger) EntriesIn(revocation.List, time.Time, time.Time, func(revocation.Entry) error) error {
	panic("the tail reads no list")
}

func (l *ledger) Lines(revocation.List, time.Time, func([]byte) error) error {
	panic("the tail reads no list")
}

func (l *ledger) UnnumberedEntries(func(revocation.Entry) error) error {
	panic("the tail reads what has numbers")
}

func (l *ledger) set(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

// sleep lets time pass until everything is still. What the test has read and written
// before happened before what others do then, for the race detector too.
func (l *ledger) sleep(d time.Duration) {
	l.set(func() {})
	time.Sleep(d)
	synctest.Wait()
	l.set(func() {})
}

// add numbers a revocation; other events have numbers too.
func (l *ledger) add(e revocation.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head += 3
	l.entries = append(l.entries, revocation.Numbered{Entry: e, Number: l.head})
}

// What another process has revoked leaves this one's cache, however much it is; at the
// start the tail is at the head, and the cache empty.
func TestTail(t *testing.T) {
	c := newCounter(t, 8<<20)
	l := &ledger{}
	for range 5 {
		l.add(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	}
	tail := &status.Tail{Store: l, Cache: c.Cache, Now: c.now}
	early := c.good()
	c.ask(t, early, crypto.SHA1)
	if err := tail.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.size(); n != 0 || l.steps != 0 {
		t.Errorf("%d answers from before the tail began, %d steps through the past", n, l.steps)
	}
	serials := make([]ca.Serial, 2500)
	for i := range serials {
		serials[i] = c.good()
	}
	asked := serials[:50]
	for _, s := range asked {
		c.ask(t, s, crypto.SHA1)
	}
	for _, s := range serials {
		l.add(c.commit(s)[0])
	}
	if got, _ := c.ask(t, asked[0], crypto.SHA1); got != ocsp.Good {
		t.Fatalf("status %d before the tail looked: the test shows nothing", got)
	}
	if err := tail.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range asked {
		if got, _ := c.ask(t, s, crypto.SHA1); got != ocsp.Revoked {
			t.Errorf("status %d", got)
		}
	}
	if l.steps != 3 || l.most != 1000 {
		t.Errorf("%d steps of at most %d for 2500", l.steps, l.most)
	}
	l.head += 7 // events that revoke nothing
	if err := tail.Look(t.Context()); err != nil || l.steps != 4 || tail.Through() != l.head {
		t.Errorf("%d steps to %d of %d, %v", l.steps, tail.Through(), l.head, err)
	}
}

// The numbers go back: a replica that lacks the last commits has taken the place of
// the database, and another process revokes there, under numbers that were passed here.
func TestTailGoesBack(t *testing.T) {
	c := newCounter(t, 8<<20)
	l := &ledger{}
	for range 5 {
		l.add(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	}
	var told []int64
	tail := &status.Tail{Store: l, Cache: c.Cache, Now: c.now, Back: func(was, is int64) {
		if n, _ := c.size(); n != 0 {
			t.Error("told before the cache was emptied")
		}
		told = append(told, was, is)
	}}
	look := func() {
		t.Helper()
		if err := tail.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	look()
	lost, later := c.good(), c.good()
	c.ask(t, lost, crypto.SHA1)
	l.head, l.entries = l.head-6, l.entries[:3]
	l.add(c.commit(lost)[0])
	look()
	if got, _ := c.ask(t, lost, crypto.SHA1); got != ocsp.Revoked || tail.Through() != l.head {
		t.Errorf("status %d of what was revoked under a number that was passed, through %d of %d", got, tail.Through(), l.head)
	}
	// From there it goes on, and says nothing twice.
	c.ask(t, later, crypto.SHA1)
	l.add(c.commit(later)[0])
	look()
	if got, _ := c.ask(t, later, crypto.SHA1); got != ocsp.Revoked {
		t.Errorf("status %d of what was revoked after that", got)
	}
	_, kept := c.ask(t, lost, crypto.SHA1)
	look()
	if _, still := c.ask(t, lost, crypto.SHA1); still != kept {
		t.Error("the cache was emptied again")
	}
	if fmt.Sprint(told) != "[15 12]" || tail.WentBack() != 1 {
		t.Errorf("told %v, %d times", told, tail.WentBack())
	}
}

// The tail looks often enough, its age grows while it can't look or hangs, the alarm
// is raised once and taken back once.
func TestTailRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, 1<<20)
		l := &ledger{}
		var told []string
		tail := &status.Tail{Store: l, Cache: c.Cache, Now: time.Now, Told: func(degraded bool, age time.Duration, err error) {
			l.set(func() { told = append(told, fmt.Sprint(degraded, age > status.TailDegraded, err != nil)) })
		}}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { tail.Run(ctx); close(done) }()
		synctest.Wait()
		serial := c.good()
		c.ask(t, serial, crypto.SHA1)
		l.add(c.commit(serial)[0])
		l.sleep(status.TailEvery)
		if got, _ := c.ask(t, serial, crypto.SHA1); got != ocsp.Revoked || status.TailEvery > 250*time.Millisecond {
			t.Errorf("status %d after %v", got, status.TailEvery)
		}
		for name, spoil := range map[string]func(bool){
			"error": func(on bool) { l.err = map[bool]error{true: errors.New("away")}[on] },
			"hangs": func(on bool) { l.hang = on },
		} {
			l.set(func() { told = nil })
			l.set(func() { spoil(true) })
			l.sleep(59 * time.Second)
			if tail.Degraded() || len(told) != 0 || tail.Age() < 58*time.Second {
				t.Errorf("%s: after 59 s %v, told %q", name, tail.Age(), told)
			}
			l.sleep(5 * time.Minute)
			if !tail.Degraded() || fmt.Sprint(told) != "[true true true]" {
				t.Errorf("%s: after 6 min %v, told %q", name, tail.Age(), told)
			}
			// The cache serves until nextUpdate all the same.
			if got, _ := c.ask(t, serial, crypto.SHA1); got != ocsp.Revoked {
				t.Errorf("%s: status %d", name, got)
			}
			l.set(func() { spoil(false) })
			l.sleep(15 * time.Second)
			if tail.Degraded() || len(told) != 2 || tail.Age() > time.Second {
				t.Errorf("%s: healed, but %v, told %q", name, tail.Age(), told)
			}
		}
		stop()
		<-done
	})
}

// Before the first successful look the age counts from the first try.
func TestTailNeverBegan(t *testing.T) {
	c := newCounter(t, 1<<20)
	tail := &status.Tail{Store: &ledger{err: errors.New("away")}, Cache: c.Cache, Now: c.now}
	if tail.Age() != 0 || tail.Degraded() {
		t.Error("degraded before anything was tried")
	}
	for range 3 {
		if err := tail.Look(t.Context()); err == nil {
			t.Fatal("looked")
		}
		c.pass(31 * time.Second)
	}
	if tail.Age() != 93*time.Second || !tail.Degraded() {
		t.Errorf("age %v", tail.Age())
	}
}

// A look that fails in the middle goes on where it stopped.
func TestTailResumes(t *testing.T) {
	c := newCounter(t, 8<<20)
	l := &ledger{}
	var views atomic.Int32
	failing := viewer(func(ctx context.Context, fn func(*revocation.Tx) error) error {
		if views.Add(1) == 3 { // after the head and the first step
			return errors.New("away")
		}
		return l.View(ctx, fn)
	})
	tail := &status.Tail{Store: failing, Cache: c.Cache, Now: c.now}
	if err := tail.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	var last ca.Serial
	for range 1500 {
		last = c.good()
		l.add(c.commit(last)[0])
	}
	c.set(func() { c.states[last] = nil })
	c.ask(t, last, crypto.SHA1) // what was read before its revocation
	c.commit(last)
	if err := tail.Look(t.Context()); err == nil {
		t.Fatal("the second step did not fail")
	}
	if err := tail.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.ask(t, last, crypto.SHA1); got != ocsp.Revoked || l.steps != 2 {
		t.Errorf("status %d after %d steps", got, l.steps)
	}
}

type viewer func(context.Context, func(*revocation.Tx) error) error

func (v viewer) View(ctx context.Context, fn func(*revocation.Tx) error) error { return v(ctx, fn) }
