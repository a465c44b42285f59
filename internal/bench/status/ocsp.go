package status

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/httpload"
	"sigill/internal/bench/population"
	"sigill/internal/bench/process"
	"sigill/internal/keys"
)

const (
	// workingSet is how many certificates are asked for: those of one morning.
	workingSet = 20_000
	// skew is the exponent of Zipf's law by which they are.
	skew        = 1.1
	connections = 64
	// depth is how many requests are on a connection at once: the generator's
	// cost for each is then small beside the server's.
	depth = 8
	// cold is how many different certificates are asked for, all alike, to see
	// what a cache can't help with.
	cold   = 60_000
	rounds = 3
	// oneRound is the time of each load of a round.
	oneRound = 1500 * time.Millisecond
)

// successful is the beginning of an answer that says something of a certificate.
var successful = []byte{0x0a, 0x01, 0x00}

// question returns the DER of a request for one certificate, as OpenSSL makes it.
func question(issuer *x509.Certificate, s ca.Serial) ([]byte, error) {
	return ocsp.CreateRequest(&x509.Certificate{SerialNumber: s.Int()}, issuer, &ocsp.RequestOptions{Hash: crypto.SHA1})
}

// withNonce returns the request with a nonce: its answer is made for it alone.
func withNonce(der []byte) ([]byte, error) {
	var request struct{ TBS struct{ List asn1.RawValue } }
	if _, err := asn1.Unmarshal(der, &request); err != nil {
		return nil, err
	}
	nonce, err := asn1.Marshal(bytes.Repeat([]byte{0x5a}, 32))
	if err != nil {
		return nil, err
	}
	type extension struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}
	type tbs struct {
		List       asn1.RawValue
		Extensions []extension `asn1:"explicit,tag:2"`
	}
	return asn1.Marshal(struct{ TBS tbs }{tbs{asn1.RawValue{FullBytes: request.TBS.List.FullBytes},
		[]extension{{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, nonce}}}})
}

// get and post return whole requests.
func get(host string, der []byte) []byte {
	return httpload.Get(host, "/ocsp/"+url.PathEscape(base64.StdEncoding.EncodeToString(der)))
}

func post(host string, der []byte) []byte {
	return httpload.Post(host, "/ocsp", "application/ocsp-request", der)
}

// questions returns requests for n certificates of the population: if current, of
// those that are, else of any.
func (s *Session) questions(ctx context.Context, n int, current bool, seed uint64) ([][]byte, error) {
	p, err := s.population(ctx)
	if err != nil {
		return nil, err
	}
	issuer, err := issuerOf(p)
	if err != nil {
		return nil, err
	}
	serials, _, err := s.serials(ctx, n, current, seed)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(serials))
	return out, figure.Each(len(out), 2, func(i int) (err error) { out[i], err = question(issuer, serials[i]); return err })
}

// serials draws n different certificates.
func (s *Session) serials(ctx context.Context, n int, current bool, seed uint64) ([]ca.Serial, []int, error) {
	r := rand.New(rand.NewPCG(seed, seed))
	taken := map[int]bool{}
	var at []int
	pick := func() int {
		for {
			i := r.IntN(s.p.Certs)
			if current {
				i = s.p.Current(r.IntN(s.p.Certs - s.p.Revoked))
			}
			if !taken[i] {
				taken[i] = true
				at = append(at, i)
				return i
			}
		}
	}
	if current {
		n = min(n, (s.p.Certs-s.p.Revoked)/2)
	} else {
		n = min(n, s.p.Certs/2)
	}
	serials, _, err := s.p.Sample(ctx, n, pick)
	return serials, at, err
}

func issuerOf(p *population.Population) (*x509.Certificate, error) {
	h, err := keys.Load(p.Dir)
	if err != nil {
		return nil, err
	}
	issuer, ok := h.Issuer(population.Issuer)
	if !ok {
		return nil, fmt.Errorf("no issuer %s", population.Issuer)
	}
	return issuer.Certificate, nil
}

// requests makes whole requests of questions.
func requests(host string, questions [][]byte, one func(string, []byte) []byte) [][]byte {
	out := make([][]byte, len(questions))
	for i := range out {
		out[i] = one(host, questions[i])
	}
	return out
}

