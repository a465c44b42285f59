package status

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sigill/internal/app"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/population"
	"sigill/internal/bench/process"
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
	serials, _, err := p.Sample(ctx, times, p.Next(new(int)))
	if err != nil {
		return err
	}
	r := process.NewRevoker(a, p.Dir)
	took := make([]time.Duration, 0, times)
	for i := range serials {
		if _, err := r.Revoke(ctx, process.Order{Revoke: serials[i : i+1]}); err != nil {
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
	value := figure.Milli(figure.Median(took))
	emit(figure.Less("crl_partition_12k_ms", value, "ms", figure.Milli(hash), fmt.Sprintf(
		"median of %d, p99 %.1f ms: a list of %d entries (%d octets) after each revocation, by the real publisher: two transactions, signature, the new list compared with the public one entry by entry, lint, fsync; x509.CreateRevocationList of as many entries alone: %.1f ms; ceiling: SHA-256 of the same octets",
		len(took), figure.Percentile(took, 0.99), n+times, len(der), figure.Milli(library))))
	return nil
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
		took, _, err := process.ByLibrary(entries)
		if err != nil {
			return 0, 0, err
		}
		library = min(library, took)
	}
	return hash, library, nil
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
	child, err := s.begin(ctx, process.Lists, process.Spec{Dir: p.Dir})
	if err != nil {
		return err
	}
	o, err := child.ask(process.Order{})
	if err := orElse(err, child.end()); err != nil {
		return err
	}
	library, err := s.begin(ctx, process.Library, process.Spec{Count: o.Count})
	if err != nil {
		return err
	}
	l, err := library.ask(process.Order{})
	if err := orElse(err, library.end()); err != nil {
		return err
	}
	value, hash := figure.Milli(figure.Median(o.Times)), time.Duration(o.Bare)
	emit(figure.Less("crl_full_1m_ms", value, "ms", figure.Milli(hash), fmt.Sprintf(
		"median of %d full lists of %d entries (%d octets), each after one more revocation, by the real publisher with all its checks; all %d lists of the issuer for the first time in a process, of which what is public already is only read: %.0f ms; x509.CreateRevocationList of as many entries alone: %.0f ms; ceiling: SHA-256 of the same octets",
		len(o.Times), o.Count, o.Octets, p.Partitions+1, figure.Milli(o.First), figure.Milli(l.Took))))
	if o.Peak > 0 && l.Peak > 0 {
		emit(figure.Less("crl_full_1m_peak_mb", figure.Mega(o.Peak), "MB", figure.Mega(o.Octets), fmt.Sprintf(
			"memory at the most while a full list was issued, above what the process had before; x509.CreateRevocationList: %.0f MB; ceiling: the octets of the list, which a list held whole would take once", figure.Mega(l.Peak))))
	}
	return nil
}
