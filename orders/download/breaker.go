package download

import (
	"sync"
	"time"

	"sigill/ca"
)

// breaker stops intents while a signer fails: each one would burn a serial that
// stands in a CRL for years.
type breaker struct {
	mu       sync.Mutex
	failures map[ca.IssuerID]int
	until    map[ca.IssuerID]time.Time
}

const (
	breakAfter = 3
	breakFor   = 10 * time.Second
)

// closed reports whether it makes sense to begin something.
func (b *breaker) closed(id ca.IssuerID, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures[id] < breakAfter || !now.Before(b.until[id])
}

// admit reports whether an intent may be recorded now. Once the pause is over it lets one
// through and begins the pause anew: a signer or a log that hangs fails after seconds, and
// all who come meanwhile would burn a serial each.
func (b *breaker) admit(id ca.IssuerID, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures[id] < breakAfter {
		return true
	}
	if now.Before(b.until[id]) {
		return false
	}
	b.until[id] = now.Add(breakFor)
	return true
}

func (b *breaker) note(id ca.IssuerID, err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		delete(b.failures, id)
		return
	}
	if b.failures == nil {
		b.failures, b.until = map[ca.IssuerID]int{}, map[ca.IssuerID]time.Time{}
	}
	b.failures[id]++
	b.until[id] = now.Add(breakFor)
}
