package app

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"time"

	"sigill/internal/responder"
	"sigill/revocation/status"
)

// ocspService is what answers OCSP in this process.
type ocspService struct {
	cache     *status.Cache
	responder *status.Responder
	tail      *status.Tail
	ahead     *status.Presigner // nil: no answers are signed ahead
	clients   *responder.Connections
}

// keptFiles are the files that strangers at the status listener cannot take: the
// database's, the other listeners' connections, keys, what is being published.
const keptFiles = 1024

// statusConnections is how many connections the status listener may have where so many
// files may be open: each may read a list beside.
func statusConnections(configured int, files uint64) int {
	if files < 2*keptFiles {
		return min(configured, int(files/4))
	}
	return min(configured, int(min((files-keptFiles)/2, 1<<20)))
}

// statusServer makes the server of the status listener.
func (a *App) statusServer(h http.Handler) *http.Server {
	most := a.Config.Listen.StatusConnections
	if files, ok := openFiles(); ok {
		if n := statusConnections(most, files); n < most {
			a.log.Warn("the status listener holds fewer connections than listen.status_connections, for want of files that may be open",
				"connections", n, "configured", most, "files", files)
			most = n
		}
	}
	a.ocsp.clients = responder.NewConnections(most, a.log)
	return responder.NewServer(h, a.ocsp.clients)
}

// Answers that are not in the cache are made by so many at once for each core, with a
// connection each: enough for the cores to sign while others wait for the database. A
// place is free again in a fraction of a millisecond, so a few more may wait for one.
const (
	missesPerCore = 4
	missesWaiting = 64 // for each place
)

// unknownBurst is how many seconds' allowance of unknown answers an address may have
// at once.
const unknownBurst = 10

// status makes the handler of the status listener.
func (a *App) status() (http.Handler, error) {
	places := missesPerCore * runtime.GOMAXPROCS(0)
	reader, err := a.DB.StatusReader(places)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, reader)
	r := &status.Responder{Reader: reader, Signers: &a.signers, Now: a.now, Validity: time.Duration(a.Config.OCSP.Validity),
		Cache: a.ocsp.cache, Gate: status.NewGate(places, places*missesWaiting),
		Failed: func(err error) { a.log.Error("renewing an OCSP answer", "err", err) }}
	if limit := a.Config.OCSP.UnknownPerAddress; limit > 0 {
		if r.Addresses, err = status.NewAddresses(limit, max(1, int(limit*unknownBurst))); err != nil {
			return nil, err
		}
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, closing(r.Wait))
	a.ocsp.responder = r
	a.ocsp.tail = &status.Tail{Store: a.DB.Revocation(), Cache: a.ocsp.cache, Now: a.now, Told: a.tailTold, Back: a.tailBack}
	if a.ocsp.ahead, err = a.presigner(); err != nil {
		return nil, err
	}
	return responder.New(responder.Config{OCSP: r, Dir: a.Hierarchy.PublicDir(), Logs: a.publicLogs(r.Addresses), Now: a.now, Log: a.log})
}

// closing is what is waited for when an installation is closed.
type closing func()

// Close waits.
func (c closing) Close() error { c(); return nil }

// run does what OCSP needs beside requests, until ctx ends.
func (s *ocspService) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if s.ahead != nil {
		wg.Go(func() { s.ahead.Run(ctx) })
	}
	s.tail.Run(ctx)
}

// tailTold raises the alarm: what others revoke is not seen here, and answers of the
// cache say good of it until they end.
func (a *App) tailTold(degraded bool, age time.Duration, err error) {
	if degraded {
		a.log.Error("revocations by other processes are not seen: OCSP answers from memory until they end", "for", age.String(), "err", err)
		return
	}
	a.log.Info("revocations by other processes are seen again")
}

// tailBack tells that the database is not the one of a moment ago.
func (a *App) tailBack(was, is int64) {
	a.log.Error("the numbers of revocations went back: the database was restored beneath this process, or lacks the last commits of the one before; all OCSP answers are made anew",
		"was", was, "is", is)
}

