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
	err      error
	onPut    func(n int)
	saved    status.Position
	passes   int
	failures []error
}

func (s *shelf) ReleasedAfter(_ context.Context, after ca.Serial, limit int) ([]status.Released, error) {
	s.set(func() {})
	i, found := slices.BinarySearchFunc(s.all, after, func(r status.Released, s ca.Serial) int { return bytes.Compare(r.Serial[:], s[:]) })
	if found {
		i++
	}
	return slices.Clone(s.all[i:min(len(s.all), i+limit)]), nil
}

func (s *shelf) Put(_ context.Context, path string, der []byte, until time.Time) error {
	s.set(func() {}) // see sleep
	if s.err != nil {
		return s.err
	}
	s.puts++
	if !strings.HasPrefix(path, "/ocsp/") || strings.ContainsAny(path[6:], "/+= ") {
		s.t.Errorf("path %s", path)
	}
	s.kept[path], s.until[path] = der, until
	if s.onPut != nil {
		s.onPut(s.puts)
	}
	return nil
}

// revoke revokes one of the certificates; in the ledger it is numbered at once.
func (s *shelf) revoke(i int) {
	e := revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise)
	e.Serial, e.NotAfter = s.all[i].Serial, s.all[i].NotAfter
	s.all[i].RevokedAt, s.all[i].Reason = e.At, e.Reason
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
	s := &shelf{t: t, kept: map[string][]byte{}, until: map[string]time.Time{}}
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
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		s.t.Fatal(err)
	}
	path := "/ocsp/" + url.QueryEscape(base64.StdEncoding.EncodeToString(der))
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
