package store_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/revtest"
	"sigill/internal/store"
	"sigill/internal/store/storetest"
	"sigill/orders/download"
	"sigill/revocation"
	"sigill/revocation/status"
)

// process is what one serving process has: its own database connections, cache,
// signers and tail, over the same database as the others.
type process struct {
	*status.Responder
	db   *store.DB
	tail *status.Tail
}

func newProcess(t *testing.T, url string, authority *revtest.Authority) *process {
	t.Helper()
	now := func() time.Time { return revtest.Start }
	signers := new(status.Signers)
	if err := signers.Set(authority.ID, authority.Responder(t)); err != nil {
		t.Fatal(err)
	}
	cache, err := status.NewCache(1<<20, signers)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{URL: url, Revoked: cache.Revoked})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	reader, err := db.StatusReader(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	p := &process{db: db, Responder: &status.Responder{Reader: reader, Signers: signers, Now: now, Cache: cache},
		tail: &status.Tail{Store: db.Revocation(), Cache: cache, Now: now}}
	if err := p.tail.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) ask(t *testing.T, authority *revtest.Authority, serial ca.Serial) int {
	t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, authority.Cert, &ocsp.RequestOptions{Hash: crypto.SHA1})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.Answer(t.Context(), der)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocsp.ParseResponse(answer.DER, authority.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

func revoke(t *testing.T, db *store.DB, e revocation.Entry) error {
	t.Helper()
	return db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
		return errors.Join(tx.Revocations.InsertRevocation(e), tx.Events.Append(storetest.Event(e.Event)))
	})
}

