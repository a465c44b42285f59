package status_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation/status"
)

// shelf is a sink in memory with certificates and their revocations.
type shelf struct {
	ledger
	t        *testing.T
	all      []status.Released // by serial
	kept     map[string][]byte
	until    map[string]time.Time
	puts     int
	most     int // of puts at once
	busy     map[string]bool
	takes    time.Duration // a put
	uneven   bool          // every second one thrice as long
	began    int
	refuses  map[string]time.Duration // paths, after so long
	err      error
	onPut    func(n int)
	saved    status.Position
	passes   int
	failures []error
}

func (s *shelf) ReleasedAfter(_ context.Context, after ca.Serial, limit int) ([]status.Released, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := slices.BinarySearchFunc(s.all, after, func(r status.Released, s ca.Serial) int { return bytes.Compare(r.Serial[:], s[:]) })
	if found {
		i++
	}
	return slices.Clone(s.all[i:min(len(s.all), i+limit)]), nil
}

func (s *shelf) Put(ctx context.Context, path string, der []byte, until time.Time) error {
	var err error
	s.set(func() {
		if s.busy[path] {
			s.t.Errorf("two at once for %s", path)
		}
		s.busy[path] = true
		s.most = max(s.most, len(s.busy))
	})
	after, refused := s.refuses[path]
	s.set(func() {
		if s.began++; s.uneven && s.began%2 == 0 {
			after += 2 * s.takes
		}
	})
	if s.takes > 0 {
		time.Sleep(s.takes + after)
	}
	puts := 0
	s.set(func() {
		delete(s.busy, path)
		if err = s.err; err == nil && refused {
			err = errors.New("refused")
		}
		if err != nil {
			return
		}
		s.puts++
		puts = s.puts
		if !strings.HasPrefix(path, "/ocsp/") || strings.ContainsAny(path[6:], "/+= ") {
			s.t.Errorf("path %s", path)
		}
		s.kept[path], s.until[path] = der, until
	})
	if err == nil && s.onPut != nil {
		s.onPut(puts)
	}
	return err
}

// revoke revokes one of the certificates; in the ledger it is numbered at once.
func (s *shelf) revoke(i int) {
	e := revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise)
	e.Serial, e.NotAfter = s.all[i].Serial, s.all[i].NotAfter
	s.set(func() { s.all[i].RevokedAt, s.all[i].Reason = e.At, e.Reason })
	s.add(e)
}

func newShelf(t *testing.T, n int) (*shelf, *revtest.Authority, *status.Presigner) {
	authority := revtest.NewAuthority(t, revtest.Person, nil)
	authority.OCSPCert = authority.Signer(t, authority.OCSPKey, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0)
	})
	signers := new(status.Signers)
	if err := signers.Set(revtest.Person, authority.Responder(t)); err != nil {
		t.Fatal(err)
	}
	s := &shelf{t: t, busy: map[string]bool{}, kept: map[string][]byte{}, until: map[string]time.Time{}}
	for range n {
		s.all = append(s.all, status.Released{Serial: ca.NewSerial(), Issuer: revtest.Person, NotAfter: time.Now().AddDate(1, 0, 0)})
	}
	slices.SortFunc(s.all, func(a, b status.Released) int { return bytes.Compare(a.Serial[:], b.Serial[:]) })
	return s, authority, s.presigner(signers)
}

func (s *shelf) presigner(signers *status.Signers) *status.Presigner {
	return &status.Presigner{Source: s, Ledger: s, Signers: signers, Sink: s, Now: time.Now, Validity: 12 * time.Hour, Every: 6 * time.Hour, PerSecond: 1000, Position: s.saved,
		Save:   func(at status.Position) error { s.saved = at; return nil },
		Passed: func(context.Context) { s.passes++ },
		Failed: func(err error) { s.set(func() { s.failures = append(s.failures, err) }) }}
}

