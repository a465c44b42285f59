package status

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

const (
	partitionEntries = 12_000
	listings         = 30 // of the partition
)

// partition: one list of 12,000 entries and one more, again and again.
func (s *Session) partition(ctx context.Context, emit func(figure.Figure)) (err error) {
	dir, err := os.MkdirTemp(s.c.Dir, "sigill-bench-")
	if err != nil {
		return err
	}
	defer func() { err = orElse(err, os.RemoveAll(dir)) }()
	n, times := s.few(partitionEntries), s.few(listings)
	p, err := s.makePopulation(ctx, filepath.Join(dir, "population"), n+times, n, 1)
	if err != nil {
		return err
	}
	a, err := app.Open(ctx, p.Dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = orElse(err, a.Close()) }()
	if err := a.Sequencer.CatchUp(ctx); err != nil {
		return err
	}
	now := time.Now()
	if _, err := a.Publisher.Publish(ctx, now); err != nil {
		return err
	}
	serials, _, err := p.Sample(ctx, times, next(p, new(int)))
	if err != nil {
		return err
	}
	r := &revoker{a: a, dir: p.Dir}
	took := make([]time.Duration, 0, times)
	for i := range serials {
		if _, err := r.revoke(ctx, order{Revoke: serials[i : i+1]}); err != nil {
			return err
		}
		if err := a.Sequencer.CatchUp(ctx); err != nil {
			return err
		}
		now = now.Add(2 * publish.DefaultCRLMinimum)
		began := time.Now()
		published, err := a.Publisher.Publish(ctx, now)
		took = append(took, time.Since(began))
		if err != nil || published != 1 {
			return fmt.Errorf("%d lists were published: %w", published, err)
		}
	}
	der, err := os.ReadFile(filepath.Join(a.Publisher.Dir, publish.CRLPath(population.Issuer, 0)))
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil || len(list.RevokedCertificateEntries) != n+times {
		return fmt.Errorf("the list has %d entries: %w", len(list.RevokedCertificateEntries), err)
	}
	hash, library, err := bareList(der, n+times)
	if err != nil {
		return err
	}
	value := figure.Milli(median(took))
	emit(figure.Less("crl_partition_12k_ms", value, "ms", figure.Milli(hash), fmt.Sprintf(
		"median of %d, p99 %.1f ms: a list of %d entries (%d octets) after each revocation, by the real publisher: two transactions, signature, the new list compared with the public one entry by entry, lint, fsync; x509.CreateRevocationList of as many entries alone: %.1f ms; ceiling: SHA-256 of the same octets",
		len(took), figure.Percentile(took, 0.99), n+times, len(der), figure.Milli(library))))
	return nil
}

// next draws the current certificates of p one after the other, beginning at *mark.
func next(p *population.Population, mark *int) func() int {
	return func() int {
		i := p.Current(*mark)
		*mark++
		return i
	}
}

// bareList measures the hash of a list's octets and what the library alone takes for
// as many entries, each the best of a few.
func bareList(der []byte, entries int) (hash, library time.Duration, err error) {
	hash, library = time.Hour, time.Hour
	for range 5 {
		began := time.Now()
		sha256.Sum256(der)
		hash = min(hash, time.Since(began))
	}
	for range 3 {
		took, _, err := byLibrary(entries)
		if err != nil {
			return 0, 0, err
		}
		library = min(library, took)
	}
	return hash, library, nil
}

