package process

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/bench/population"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/profiles"
	"sigill/internal/responder"
	"sigill/internal/store"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation/status"
)

// replica answers OCSP beside the service, on the same database: what a second
// process would have, and no more. SQLite's directory has a lock so that only one
// process issues from it; this one issues its signer and nothing else.
type replica struct {
	cfg     *config.Config
	h       *keys.Hierarchy
	db      *store.DB
	signers status.Signers
	reader  *status.Responder // with cache
	bare    *status.Responder // without
	tail    *status.Tail
	closers []func() error
}

func openReplica(ctx context.Context, dir string) (r *replica, err error) {
	r = &replica{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.cfg, err = config.Load(dir); err != nil {
		return r, err
	}
	if r.h, err = keys.Load(dir); err != nil {
		return r, err
	}
	cache, err := status.NewCache(uint64(r.cfg.OCSP.Cache), &r.signers)
	if err != nil {
		return r, err
	}
	if r.db, err = store.Open(ctx, store.Config{URL: r.cfg.DatabaseURL(), Revoked: cache.Revoked}); err != nil {
		return r, err
	}
	r.closers = append(r.closers, r.db.Close)
	if err := r.signer(ctx); err != nil {
		return r, fmt.Errorf("OCSP signer: %w", err)
	}
	statuses, err := r.db.StatusReader(8 * runtime.GOMAXPROCS(0))
	if err != nil {
		return r, err
	}
	r.closers = append(r.closers, statuses.Close)
	r.reader = &status.Responder{Reader: statuses, Signers: &r.signers, Now: time.Now, Cache: cache}
	r.bare = &status.Responder{Reader: statuses, Signers: &r.signers, Now: time.Now}
	r.tail = &status.Tail{Store: r.db.Revocation(), Cache: cache, Now: time.Now}
	return r, errors.Join(r.reader.Check(), r.bare.Check(), r.tail.Look(ctx))
}

func (r *replica) close() (err error) {
	if r.reader != nil {
		r.reader.Wait()
		r.bare.Wait()
	}
	for i := len(r.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, r.closers[i]())
	}
	return err
}

// signer has the issuing CA certify a signer, as a start of the service does.
func (r *replica) signer(ctx context.Context) error {
	pass, err := app.Passphrase(r.cfg, nil)
	if err != nil {
		return err
	}
	all, err := profiles.Load(r.cfg.Path("profiles"))
	if err != nil {
		return err
	}
	linter, err := app.NewLinter(all)
	if err != nil {
		return err
	}
	opened, err := r.h.OpenIssuer(ctx, population.Issuer, pass)
	if err != nil {
		return err
	}
	defer opened.Close()
	issuer, err := ca.NewIssuer(ca.IssuerConfig{ID: population.Issuer, Certificate: opened.Certificate, Signer: opened.Signer, Profiles: all,
		MayIssue: []ca.ProfileName{policy.ProfileOCSP}, Partitions: r.cfg.Partitions, StatusURL: r.h.StatusURL, Linter: linter})
	if err != nil {
		return err
	}
	s := &issue.Service{Config: issue.Config{Issuers: issue.Issuers{population.Issuer: issuer}, Owner: policy.NewID("proc"),
		SignTimeout: time.Minute, Now: time.Now}, Store: r.db.Issue()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	cert, err := s.Issue(ctx, population.Issuer, ca.Request{Profile: policy.ProfileOCSP, PublicKey: key.Public(), NotBefore: now.Add(-register.Backdate),
		NotAfter: now.Add(24 * time.Hour), Content: ca.Content{Country: "SE", CommonName: "Second process"}}, issue.Binding{}, nil)
	if err != nil {
		return err
	}
	parsed, err := x509.ParseCertificate(cert.DER)
	if err != nil {
		return err
	}
	signer, err := ca.NewResponder(opened.Certificate, parsed, key)
	if err != nil {
		return err
	}
	return r.signers.Set(population.Issuer, signer)
}

// otherChild serves OCSP beside the service.
func otherChild(ctx context.Context, s Spec, w *wire) (err error) {
	r, err := openReplica(ctx, s.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.tail.Run(ctx) })
	defer func() { cancel(); wg.Wait() }()
	h, err := responder.New(responder.Config{OCSP: r.reader, Dir: r.h.PublicDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return listen(w, h, func(q Order) Outcome {
		o, err := r.sign(ctx, q)
		if err != nil {
			o.Error = err.Error()
		}
		return o
	})
}

// sign answers requests without cache and without HTTP, on all cores, and then makes
// as many bare signatures.
func (r *replica) sign(ctx context.Context, q Order) (o Outcome, err error) {
	if len(q.Requests) == 0 {
		return o, errors.New("no requests")
	}
	o.Count, o.Took, err = onAllCores(q.Sign, func(i int) error {
		a, err := r.bare.Answer(ctx, q.Requests[i%len(q.Requests)])
		if err == nil && len(a.DER) < 100 {
			err = fmt.Errorf("answer %x", a.DER)
		}
		return err
	})
	if err != nil {
		return o, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return o, err
	}
	digest := sha256.Sum256([]byte("bare"))
	n, took, err := onAllCores(q.Sign, func(int) error { _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); return err })
	o.Bare = float64(n) / took.Seconds()
	return o, err
}

// onAllCores calls fn for so long, from as many goroutines as there are cores.
func onAllCores(long time.Duration, fn func(i int) error) (n int, took time.Duration, err error) {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for time.Since(began) < long && failed.Load() == nil {
				if err := fn(int(next.Add(1))); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		err = *e
	}
	return int(next.Load()), time.Since(began), err
}