// status returns what the sink has for a certificate: -1 for nothing.
func (s *shelf) status(issuer *x509.Certificate, serial ca.Serial, hash crypto.Hash) int {
	s.t.Helper()
	path := s.path(issuer, serial, hash)
	kept, ok := s.kept[path]
	if !ok {
		return -1
	}
	got, err := ocsp.ParseResponseForCert(kept, &x509.Certificate{SerialNumber: serial.Int()}, issuer)
	if err != nil {
		s.t.Fatal(err)
	}
	if !got.NextUpdate.Equal(s.until[path]) || time.Until(got.NextUpdate) > 12*time.Hour || got.IssuerHash != hash {
		s.t.Errorf("until %v, told %v", got.NextUpdate, s.until[path])
	}
	return got.Status
}

// path is how a client asks.
func (s *shelf) path(issuer *x509.Certificate, serial ca.Serial, hash crypto.Hash) string {
	s.t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		s.t.Fatal(err)
	}
	return "/ocsp/" + url.QueryEscape(base64.StdEncoding.EncodeToString(der))
}

// run runs p in a bubble until ctx of the test ends.
func run(t *testing.T, p *status.Presigner) (stop func()) {
	t.Helper()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	return func() { cancel(); <-done }
}

// A pass signs for every certificate that has not expired, in the time that the rate
// allows; another begins six hours later; revocations in between are there at once.
func TestPresigner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, authority, p := newShelf(t, 1500)
		p.SHA256 = true
		s.all[7].NotAfter = time.Now().Add(-time.Second)
		s.all[8].Issuer = "somebody else's"
		s.revoke(9)
		stop := run(t, p)
		s.sleep(1500 * time.Millisecond)
		if s.puts > 1650 || s.puts < 1400 {
			t.Errorf("%d answers in one and a half seconds at a thousand a second", s.puts)
		}
		s.sleep(3 * time.Second)
		for i, each := range s.all {
			want := ocsp.Good
			switch i {
			case 7, 8:
				want = -1
			case 9:
				want = ocsp.Revoked
			}
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
				if got := s.status(authority.Cert, each.Serial, hash); got != want {
					t.Errorf("%d, %v: %d, want %d", i, hash, got, want)
				}
			}
		}
		if s.passes != 1 || len(s.kept) != 2*1498 || p.Progress().Signed != int64(s.puts) || p.Progress().Complete.IsZero() {
			t.Errorf("%d passes, %d answers, %+v", s.passes, len(s.kept), p.Progress())
		}
		s.revoke(20)
		s.sleep(200 * time.Millisecond)
		if got := s.status(authority.Cert, s.all[20].Serial, crypto.SHA1); got != ocsp.Revoked {
			t.Errorf("status %d shortly after its revocation", got)
		}
		before := s.puts
		s.sleep(6*time.Hour - 10*time.Second)
		if s.puts != before {
			t.Error("a pass before its time")
		}
		s.sleep(15 * time.Second)
		if s.passes != 2 || s.puts != before+2*1498 {
			t.Errorf("%d passes, %d answers more", s.passes, s.puts-before)
		}
		stop()
		if len(s.failures) != 0 {
			t.Error(s.failures)
		}
	})
}

// Whenever in a pass a certificate is revoked: its answer says so within a moment, and
// no page that was read before puts good in its place.
func TestPresignerRevokesBehindAndBefore(t *testing.T) {
	for _, at := range []int{1, 50, 99, 100, 101, 250} {
		synctest.Test(t, func(t *testing.T) {
			s, authority, p := newShelf(t, 300)
			p.PerSecond = 100 // a page of a hundred lasts a second
			victims := []int{0, 49, 50, 51, 98, 99, 100, 150, 299}
			s.onPut = func(n int) {
				if n == at {
					for _, v := range victims {
						s.revoke(v)
					}
				}
			}
			stop := run(t, p)
			s.sleep(10 * time.Second)
			stop()
			for i := range s.all {
				want := ocsp.Good
				if slices.Contains(victims, i) {
					want = ocsp.Revoked
				}
				if got := s.status(authority.Cert, s.all[i].Serial, crypto.SHA1); got != want {
					t.Errorf("revoked after %d: %d is %d, want %d", at, i, got, want)
				}
			}
			if s.passes != 1 {
				t.Errorf("%d passes", s.passes)
			}
		})
	}
}

