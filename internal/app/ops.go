package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/lanes"
	"sigill/orders/download"
	"sigill/policy"
)

// ops serves operators.
func (a *App) ops() (http.Handler, error) {
	m := metrics{prometheus.NewRegistry()}
	err := errors.Join(
		m.gauge("sigill_pending_certificates", "Released certificates that wait for their confirmation, beside the ones they replace.", nil,
			func() float64 { return float64(a.pending()) }),
		m.counter("sigill_store_commits_total", "Durable commits since start.", nil, func() int64 { return a.DB.Stats().Commits }),
		m.counter("sigill_store_updates_total", "Transactions committed since start; several share a commit.", nil, func() int64 { return a.DB.Stats().Updates }),
		m.gauge("sigill_root_crl_remaining_seconds", "How long the root's CRL is valid still; after it relying parties refuse everything below the root.", nil,
			func() float64 { return a.authorities.remaining().Seconds() }),
		a.modeMetrics(m),
		a.listMetrics(m),
		a.laneMetrics(m),
		a.targetMetrics(m),
		a.keepMetrics(m),
		a.retentionMetrics(m),
		a.clockMetrics(m),
		a.ocsp.metrics(m),
		a.logMetrics(m),
	)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("GET /readyz/status", a.statusReady)
	return mux, nil
}

// metrics registers what is read when it is asked for.
type metrics struct{ *prometheus.Registry }

func (m metrics) gauge(name, help string, labels prometheus.Labels, value func() float64) error {
	return m.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
}

func (m metrics) counter(name, help string, labels prometheus.Labels, value func() int64) error {
	return m.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(value()) }))
}

// modeMetrics tell the conditions that the service works under.
func (a *App) modeMetrics(m metrics) error {
	var err error
	flag := func(on bool) float64 {
		if on {
			return 1
		}
		return 0
	}
	for _, each := range policy.Modes() {
		err = errors.Join(err, m.gauge("sigill_mode", "1 while the service works under this condition; several may hold at once.", prometheus.Labels{"mode": string(each)},
			func() float64 { return flag(slices.Contains(a.Modes.Modes(), each)) }))
	}
	for _, each := range a.Hierarchy.Issuers {
		err = errors.Join(err, m.gauge("sigill_signer_failing", "1 while nothing is begun with an issuing CA because its key does not sign.", prometheus.Labels{"issuer": string(each.ID)},
			func() float64 { return flag(slices.Contains(a.Downloads.FailingIssuers(), each.ID)) }))
	}
	return errors.Join(err,
		m.gauge("sigill_disk_free_bytes", "Free space where it is least, at the last look.", nil, func() float64 { free, _ := a.Modes.Space(); return float64(free) }),
		m.gauge("sigill_disk_stop_issuing_bytes", "Free space below which only taking back goes on.", nil, func() float64 { return float64(a.Config.Disk.StopIssuingBelow) }),
		m.gauge("sigill_disk_reserve", "1 while the space that is kept for revoking is there.", nil, func() float64 { _, held := a.Modes.Space(); return flag(held) }),
		m.gauge("sigill_outage_until_seconds", "When the planned outage in effect is expected to be over, Unix time; 0: none is.", nil, func() float64 {
			if n, on := a.Modes.Outage(); on {
				return float64(n.Until.Unix())
			}
			return 0
		}))
}

// laneMetrics tell who issues and who waits.
func (a *App) laneMetrics(m metrics) error {
	err := m.gauge("sigill_lane_places", "How many requests may issue at once.", nil, func() float64 { return float64(a.Lane.Stats().Places) })
	for name, of := range map[string]func(lanes.Stats) lanes.Kind{
		"ordinary": func(s lanes.Stats) lanes.Kind { return s.Ordinary },
		"priority": func(s lanes.Stats) lanes.Kind { return s.Priority },
	} {
		labels := prometheus.Labels{"lane": name}
		err = errors.Join(err,
			m.gauge("sigill_lane_inside", "Requests that issue right now.", labels, func() float64 { return float64(of(a.Lane.Stats()).Inside) }),
			m.gauge("sigill_lane_waiting", "Requests that wait for their turn to issue.", labels, func() float64 { return float64(of(a.Lane.Stats()).Waiting) }),
			m.counter("sigill_lane_admitted_total", "Requests that had their turn since start.", labels, func() int64 { return of(a.Lane.Stats()).Admitted }),
			m.counter("sigill_lane_refused_total", "Requests that waited too long and were told to come again.", labels, func() int64 { return of(a.Lane.Stats()).Refused }))
	}
	return err
}

