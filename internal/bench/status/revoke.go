package status

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/httpload"
	"sigill/internal/bench/population"
	"sigill/internal/bench/process"
	"sigill/internal/store"
	"sigill/internal/world"
	"sigill/orders/issue"
	"sigill/revocation"
)

const (
	revocations = 150
	revokeEvery = 60 * time.Millisecond
	listedOnes  = 12
	massAmount  = 100_000
	massAtOnce  = 128 // what a commit of SQLite takes in
	massLoad    = 2000
	// A revocation writes an event and its entry, and takes a standing away.
	rowsOfRevocation = 3
	bareAmount       = 10_000
	massLoadTime     = 2 * time.Second
)

// take returns n current certificates, or as many as are left: those that were
// revoked since the population was made are passed over.
func (s *Session) take(ctx context.Context, n int) (out []ca.Serial, err error) {
	for len(out) < n {
		left := s.p.Certs - s.p.Revoked - process.Spare - s.mark
		if left < 1 {
			break
		}
		serials, revoked, err := s.p.Sample(ctx, min(n-len(out), left), s.p.Next(&s.mark))
		if err != nil {
			return nil, err
		}
		for i := range serials {
			if !revoked[i] {
				out = append(out, serials[i])
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the population has no current certificates left to revoke")
	}
	return out, nil
}

// revoke: how soon a revocation is seen.
func (s *Session) revoke(ctx context.Context, emit func(figure.Figure)) error {
	serve, err := s.served(ctx)
	if err != nil {
		return err
	}
	other, err := s.begin(ctx, process.Other, process.Spec{Dir: s.p.Dir})
	if err != nil {
		return err
	}
	serials, err := s.take(ctx, s.few(revocations))
	if err != nil {
		return orElse(err, other.end())
	}
	issuer, err := issuerOf(s.p)
	if err != nil {
		return orElse(err, other.end())
	}
	own, others, called, err := s.seen(ctx, serve, other, issuer, serials)
	if err := orElse(err, other.end()); err != nil {
		return err
	}
	note := "%d revocations, one every %v, by the act of an administrator; from before it is asked for until OCSP over HTTP says revoked, asked for every few milliseconds; the answer good was in memory before; median %.1f ms, the act alone p99 %.1f ms; ceiling: %s"
	emit(figure.Less("revoke_to_ocsp_p99_ms", figure.Percentile(own, 0.99), "ms", figure.Percentile(called, 0.99),
		fmt.Sprintf(note, len(own), revokeEvery, figure.Percentile(own, 0.5), figure.Percentile(called, 0.99), "the act alone, p99")))
	emit(figure.Less("revoke_to_ocsp_other_p99_ms", figure.Percentile(others, 0.99), "ms", figure.Percentile(own, 0.99),
		fmt.Sprintf("in a second process on the same SQLite database. "+note, len(others), revokeEvery, figure.Percentile(others, 0.5), figure.Percentile(called, 0.99), "the same in the process that revokes, p99")))
	listed, err := s.listed(ctx, serve)
	if err != nil {
		return err
	}
	emit(figure.Less("revoke_to_crl_ms", figure.Percentile(listed, 1), "ms", figure.Percentile(own, 0.99),
		fmt.Sprintf("the longest of %d, median %.0f ms: until the partition's public list, fetched over HTTP, has the serial; ceiling: OCSP in the same process, p99", len(listed), figure.Percentile(listed, 0.5))))
	return s.onPostgres(ctx, emit)
}

// seen revokes one certificate after the other and asks both processes.
func (s *Session) seen(ctx context.Context, serve, other *service, issuer *x509.Certificate, serials []ca.Serial) (own, others, called []time.Duration, err error) {
	own, others = make([]time.Duration, len(serials)), make([]time.Duration, len(serials))
	ask := make([][]byte, len(serials))
	for i, serial := range serials {
		if ask[i], err = question(issuer, serial); err != nil {
			return nil, nil, nil, err
		}
		for _, p := range []*service{serve, other} { // now it is in both caches
			if said, err := says(ctx, p, ask[i]); err != nil || said != ocsp.Good {
				return nil, nil, nil, fmt.Errorf("%s before it is revoked: %d, %w", serial, said, err)
			}
		}
	}
	s.c.Progress("%d revocations, asking two processes", len(serials))
	var wg sync.WaitGroup
	var first error
	var once sync.Once
	for i := range serials {
		began := time.Now()
		for to, p := range map[*time.Duration]*service{&own[i]: serve, &others[i]: other} {
			wg.Go(func() {
				if err := until(ctx, p, ask[i], began, to); err != nil {
					once.Do(func() { first = err })
				}
			})
		}
		o, err := serve.ask(process.Order{Revoke: serials[i : i+1]})
		if err != nil {
			once.Do(func() { first = err })
			break
		}
		called = append(called, o.Took)
		time.Sleep(time.Until(began.Add(revokeEvery)))
	}
	wg.Wait()
	return own, others, called, first
}

// patience bounds the wait for one revocation.
const patience = 20 * time.Second

// until asks p until it says revoked, and tells how long that was after began.
func until(ctx context.Context, p *service, ask []byte, began time.Time, to *time.Duration) error {
	for {
		said, err := says(ctx, p, ask)
		if err != nil {
			return err
		}
		if *to = time.Since(began); said == ocsp.Revoked {
			return nil
		}
		if *to > patience {
			return fmt.Errorf("not seen after %v", patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// says returns the status that a process tells.
func says(ctx context.Context, p *service, ask []byte) (int, error) {
	der, err := fetchPost(ctx, "http://"+p.Status+"/ocsp", ask)
	if err != nil {
		return 0, err
	}
	a, err := ocsp.ParseResponse(der, nil)
	if err != nil {
		return 0, err
	}
	return a.Status, nil
}

// listed revokes certificates of different partitions and fetches their lists.
func (s *Session) listed(ctx context.Context, serve *service) ([]time.Duration, error) {
	serials, err := s.take(ctx, s.few(listedOnes))
	if err != nil {
		return nil, err
	}
	s.c.Progress("%d revocations, asking for lists", len(serials))
	times := make([]time.Duration, len(serials))
	for i, serial := range serials {
		address := fmt.Sprintf("http://%s/crl/%s/%d.crl", serve.Status, population.Issuer, ca.PartitionOf(serial, s.p.Partitions))
		began := time.Now()
		if _, err := serve.ask(process.Order{Revoke: serials[i : i+1]}); err != nil {
			return nil, err
		}
		for {
			list, err := fetchGet(ctx, address)
			if err != nil {
				return nil, err
			}
			if times[i] = time.Since(began); bytes.Contains(list, serial[:]) {
				break
			}
			if times[i] > patience {
				return nil, fmt.Errorf("%s is not in %s after %v", serial, address, patience)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return times, nil
}

// mass: a hundred thousand certificates are revoked, and relying parties ask on.
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
	s.c.Progress("revoking %d certificates", len(serials))
	type result struct {
		process.Outcome
		err error
	}
	done := make(chan struct{})
	results := make(chan result, 1)
	began := time.Now()
	go func() {
		defer close(done)
		o, err := serve.ask(process.Order{Revoke: serials, AtOnce: massAtOnce})
		results <- result{o, err}
	}()
	during, err := s.asking(ctx, serve, questions, done)
	r := <-results
	if err := orElse(r.err, err); err != nil {
		return err
	}
	listed, err := serve.ask(process.Order{Listed: entries + len(serials)})
	if err != nil {
		return err
	}
	all := time.Since(began)
	bare, err := s.bareWrites(ctx, len(serials))
	if err != nil {
		return err
	}
	emit(figure.Less("mass_revocation_100k_s", r.Took.Seconds(), "s", bare.Seconds(), fmt.Sprintf(
		"%d certificates, each by the act of an administrator in a transaction of its own, %d at once, committed durably together; each p99 %.0f ms; in the public lists of all partitions after %.1f s, %d entries; ceiling: as many transactions from as many callers, with as many rows, as bare inserts in a database of their own, extrapolated from %d",
		len(serials), massAtOnce, figure.Percentile(r.Times, 0.99), all.Seconds(), listed.Count, s.few(bareAmount))))
	emit(figure.Less("ocsp_p99_during_mass_ms", figure.Milli(during.P99), "ms", figure.Milli(before.P99), fmt.Sprintf(
		"OCSP, %d requests a second, while that went on: median %.2f ms, longest %.1f ms; ceiling: the same load before it, p99 (median %.2f ms)",
		massLoad, figure.Milli(during.P50), figure.Milli(during.Most), figure.Milli(before.P50))))
	return nil
}

// bareWrites measures what n transactions of a revocation's rows cost alone.
func (s *Session) bareWrites(ctx context.Context, n int) (took time.Duration, err error) {
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
	few := s.few(bareAmount)
	began := time.Now()
	err = figure.Each(few, massAtOnce, func(int) error {
		return db.Issue().Update(ctx, func(tx *issue.Tx) error {
			for range rowsOfRevocation {
				if err := tx.Events.Append(issue.NewEvent(audit.OrderExpired, time.Now(), "system", issue.F("order", "ord_0"), issue.F("card", "0"))); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return time.Duration(float64(time.Since(began)) * float64(n) / float64(few)), err
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

// asking asks at a steady rate: once, or until done.
func (s *Session) asking(ctx context.Context, serve *service, questions [][]byte, done <-chan struct{}) (sum httpload.Report, err error) {
	g, err := s.generator(ctx)
	if err != nil {
		return sum, err
	}
	long := massLoadTime
	if s.c.Amount > 0 {
		long = s.long()
	}
	j := httpload.Job{Address: serve.Status, Requests: requests(serve.Status, questions, get), Zipf: skew, Connections: 16, Rate: massLoad, Time: long, Want: successful}
	for {
		r, err := g.Do(j)
		if err != nil {
			return sum, err
		}
		sum, j.Requests, j.Seed = added(sum, r), nil, j.Seed+1
		if done == nil {
			return sum, nil
		}
		select {
		case <-done:
			return sum, nil
		default:
		}
	}
}

// start: from nothing to the first answer.
func (s *Session) start(ctx context.Context, emit func(figure.Figure)) error {
	if err := s.stop(); err != nil {
		return err
	}
	first, err := s.served(ctx)
	if err != nil {
		return err
	}
	began := first.took
	var took []time.Duration
	for range 3 {
		if err := s.stop(); err != nil {
			return err
		}
		p, err := s.served(ctx)
		if err != nil {
			return err
		}
		took = append(took, p.took)
	}
	constant, err := s.begin(ctx, process.Constant, process.Spec{Length: 1})
	if err != nil {
		return err
	}
	if err := constant.end(); err != nil {
		return err
	}
	emit(figure.Less("start_ms", figure.Milli(figure.Median(took)), "ms", figure.Milli(constant.took), fmt.Sprintf(
		"from starting the process until all listeners answer, over %d certificates and %d revocations, median of %d; the first start, which publishes what of the %d lists is not public yet: %.0f ms; ceiling: the same program starting a constant server",
		s.p.Certs, s.p.Revoked, len(took), s.p.Partitions+1, figure.Milli(began))))
	return nil
}
