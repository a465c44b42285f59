package bench

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/api"
	"sigill/internal/bench/figure"
	"sigill/internal/lanes"
	"sigill/internal/texts"
	"sigill/internal/world"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation/publish"
)

const (
	// sessionsAtOnce and perDay are what the service is to carry.
	sessionsAtOnce = 360
	perDay         = 70_000
	// busyHour is how many downloads a second begin in the paced part: a day's
	// 70,000 in two hours.
	busyHour = 10
	// usesOfCard is how many downloads a card makes before another takes its
	// place: policy allows ten intents a day.
	usesOfCard = policy.IntentsPerCard - 2
	sampleEach = 30 * time.Second
)

// tlsRig is a rig behind the card listener, with all that runs beside it in a
// service, and a load generator.
type tlsRig struct {
	*rig
	c     Config
	log   *slog.Logger
	probe *probe
	gen   *loader
	used  map[int]int // downloads of a holder's card
	stop  []func()
	mu    sync.Mutex
	keys  map[ca.IssuerID]crypto.Signer
}

// probe looks at requests from inside the server: how many, on how many
// connections, and how long the service took for each holder.
type probe struct {
	next        http.Handler
	connections atomic.Int64
	requests    atomic.Int64
	octets      atomic.Int64 // of answers
	mu          sync.Mutex
	took        map[string]time.Duration // by the holder's HSA-id
}

// ServeHTTP implements http.Handler.
func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	p.next.ServeHTTP(counted{w, &p.octets}, r)
	took := time.Since(began)
	p.requests.Add(1)
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took[r.TLS.PeerCertificates[0].Subject.SerialNumber] += took
}

// counted counts what is written.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

// Write implements http.ResponseWriter.
func (c counted) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// reset forgets what was seen.
func (p *probe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connections.Store(0)
	p.requests.Store(0)
	p.octets.Store(0)
	p.took = map[string]time.Duration{}
}

// times returns the service's time for each holder.
func (p *probe) times() (out []time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.took {
		out = append(out, d)
	}
	return out
}

func newTLSRig(ctx context.Context, c Config, holders int) (t *tlsRig, err error) {
	t = &tlsRig{c: c, log: slog.New(slog.DiscardHandler), used: map[int]int{}, keys: map[ca.IssuerID]crypto.Signer{}}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	t.rig, err = newRig(ctx, c, holders, nil, func(w *world.Config) {
		w.Partitions = 8
		w.Wrap = func(id ca.IssuerID, key crypto.Signer) crypto.Signer {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.keys[id] = key
			return key
		}
	})
	if err != nil {
		return t, err
	}
	if err := t.background(ctx); err != nil {
		return t, err
	}
	address, err := t.serve(ctx)
	if err != nil {
		return t, err
	}
	return t, t.generate(ctx, address)
}

func (t *tlsRig) close() {
	for i := len(t.stop) - 1; i >= 0; i-- {
		t.stop[i]()
	}
	if t.rig != nil {
		t.rig.close()
	}
}

// background runs what a service does beside requests and numbering: it publishes what
// is revoked.
func (t *tlsRig) background(ctx context.Context) error {
	linter, err := world.NewLinter()
	if err != nil {
		return err
	}
	p := &publish.Publisher{Store: t.db.Revocation(), Dir: filepath.Join(t.dir, "public"), Lint: linter, Now: t.Now, Log: t.log}
	for id, key := range t.keys {
		issuer, err := t.Issuers.Issuer(id)
		if err != nil {
			return err
		}
		signer, err := crl.NewSigner(issuer.Certificate(), key)
		if err != nil {
			return err
		}
		for n := range issuer.Partitions() {
			p.Scopes = append(p.Scopes, publish.Scope{Issuer: id, Partition: n, URL: issuer.CRLURL(n), Signer: signer})
		}
	}
	if err := p.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	t.stop = append(t.stop, func() { cancel(); wg.Wait() })
	return nil
}

// serve serves the API as the card listener does.
func (t *tlsRig) serve(ctx context.Context) (address string, err error) {
	catalogue, err := texts.Load()
	if err != nil {
		return "", err
	}
	lane, err := lanes.New(lanes.Config{Places: 16 * runtime.GOMAXPROCS(0), Wait: 20 * time.Second, Queue: 10_000})
	if err != nil {
		return "", err
	}
	t.probe = &probe{next: api.New(api.Config{Receipts: t.logs, Register: t.Register, Orders: t.Orders, Downloads: t.Downloads, Texts: catalogue, Log: t.log, MinClient: "0",
		Lane: func(ctx context.Context, _ register.Caller, fn func() error) error { return lane.Do(ctx, false, fn) },
		IssuerCertificate: func(id string) []byte {
			if i, err := t.Issuers.Issuer(ca.IssuerID(id)); err == nil {
				return i.Certificate().Raw
			}
			return nil
		}})}
	t.probe.reset()
	server := api.NewServer(t.probe)
	server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			t.probe.connections.Add(1)
		}
	}
	address, err = t.listenWith(ctx, server)
	t.stop = append(t.stop, func() { server.Close() })
	return address, err
}

