package download

import (
	"errors"
	"testing"
	"time"
)

// A signer that fails is tried again by one at a time, also while that one hangs.
func TestBreakerLetsOneThrough(t *testing.T) {
	const id = "ca"
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	admitted := func(b *breaker) (n int) {
		for range 100 {
			if b.admit(id, now) {
				n++
			}
		}
		return n
	}
	var b breaker
	for range breakAfter {
		if !b.admit(id, now) {
			t.Error("refused before it has failed often")
		}
		b.note(id, errors.New("fails"), now)
	}
	for i, want := range []int{0, 1, 1} {
		if n := admitted(&b); n != want {
			t.Errorf("pause %d: %d of 100 came through, want %d", i, n, want)
		}
		now = now.Add(breakFor)
	}
	if !b.closed(id, now) || !b.closed(id, now) {
		t.Error("looking whether it makes sense used up the try")
	}
	b.admit(id, now)
	b.note(id, nil, now)
	if n := admitted(&b); n != 100 {
		t.Errorf("after it has signed %d of 100 came through", n)
	}
}
