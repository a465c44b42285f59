package status

import (
	"context"
	"fmt"
	"os"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/httpload"
	"sigill/internal/bench/population"
	"sigill/internal/bench/process"
	"sigill/internal/store"
	"sigill/internal/world"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/revocation"
)

const (
	massAmount = 100_000
	oneAmount  = 5_000
	oneAtOnce  = 128 // what a commit of SQLite takes in
	massLoad   = 2000
	// A revocation writes an event and its entry, and takes a standing away.
	rowsOfRevocation = 3
	bareAmount       = 10_000
	massLoadTime     = 2 * time.Second
)

// mass: a hundred thousand certificates are revoked by a list, and relying parties
// ask on; before that a few, one by one.
func (s *Session) mass(ctx context.Context, emit func(figure.Figure)) error {
	serve, err := s.served(ctx)
	if err != nil {
		return err
	}
	questions, err := s.questions(ctx, s.few(workingSet), true, 1)
	if err != nil {
		return err
	}
	if err := s.warm(ctx, serve, questions); err != nil {
		return err
	}
	if err := s.oneByOne(ctx, serve, emit); err != nil {
		return err
	}
	before, err := s.asking(ctx, serve, questions, nil)
	if err != nil {
		return err
	}
	serials, err := s.take(ctx, s.few(massAmount))
	if err != nil {
		return err
	}
	entries, err := s.revokedByNow(ctx)
	if err != nil {
		return err
	}
	s.c.Progress("revoking %d certificates by a list", len(serials))
	r, during, err := s.revokedWhileAsked(ctx, serve, questions, serials)
	if err != nil {
		return err
	}
	listed, err := serve.ask(process.Order{Listed: entries + len(serials)})
	if err != nil {
		return err
	}
	all := r.Took + listed.Took
	bare, err := s.bareWrites(ctx, len(serials), download.Together, 1)
	if err != nil {
		return err
	}
	emit(figure.Less("mass_revocation_100k_s", r.Took.Seconds(), "s", bare.Seconds(), fmt.Sprintf(
		"%d certificates by one list, which two administrators have stated: from its approval until all are revoked durably, %d in a transaction; in the public lists of all partitions after %.1f s, %d entries; ceiling: as many transactions, one after the other, with as many rows, as bare inserts in a database of their own, extrapolated from %d",
		len(serials), download.Together, all.Seconds(), listed.Count, s.few(bareAmount))))
	emit(figure.Less("ocsp_p99_during_mass_ms", figure.Milli(during.P99), "ms", figure.Milli(before.P99), fmt.Sprintf(
		"OCSP, %d requests a second, while that went on: median %.2f ms, longest %.1f ms; ceiling: the same load before it, p99 (median %.2f ms)",
		massLoad, figure.Milli(during.P50), figure.Milli(during.Most), figure.Milli(before.P50))))
	return nil
}

// revokedWhileAsked has the service revoke by a list, and asks it meanwhile.
func (s *Session) revokedWhileAsked(ctx context.Context, serve *service, questions [][]byte, serials []ca.Serial) (process.Outcome, httpload.Report, error) {
	type result struct {
		process.Outcome
		err error
	}
	done := make(chan struct{})
	results := make(chan result, 1)
	go func() {
		defer close(done)
		o, err := serve.ask(process.Order{Revoke: serials, AsList: true})
		results <- result{o, err}
	}()
	during, err := s.asking(ctx, serve, questions, done)
	r := <-results
	return r.Outcome, during, orElse(r.err, err)
}

// oneByOne: certificates revoked by an act each, as many administrators at once as a
// commit takes in.
func (s *Session) oneByOne(ctx context.Context, serve *service, emit func(figure.Figure)) error {
	serials, err := s.take(ctx, s.few(oneAmount))
	if err != nil {
		return err
	}
	s.c.Progress("revoking %d certificates one by one", len(serials))
	r, err := serve.ask(process.Order{Revoke: serials, AtOnce: oneAtOnce})
	if err != nil {
		return err
	}
	bare, err := s.bareWrites(ctx, len(serials), 1, oneAtOnce)
	if err != nil {
		return err
	}
	rate := func(took time.Duration) float64 { return float64(len(serials)) / took.Seconds() }
	emit(figure.More("revoke_one_by_one", rate(r.Took), "/s", rate(bare), fmt.Sprintf(
		"%d certificates, each by the act of an administrator in a transaction of its own, %d at once, committed durably together; each p99 %.0f ms; ceiling: as many transactions from as many callers, with as many rows, as bare inserts in a database of their own, extrapolated from %d",
		len(serials), oneAtOnce, figure.Percentile(r.Times, 0.99), s.few(bareAmount))))
	return nil
}

// bareWrites measures what n revocations' rows cost alone, so many together in a
// transaction, and so many transactions at once.
func (s *Session) bareWrites(ctx context.Context, n, together, atOnce int) (took time.Duration, err error) {
	dir, err := os.MkdirTemp(s.c.Dir, "sigill-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = orElse(err, os.RemoveAll(dir)) }()
	db, err := world.OpenStore(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = orElse(err, db.Close()) }()
	transactions := max(s.few(bareAmount)/together, 1)
	began := time.Now()
	err = figure.Each(transactions, atOnce, func(int) error {
		return db.Issue().Update(ctx, func(tx *issue.Tx) error {
			for range together * rowsOfRevocation {
				if err := tx.Events.Append(issue.NewEvent(audit.OrderExpired, time.Now(), "system", issue.F("order", "ord_0"), issue.F("card", "0"))); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return time.Duration(float64(time.Since(began)) * float64(n) / float64(transactions*together)), err
}

// revokedByNow counts the entries that the lists of all partitions must have.
func (s *Session) revokedByNow(ctx context.Context) (n int, err error) {
	db, err := store.Open(ctx, store.Config{URL: s.p.Database()})
	if err != nil {
		return 0, err
	}
	defer func() { err = orElse(err, db.Close()) }()
	err = db.Revocation().View(ctx, func(tx *revocation.Tx) error {
		n = 0
		for partition := range s.p.Partitions {
			err := tx.Lines(revocation.List{Issuer: population.Issuer, Partition: partition}, time.Unix(0, 0), func([]byte) error { n++; return nil })
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