// Stopped in the middle, it goes on where it was, and brings first what was revoked
// meanwhile, also of certificates that the pass has behind it.
func TestPresignerResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, authority, p := newShelf(t, 1000)
		p.PerSecond = 100
		stop := run(t, p)
		s.sleep(5500 * time.Millisecond)
		stop()
		before := s.puts
		if s.saved.After.IsZero() || s.saved.Done || before < 400 || before > 700 {
			t.Fatalf("after %d at %+v", before, s.saved)
		}
		s.revoke(3)
		s.err = errors.New("full")
		again := s.presigner(p.Signers)
		again.PerSecond = 100
		stop = run(t, again)
		s.sleep(time.Minute)
		if len(s.failures) < 5 || len(s.failures) > 15 || !strings.Contains(fmt.Sprint(s.failures[0]), "full") {
			t.Errorf("%d failures in a minute: %v", len(s.failures), s.failures)
		}
		s.err = nil
		s.sleep(5 * time.Second)
		if got := s.status(authority.Cert, s.all[3].Serial, crypto.SHA1); got != ocsp.Revoked {
			t.Errorf("status %d of what was revoked while it stood still", got)
		}
		s.sleep(10 * time.Second)
		stop()
		if s.passes != 1 || len(s.kept) != 1000 || s.puts > 1000+1+100 {
			t.Errorf("%d passes, %d of 1000 after %d answers", s.passes, len(s.kept), s.puts)
		}
	})
}

// The ledger or the signer away is a failure that is told, and nothing is skipped.
func TestPresignerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, p := newShelf(t, 10)
		s.ledger.err = errors.New("away")
		stop := run(t, p)
		s.sleep(7 * time.Second)
		if len(s.failures) != 2 || s.puts != 0 {
			t.Errorf("%v, %d answers", s.failures, s.puts)
		}
		s.ledger.set(func() { s.ledger.err = nil })
		s.sleep(10 * time.Second)
		stop()
		if s.puts != 10 {
			t.Errorf("%d answers", s.puts)
		}
	})
}

func TestPresignerCheck(t *testing.T) {
	s, _, p := newShelf(t, 1)
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*status.Presigner){
		"no source": func(p *status.Presigner) { p.Source = nil }, "no sink": func(p *status.Presigner) { p.Sink = nil },
		"no memory": func(p *status.Presigner) { p.Save = nil }, "too long": func(p *status.Presigner) { p.Validity = 13 * time.Hour },
		"too short": func(p *status.Presigner) { p.Validity = time.Minute }, "too rarely": func(p *status.Presigner) { p.Every = 7 * time.Hour },
		"never": func(p *status.Presigner) { p.Every = 0 }, "no rate": func(p *status.Presigner) { p.PerSecond = 0 },
	} {
		p := s.presigner(p.Signers)
		spoil(p)
		if p.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A store that answers slowly is asked for many at once, as many as are allowed. What
// is revoked meanwhile is put when nothing else is under way, whichever it is of, and
// of two revocations of one certificate the later one counts.
func TestPresignerPutsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, authority, p := newShelf(t, 3000)
		p.SHA256 = true
		p.PerSecond = 10_000
		s.takes = 50 * time.Millisecond
		stop := run(t, p)
		s.sleep(2 * time.Second)
		// 16 at once are 320 a second, two for each certificate.
		if s.puts < 500 || s.puts > 640 || s.most != 16 {
			t.Errorf("%d answers in two seconds, %d at once", s.puts, s.most)
		}
		const from, to = 180, 480 // among them those that are under way
		for i := from; i < to; i += 3 {
			s.revoke(i)
		}
		again := revtest.NewEntry(revtest.Person, 0, ca.CACompromise)
		again.Serial, again.NotAfter, again.Version = s.all[to-3].Serial, s.all[to-3].NotAfter, 2
		s.set(func() { s.all[to-3].Reason = again.Reason })
		s.add(again)
		s.sleep(2 * time.Second)
		for i := from; i < to; i += 3 {
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
				if got := s.status(authority.Cert, s.all[i].Serial, hash); got != ocsp.Revoked {
					t.Fatalf("%d is %d two seconds after its revocation", i, got)
				}
			}
		}
		if n := p.Progress().Revoked; n != 101 {
			t.Errorf("%d revocations, want 101", n)
		}
		s.sleep(time.Minute)
		stop()
		for i := range s.all {
			want := ocsp.Good
			if i >= from && i < to && i%3 == 0 {
				want = ocsp.Revoked
			}
			if got := s.status(authority.Cert, s.all[i].Serial, crypto.SHA1); got != want {
				t.Errorf("%d is %d, want %d", i, got, want)
			}
		}
		der := s.kept[s.path(authority.Cert, s.all[to-3].Serial, crypto.SHA1)]
		if got, err := ocsp.ParseResponse(der, authority.Cert); err != nil || got.RevocationReason != ocsp.CACompromise {
			t.Errorf("the reason is not the later one: %+v, %v", got, err)
		}
		if s.passes != 1 || len(s.failures) != 0 {
			t.Errorf("%d passes, %v", s.passes, s.failures)
		}
	})
}

