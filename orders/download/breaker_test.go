package download

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Of a hundred that come at once one in each pause is let through to a signer that goes
// on failing; one who was refused before an intent lets the next one.
func TestBreakerLetsOneThrough(t *testing.T) {
	var b breaker
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hundred := func() (admitted int64) {
		var n atomic.Int64
		var done sync.WaitGroup
		for range 100 {
			done.Go(func() {
				if b.admit("ca", now) {
					n.Add(1)
				}
			})
		}
		done.Wait()
		return n.Load()
	}
	for range breakAfter {
		if !b.closed("ca", now) || !b.admit("ca", now) {
			t.Fatal("open before it failed often")
		}
		b.note("ca", errors.New("dead"), now)
	}
	for _, step := range []struct {
		after time.Duration
		do    func()
		want  int64
	}{
		{0, nil, 0}, {breakFor - 1, nil, 0},
		{1, nil, 1},            // the pause is over
		{breakFor - 1, nil, 0}, // the one has said nothing yet
		{1, nil, 1},            // and is given up
		{10 * time.Second, func() { b.note("ca", errors.New("dead"), now) }, 0}, // at the end of the log's patience
		{breakFor, nil, 1},
		{0, func() { b.untried("ca", now) }, 1},
		{0, func() { b.note("ca", nil, now) }, 100},
	} {
		now = now.Add(step.after)
		if step.do != nil {
			step.do()
		}
		b.closed("ca", now) // who only asks takes nobody's turn
		b.failing(now)
		if got := hundred(); got != step.want {
			t.Errorf("%s: %d were let through, want %d", now.Format(time.TimeOnly), got, step.want)
		}
	}
}
