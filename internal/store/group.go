package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// maxGroup bounds how many closures share a commit, and thereby how long the
// first of them waits and how many are run again when the group breaks.
const maxGroup = 128

// group is the one writer of SQLite. Closures that arrive while it is busy share
// the next durable commit (group commit), because a commit costs an fsync and a
// row costs a hundredth of one.
//
// There is no writer goroutine. A baton goes from caller to caller: who holds it
// runs its closure, in a SAVEPOINT of its own, on the one write connection; who
// finds nobody waiting commits for all. So a closure's panic, its stack and a
// runtime.Goexit stay in its caller's goroutine.
//
// A savepoint alone does not isolate the members. When the disk is full, and on
// some I/O errors, SQLite rolls the whole transaction back, savepoints included;
// the next SAVEPOINT would then begin a transaction of its own, and its RELEASE
// commit it: earlier members would be lost although they succeeded, and later
// ones durable although COMMIT fails. So each member's savepoint must still
// answer when the member ends. If it does not, the group is broken: nothing of it
// is kept, and each member is run once more, alone in a transaction of its own,
// where only who is at fault fails.
type group struct {
	open  func() (*session, error)
	count *counters

	// beforeCommit, if set, may make a commit fail; for tests.
	beforeCommit func(members int) error

	mu     sync.Mutex
	queue  []*member
	held   bool // somebody holds the baton
	closed bool

	// What follows belongs to the holder of the baton.
	s       *session
	begun   bool      // a shared transaction is open
	members []*member // ran in it and wait for its commit
	redo    []*member // of a broken group, still to be run alone
	last    int       // members of the last group
}

// member is one Update.
type member struct {
	turn   chan turn // holds one
	err    error     // handed out after the commit
	panics *panicked // likewise
	gone   bool      // its goroutine has left by runtime.Goexit; nobody waits
	t      *tx
}

type panicked struct{ value any }

// turn is what a waiting member is woken for.
type turn int

const (
	runShared turn = iota // you hold the baton: run in the group
	runAlone              // you hold the baton: run in a transaction of your own
	settled               // your result stands
)

// update implements engine.
func (g *group) update(ctx context.Context, fn func(*tx) error) error {
	m := &member{turn: make(chan turn, 1)}
	if err := g.enter(ctx, m); err != nil {
		return err
	}
	// From here on the closure runs whatever becomes of ctx: interrupting a
	// statement rolls the whole group back.
	ctx = context.WithoutCancel(ctx)
	g.shared(ctx, m, fn)
	for {
		switch <-m.turn {
		case runAlone:
			g.alone(ctx, m, fn)
		case settled:
			if m.panics != nil {
				panic(m.panics.value)
			}
			return m.err
		}
	}
}

// enter returns when m holds the baton, or with ctx's error when ctx ends before.
func (g *group) enter(ctx context.Context, m *member) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	if !g.held {
		g.held = true
		g.mu.Unlock()
		return nil
	}
	g.queue = append(g.queue, m)
	g.mu.Unlock()
	select {
	case <-m.turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(g.queue, m)
	if i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 { // the baton was on its way: others wait for it
		<-m.turn
		g.pass()
	}
	return ctx.Err()
}

// shared runs fn as a member of the group, which it begins if there is none, and
// passes the baton on.
func (g *group) shared(ctx context.Context, m *member, fn func(*tx) error) {
	if err := g.begin(); err != nil {
		m.err = err
		g.settle(m)
		g.pass()
		return
	}
	m.t = &tx{ctx: ctx, run: g.s}
	returned := false
	defer func() {
		if !returned {
			m.left(recover())
		}
		g.end(m)
		g.pass()
	}()
	if err := g.s.do(`SAVEPOINT member`); err != nil {
		m.err = m.t.fail("beginning", err)
	} else {
		m.err = m.t.result(fn(m.t))
	}
	returned = true
}

// left notes that the closure did not return: it panicked with value, or its
// goroutine is being ended by runtime.Goexit, when there is no value.
func (m *member) left(value any) {
	if value == nil {
		m.gone = true
		return
	}
	m.panics = &panicked{value}
}

func (m *member) failed() bool { return m.err != nil || m.panics != nil || m.gone }