// forget makes what was answered unusable of which the signer may not have been the
// installation's: nothing signed until since is given out any more, from memory at
// once, where answers are signed ahead as soon as the pass has come by.
func (a *App) forget(since time.Time) {
	a.ocsp.cache.Clear()
	if a.ocsp.ahead != nil {
		a.ocsp.ahead.Again(since)
	}
}

// degraded tells what operators must see to.
func (s *ocspService) degraded() (out []string) {
	if s.tail != nil && s.tail.Degraded() {
		out = append(out, "revocations by other processes have not been seen for "+s.tail.Age().Truncate(time.Second).String())
	}
	if s.ahead != nil && s.ahead.Late() {
		out = append(out, "answers signed ahead end before they are replaced: no pass over all certificates was whole in the time that they live")
	}
	return out
}

// metrics tell what OCSP answers cost and how far behind they may be.
func (s *ocspService) metrics(m metrics) error {
	if s.responder == nil {
		return errors.New("metrics of OCSP before there is a responder")
	}
	stats := s.responder.Stats
	return errors.Join(
		m.gauge("sigill_revocation_tail_age_seconds", "Time since revocations by other processes were last read; above 60 the process is degraded.", nil,
			func() float64 { return s.tail.Age().Seconds() }),
		m.counter("sigill_revocation_numbers_back_total", "How often the numbers of revocations went back since start: the database was restored or lost commits.", nil, s.tail.WentBack),
		m.counter("sigill_ocsp_cache_hits_total", "OCSP answers given from memory since start.", nil, func() int64 { return stats().Hits }),
		m.counter("sigill_ocsp_cache_misses_total", "OCSP answers that were not in memory.", nil, func() int64 { return stats().Misses }),
		m.counter("sigill_ocsp_renewed_total", "OCSP answers signed anew before their end.", nil, func() int64 { return stats().Renewed }),
		m.counter("sigill_ocsp_signed_total", "OCSP answers signed.", nil, func() int64 { return stats().Signed }),
		m.counter("sigill_ocsp_unknown_total", "OCSP answers signed that say unknown.", nil, func() int64 { return stats().Unknown }),
		m.counter("sigill_ocsp_busy_total", "Requests told to try later because too many answers were being made.", nil, func() int64 { return stats().Busy }),
		m.counter("sigill_ocsp_address_refused_total", "Requests told to try later because their address had too many unknown.", nil, func() int64 { return stats().Refused }),
		s.aheadMetrics(m),
		m.gauge("sigill_status_connections", "Connections to the status listener.", nil, func() float64 { n, _ := s.connections(); return float64(n) }),
		m.counter("sigill_status_connections_closed_total", "Connections to the status listener that were closed to make room.", nil, func() int64 { _, n := s.connections(); return n }),
		m.gauge("sigill_ocsp_cache_entries", "OCSP answers in memory.", nil, func() float64 { n, _ := s.cache.Size(); return float64(n) }),
		m.gauge("sigill_ocsp_cache_bytes", "Memory of OCSP answers, about.", nil, func() float64 { _, n := s.cache.Size(); return float64(n) }))
}

func (s *ocspService) connections() (open int, closed int64) {
	if s.clients == nil {
		return 0, 0 // it does not listen yet
	}
	return s.clients.Count()
}

// aheadMetrics tell of the answers that are signed ahead.
func (s *ocspService) aheadMetrics(m metrics) error {
	if s.ahead == nil {
		return nil
	}
	return errors.Join(
		m.counter("sigill_ocsp_presigned_total", "OCSP answers signed ahead since start.", nil, func() int64 { return s.ahead.Progress().Signed }),
		m.counter("sigill_ocsp_presigned_revoked_total", "OCSP answers signed ahead that were replaced because of a revocation.", nil, func() int64 { return s.ahead.Progress().Revoked }),
		m.gauge("sigill_ocsp_presign_complete_seconds", "When the last whole pass over all certificates began, Unix time; 0: none is whole yet.", nil, func() float64 {
			if at := s.ahead.Progress().Complete; !at.IsZero() {
				return float64(at.Unix())
			}
			return 0
		}))
}
