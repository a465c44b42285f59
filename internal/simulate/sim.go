// Package simulate runs the whole service in one goroutine at a time: server
// processes, background jobs, holders with their card clients and administrators
// are actors that a seeded scheduler steps one after the other, under a clock of
// its own, while store, issuing keys, cards and network fail as the seed says.
// After every step it looks for what must never be, and at the end of a schedule
// it demands that everybody gets what was ordered.
//
// The same seed makes the same schedule, to the byte of its trace: what was found
// once is found again. Nothing here waits for real time, and nothing but the
// scheduler decides who is next.
//
// It owns the actors and the faults. It knows no rule of the service: what it
// holds against it is what actors did and what the rows say.
package simulate

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"sigill/internal/store"
	"sigill/internal/world"
)

// Epoch is when every schedule begins: a time that the machine's clock is far
// from, so that whoever reads that one is found out.
var epoch = time.Date(2031, 3, 3, 8, 0, 0, 0, time.UTC)

// tail is how many lines of a trace are kept for a report.
const tail = 50

// Sim is one schedule under way.
type Sim struct {
	Options
	seed   uint64
	base   *Base
	rng    *rand.Rand
	clock  time.Time
	latest time.Time // that the clock ever said

	world *world.World
	db    *store.DB
	raw   *sql.DB
	// statements are raw's.
	statements map[string]*sql.Stmt
	dir        string

	actors  []*actor
	current *actor // nil: the harness itself
	procs   []*process
	holders []*holder

	rates    map[Fault]float64
	counts   map[Fault]int
	at       map[string]int // where in flight processes were killed
	ends     map[string]int // how what actors did ended
	diskFull time.Time      // until then nothing can be written
	outage   time.Time      // until then nothing is issued
	trouble  time.Time      // until then something goes wrong that lasts
	calm     bool           // no faults any more
	closing  bool           // actors are to end

	step   int
	checks int
	dirty  bool // something was committed in this step
	model

	hash  hash.Hash
	lines []string
	out   io.Writer // of the whole trace; nil: nowhere
	// violation is the first thing found wrong; empty: none.
	violation string
	failedAt  int
}

// actor is a coroutine. It runs until it comes to a point where something outside
// happens, and there gives way.
type actor struct {
	name  string
	next  func() (struct{}, bool)
	yield func(struct{}) bool
	where string // the point at which it stands
	wake  time.Time
	done  bool
	// proc is the server process whose code the actor runs; nil: none.
	proc *process
	// client is the card client that the actor runs; nil: none.
	client *client
}

// spawn adds an actor.
func (s *Sim) spawn(name string, fn func(a *actor)) {
	a := &actor{name: name, wake: s.clock}
	a.next, _ = iter.Pull(func(yield func(struct{}) bool) {
		a.yield = yield
		fn(a)
	})
	s.actors = append(s.actors, a)
}

// resting is where an actor stands that waits for time to pass.
const resting = "rest"

// point gives way to the scheduler before op happens.
func (s *Sim) point(op string) {
	a := s.current
	if a == nil || s.closing {
		return
	}
	a.where = op
	a.yield(struct{}{})
}

// pause lets an actor rest until d has gone by.
func (s *Sim) pause(d time.Duration) {
	a := s.current
	if a == nil {
		s.clock = s.clock.Add(d)
		return
	}
	if s.closing {
		return
	}
	a.wake = s.clock.Add(d)
	a.where = resting
	a.yield(struct{}{})
}

// wait is how clients pause between two tries.
func (s *Sim) wait(ctx context.Context, d time.Duration) error {
	s.pause(d)
	return ctx.Err()
}

func (s *Sim) now() time.Time { return s.clock }

// between returns a random time from lo to hi.
func (s *Sim) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(hi-lo)))
}

func (s *Sim) chance(p float64) bool { return s.rng.Float64() < p }

// note adds a line to the trace. After a violation there is nothing more to tell.
func (s *Sim) note(what, outcome string) {
	if s.violation != "" && s.closing {
		return
	}
	name := "-"
	if s.current != nil {
		name = s.current.name
	}
	line := fmt.Sprintf("%5d %s %s: %s = %s", s.step, s.clock.Sub(epoch).Truncate(time.Millisecond), name, what, outcome)
	io.WriteString(s.hash, line)
	io.WriteString(s.hash, "\n")
	if s.out != nil {
		fmt.Fprintln(s.out, line)
	}
	if len(s.lines) == tail {
		copy(s.lines, s.lines[1:])
		s.lines = s.lines[:tail-1]
	}
	s.lines = append(s.lines, line)
}

