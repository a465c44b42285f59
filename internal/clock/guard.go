// Package clock judges the machine's clock: whether the kernel says that somebody
// keeps it, what servers of time say it is, and whether it has gone back while the
// service runs. It owns the verdict and what follows from it for modes; it sets no
// clock.
//
// It must not know requests, orders or the database. Its central rule is that
// certificates, orders and log entries are told by a clock that nobody has turned
// back: while it shows again what it has shown before, nothing is issued, and taking
// back goes on.
package clock

import (
	"sync"
	"time"
)

// tolerance is what a clock may go back at once: a leap second, and what a service
// that keeps it corrects.
const tolerance = 2 * time.Second

// Guard notices that the wall clock goes back against a clock that cannot. It is safe
// for concurrent use.
type Guard struct {
	wall    func() time.Time
	elapsed func() time.Duration

	mu      sync.Mutex
	high    time.Time // the latest that the wall clock has shown, or would show
	last    time.Time // it at the last look
	at      time.Duration
	stepped bool
}

// NewGuard returns a guard that has looked once. elapsed is how long something has
// lasted by a clock that is never set; nil: since now, by the machine's monotonic one.
func NewGuard(wall func() time.Time, elapsed func() time.Duration) *Guard {
	if elapsed == nil {
		start := time.Now()
		elapsed = func() time.Duration { return time.Since(start) }
	}
	g := &Guard{wall: wall, elapsed: elapsed}
	g.last, g.at = wall().Round(0), elapsed() // Round: compared by the wall clock's reading alone
	g.high = g.last
	return g
}

// Behind returns how far the clock is behind the latest time that it has shown, if it
// was set back by more than it may; 0: it is not, or has caught up.
func (g *Guard) Behind() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, at := g.wall().Round(0), g.elapsed()
	passed := at - g.at
	// A clock that is kept runs slower or faster by less than a thousandth.
	expected := g.last.Add(passed - passed/1000)
	if wall.Before(expected.Add(-tolerance)) {
		g.stepped = true
		if expected.After(g.high) {
			g.high = expected
		}
	}
	if !wall.Before(g.high) {
		g.high, g.stepped = wall, false
	}
	g.last, g.at = wall, at
	if !g.stepped {
		return 0
	}
	return g.high.Sub(wall)
}