// A revocation is answered by its own process from the moment on at which Update
// returns, and by another one as soon as that has read its number. Each has had the
// certificate as good in its cache.
func TestRevocationReachesAnswers(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "sigill.db") },
		"postgres": func(t *testing.T) string { return store.SharedServer().URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			if err := store.Create(t.Context(), store.Config{URL: url}); err != nil {
				t.Fatal(err)
			}
			authority := revtest.NewAuthority(t, storetest.Intent(1).Issuer, nil)
			own, other := newProcess(t, url, authority), newProcess(t, url, authority)
			err := own.db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
				for n := byte(1); n < 9; n++ {
					if err := tx.InsertCertificate(storetest.Certificate(n)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			sequencer := &audit.Sequencer{Store: own.db.Audit()}
			for n := byte(1); n < 9; n++ {
				serial := storetest.Serial(n)
				if own.ask(t, authority, serial) != ocsp.Good || other.ask(t, authority, serial) != ocsp.Good {
					t.Fatal("not good")
				}
				if err := revoke(t, own.db, storetest.Entry(n, 1)); err != nil {
					t.Fatal(err)
				}
				if got := own.ask(t, authority, serial); got != ocsp.Revoked {
					t.Errorf("%d: its own process says %d after Update has returned", n, got)
				}
				if got := other.ask(t, authority, serial); got != ocsp.Good {
					t.Fatalf("%d: the other says %d before it can know: the test shows nothing", n, got)
				}
				if err := sequencer.CatchUp(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := other.tail.Look(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := other.ask(t, authority, serial); got != ocsp.Revoked {
					t.Errorf("%d: the other says %d after it has looked", n, got)
				}
			}
			if err := own.tail.Look(t.Context()); err != nil { // its own again: no harm
				t.Fatal(err)
			}
		})
	}
}

// A transaction that is undone removes nothing, and one whose commit was not answered
// removes all that it may have revoked.
func TestRevocationUndone(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "sigill.db")
	if err := store.Create(t.Context(), store.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	authority := revtest.NewAuthority(t, storetest.Intent(1).Issuer, nil)
	p := newProcess(t, url, authority)
	err := p.db.Downloads().Update(context.Background(), func(tx *download.Tx) error { return tx.InsertCertificate(storetest.Certificate(1)) })
	if err != nil {
		t.Fatal(err)
	}
	p.ask(t, authority, storetest.Serial(1))
	undone := errors.New("undone")
	err = p.db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
		if err := tx.Revocations.InsertRevocation(storetest.Entry(1, 1)); err != nil {
			return err
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	if got := p.ask(t, authority, storetest.Serial(1)); got != ocsp.Good || p.Stats().Hits != 1 {
		t.Errorf("status %d, %+v", got, p.Stats())
	}
}

// shelf is a sink that tells of each answer.
type shelf struct {
	mu   sync.Mutex
	kept map[string][]byte // guarded by mu
	put  chan string       // path
}

func (s *shelf) Put(ctx context.Context, path string, der []byte, _ time.Time) error {
	s.mu.Lock()
	s.kept[path] = der
	s.mu.Unlock()
	select {
	case s.put <- path:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// The job that signs ahead, over the real store: all certificates that have not
// expired are there, revoked ones as that, an open intent and an expired certificate
// are not; and what is revoked then takes the place of what was there.
func TestAnswersAreSignedAhead(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "sigill.db") },
		"postgres": func(t *testing.T) string { return store.SharedServer().URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			if err := store.Create(t.Context(), store.Config{URL: url}); err != nil {
				t.Fatal(err)
			}
			authority := revtest.NewAuthority(t, storetest.Intent(1).Issuer, nil)
			p := newProcess(t, url, authority)
			err := p.db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
				for n := byte(2); n < 250; n++ {
					c := storetest.Certificate(n)
					c.NotAfter = revtest.Start.AddDate(1, 0, 0)
					if n == 9 {
						c.NotAfter = revtest.Start
					}
					if err := tx.InsertCertificate(c); err != nil {
						return err
					}
				}
				return tx.InsertIntent(storetest.Intent(1))
			})
			if err != nil {
				t.Fatal(err)
			}
			later := func(n byte) revocation.Entry {
				e := storetest.Entry(n, 1)
				e.NotAfter = revtest.Start.AddDate(1, 0, 0)
				return e
			}
			sequencer := &audit.Sequencer{Store: p.db.Audit()}
			if err := errors.Join(revoke(t, p.db, later(5)), sequencer.CatchUp(t.Context())); err != nil {
				t.Fatal(err)
			}
			s := &shelf{kept: map[string][]byte{}, put: make(chan string)}
			passed := make(chan struct{})
			ahead := &status.Presigner{Source: p.db, Ledger: p.db.Revocation(), Signers: p.Signers, Sink: s, Now: p.Now, Validity: 12 * time.Hour, Every: 6 * time.Hour,
				PerSecond: 100_000, Save: func(status.Position) error { return nil }, Passed: func(context.Context) { close(passed) },
				Failed: func(err error) { t.Error(err) }}
			if err := ahead.Check(); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { ahead.Run(ctx); close(done) }()
			for waiting := true; waiting; {
				select {
				case <-s.put:
				case <-passed:
					waiting = false
				}
			}
			for n := byte(1); n < 251; n++ {
				want := ocsp.Good
				switch n {
				case 1, 9, 250:
					want = -1
				case 5:
					want = ocsp.Revoked
				}
				if got := s.status(t, authority, n); got != want {
					t.Errorf("%d: %d, want %d", n, got, want)
				}
			}
			if len(s.kept) != 247 {
				t.Errorf("%d answers", len(s.kept))
			}
			if err := errors.Join(revoke(t, p.db, later(20)), sequencer.CatchUp(t.Context())); err != nil {
				t.Fatal(err)
			}
			<-s.put
			stop()
			<-done
			if got := s.status(t, authority, 20); got != ocsp.Revoked {
				t.Errorf("status %d after the revocation", got)
			}
		})
	}
}

// status returns what is there for a certificate, -1 for nothing.
func (s *shelf) status(t *testing.T, authority *revtest.Authority, n byte) int {
	t.Helper()
	serial := storetest.Serial(n)
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, authority.Cert, &ocsp.RequestOptions{Hash: crypto.SHA1})
	if err != nil {
		t.Fatal(err)
	}
	kept, ok := s.kept[status.PathOf(der)]
	if !ok {
		return -1
	}
	got, err := ocsp.ParseResponseForCert(kept, &x509.Certificate{SerialNumber: serial.Int()}, authority.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}
