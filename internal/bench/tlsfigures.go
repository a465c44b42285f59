package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"sigill/internal/bench/figure"
)

// downloadsTLS: thousands of cards, each a client of its own with the holder's
// real program, carry out replacement downloads over mutual TLS 1.3 from a
// process of their own: all sessions at once, then as many a second as a busy
// hour brings. Beside both, the same connections and requests answered by a
// constant.
func downloadsTLS(ctx context.Context, c Config, emit func(Figure)) error {
	cards, sessions := c.Many(3*sessionsAtOnce), sessionsAtOnce
	if c.Time > 0 {
		cards = max(cards, 6*sessionsAtOnce)
	}
	sessions = min(sessions, cards)
	t, err := newTLSRig(ctx, c, cards)
	if err != nil {
		return err
	}
	defer t.close()
	cpu, before := figure.CPU(), t.stored()
	runs, err := t.ordered(ctx, 0, cards)
	if err != nil {
		return err
	}
	order := phase{runs: cards, server: figure.CPU() - cpu, stored: t.stored() - before}
	c.Progress("%d downloads over mutual TLS, %d sessions at once", cards, sessions)
	full, err := t.run(job{Runs: runs, AtOnce: sessions})
	if err != nil {
		return err
	}
	if c.Time > 0 {
		if full, err = t.long(ctx, sessions, full, emit); err != nil {
			return err
		}
	}
	pace, err := t.pace(ctx)
	if err != nil {
		return err
	}
	c.Progress("the same connections and requests, answered by a constant")
	bareFull, barePace, err := t.bare(runs, sessions, full)
	if err != nil {
		return err
	}
	t.figures(order, full, pace, bareFull, barePace, emit)
	return nil
}

// pace begins downloads as a busy hour does.
func (t *tlsRig) pace(ctx context.Context) (phase, error) {
	n := t.c.Many(5 * busyHour)
	if t.c.Time > 0 {
		n = 30 * busyHour
	}
	runs, err := t.ordered(ctx, 0, min(n, len(t.holders)))
	if err != nil {
		return phase{}, err
	}
	t.c.Progress("%d downloads, %d a second", len(runs), busyHour)
	return t.run(job{Runs: runs, Every: time.Second / busyHour})
}

// bare measures what connections and requests cost by themselves.
func (t *tlsRig) bare(runs []loadRun, sessions int, full phase) (all, paced phase, err error) {
	constant := bytes.Repeat([]byte("x"), int(full.octets))
	t.probe.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(constant)
	})
	b := &bare{Handshakes: int(full.connections + 0.5), Requests: int(full.requests + 0.5), Body: 500}
	if all, err = t.run(job{Runs: runs, AtOnce: sessions, Bare: b}); err != nil {
		return all, paced, err
	}
	paced, err = t.run(job{Runs: runs[:min(len(runs), t.c.Many(5*busyHour))], Every: time.Second / busyHour, Bare: b})
	return all, paced, err
}

// long repeats downloads of all cards until the time is over, and tells what the
// process holds meanwhile.
func (t *tlsRig) long(ctx context.Context, sessions int, first phase, emit func(Figure)) (phase, error) {
	began, next := time.Now(), time.Now().Add(sampleEach)
	begin, beginHeap := figure.Resident(), heap()
	sum, peak := first, begin
	for round := 1; time.Since(began) < t.c.Time && ctx.Err() == nil; round++ {
		// In parts, so that cards which are used up are exchanged while others
		// go on being used, and memory is looked at often enough.
		n := min(3*sessionsAtOnce, len(t.holders))
		runs, err := t.ordered(ctx, round*n, n)
		if err != nil {
			return sum, err
		}
		p, err := t.run(job{Runs: runs, AtOnce: sessions})
		if err != nil {
			return sum, err
		}
		sum.add(p)
		peak = max(peak, figure.Resident())
		if now := time.Now(); now.After(next) {
			next = now.Add(sampleEach)
			t.c.Progress("%4.0f s: %6d downloads, %5.1f/s; resident %.1f MB, heap %.1f MB, database %.0f MB, %d goroutines; %d begun anew", now.Sub(began).Seconds(),
				sum.runs, sum.rate(), figure.Mega(figure.Resident()), figure.Mega(heap()), figure.Mega(t.stored()), runtime.NumGoroutine(), sum.Busy)
		}
	}
	end, endHeap := figure.Resident(), heap()
	if begin > 0 && end > 0 {
		emit(Figure{Name: "downloads_tls_resident_mb", Value: figure.Mega(end), Unit: "MB", Ceiling: figure.Mega(begin), Ratio: float64(begin) / float64(end),
			Note: fmt.Sprintf("memory of the serving process after %.0f s and %d downloads, at most %.1f MB between; heap %.1f MB, at the beginning %.1f; ceiling: the same after the first %d downloads",
				time.Since(began).Seconds(), sum.runs, figure.Mega(peak), figure.Mega(endHeap), figure.Mega(beginHeap), first.runs)})
	}
	return sum, nil
}

