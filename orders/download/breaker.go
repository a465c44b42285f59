package download

import (
	"sync"
	"time"

	"sigill/ca"
)

// breaker stops intents while a signer, or the log before it, fails: each one would
// burn a serial that stands in a CRL for years. After a pause one is let through, and
// as long as it is not known how that one ends, for as long as the pause, no other.
type breaker struct {
	mu       sync.Mutex
	failures map[ca.IssuerID]int
	until    map[ca.IssuerID]time.Time
}

const (
	breakAfter = 3
	// breakFor is longer than the log may take before it has failed (ten seconds), so that
	// the next is not let through before the last one's end is known.
	breakFor = 15 * time.Second
)

// closed reports whether the signer is worth trying.
func (b *breaker) closed(id ca.IssuerID, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures[id] < breakAfter || !now.Before(b.until[id])
}

// admit is closed for who goes on to record an intent: after the pause it is true for
// one of them.
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

// untried lets another one through: whoever was admitted was refused before an intent
// was recorded. Otherwise one holder who is refused again and again keeps a signer that
// works from being tried.
func (b *breaker) untried(id ca.IssuerID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures[id] >= breakAfter {
		b.until[id] = now
	}
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
