package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"sigill/internal/bench/figure"
	"sigill/internal/cardclient"
	"sigill/internal/wire"
	"sigill/policy"
)

// The load generator is a process of its own, so that what cards do and what the
// service does can be told apart by the processes' CPU time. It reads jobs, a JSON
// document each, and answers each with a report.

// job is what the load generator is to do.
type job struct {
	Address string `json:"address,omitempty"`
	Root    []byte `json:"root,omitempty"`
	// Cards are new, or replace those of the same number.
	Cards []loadCard `json:"cards,omitempty"`
	// Runs are the downloads to carry out, AtOnce at once.
	Runs   []loadRun `json:"runs,omitempty"`
	AtOnce int       `json:"atOnce,omitempty"`
	// Every, if set, begins a run every so often, whatever became of the ones
	// before, in place of AtOnce at once.
	Every time.Duration `json:"every,omitempty"`
	// Bare, if set, makes so many handshakes and requests for each run, and no
	// download: the server answers with a constant.
	Bare *bare `json:"bare,omitempty"`
}

type loadCard struct {
	Number string `json:"number"`
	Key    []byte `json:"key"` // PKCS #8
	Cert   []byte `json:"cert"`
}

type loadRun struct {
	Card  string `json:"card"`
	Order string `json:"order"`
}

// bare is what a download costs in connections and requests.
type bare struct {
	Handshakes int `json:"handshakes"`
	Requests   int `json:"requests"`
	Body       int `json:"body"` // octets of a request
}

// report is what became of a job.
type report struct {
	Times  []time.Duration `json:"times"` // of each run that ended well
	Took   time.Duration   `json:"took"`
	CPU    time.Duration   `json:"cpu"` // of this process
	Failed int             `json:"failed"`
	Error  string          `json:"error,omitempty"` // the first
	// Busy is how often a run was told to come again so often that the holder had
	// to begin anew.
	Busy int `json:"busy"`
	// Most is how many runs were under way at once, at the most.
	Most int `json:"most"`
}

// generator is the load generator.
type generator struct {
	address string
	roots   *x509.CertPool
	cards   map[string]*memCard

	mu      sync.Mutex
	out     report
	running int
}

// Load is the load generator's process: it reads jobs until there are no more.
func Load(ctx context.Context, in io.Reader, out io.Writer) error {
	g := &generator{cards: map[string]*memCard{}}
	decode, encode := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var j job
		if err := decode.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("load generator: %w", err)
		}
		if err := g.take(j); err != nil {
			return fmt.Errorf("load generator: %w", err)
		}
		if err := encode.Encode(g.run(ctx, j)); err != nil {
			return fmt.Errorf("load generator: %w", err)
		}
	}
}

// take learns what a job tells.
func (g *generator) take(j job) error {
	if j.Address != "" {
		root, err := x509.ParseCertificate(j.Root)
		if err != nil {
			return err
		}
		g.address, g.roots = j.Address, x509.NewCertPool()
		g.roots.AddCert(root)
	}
	for _, c := range j.Cards {
		key, err := x509.ParsePKCS8PrivateKey(c.Key)
		if err != nil {
			return err
		}
		own, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return fmt.Errorf("card %s has a key of type %T", c.Number, key)
		}
		g.cards[c.Number] = newMemCard(c.Number, own, c.Cert)
	}
	return nil
}

// run carries a job out.
func (g *generator) run(ctx context.Context, j job) report {
	g.out, g.running = report{}, 0
	do := g.download
	if j.Bare != nil {
		do = func(ctx context.Context, r loadRun) error { return g.bare(ctx, r, *j.Bare) }
	}
	cpu, began := figure.CPU(), time.Now()
	if j.Every > 0 {
		g.paced(ctx, j, do)
	} else {
		figure.Each(len(j.Runs), max(j.AtOnce, 1), func(i int) error { g.timed(ctx, j.Runs[i], do); return nil })
	}
	g.out.Took, g.out.CPU = time.Since(began), figure.CPU()-cpu
	return g.out
}

// paced begins a run every so often.
func (g *generator) paced(ctx context.Context, j job, do func(context.Context, loadRun) error) {
	t := time.NewTicker(j.Every)
	defer t.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, r := range j.Runs {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			wg.Go(func() { g.timed(ctx, r, do) })
		}
	}
}

func (g *generator) timed(ctx context.Context, r loadRun, do func(context.Context, loadRun) error) {
	g.mu.Lock()
	g.running++
	g.out.Most = max(g.out.Most, g.running)
	g.mu.Unlock()
	began := time.Now()
	err := do(ctx, r)
	took := time.Since(began)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if err == nil {
		g.out.Times = append(g.out.Times, took)
		return
	}
	g.out.Failed++
	if g.out.Error == "" {
		g.out.Error = err.Error()
	}
}

// download is what a holder's program does: log in, begin, key, request, write,
// read back, a full handshake with the new certificate, confirm, delete, report.
func (g *generator) download(ctx context.Context, r loadRun) error {
	c := &cardclient.Client{Server: g.address, Roots: g.roots, Card: g.cards[r.Card], Version: "99.0.0", Language: "sv"}
	for try := 1; ; try++ {
		_, err := c.Fetch(ctx, r.Order, yes{})
		if p, ok := errors.AsType[*wire.Problem](err); !ok || p.Rule != string(policy.ServiceBusy) || try >= 10 {
			return err
		}
		// A holder tries again; the time goes on.
		g.mu.Lock()
		g.out.Busy++
		g.mu.Unlock()
	}
}

// yes approves every plan.
type yes struct{}

func (yes) Approve(context.Context, *wire.Me, policy.Plan) (bool, error) { return true, nil }
func (yes) Progress(string, policy.Slot)                                 {}

// bare makes the connections and requests of a download, with the card's own
// certificate and nothing else.
func (g *generator) bare(ctx context.Context, r loadRun, b bare) error {
	card := g.cards[r.Card]
	o := card.objects[len(card.objects)-1]
	config := &tls.Config{RootCAs: g.roots, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{o.cert}, PrivateKey: o.key}}}
	body := bytes.Repeat([]byte("x"), b.Body)
	left := b.Requests
	for i := range b.Handshakes {
		transport := &http.Transport{TLSClientConfig: config, MaxConnsPerHost: 1}
		client := &http.Client{Transport: transport}
		n := left / (b.Handshakes - i)
		left -= n
		for range n {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.address, bytes.NewReader(body))
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return err
			}
			resp.Body.Close()
		}
		transport.CloseIdleConnections()
	}
	return nil
}