// heap returns the octets in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// add adds a phase of the same kind.
func (p *phase) add(q phase) {
	all := float64(p.runs + q.runs)
	mean := func(a, b float64) float64 { return (a*float64(p.runs) + b*float64(q.runs)) / all }
	p.connections, p.requests, p.octets = mean(p.connections, q.connections), mean(p.requests, q.requests), mean(p.octets, q.octets)
	p.runs += q.runs
	p.Times, p.took = append(p.Times, q.Times...), append(p.took, q.took...)
	p.Took += q.Took
	p.CPU += q.CPU
	p.server += q.server
	p.stored += q.stored
	p.Most, p.Busy = max(p.Most, q.Most), p.Busy+q.Busy
}

func (t *tlsRig) figures(order, full, pace, bareFull, barePace phase, emit func(Figure)) {
	apart := "load generator in a process of its own, on the same cores"
	if !t.gen.apart {
		apart = "load generator in the same process: whose CPU time it was is a guess"
	}
	rate, bare := full.rate(), bareFull.rate()
	emit(Figure{Name: "downloads_tls", Value: rate, Unit: "1/s", Ceiling: bare, Ratio: rate / bare,
		Note: fmt.Sprintf("%d downloads by %d cards, %d sessions at once, mutual TLS 1.3, %.1f full handshakes and %.1f requests each; whole download p50 %.0f, p99 %.0f ms, of it in the service p50 %.0f, p99 %.0f ms: at this load all wait for the cores; %d times a holder had to begin anew because no turn came; %s; ceiling: as many handshakes and requests, answered by a constant",
			full.runs, len(t.holders), full.Most, full.connections, full.requests, figure.Percentile(full.Times, 0.5), figure.Percentile(full.Times, 0.99), figure.Percentile(full.took, 0.5), figure.Percentile(full.took, 0.99), full.Busy, apart)})
	day := rate * 24 * 60 * 60
	emit(Figure{Name: "downloads_tls_per_day", Value: day, Unit: "1/d", Ceiling: perDay, Ratio: day / perDay,
		Note: fmt.Sprintf("extrapolated from downloads_tls, clients on the same machine included; ceiling: here what is needed, %d a day; the ratio is the margin", perDay)})
	emit(Figure{Name: "downloads_tls_p99_ms", Value: figure.Percentile(pace.Times, 0.99), Unit: "ms", Ceiling: figure.Percentile(barePace.Times, 0.99), Ratio: figure.Percentile(barePace.Times, 0.99) / figure.Percentile(pace.Times, 0.99),
		Note: fmt.Sprintf("%d downloads, %d begun each second (%d in two hours); whole download p50 %.1f, p99 %.1f ms; in the service p50 %.1f, p99 %.1f ms; ceiling: connections and requests alone, p99",
			pace.runs, busyHour, busyHour*2*60*60, figure.Percentile(pace.Times, 0.5), figure.Percentile(pace.Times, 0.99), figure.Percentile(pace.took, 0.5), figure.Percentile(pace.took, 0.99))})
	emit(Figure{Name: "downloads_tls_cpu_ms", Value: full.each(full.server), Unit: "ms", Ceiling: bareFull.each(bareFull.server), Ratio: bareFull.each(bareFull.server) / full.each(full.server),
		Note: fmt.Sprintf("CPU time of the serving process a download: TLS, lint, signatures, database, event chain, CRLs; of its order before it %.1f ms; of the card's side %.1f ms; ceiling: of the connections and requests alone",
			order.each(order.server), full.each(full.CPU))})
	stored := float64(full.stored) / float64(full.runs) / 1000
	least := float64(2*t.certificate()) / 1000
	emit(Figure{Name: "downloads_tls_database_kb", Value: stored, Unit: "kB", Ceiling: least, Ratio: least / stored,
		Note: fmt.Sprintf("by which the database grows for a download, for ever; for its order and two signatures %.1f kB; ceiling: the certificate, and its to-be-signed bytes in the intent", float64(order.stored)/float64(order.runs)/1000)})
}

// certificate is the length of one.
func (t *tlsRig) certificate() int { return len(t.holders[0].CertificateOf()) }
