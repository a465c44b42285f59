package status

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/httpload"
	"sigill/internal/bench/population"
	"sigill/internal/bench/process"
)

const (
	revocations = 150
	revokeEvery = 60 * time.Millisecond
	listedOnes  = 12
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