// beside loads the service and the constant in turn, so that neither has the quieter
// moment, and returns what both gave.
func (s *Session) beside(ctx context.Context, serve *service, questions [][]byte, one func(string, []byte) []byte, j httpload.Job) (got, bare httpload.Report, err error) {
	g, err := s.generator(ctx)
	if err != nil {
		return got, bare, err
	}
	length := 0
	var constant *service
	defer func() {
		if constant != nil {
			err = orElse(err, constant.end())
		}
	}()
	for i := range rounds {
		j.Address, j.Requests, j.Seed = serve.Status, requests(serve.Status, questions, one), uint64(i)
		r, err := g.Do(j)
		if err != nil {
			return got, bare, err
		}
		got = added(got, r)
		if length == 0 {
			length = r.Length()
			if constant, err = s.begin(ctx, process.Constant, process.Spec{Length: length}); err != nil {
				return got, bare, err
			}
		}
		j.Address = constant.Status
		if r, err = g.Do(j); err != nil {
			return got, bare, fmt.Errorf("constant: %w", err)
		}
		bare = added(bare, r)
	}
	return got, bare, nil
}

func orElse(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// added is both reports as one. Of percentiles the worse counts.
func added(a, b httpload.Report) httpload.Report {
	return httpload.Report{Answers: a.Answers + b.Answers, Took: a.Took + b.Took, CPU: a.CPU + b.CPU, Octets: a.Octets + b.Octets,
		P50: max(a.P50, b.P50), P99: max(a.P99, b.P99), Most: max(a.Most, b.Most)}
}

// long is the time of a load.
func (s *Session) long() time.Duration {
	if s.c.Amount > 0 {
		return 100 * time.Millisecond
	}
	return oneRound
}

func (s *Session) few(n int) int {
	if s.c.Amount > 0 {
		return min(n, 4*s.c.Amount)
	}
	return n
}

// cached: answers that are in memory.
func (s *Session) cached(ctx context.Context, emit func(figure.Figure)) error {
	serve, err := s.served(ctx)
	if err != nil {
		return err
	}
	before := figure.ResidentOf(serve.pid)
	questions, err := s.questions(ctx, s.few(workingSet), true, 1)
	if err != nil {
		return err
	}
	if err := s.warm(ctx, serve, questions); err != nil {
		return err
	}
	for _, each := range []struct {
		name string
		one  func(string, []byte) []byte
	}{{"ocsp_cached_get", get}, {"ocsp_cached_post", post}} {
		s.c.Progress("%s", each.name)
		from, err := cacheCounts(ctx, serve)
		if err != nil {
			return err
		}
		got, bare, err := s.beside(ctx, serve, questions, each.one, httpload.Job{Zipf: skew, Connections: connections, Depth: depth, Time: s.long(), Want: successful})
		if err != nil {
			return err
		}
		to, err := cacheCounts(ctx, serve)
		if err != nil {
			return err
		}
		emit(figure.More(each.name, got.PerSecond(), "1/s", bare.PerSecond(), fmt.Sprintf(
			"%d certificates of %d in the population, by Zipf's law (%.1f): %.2f %% from memory; %d octets an answer; %d connections, %d requests on each at once; load generator in a process of its own on the same cores (%.1f µs of CPU time a request); ceiling: net/http with the same settings and a constant of equal length, the same requests",
			len(questions), s.p.Certs, skew, 100*hitRate(from, to), got.Length(), connections, depth, micro(got))))
	}
	return s.alike(ctx, serve, before, emit)
}

func micro(r httpload.Report) float64 {
	return float64(r.CPU.Microseconds()) / float64(max(r.Answers, 1))
}

// alike asks for certificates of the whole population, all alike: the worst case of
// any cache.
func (s *Session) alike(ctx context.Context, serve *service, before int64, emit func(figure.Figure)) error {
	questions, err := s.questions(ctx, s.few(cold), false, 2)
	if err != nil {
		return err
	}
	s.c.Progress("ocsp_uniform_get")
	from, err := cacheCounts(ctx, serve)
	if err != nil {
		return err
	}
	g, err := s.generator(ctx)
	if err != nil {
		return err
	}
	j := httpload.Job{Address: serve.Status, Requests: requests(serve.Status, questions, get), InTurn: true, Connections: connections, Depth: depth, Want: successful}
	got, err := g.Do(j)
	if err != nil {
		return err
	}
	to, err := cacheCounts(ctx, serve)
	if err != nil {
		return err
	}
	constant, err := s.begin(ctx, process.Constant, process.Spec{Length: got.Length()})
	if err != nil {
		return err
	}
	j.Address = constant.Status
	bare, err := g.Do(j)
	if err := orElse(err, constant.end()); err != nil {
		return err
	}
	emit(figure.More("ocsp_uniform_get", got.PerSecond(), "1/s", bare.PerSecond(), fmt.Sprintf(
		"%d different certificates of all %d, each once: %.2f %% from memory, all others read and signed; ceiling as before", len(questions), s.p.Certs, 100*hitRate(from, to))))
	if after := figure.ResidentOf(serve.pid); after > 0 && before > 0 {
		emit(figure.Less("ocsp_resident_mb", figure.Mega(after), "MB", figure.Mega(before), fmt.Sprintf(
			"memory of the serving process after all that, with %.0f answers of %.1f MB in its cache (ocsp.cache bounds it); ceiling: the same process before the first request", to.entries, to.octets/1e6)))
	}
	return nil
}

// warm asks for everything once, and looks whether the answers are what they must be.
func (s *Session) warm(ctx context.Context, serve *service, questions [][]byte) error {
	issuer, err := issuerOf(s.p)
	if err != nil {
		return err
	}
	for _, q := range questions[:min(len(questions), 5)] {
		der, err := fetchPost(ctx, "http://"+serve.Status+"/ocsp", q)
		if err != nil {
			return err
		}
		if a, err := ocsp.ParseResponse(der, issuer); err != nil || a.Status == ocsp.Unknown {
			return fmt.Errorf("answer %+v: %w", a, err)
		}
	}
	g, err := s.generator(ctx)
	if err != nil {
		return err
	}
	_, err = g.Do(httpload.Job{Address: serve.Status, Requests: requests(serve.Status, questions, post), InTurn: true, Connections: connections, Want: successful})
	return err
}

// fresh: nothing helps, each answer is read and signed.
func (s *Session) fresh(ctx context.Context, emit func(figure.Figure)) error {
	serve, err := s.served(ctx)
	if err != nil {
		return err
	}
	questions, err := s.questions(ctx, s.few(workingSet), true, 1)
	if err != nil {
		return err
	}
	for i := range questions {
		if questions[i], err = withNonce(questions[i]); err != nil {
			return err
		}
	}
	s.c.Progress("ocsp_fresh")
	got, bare, err := s.beside(ctx, serve, questions, post, httpload.Job{Connections: connections, Depth: depth, Time: s.long(), Want: successful})
	if err != nil {
		return err
	}
	emit(figure.More("ocsp_fresh", got.PerSecond(), "1/s", bare.PerSecond(), fmt.Sprintf(
		"POST with a nonce: one indexed read of %d certificates and a P-256 signature each; %d octets an answer; ceiling: a constant of equal length, the same requests", s.p.Certs, got.Length())))
	other, err := s.begin(ctx, process.Other, process.Spec{Dir: s.p.Dir})
	if err != nil {
		return err
	}
	o, err := other.ask(process.Order{Sign: 2 * s.long(), Requests: questions[:min(len(questions), 2000)]})
	if err := orElse(err, other.end()); err != nil {
		return err
	}
	value := float64(o.Count) / o.Took.Seconds()
	emit(figure.More("ocsp_fresh_in_process", value, "1/s", o.Bare,
		"the same without sockets and HTTP, on all cores; ceiling: bare P-256 signatures on the same cores"))
	return nil
}

// counts are what the service tells of its cache.
type counts struct{ hits, misses, entries, octets float64 }

func hitRate(from, to counts) float64 {
	hits, misses := to.hits-from.hits, to.misses-from.misses
	if hits+misses == 0 {
		return 0
	}
	return hits / (hits + misses)
}

// cacheCounts reads the metrics.
func cacheCounts(ctx context.Context, serve *service) (c counts, err error) {
	body, err := fetchGet(ctx, "http://"+serve.Ops+"/metrics")
	if err != nil {
		return c, err
	}
	in := bufio.NewScanner(bytes.NewReader(body))
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), " ")
		for metric, to := range map[string]*float64{"sigill_ocsp_cache_hits_total": &c.hits, "sigill_ocsp_cache_misses_total": &c.misses,
			"sigill_ocsp_cache_entries": &c.entries, "sigill_ocsp_cache_bytes": &c.octets} {
			if name == metric {
				if *to, err = strconv.ParseFloat(value, 64); err != nil {
					return c, err
				}
			}
		}
	}
	return c, in.Err()
}

func fetchGet(ctx context.Context, address string) ([]byte, error) {
	return fetch(ctx, http.MethodGet, address, nil)
}

func fetchPost(ctx context.Context, address string, body []byte) ([]byte, error) {
	return fetch(ctx, http.MethodPost, address, body)
}

func fetch(ctx context.Context, method, address string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", address, resp.Status)
	}
	return b, err
}