// What is revoked while its answer is under way, that says good and takes its time: the
// one that says revoked waits for it.
func TestPresignerRevokesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, authority, p := newShelf(t, 300)
		s.takes, s.uneven = 200*time.Millisecond, true
		var revoked []int
		s.onPut = func(n int) {
			if n%40 != 0 {
				return
			}
			for i := range s.all {
				under := false
				s.set(func() {
					under = s.busy[s.path(authority.Cert, s.all[i].Serial, crypto.SHA1)] && s.all[i].RevokedAt.IsZero()
				})
				if under {
					s.revoke(i)
					s.set(func() { revoked = append(revoked, i) })
				}
			}
		}
		stop := run(t, p)
		s.sleep(time.Minute)
		stop()
		for _, i := range revoked {
			if got := s.status(authority.Cert, s.all[i].Serial, crypto.SHA1); got != ocsp.Revoked {
				t.Errorf("%d is %d", i, got)
			}
		}
		if len(revoked) < 50 || s.passes != 1 || len(s.failures) != 0 {
			t.Errorf("%d revoked, %d passes, %v", len(revoked), s.passes, s.failures)
		}
	})
}

// One put that fails: the position is before it, in the pass and among revocations,
// although those after it were put; nothing is skipped when it heals.
func TestPresignerStopsBeforeWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, authority, p := newShelf(t, 300)
		s.takes = time.Millisecond
		// The later one of two fails first.
		s.refuses = map[string]time.Duration{s.path(authority.Cert, s.all[120].Serial, crypto.SHA1): 10 * time.Millisecond,
			s.path(authority.Cert, s.all[121].Serial, crypto.SHA1): 0}
		stop := run(t, p)
		s.sleep(time.Minute)
		stop()
		if at := p.Position; at.After != s.all[119].Serial || at.Done || s.saved.After != s.all[99].Serial {
			t.Errorf("at %+v, saved %+v, and the 121st was not put", at, s.saved)
		}
		if s.status(authority.Cert, s.all[120].Serial, crypto.SHA1) != -1 || len(s.failures) == 0 {
			t.Error("the test shows nothing")
		}
		for _, i := range []int{60, 120, 70} {
			s.revoke(i)
		}
		again := s.presigner(p.Signers)
		stop = run(t, again)
		s.sleep(time.Minute)
		if want := s.entries[0].Number; again.Position.Through != want {
			t.Errorf("through %d, want %d: the second revocation was not put", again.Position.Through, want)
		}
		s.set(func() { clear(s.refuses) })
		s.sleep(time.Minute)
		stop()
		for i := range s.all {
			want := ocsp.Good
			if i == 120 || i == 60 || i == 70 {
				want = ocsp.Revoked
			}
			if got := s.status(authority.Cert, s.all[i].Serial, crypto.SHA1); got != want {
				t.Errorf("%d is %d, want %d", i, got, want)
			}
		}
	})
}