// begin opens the shared transaction.
func (g *group) begin() error {
	if g.begun {
		return nil
	}
	if err := g.ready(); err != nil {
		return err
	}
	if err := g.s.do(`BEGIN IMMEDIATE`); err != nil {
		g.drop()
		return fmt.Errorf("beginning: %w", err)
	}
	g.begun = true
	return nil
}

// ready sees to it that there is a connection.
func (g *group) ready() (err error) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if g.s == nil {
		g.s, err = g.open()
	}
	return err
}

// end closes the savepoint of m, which proves that the group's transaction is
// still the one that it was run in.
func (g *group) end(m *member) {
	var err error
	if m.failed() {
		err = g.s.do(`ROLLBACK TO member`)
	}
	if err == nil {
		err = g.s.do(`RELEASE member`)
	}
	if m.gone {
		g.count.ended(m.t, true)
	} else {
		g.members = append(g.members, m)
	}
	if err != nil {
		g.broken()
	}
}

// broken gives the shared transaction up. Each member is run again, the failed
// ones too: what they saw of the others was never committed.
func (g *group) broken() {
	g.drop()
	g.redo, g.members = g.members, nil
}

// drop closes the connection, so that whatever is open on it is rolled back for
// certain. The next member opens another.
func (g *group) drop() {
	g.begun = false
	if g.s != nil {
		g.s.discard() // its error says nothing that the lost transaction does not
		g.s = nil
	}
}

// pass gives the baton to whoever is next; if nobody is, it commits first.
func (g *group) pass() {
	if len(g.redo) > 0 {
		m := g.redo[0]
		g.redo = g.redo[1:]
		m.turn <- runAlone
		return
	}
	if len(g.members) < maxGroup && g.hand(false) {
		return
	}
	// Whom the last commit woke may be about to come again: sharing a commit
	// with them costs less than committing twice.
	for i := 0; i < 3 && g.begun && len(g.members) < g.last; i++ {
		runtime.Gosched()
		if g.hand(false) {
			return
		}
	}
	g.commit()
	g.hand(true)
}

// hand gives the baton to the first who waits. If nobody waits it reports false
// and, if free is set, lays the baton down.
func (g *group) hand(free bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		g.held = !free
		return false
	}
	m := g.queue[0]
	g.queue = g.queue[1:]
	m.turn <- runShared
	return true
}

// commit commits for all members and hands out their results.
func (g *group) commit() {
	if !g.begun {
		return
	}
	err := g.commitNow(len(g.members))
	g.begun = false
	g.last = len(g.members)
	members := g.members
	g.members = nil
	for _, m := range members {
		if err != nil {
			m.err = err
		}
		g.settle(m)
	}
}

func (g *group) commitNow(members int) error {
	var err error
	if g.beforeCommit != nil {
		err = g.beforeCommit(members)
	}
	if err == nil {
		err = g.s.do(`COMMIT`)
	}
	if err != nil {
		g.drop()
		g.count.unknown.Add(1)
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	g.count.commits.Add(1)
	return nil
}

// settle hands m's result out.
func (g *group) settle(m *member) {
	if m.t != nil {
		g.count.ended(m.t, m.failed())
	}
	m.turn <- settled
}

// alone runs fn in a transaction of its own, settles m and passes the baton on.
func (g *group) alone(ctx context.Context, m *member, fn func(*tx) error) {
	g.count.reruns.Add(1)
	m.err, m.panics, m.t = nil, nil, &tx{ctx: ctx}
	returned := false
	defer func() {
		if !returned {
			m.left(recover())
		}
		switch {
		case !g.begun:
		case m.failed():
			if g.s.do(`ROLLBACK`) != nil {
				g.drop()
			}
		default:
			m.err = g.commitNow(1)
		}
		g.begun = false
		g.settle(m)
		g.pass()
	}()
	if m.err = g.begin(); m.err == nil {
		m.t.run = g.s
		m.err = m.t.result(fn(m.t))
	}
	returned = true
}

// close waits for the baton and closes the connection.
func (g *group) close() error {
	m := &member{turn: make(chan turn, 1)}
	if err := g.enter(context.Background(), m); err != nil {
		return err
	}
	// The baton may have come in the middle of a group: its members are told
	// first.
	g.commit()
	g.mu.Lock()
	already := g.closed
	g.closed = true
	g.mu.Unlock()
	var err error
	if g.s != nil {
		err = g.s.discard()
		g.s = nil
	}
	g.pass()
	if already {
		return errors.Join(ErrClosed, err)
	}
	return err
}
