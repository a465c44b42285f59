package translog

import (
	"context"
	"time"
)

// Waiter lets who waits for the log rest. It belongs to one wait.
type Waiter interface {
	// Next returns when something may have changed, and why: baton has taken a value, bell
	// is closed (nil: neither), or it is time to look into the store. After the end of the
	// wait it returns an error.
	Next(baton chan<- struct{}, bell <-chan struct{}) (Woken, error)
	// Stop is called once, when the wait is over.
	Stop()
}

// Woken is why who waits goes on.
type Woken int

// Whoever took the baton passes for all; who was rung or looks may have got what it
// waits for.
const (
	Passes Woken = iota
	Rung
	Looks
)

// looks are those of one wait into the store.
type looks int

// everyLook is how often who waits looks although a pass is under way: every tenth time.
// That one may hang while another process has done its work.
const everyLook = 10

// due reports whether it is worth while to look into the store now, when need is the first
// pass that was begun for who waits. While a pass is under way and none of those has ended
// it tells nothing: where many wait, looks would cost more than all else of their waiting.
func (l *looks) due(s *Service, need int64) bool {
	*l++
	over := s.over.Load()
	return over >= need || s.begun.Load() == over || *l%everyLook == 0
}

// byClock rests by the machine's clock.
type byClock struct {
	ctx  context.Context
	look *time.Ticker
}

// newByClock returns a waiter whose wait ends with ctx.
func newByClock(ctx context.Context) Waiter { return &byClock{ctx, time.NewTicker(lookEvery)} }

// Next implements [Waiter].
func (w *byClock) Next(baton chan<- struct{}, bell <-chan struct{}) (Woken, error) {
	select {
	case baton <- struct{}{}:
		return Passes, nil
	case <-bell:
		return Rung, nil
	case <-w.look.C:
		return Looks, nil
	case <-w.ctx.Done():
		return 0, context.Cause(w.ctx)
	}
}

// Stop implements [Waiter].
func (w *byClock) Stop() { w.look.Stop() }
