// Package status measures what relying parties get: OCSP answers, lists, and how soon
// a revocation is in them. Everything is measured over a population, on a service that
// runs in a process of its own as `sigill serve` runs it, beside a ceiling of the same
// run: the same generator over the same kind of sockets against a constant.
//
// It changes nothing in what it measures. What the service and its helpers do in their
// own processes is in [Child].
package status

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigill/internal/bench/figure"
	"sigill/internal/bench/httpload"
	"sigill/internal/bench/population"
	"sigill/internal/bench/process"
)

// The quick form: a million revoked certificates, and as many current ones as the
// revoking figures use up.
const (
	quickRevoked    = 1_000_000
	quickCurrent    = 110_000
	quickPartitions = 256
)

// Session is what the benchmarks of one run share: the population, and who asks.
// It is for one goroutine.
type Session struct {
	c     figure.Config
	p     *population.Population
	own   bool // the population goes with the session
	temp  string
	gen   *httpload.Generator
	serve *service
	mark  int // certificates before this index were revoked by the session
}

// Benchmarks returns the benchmarks of one run, which share a population. After the
// last of them ended, end is called.
func Benchmarks() (list []figure.Benchmark, end func() error) {
	s := &Session{}
	with := func(run func(context.Context, func(figure.Figure)) error) func(context.Context, figure.Config, func(figure.Figure)) error {
		return func(ctx context.Context, c figure.Config, emit func(figure.Figure)) error {
			s.c = c
			return run(ctx, emit)
		}
	}
	return []figure.Benchmark{
		{Name: "crl_partition_12k_ms", Help: "a partition of 12,000 entries issued anew, with all checks", Run: with(s.partition)},
		{Name: "crl_full_1m_ms", Help: "the full CRL of all that is revoked, with all checks, and the memory it takes", Run: with(s.full)},
		{Name: "start_ms", Help: "from the start of the process to the first answer, over the population", Run: with(s.start)},
		{Name: "ocsp_cached_get", Help: "OCSP answers from memory, over GET and POST, and all certificates alike", Run: with(s.cached)},
		{Name: "ocsp_fresh", Help: "OCSP answers read and signed for each request, over sockets and in process", Run: with(s.fresh)},
		{Name: "revoke_to_ocsp_p99_ms", Help: "from revoking to OCSP saying so, in the same and in another process, and to the CRL", Run: with(s.revoke)},
		{Name: "mass_revocation_100k_s", Help: "100,000 certificates revoked by a list, and OCSP meanwhile; some one by one", Run: with(s.mass)},
		{Name: "peers_ocsp", Help: "CFSSL's and OpenSSL's OCSP responders, by the same generator", Run: with(s.peersOCSP)},
		{Name: "peers_crl", Help: "step-ca's CRL", Run: with(s.peersCRL)},
	}, s.end
}

// end stops what runs and removes what the session made.
func (s *Session) end() error {
	err := s.stop()
	if s.gen != nil {
		err = errors.Join(err, s.gen.Close())
	}
	if s.own {
		err = errors.Join(err, os.RemoveAll(s.temp))
	}
	return err
}

// population returns the population, made if none was given.
func (s *Session) population(ctx context.Context) (*population.Population, error) {
	if s.p != nil {
		return s.p, nil
	}
	var err error
	if s.c.Population != "" {
		s.p, err = population.Open(s.c.Population)
		return s.p, err
	}
	if s.temp, err = os.MkdirTemp(s.c.Dir, "sigill-bench-"); err != nil {
		return nil, err
	}
	s.own = true
	revoked, current := quickRevoked, quickCurrent*max(s.c.Scale, 1)
	if s.c.Scale > 1 {
		current = quickRevoked*s.c.Scale - revoked
	}
	partitions := quickPartitions
	if s.c.Amount > 0 {
		revoked, current, partitions = 40*s.c.Amount, 60*s.c.Amount, 4
	}
	s.p, err = s.makePopulation(ctx, filepath.Join(s.temp, "population"), revoked+current, revoked, partitions)
	return s.p, err
}

func (s *Session) makePopulation(ctx context.Context, dir string, certs, revoked, partitions int) (*population.Population, error) {
	s.c.Progress("making a population of %d certificates, %d of them revoked", certs, revoked)
	p, err := population.Make(ctx, population.Options{Dir: dir, Certs: certs, Revoked: revoked, Partitions: partitions})
	if err != nil {
		return nil, fmt.Errorf("population: %w", err)
	}
	s.c.Progress("made in %.0f s: %.0f rows a second, %.0f MB", p.Took.Seconds(), p.RowsPerSecond, figure.Mega(p.Octets))
	return p, nil
}

// generator returns the load generator, started if need be.
func (s *Session) generator(ctx context.Context) (*httpload.Generator, error) {
	if s.gen != nil {
		return s.gen, nil
	}
	var err error
	s.gen, err = httpload.Start(ctx, s.command(process.Requests))
	return s.gen, err
}