// loader is the load generator as the server sees it.
type loader struct {
	in     io.WriteCloser
	encode *json.Encoder
	decode *json.Decoder
	end    func() error
	// Apart: it is a process of its own.
	apart bool
}

// generate starts the load generator and tells it of all cards.
func (t *tlsRig) generate(ctx context.Context, address string) error {
	var err error
	if t.gen, err = startLoader(ctx, t.c.Load); err != nil {
		return err
	}
	t.stop = append(t.stop, func() { t.gen.end() })
	root, err := t.Issuers.Issuer(world.FunctionCA)
	if err != nil {
		return err
	}
	j := job{Address: address, Root: root.Certificate().Raw}
	for _, h := range t.holders {
		card, err := cardOf(h)
		if err != nil {
			return err
		}
		j.Cards = append(j.Cards, card)
	}
	_, err = t.gen.do(j)
	return err
}

func cardOf(h *world.Holder) (loadCard, error) {
	key, err := x509.MarshalPKCS8PrivateKey(h.CurrentKey())
	return loadCard{Number: string(h.Card), Key: key, Cert: h.CertificateOf()}, err
}

// startLoader starts the process that command makes; nil: in this process.
func startLoader(ctx context.Context, command func(context.Context) *exec.Cmd) (*loader, error) {
	if command == nil {
		jobs, in := io.Pipe()
		out, reports := io.Pipe()
		done := make(chan error, 1)
		go func() { err := Load(ctx, jobs, reports); reports.CloseWithError(errors.Join(err, io.EOF)); done <- err }()
		return &loader{in: in, encode: json.NewEncoder(in), decode: json.NewDecoder(out), end: func() error { in.Close(); out.Close(); return <-done }}, nil
	}
	cmd := command(ctx)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	return &loader{in: in, encode: json.NewEncoder(in), decode: json.NewDecoder(out), apart: true, end: func() error { in.Close(); return cmd.Wait() }}, nil
}

// do hands a job over and waits for its report. A download that failed is an
// error: a figure over some of them would be none.
func (l *loader) do(j job) (report, error) {
	var r report
	if err := l.encode.Encode(j); err != nil {
		return r, err
	}
	if err := l.decode.Decode(&r); err != nil {
		return r, fmt.Errorf("load generator: %w", err)
	}
	if r.Failed > 0 {
		return r, fmt.Errorf("%d of %d failed: %s", r.Failed, len(j.Runs), r.Error)
	}
	return r, nil
}

// phase is what a job cost, on both sides.
type phase struct {
	report
	runs        int
	server      time.Duration // CPU time of the service
	took        []time.Duration
	connections float64 // a run
	requests    float64
	octets      float64 // of an answer
	stored      int64   // octets the database grew by
}

// run has the load generator carry out a job, and measures.
func (t *tlsRig) run(j job) (phase, error) {
	t.probe.reset()
	cpu, before := figure.CPU(), t.stored()
	r, err := t.gen.do(j)
	p := phase{report: r, runs: len(j.Runs), server: figure.CPU() - cpu, took: t.probe.times(), stored: t.stored() - before}
	if !t.gen.apart {
		p.server -= r.CPU // both were in it; half of it is as good as any guess
		p.server, p.CPU = r.CPU/2, r.CPU/2
	}
	n := float64(max(p.runs, 1))
	p.connections, p.requests = float64(t.probe.connections.Load())/n, float64(t.probe.requests.Load())/n
	p.octets = float64(t.probe.octets.Load()) / max(float64(t.probe.requests.Load()), 1)
	return p, err
}

func (p phase) rate() float64 { return float64(p.runs) / p.Took.Seconds() }

// each returns milliseconds a run.
func (p phase) each(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000 / float64(p.runs)
}

// stored returns the octets of the database's files.
func (t *tlsRig) stored() (n int64) {
	for _, name := range []string{"sigill.db", "sigill.db-wal"} {
		if info, err := os.Stat(filepath.Join(t.dir, name)); err == nil {
			n += info.Size()
		}
	}
	return n
}

// ordered orders a renewal for each of n holders, the least used first, and gives
// those whose cards are used up another card.
func (t *tlsRig) ordered(ctx context.Context, first, n int) (runs []loadRun, err error) {
	runs = make([]loadRun, n)
	var fresh []loadCard
	err = figure.Each(n, holdersAtOnce, func(i int) error {
		at := (first + i) % len(t.holders)
		t.mu.Lock()
		t.used[at]++
		worn := t.used[at] > usesOfCard
		t.mu.Unlock()
		if worn {
			h, err := t.NewHolderWithEID(ctx)
			if err != nil {
				return err
			}
			card, err := cardOf(h)
			if err != nil {
				return err
			}
			t.mu.Lock()
			t.holders[at], t.used[at] = h, 1
			fresh = append(fresh, card)
			t.mu.Unlock()
		}
		id, err := t.Order(ctx, t.holders[at], policy.OrderRenewal)
		runs[i] = loadRun{Card: string(t.holders[at].Card), Order: string(id)}
		return err
	})
	if err == nil && len(fresh) > 0 {
		_, err = t.gen.do(job{Cards: fresh})
	}
	return runs, err
}
