package status_test

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/revocation"
	"sigill/revocation/status"
)

// later reports whether an answer is tryLater, not to be kept by anybody.
func later(a *status.Answer) bool {
	return bytes.Equal(a.DER, ca.OCSPError(ca.OCSPTryLater)) && !a.Cacheable
}

// So many are read and signed at once, a few wait, everybody else is told to try
// later at once; hits need no place.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, 1<<20)
		c.Gate = status.NewGate(2, 3)
		kept := c.good()
		c.ask(t, kept, crypto.SHA1)
		hold := make(chan struct{})
		c.between(func() { <-hold })
		var mu sync.Mutex
		answers := map[string]int{}
		ask := func() {
			a, err := c.Reply(context.Background(), status.Question{DER: request(t, c.person, c.good(), crypto.SHA1)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case later(a):
				answers["later"]++
			default:
				answers["signed"]++
			}
		}
		told := func() string {
			mu.Lock()
			defer mu.Unlock()
			return fmt.Sprint(answers["later"], " later, ", answers["signed"], " signed")
		}
		var wg sync.WaitGroup
		for range 2 + 3 {
			wg.Go(ask)
		}
		synctest.Wait()
		began := time.Now()
		for range 4 {
			ask() // returns at once
		}
		if waited := time.Since(began); told() != "4 later, 0 signed" || waited != 0 {
			t.Errorf("%s after %v with all places taken", told(), waited)
		}
		if got, _ := c.ask(t, kept, crypto.SHA1); got != ocsp.Good {
			t.Error("a hit was refused")
		}
		// Who waits is not kept for long, and one who is let in is answered.
		time.Sleep(499 * time.Millisecond)
		synctest.Wait()
		if told() != "4 later, 0 signed" {
			t.Errorf("%s before half a second", told())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if told() != "7 later, 0 signed" {
			t.Errorf("%s after half a second", told())
		}
		wg.Go(ask) // waits again
		synctest.Wait()
		close(hold)
		wg.Wait()
		if told() != "7 later, 3 signed" || c.Stats().Busy != 7 {
			t.Errorf("%s, counted %+v", told(), c.Stats())
		}
	})
}

// A client that goes away while it waits leaves its place to others.
func TestGateClientGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, 1<<20)
		c.Gate = status.NewGate(1, 1)
		hold := make(chan struct{})
		c.between(func() { <-hold })
		serial := c.good()
		var wg sync.WaitGroup
		wg.Go(func() { c.ask(t, serial, crypto.SHA1) })
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		q := status.Question{DER: request(t, c.person, c.good(), crypto.SHA1)}
		wg.Go(func() {
			if a, _ := c.Reply(ctx, q); !later(a) {
				t.Error("who has gone was answered")
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		wg.Go(func() { c.ask(t, serial, crypto.SHA256) }) // takes the place in the queue
		synctest.Wait()
		close(hold)
		wg.Wait()
		if c.Stats().Busy != 1 {
			t.Errorf("%+v", c.Stats())
		}
	})
}

// Each address has so many unknown answers; an IPv6 client is its /64; good and
// revoked are not counted.
func TestAddresses(t *testing.T) {
	c := newCounter(t, 1<<20)
	var err error
	if c.Addresses, err = status.NewAddresses(2, 5); err != nil {
		t.Fatal(err)
	}
	good := c.good()
	unknown := func(from string) bool {
		a, err := c.Reply(t.Context(), status.Question{DER: request(t, c.person, ca.NewSerial(), crypto.SHA1), From: from})
		if err != nil {
			t.Fatal(err)
		}
		return !later(a)
	}
	spend := func(from string) (n int) {
		for n < 100 && unknown(from) {
			n++
		}
		return n
	}
	for _, test := range []struct {
		from string
		want int
	}{
		{"192.0.2.1:1000", 5}, {"192.0.2.1:2000", 0}, {"192.0.2.2:1000", 5}, {"[::ffff:192.0.2.2]:9", 0},
		{"[2001:db8::1]:1", 5}, {"[2001:db8::ffff:2]:1", 0}, {"[2001:db8:0:1::1]:1", 5}, {"[fe80::1%eth0]:1", 5}, {"[fe80::2%eth1]:1", 0},
		{"", 5}, {"@", 0},
	} {
		if got := spend(test.from); got != test.want {
			t.Errorf("%q was told unknown %d times, want %d", test.from, got, test.want)
		}
	}
	a, err := c.Reply(t.Context(), status.Question{DER: request(t, c.person, good, crypto.SHA1), From: "192.0.2.1:1000"})
	if err != nil || later(a) {
		t.Errorf("a good certificate is not answered to who has spent his allowance: %v", err)
	}
	c.pass(time.Second)
	if got := spend("192.0.2.1:1000"); got != 2 {
		t.Errorf("%d after a second, want 2", got)
	}
	if s := c.Stats(); s.Unknown != 6*5+2 || s.Refused != 12 {
		t.Errorf("counted %+v", s)
	}
}