// byLibrary makes a list by crypto/x509.
func byLibrary(entries int) (took time.Duration, octets int, err error) {
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

// full: the list of all that is revoked.
func (s *Session) full(ctx context.Context, emit func(figure.Figure)) error {
	p, err := s.population(ctx)
	if err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	s.c.Progress("the full CRL of %d entries", p.Revoked)
	child, err := s.begin(ctx, Lists, spec{Dir: p.Dir})
	if err != nil {
		return err
	}
	o, err := child.ask(order{})
	if err := orElse(err, child.end()); err != nil {
		return err
	}
	library, err := s.begin(ctx, Library, spec{Count: o.Count})
	if err != nil {
		return err
	}
	l, err := library.ask(order{})
	if err := orElse(err, library.end()); err != nil {
		return err
	}
	value, hash := figure.Milli(median(o.Times)), time.Duration(o.Bare)
	emit(figure.Less("crl_full_1m_ms", value, "ms", figure.Milli(hash), fmt.Sprintf(
		"median of %d full lists of %d entries (%d octets), each after one more revocation, by the real publisher with all its checks; all %d lists of the issuer for the first time in a process, of which what is public already is only read: %.0f ms; x509.CreateRevocationList of as many entries alone: %.0f ms; ceiling: SHA-256 of the same octets",
		len(o.Times), o.Count, o.Octets, p.Partitions+1, figure.Milli(o.First), figure.Milli(l.Took))))
	if o.Peak > 0 && l.Peak > 0 {
		emit(figure.Less("crl_full_1m_peak_mb", figure.Mega(o.Peak), "MB", figure.Mega(o.Octets), fmt.Sprintf(
			"memory at the most while a full list was issued, above what the process had before; x509.CreateRevocationList: %.0f MB; ceiling: the octets of the list, which a list held whole would take once", figure.Mega(l.Peak))))
	}
	return nil
}

// fullTimes is how often the full list is issued.
const fullTimes = 5

// fullEvery is how often, by the clock of that process: the least that may be.
const fullEvery = time.Minute

// listsChild issues the full list, and tells what it took. It is not served
// meanwhile: nothing else is measured with it.
//
// Full lists are due by the clock. So that five of them need no hours, and none is of
// the future when the population is served later, the clock of this process begins in
// the past and is set forward by hand.
func listsChild(ctx context.Context, s spec, w *wire) (err error) {
	clock := time.Now().Add(-(fullTimes + 4) * (fullEvery + 2*publish.DefaultCRLMinimum))
	a, err := app.Open(ctx, s.Dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return clock }})
	if err != nil {
		return fmt.Errorf("%w (lists are issued by a clock that begins minutes ago: measure a while after the population was last served)", err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	p, err := population.Open(s.Dir)
	if err != nil {
		return err
	}
	if err := w.encode.Encode(ready{}); err != nil {
		return err
	}
	return obey(w, func(order) outcome {
		o, err := fullLists(ctx, a, p, &clock)
		if err != nil {
			o.Error = err.Error()
		}
		return o
	})
}

func fullLists(ctx context.Context, a *app.App, p *population.Population, clock *time.Time) (o outcome, err error) {
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
	r := &revoker{a: a, dir: p.Dir}
	for i := range serials {
		if _, err := r.revoke(ctx, order{Revoke: serials[i : i+1]}); err != nil {
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

// spare is how many of the last current certificates are kept for full lists: nobody
// else takes them.
const spare = 10 * (fullTimes + 1)

// spares returns one certificate for each full list.
func spares(ctx context.Context, p *population.Population) (out []ca.Serial, err error) {
	mark := max(0, p.Certs-p.Revoked-spare)
	serials, revoked, err := p.Sample(ctx, min(spare, p.Certs-p.Revoked), next(p, &mark))
	if err != nil {
		return nil, err
	}
	for i := range serials {
		if !revoked[i] && len(out) <= fullTimes {
			out = append(out, serials[i])
		}
	}
	if len(out) < 2 {
		return nil, errors.New("the population has no current certificates left to revoke")
	}
	return out, nil
}

// readList tells what is in the list, and how long its hash takes.
func (o *outcome) readList(path string) error {
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
func libraryChild(_ context.Context, s spec, w *wire) error {
	if err := w.encode.Encode(ready{}); err != nil {
		return err
	}
	return obey(w, func(order) (o outcome) {
		var octets int
		var err error
		_, o.Peak, err = measured(func() error { o.Took, octets, err = byLibrary(s.Count); return err })
		o.Octets = int64(octets)
		if err != nil {
			o.Error = err.Error()
		}
		return o
	})
}
