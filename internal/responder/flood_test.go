package responder

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/revocation/status"
)

// client asks on connections of its own, from an address of its own where the system
// has more than one.
func client(n int) *http.Client {
	d := &net.Dialer{}
	if runtime.GOOS == "linux" {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n))}
	}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
}

func (h *hall) ask(t testing.TB, c *http.Client, der []byte) string {
	t.Helper()
	r, err := c.Post("http://"+h.address+"/ocsp", "application/ocsp-request", bytes.NewReader(der))
	if err != nil {
		t.Error(err)
		return ""
	}
	defer r.Body.Close()
	return h.say(t, r)
}

// Serials that nobody has, asked for over many connections and from several addresses
// while relying parties ask for theirs: every one of these is answered, from memory and
// without a reading; memory keeps to its budget; each address gets its share of unknown
// and is then told to come later.
func TestFloodOfSerials(t *testing.T) {
	const (
		burst     = 30 // unknown answers for one address
		addresses = 8
		budget    = 1 << 20
	)
	h := newHall(t, 1000)
	var err error
	if h.responder.Addresses, err = status.NewAddresses(0.001, burst); err != nil {
		t.Fatal(err)
	}
	h.responder.Gate = status.NewGate(4, 16)
	h.listens(t)
	type question struct {
		der  []byte
		want string
	}
	var working []question
	for i := range 400 {
		if i%4 == 0 {
			working = append(working, question{h.question(t, h.revoked()), "revoked"})
		} else {
			working = append(working, question{h.question(t, h.good()), "good"})
		}
	}
	relying := client(200)
	for _, q := range working {
		if got := h.ask(t, relying, q.der); got != q.want {
			t.Fatalf("%s, want %s", got, q.want)
		}
	}
	before := h.responder.Stats()
	template := h.question(t, ca.NewSerial())

	var flood, parties sync.WaitGroup
	var later, unknown, asked atomic.Int64
	done := make(chan struct{})
	for i := range addresses * 3 {
		flood.Go(func() {
			c := client(i % addresses)
			defer c.CloseIdleConnections()
			der := bytes.Clone(template)
			for n := 0; ; n++ {
				select {
				case <-done:
					if n > 2*burst {
						return
					}
				default:
				}
				serial := ca.NewSerial()
				copy(der[len(der)-len(serial):], serial[:])
				switch got := h.ask(t, c, der); got {
				case "later":
					later.Add(1)
				case "unknown":
					unknown.Add(1)
				default:
					t.Errorf("a serial that nobody has: %q", got)
				}
			}
		})
	}
	for i := range 4 {
		parties.Go(func() {
			c := client(201 + i)
			defer c.CloseIdleConnections()
			for range 2 {
				for _, n := range rand.Perm(len(working)) {
					if got := h.ask(t, c, working[n].der); got != working[n].want {
						t.Errorf("%q during the flood, want %s", got, working[n].want)
					}
					asked.Add(1)
				}
			}
		})
	}
	parties.Wait()
	close(done)
	flood.Wait()
	relying.CloseIdleConnections()

	stats := h.responder.Stats()
	if hits := stats.Hits - before.Hits; hits != asked.Load() {
		t.Errorf("%d of %d answers to relying parties came from memory", hits, asked.Load())
	}
	if h.ledger.ofKnown != len(working) {
		t.Errorf("certificates that exist were read %d times, want once each: %d", h.ledger.ofKnown, len(working))
	}
	networks := int64(addresses)
	if runtime.GOOS != "linux" {
		networks = 1
	}
	if unknown.Load() > networks*burst || stats.Unknown != unknown.Load() || later.Load() == 0 {
		t.Errorf("%d times unknown, %d times later; at most %d are for everybody", unknown.Load(), later.Load(), networks*burst)
	}
	if n, octets := h.responder.Cache.Size(); n != len(working) || octets > budget {
		t.Errorf("%d answers in %d octets are kept", n, octets)
	}
	t.Logf("%d hits beside %d serials that nobody has, of which %d were read", asked.Load(), later.Load()+unknown.Load(), h.ledger.reads-h.ledger.ofKnown)
}

