package process

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/population"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// FullTimes is how often the full list is issued.
const FullTimes = 5

// fullEvery is how often, by the clock of that process: the least that may be.
const fullEvery = time.Minute

// listsChild issues the full list, and tells what it took. It is not served
// meanwhile: nothing else is measured with it.
//
// Full lists are due by the clock. So that five of them need no hours, and none is of
// the future when the population is served later, the clock of this process begins in
// the past and is set forward by hand.
func listsChild(ctx context.Context, s Spec, w *wire) (err error) {
	clock := time.Now().Add(-(FullTimes + 4) * (fullEvery + 2*publish.DefaultCRLMinimum))
	a, err := app.Open(ctx, s.Dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return clock }})
	if err != nil {
		return fmt.Errorf("%w (lists are issued by a clock that begins minutes ago: measure a while after the population was last served)", err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	p, err := population.Open(s.Dir)
	if err != nil {
		return err
	}
	if err := w.encode.Encode(Ready{}); err != nil {
		return err
	}
	return obey(w, func(Order) Outcome {
		o, err := fullLists(ctx, a, p, &clock)
		if err != nil {
			o.Error = err.Error()
		}
		return o
	})
}

func fullLists(ctx context.Context, a *app.App, p *population.Population, clock *time.Time) (o Outcome, err error) {
	whole := &publish.Publisher{Store: a.DB.Revocation(), Dir: a.Publisher.Dir, Lint: a.Publisher.Lint, Now: a.Publisher.Now, FullEvery: fullEvery, Log: slog.New(slog.DiscardHandler)}
	for _, scope := range a.Publisher.Scopes {
		if scope.Issuer == population.Issuer {
			whole.Scopes = append(whole.Scopes, scope)
		}
	}
	if err := whole.Check(); err != nil {
		return o, err
	}
	serials, err := spares(ctx, p)
	if err != nil {
		return o, err
	}
	r := &Revoker{a: a, dir: p.Dir}
	for i := range serials {
		if _, err := r.Revoke(ctx, Order{Revoke: serials[i : i+1]}); err != nil {
			return o, err
		}
		if err := a.Sequencer.CatchUp(ctx); err != nil {
			return o, err
		}
		// The partition's list is due at once, the full list a minute later.
		began := time.Now()
		if _, err := whole.Publish(ctx, *clock); err != nil {
			return o, err
		}
		if i == 0 {
			o.First = time.Since(began)
		}
		*clock = clock.Add(fullEvery)
		took, peak, err := measured(func() error {
			n, err := whole.Publish(ctx, *clock)
			if err == nil && n != 1 {
				err = fmt.Errorf("%d lists were published", n)
			}
			return err
		})
		if err != nil {
			return o, err
		}
		*clock = clock.Add(2 * publish.DefaultCRLMinimum)
		o.Times, o.Peak = append(o.Times, took), max(o.Peak, peak)
	}
	return o, o.readList(filepath.Join(whole.Dir, publish.CRLPath(population.Issuer, revocation.Whole)))
}

// Spare is how many of the last current certificates are kept for full lists: nobody
// else takes them.
const Spare = 10 * (FullTimes + 1)

// spares returns one certificate for each full list.
func spares(ctx context.Context, p *population.Population) (out []ca.Serial, err error) {
	mark := max(0, p.Certs-p.Revoked-Spare)
	serials, revoked, err := p.Sample(ctx, min(Spare, p.Certs-p.Revoked), p.Next(&mark))
	if err != nil {
		return nil, err
	}
	for i := range serials {
		if !revoked[i] && len(out) <= FullTimes {
			out = append(out, serials[i])
		}
	}
	if len(out) < 2 {
		return nil, errors.New("the population has no current certificates left to revoke")
	}
	return out, nil
}

// readList tells what is in the list, and how long its hash takes.
func (o *Outcome) readList(path string) error {
	der, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	o.Octets, o.Bare = int64(len(der)), float64(time.Hour)
	for range 3 {
		began := time.Now()
		sha256.Sum256(der)
		o.Bare = min(o.Bare, float64(time.Since(began)))
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	o.Count = len(list.RevokedCertificateEntries)
	return nil
}

// measured runs fn and returns what it took in time and, above what there was
// before, in memory; 0: not known.
func measured(fn func() error) (took time.Duration, peak int64, err error) {
	runtime.GC()
	debug.FreeOSMemory()
	known := figure.ResetPeak() == nil
	before := figure.Resident()
	began := time.Now()
	err = fn()
	took = time.Since(began)
	if known && before > 0 {
		peak = max(figure.Peak()-before, 1)
	}
	return took, peak, err
}

// libraryChild makes as long a list by crypto/x509.
func libraryChild(_ context.Context, s Spec, w *wire) error {
	if err := w.encode.Encode(Ready{}); err != nil {
		return err
	}
	return obey(w, func(Order) (o Outcome) {
		var octets int
		var err error
		_, o.Peak, err = measured(func() error { o.Took, octets, err = ByLibrary(s.Count); return err })
		o.Octets = int64(octets)
		if err != nil {
			o.Error = err.Error()
		}
		return o
	})
}

// ByLibrary makes a list by crypto/x509.
func ByLibrary(entries int) (took time.Duration, octets int, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, 0, err
	}
	issuer := &x509.Certificate{RawSubject: []byte{0x30, 0}, Subject: pkix.Name{CommonName: "library"}, KeyUsage: x509.KeyUsageCRLSign,
		SubjectKeyId: []byte{1, 2, 3, 4}, PublicKey: key.Public()}
	now := time.Now()
	list := make([]x509.RevocationListEntry, entries)
	for i := range list {
		serial := ca.NewSerial()
		list[i] = x509.RevocationListEntry{SerialNumber: serial.Int(), RevocationTime: now, ReasonCode: int(ca.Superseded)}
	}
	began := time.Now()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour),
		RevokedCertificateEntries: list}, issuer, key)
	return time.Since(began), len(der), err
}