// readiness is what /readyz answers.
type readiness struct {
	State string        `json:"state"`
	Modes []policy.Mode `json:"modes"`
	// Failing are the issuing CAs whose keys do not sign.
	Failing []ca.IssuerID `json:"failing,omitempty"`
	// Ended are the issuing CAs that issue nothing any more.
	Ended []Ended `json:"ended,omitempty"`
	// Degraded tells, where State is degraded, what somebody must see to.
	Degraded []string  `json:"degraded,omitempty"`
	Outage   string    `json:"outage,omitempty"`
	Until    time.Time `json:"until,omitzero"`
}

// ready answers 200 in every mode: who stops sending requests to a service that
// does not issue stops revoking too. It is 503 only where nothing can be answered.
func (a *App) ready(w http.ResponseWriter, r *http.Request) {
	out, status := readiness{State: "ready", Modes: a.Modes.Modes(), Failing: a.Downloads.FailingIssuers(), Ended: a.authorities.all()}, http.StatusOK
	out.Degraded = append(out.Degraded, a.authorities.degraded()...)
	if worry := a.Publisher.Health().Worry(a.now()); worry != "" {
		out.Degraded = append(out.Degraded, worry)
	}
	out.Degraded = append(out.Degraded, a.keepDegraded()...)
	out.Degraded = append(out.Degraded, a.targetsDegraded()...)
	out.Degraded = append(out.Degraded, a.ocsp.degraded()...)
	out.Degraded = append(out.Degraded, a.clockDegraded()...)
	if len(out.Degraded) > 0 {
		out.State = "degraded"
	}
	if n, on := a.Modes.Outage(); on {
		out.Outage, out.Until = n.ReasonEN, n.Until
	}
	if _, err := audit.ReadHead(r.Context(), a.DB.Audit(), a.now()); err != nil {
		out.State, status = "the store does not answer", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(out)
}

// statusReady is for who distributes the requests of relying parties. Without the
// database answers and lists go on until they end, and taking every process away at
// once would make an outage of what is none yet: it is 503 only when no answer that is
// kept can be in force any more.
func (a *App) statusReady(w http.ResponseWriter, _ *http.Request) {
	text, code := "ready", http.StatusOK
	if age := a.ocsp.tail.Age(); age > time.Duration(a.Config.OCSP.Validity) {
		text, code = fmt.Sprintf("the database has not answered for %v: no answer is in force any more", age.Truncate(time.Second)), http.StatusServiceUnavailable
	}
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}

// listMetrics tell how this process's lists stand.
func (a *App) listMetrics(m metrics) error {
	return errors.Join(
		m.gauge("sigill_crl_remaining_seconds", "How long the first list that ends is in force still; +Inf where another process publishes.", nil, func() float64 {
			if h := a.Publisher.Health(); !h.Ends.IsZero() {
				return h.Ends.Sub(a.now()).Seconds()
			}
			return math.Inf(1)
		}),
		m.gauge("sigill_crl_behind_seconds", "Since when a partition lacks a revocation; 0: none does.", nil, func() float64 {
			if h := a.Publisher.Health(); !h.Behind.IsZero() {
				return a.now().Sub(h.Behind).Seconds()
			}
			return 0
		}),
		m.gauge("sigill_crl_troubled", "Lists whose last publication failed.", nil, func() float64 { return float64(len(a.Publisher.Health().Trouble)) }),
		m.gauge("sigill_crl_looked_seconds", "When the lists were last looked at, Unix time.", nil, func() float64 { return float64(a.Publisher.Health().At.Unix()) }))
}

// pending counts pending certificates of open downloads, up to a thousand.
func (a *App) pending() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	n := 0
	err := a.DB.Downloads().View(ctx, func(tx *download.Tx) error {
		n = 0
		open, err := tx.OpenDownloadsBefore(a.now(), 1000)
		if err != nil {
			return err
		}
		for _, d := range open {
			_, items, err := tx.Download(d.ID)
			if err != nil {
				return err
			}
			for _, it := range items {
				if it.State == policy.ItemSigned {
					n++
				}
			}
		}
		return nil
	})
	if err != nil {
		a.log.Error("counting pending certificates", "err", err)
	}
	return n
}