// The database goes away while many ask, and comes back: what is in memory is answered
// until its end and not a second longer, everything else is told to come later, and
// afterwards all is as before.
func TestLedgerAway(t *testing.T) {
	h := newHall(t, 1000).listens(t)
	var failures atomic.Int64
	h.responder.Failed = func(error) { failures.Add(1) }
	kept, missed := h.question(t, h.good()), h.question(t, h.good())
	each := func(der []byte, want string) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				c := client(i)
				defer c.CloseIdleConnections()
				for range 20 {
					if got := h.ask(t, c, der); got != want {
						t.Errorf("%q, want %q", got, want)
					}
				}
			})
		}
		wg.Wait()
		h.responder.Wait()
	}
	each(kept, "good")
	h.ledger.set(errors.New("the database is away"))
	for _, step := range []struct {
		pass time.Duration
		kept string
	}{
		{0, "good"},
		{31 * time.Minute, "good"}, // past half of its life: it is to be renewed, which fails
		{29*time.Minute - time.Second, "good"},
		{time.Second, "later"},
		{time.Hour, "later"},
	} {
		h.pass(step.pass)
		each(kept, step.kept)
		each(missed, "later")
	}
	if failures.Load() == 0 {
		t.Error("nobody was told that answers are not renewed")
	}
	h.ledger.set(nil)
	each(kept, "good")
	each(missed, "good")
}

// Every answer that is given out while the ledger comes and goes and time passes is in
// force when it is given.
func TestNothingStaleIsGiven(t *testing.T) {
	h := newHall(t, 1000).listens(t)
	var questions [][]byte
	for range 20 {
		questions = append(questions, h.question(t, h.good()))
	}
	var wg sync.WaitGroup
	var turn atomic.Int64
	given := map[bool]*atomic.Int64{true: {}, false: {}}
	for i := range 8 {
		wg.Go(func() {
			c := client(i)
			defer c.CloseIdleConnections()
			for n := range 200 {
				// Each request moves time; in every other hour the ledger is away.
				h.pass(20 * time.Second)
				if turn := turn.Add(1); turn%180 == 0 {
					h.ledger.set([]error{errors.New("the database is away"), nil}[turn/180%2])
				}
				asked := h.now()
				r, err := c.Get("http://" + h.address + pathOf(questions[(n*7+i)%len(questions)]))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil {
					t.Error(err)
				}
				answer, err := ocsp.ParseResponse(body, h.authority.Cert)
				given[err == nil].Add(1)
				if err == nil && !answer.NextUpdate.After(asked) {
					t.Errorf("asked at %v, the answer ended at %v", asked, answer.NextUpdate)
				}
				if cache := r.Header.Get("Cache-Control"); err != nil && (!bytes.Equal(body, ca.OCSPError(ca.OCSPTryLater)) || cache != "no-store") {
					t.Errorf("told %x, %s", body, cache)
				}
			}
		})
	}
	wg.Wait()
	h.ledger.set(nil)
	t.Logf("%d answers, %d times later", given[true].Load(), given[false].Load())
	if given[true].Load() == 0 || given[false].Load() == 0 {
		t.Error("one of both never happened: the test shows nothing")
	}
	if got := h.ask(t, http.DefaultClient, questions[0]); got != "good" {
		t.Errorf("afterwards: %q", got)
	}
	http.DefaultClient.CloseIdleConnections()
}

// A scan of certificates that all exist, by a stranger who has read their serials
// somewhere, stays within the budget, and those who ask again and again keep theirs.
func TestScanStaysInBudget(t *testing.T) {
	h := newHall(t, 1000).listens(t)
	c := client(1)
	defer c.CloseIdleConnections()
	working := make([][]byte, 20)
	for i := range working {
		working[i] = h.question(t, h.good())
	}
	for range 10 {
		for _, der := range working {
			h.ask(t, c, der)
		}
	}
	hits := h.responder.Stats().Hits
	again := int64(0)
	for i := range 3000 { // some three times what fits
		if got := h.ask(t, c, h.question(t, h.good())); got != "good" {
			t.Fatal(got)
		}
		if i%10 == 0 {
			h.ask(t, c, working[i/10%len(working)])
			again++
		}
	}
	if n, octets := h.responder.Cache.Size(); octets > 1<<20 || n < 100 {
		t.Errorf("%d answers in %d octets", n, octets)
	}
	if got := h.responder.Stats().Hits - hits; got < again*8/10 {
		t.Errorf("%d of %d who asked again were answered from memory", got, again)
	}
}