// Who has spent his allowance is read for only where nobody else waits.
func TestSpentDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, 1<<20)
		c.Gate = status.NewGate(1, 10)
		var err error
		if c.Addresses, err = status.NewAddresses(0.001, 1); err != nil {
			t.Fatal(err)
		}
		bad := status.Question{DER: request(t, c.person, ca.NewSerial(), crypto.SHA1), From: "192.0.2.66:6"}
		for range 2 {
			if _, err := c.Reply(t.Context(), bad); err != nil {
				t.Fatal(err)
			}
		}
		hold := make(chan struct{})
		c.between(func() { <-hold })
		var wg sync.WaitGroup
		for range 3 { // one inside, two wait
			serial := c.good()
			wg.Go(func() { c.ask(t, serial, crypto.SHA1) })
		}
		synctest.Wait()
		before := c.Stats().Busy
		if a, _ := c.Reply(t.Context(), bad); !later(a) || c.Stats().Busy != before+1 {
			t.Error("who floods stands in the queue of the others")
		}
		close(hold)
		wg.Wait()
	})
}

// A flood of random serials, from many networks: the working set stays, and what is
// remembered does not grow.
func TestFlood(t *testing.T) {
	const budget = 1 << 20
	c := newCounter(t, budget)
	c.Gate = status.NewGate(8, 64)
	var err error
	if c.Addresses, err = status.NewAddresses(50, 500); err != nil {
		t.Fatal(err)
	}
	working := make([][]byte, 200)
	for i := range working {
		working[i] = request(t, c.person, c.good(), crypto.SHA1)
	}
	ask := func(der []byte, from string) *status.Answer {
		a, err := c.Reply(t.Context(), status.Question{DER: der, From: from})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, der := range working {
		ask(der, "")
	}
	entries, octets := c.size()
	readings := c.readings()
	der := bytes.Clone(working[0])
	for i := range 4000 {
		serial := ca.NewSerial()
		copy(der[len(der)-16:], serial[:])
		ask(der, fmt.Sprintf("[2001:db8:%x::1]:1", i))
	}
	if n, o := c.size(); n != entries || o != octets {
		t.Errorf("the flood is kept: %d entries of %d octets, were %d of %d", n, o, entries, octets)
	}
	flood := c.readings() - readings
	for _, der := range working {
		ask(der, "")
	}
	if n := c.readings(); n != readings+flood {
		t.Errorf("%d of the working set were evicted", n-readings-flood)
	}
	// From one address most of it costs no signature.
	signed := c.Stats().Signed
	for range 2000 {
		serial := ca.NewSerial()
		copy(der[len(der)-16:], serial[:])
		ask(der, "192.0.2.66:6")
	}
	if n := c.Stats().Signed - signed; n != 500 {
		t.Errorf("%d signatures for one address, want its burst", n)
	}
}

// A scan of all certificates, each of which exists, does not drive out what is asked
// often: the cache keeps what is asked again, not what was asked last.
func TestScanKeepsWorkingSet(t *testing.T) {
	const budget = 1 << 20
	c := newCounter(t, budget)
	all := &status.Responder{Reader: everything{}, Signers: c.Signers, Now: c.now, Cache: c.Cache}
	working := make([][]byte, 100)
	for i := range working {
		working[i] = request(t, c.person, ca.NewSerial(), crypto.SHA1)
	}
	ask := func(der []byte) {
		if _, err := all.Reply(t.Context(), status.Question{DER: der}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		for _, der := range working {
			ask(der)
		}
	}
	der := bytes.Clone(working[0])
	lost := int64(0)
	for i := range 10_000 {
		serial := ca.NewSerial()
		copy(der[len(der)-16:], serial[:])
		ask(der)
		if i%10 == 0 { // each of the working set once in a thousand
			before := all.Stats().Misses
			ask(working[i/10%len(working)])
			lost += all.Stats().Misses - before
		}
	}
	if _, octets := c.size(); octets > budget {
		t.Errorf("%d octets, more than the budget", octets)
	}
	// By age alone each would be gone when it is asked for again: 870 fit.
	if lost > 300 {
		t.Errorf("%d of a thousand that were asked for again were not there", lost)
	}
}

// An answer that is being made is made to its end when its client seems to have gone; a
// reading that hangs is given up.
func TestMakingIsBoundedByTimeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, 1<<20)
		hang := false
		c.Responder = &status.Responder{Signers: c.Signers, Now: c.now, Cache: c.Cache, Reader: readerFunc(func(ctx context.Context) error {
			if hang {
				<-ctx.Done()
			}
			return ctx.Err()
		})}
		gone, leave := context.WithCancel(t.Context())
		leave()
		one, two := request(t, c.person, ca.NewSerial(), crypto.SHA1), request(t, c.person, ca.NewSerial(), crypto.SHA1)
		for name, der := range map[string][]byte{"one": one, "several": many(t, nil, one, two)} {
			if a, err := c.Reply(gone, status.Question{DER: der}); err != nil || later(a) {
				t.Errorf("%s: who sends no more is not answered: %v", name, err)
			}
		}
		hang = true
		began := time.Now()
		for name, der := range map[string][]byte{"one": two, "several": many(t, nil, one, two)} {
			if a, err := c.Reply(t.Context(), status.Question{DER: der}); err == nil || !later(a) {
				t.Errorf("%s: a reading that hangs: %v", name, err)
			}
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("given up after %v", took)
		}
	})
}

type readerFunc func(context.Context) error

func (r readerFunc) Status(ctx context.Context, _ ca.IssuerID, _ ca.Serial) (bool, *revocation.Entry, error) {
	return true, nil, r(ctx)
}