// ended notes how something that an actor did has ended.
func (s *Sim) ended(what, outcome string) {
	s.note(what, outcome)
	if s.calm {
		what = "at last: " + what
	}
	outcome, _, _ = strings.Cut(outcome, "\n") // of several errors the first
	s.ends[what+" = "+anonymous.ReplaceAllString(outcome, "…")]++
}

// anonymous are identifiers, which would make each end one of its own.
var anonymous = regexp.MustCompile(`(ord|dl|req|evt|proc)_[0-9a-z]+|holder[0-9] |[0-9a-f]{32}|object-[0-9]+`)

// wrong notes a violation. The first one ends the schedule.
func (s *Sim) wrong(format string, args ...any) {
	if s.violation != "" {
		return
	}
	s.violation, s.failedAt = fmt.Sprintf(format, args...), s.step
	s.note("VIOLATION", s.violation)
}

// run steps actors until all have ended or the steps are used up.
func (s *Sim) run(steps int) {
	for s.violation == "" && s.step < steps {
		a := s.pick()
		if a == nil {
			return
		}
		s.passTime()
		s.strike(a)
		s.resume(a)
		if s.dirty {
			s.dirty = false
			s.checkStep()
		}
	}
}

// resume lets an actor run to its next point.
func (s *Sim) resume(a *actor) {
	s.step++
	if s.clock.After(s.latest) {
		s.latest = s.clock
	}
	s.current = a
	_, more := a.next()
	s.current = nil
	a.done = !more
}

// pick chooses who is next; when all rest, time passes until the first one wakes.
func (s *Sim) pick() *actor {
	living := s.actors[:0]
	var ready []*actor
	var first *actor
	for _, a := range s.actors {
		if a.done {
			continue
		}
		living = append(living, a)
		if !a.wake.After(s.clock) {
			ready = append(ready, a)
		}
		if first == nil || a.wake.Before(first.wake) {
			first = a
		}
	}
	clear(s.actors[len(living):])
	s.actors = living
	if len(ready) == 0 {
		if first != nil {
			s.clock = first.wake
		}
		return first
	}
	return ready[s.rng.IntN(len(ready))]
}

// passTime lets the clock go on, mostly by little.
func (s *Sim) passTime() {
	s.clock = s.clock.Add(time.Duration(s.rng.Int64N(int64(20 * time.Millisecond))))
	switch f := s.draw(ClockSeconds, ClockHour, ClockDay, ClockMonths, ClockBack); f {
	case ClockSeconds:
		s.clock = s.clock.Add(s.between(time.Second, time.Minute))
	case ClockHour:
		s.clock = s.clock.Add(s.between(5*time.Minute, 3*time.Hour))
	case ClockDay:
		s.clock = s.clock.Add(s.between(20*time.Hour, 100*time.Hour))
	case ClockMonths:
		s.clock = s.clock.Add(s.between(60*24*time.Hour, 95*24*time.Hour))
	case ClockBack:
		// What a start would still accept; more is a clock that somebody set.
		if s.latest.Sub(s.clock) < 20*time.Second {
			s.clock = s.clock.Add(-s.between(time.Second, 20*time.Second))
		}
	}
}

// strike may kill the process or the client that a runs, before a goes on.
func (s *Sim) strike(a *actor) {
	if a.client != nil && !a.client.killed && s.drawAt(ClientKilled) {
		a.client.kill() // what it asked of a server goes on there
	}
	if a.proc != nil && a.proc.alive && a.where != resting && s.drawAt(ServerKilled) {
		s.at[a.where]++
		s.kill(a.proc)
	}
}

// unwind lets every actor come to its end: nothing answers any more.
func (s *Sim) unwind() error {
	s.closing = true
	for _, p := range s.procs {
		if p != nil {
			p.alive, p.up = false, false
		}
	}
	for _, h := range s.holders {
		h.killClients()
	}
	for len(s.actors) > 0 {
		a := s.actors[0]
		s.actors = s.actors[1:]
		for range 100 {
			if a.done {
				break
			}
			s.resume(a)
		}
		if !a.done {
			return fmt.Errorf("actor %s does not end: it stands at %s", a.name, a.where)
		}
	}
	return nil
}

var (
	// errInjected is in every error that the simulation makes.
	errInjected = errors.New("injected")
	errDead     = fmt.Errorf("%w: the process is dead", errInjected)
	errKilled   = fmt.Errorf("%w: the client was killed", errInjected)
	errFull     = fmt.Errorf("%w: database or disk is full (13)", errInjected)
)

func newHash() hash.Hash { return sha256.New() }