// The numbers go back, in the middle of a pass, between two, or while nothing runs: it
// is told, and a pass begins anew that finds what was revoked under numbers that were
// passed.
func TestPresignerGoesBack(t *testing.T) {
	for name, when := range map[string]time.Duration{"in a pass": 5 * time.Second, "between passes": time.Minute, "while it was stopped": 2 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s, authority, p := newShelf(t, 1000)
			p.PerSecond = 100
			for range 5 {
				s.add(revtest.NewEntry("somebody else's", 0, ca.Superseded))
			}
			stop := run(t, p)
			s.sleep(when)
			if name == "while it was stopped" {
				stop()
				again := s.presigner(p.Signers)
				again.PerSecond = 100
				stop = func() { p = again; stop = run(t, p) }
			}
			s.set(func() { s.head, s.entries = s.head-9, s.entries[:2] })
			s.revoke(3)
			if name == "while it was stopped" {
				stop()
			}
			s.sleep(20 * time.Second)
			if got := s.status(authority.Cert, s.all[3].Serial, crypto.SHA1); got != ocsp.Revoked {
				t.Errorf("%s: status %d of what was revoked under a number that was passed", name, got)
			}
			if len(s.failures) != 1 || !strings.Contains(s.failures[0].Error(), "went back from 15 to 9") || s.saved.Through != 9 {
				t.Errorf("%s: told %v, saved %+v", name, s.failures, s.saved)
			}
			stop()
		})
	}
}

// Told that what was signed until now is not to be given out, it begins a pass anew, in
// the middle of one too; a pass that began later is left alone.
func TestPresignerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, authority, p := newShelf(t, 500)
		p.PerSecond = 100
		old := authority.Responder(t)
		if err := p.Signers.Set(revtest.Person, old); err != nil {
			t.Fatal(err)
		}
		signer := func(i int) *x509.Certificate {
			t.Helper()
			got, err := ocsp.ParseResponse(s.kept[s.path(authority.Cert, s.all[i].Serial, crypto.SHA1)], authority.Cert)
			if err != nil {
				t.Fatal(err)
			}
			return got.Certificate
		}
		stop := run(t, p)
		s.sleep(3 * time.Second)
		before := signer(0)
		began := s.saved.Began
		authority.OCSPCert = authority.Signer(t, authority.OCSPKey, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0)
		})
		if err := p.Signers.Set(revtest.Person, authority.Responder(t)); err != nil {
			t.Fatal(err)
		}
		p.Again(time.Now())
		s.sleep(10 * time.Second)
		for i := range s.all {
			if signer(i).Equal(before) {
				t.Fatalf("%d is signed by the signer before", i)
			}
		}
		if s.passes != 1 || !s.saved.Began.After(began) {
			t.Errorf("%d passes, the last began %v", s.passes, s.saved.Began)
		}
		puts := s.puts
		p.Again(s.saved.Began.Add(-time.Nanosecond))
		s.sleep(time.Minute)
		if s.puts != puts {
			t.Errorf("%d answers although the pass began after", s.puts-puts)
		}
		p.Again(time.Now())
		s.sleep(time.Minute)
		if s.puts != puts+500 || s.passes != 2 {
			t.Errorf("%d answers, %d passes after the second time", s.puts-puts, s.passes)
		}
		stop()
	})
}

// A pass that is not whole while its answers live is late, the first one too, and a
// start does not make it forget.
func TestPresignerLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, p := newShelf(t, 200)
		p.Validity, p.Every = time.Hour, 30*time.Minute
		if p.Late() {
			t.Error("late before it began")
		}
		stop := run(t, p)
		s.sleep(31 * time.Minute)
		if p.Late() || s.passes != 2 {
			t.Errorf("late after %d passes", s.passes)
		}
		s.set(func() { s.err = errors.New("full") })
		s.sleep(58 * time.Minute)
		if p.Late() {
			t.Error("late before the answers' end")
		}
		stop()
		again := s.presigner(p.Signers)
		again.Validity, again.Every = time.Hour, 30*time.Minute
		stop = run(t, again)
		s.sleep(2 * time.Minute)
		if !again.Late() || !again.Progress().Complete.Equal(p.Progress().Complete) {
			t.Errorf("late %v, complete %v", again.Late(), again.Progress().Complete)
		}
		s.set(func() { s.err = nil })
		s.sleep(time.Minute)
		stop()
		if again.Late() {
			t.Error("late after a whole pass")
		}
		first, _, p := newShelf(t, 200)
		p.Validity, p.Every = time.Hour, 30*time.Minute
		first.err = errors.New("full")
		stop = run(t, p)
		first.sleep(59 * time.Minute)
		early := p.Late()
		first.sleep(2 * time.Minute)
		stop()
		if early || !p.Late() {
			t.Errorf("the first pass: %v before its answers' end, %v after", early, p.Late())
		}
	})
}
