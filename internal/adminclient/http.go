package adminclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sigill/internal/wire"
)

const (
	// maxAnswer bounds an answer: that to a delivery carries a certificate for
	// each of at most 10 000 cards.
	maxAnswer        = 32 << 20
	maxTries         = 3
	firstPause       = 250 * time.Millisecond
	longestPause     = 10 * time.Second
	dialTimeout      = 15 * time.Second
	handshakeTimeout = 30 * time.Second
	// requestTimeout bounds one try; importTimeout one that may sign thousands
	// of certificates.
	requestTimeout = 60 * time.Second
	importTimeout  = 10 * time.Minute
)

// base checks the server's address: a card talks to nothing but https.
func (c *Client) base() (*url.URL, error) {
	u, err := url.Parse(c.Server)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("server address %q is not of the form https://host:port", c.Server)
	}
	return u, nil
}

// request is what is sent.
type request struct {
	method, path string
	query        url.Values
	kind         string // media type of body
	body         []byte
	timeout      time.Duration
}

// path joins elements of an address.
func path(elements ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1")
	for _, e := range elements {
		b.WriteString("/" + url.PathEscape(e))
	}
	return b.String()
}

func get[T any](ctx context.Context, c *Client, l *login, path string, query url.Values) (*T, error) {
	return send[T](ctx, c, l, request{method: "GET", path: path, query: query, timeout: requestTimeout})
}

func post[T any](ctx context.Context, c *Client, l *login, path string, body any) (*T, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return send[T](ctx, c, l, request{method: "POST", path: path, kind: "application/json", body: b, timeout: requestTimeout})
}

// send makes a request and reads its answer. Every request of the API gives the
// same result when it is repeated, so one whose answer was lost is sent again,
// with the same bytes; so is one that the server asks for again (Retry-After).
func send[T any](ctx context.Context, c *Client, l *login, r request) (*T, error) {
	pause := firstPause
	for try := 1; ; try++ {
		out := new(T)
		after, err := c.once(ctx, l, r, out)
		if err == nil {
			return out, nil
		}
		if !again(err, after) || try == maxTries || ctx.Err() != nil {
			return nil, err
		}
		if err := c.pause(ctx, min(max(pause, after), longestPause)); err != nil {
			return nil, err
		}
		pause *= 4
	}
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.wait != nil {
		return c.wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// again reports whether a request may be repeated after err.
func again(err error, after time.Duration) bool {
	if _, ok := errors.AsType[*wire.Problem](err); ok {
		return after > 0
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return false // nobody there: say so at once
	}
	// A server that is not who it must be, or refuses the handshake, will not
	// change its mind; a PIN is not asked for again and again.
	_, inner := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return !inner && !alert && !record && !errors.Is(err, ErrAnswer) && errors.Is(err, errLost)
}

// errRequest marks what cannot be sent.
var errRequest = errors.New("request")

// errLost marks an answer that did not arrive.
var errLost = errors.New("no answer")

// once makes one try over a connection of its own. after is what Retry-After
// says.
func (c *Client) once(ctx context.Context, l *login, r request, out any) (after time.Duration, err error) {
	base, err := c.base()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	for _, e := range strings.Split(r.path[1:], "/") {
		// An id is one element: what is none would make another address of it.
		if e == "" || e == "." || e == ".." {
			return 0, fmt.Errorf("%w: an id is empty or no id", errRequest)
		}
	}
	full := "https://" + base.Host + r.path
	if len(r.query) > 0 {
		full += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, full, bytes.NewReader(r.body))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errRequest, err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("Accept-Language", c.Language)
	req.Header.Set("User-Agent", "sigill")
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	resp, err := (&http.Client{Transport: c.transport(l),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return 0, fmt.Errorf("server %s: %w: %w", base.Host, errLost, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, fmt.Errorf("server %s: %w: %w", base.Host, errLost, err)
	}
	return answer(resp, b, out)
}

// transport presents the certificate of l, whatever issuers the server names: it
// answers an unknown card with a document, which people can read.
func (c *Client) transport(l *login) *http.Transport {
	cert := &tls.Certificate{Certificate: [][]byte{l.certificate.Raw}, PrivateKey: l.key, Leaf: l.certificate}
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:           tls.VersionTLS13, // 1.2 sends the client's certificate, with name, in clear
			RootCAs:              c.Roots,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
		},
		TLSHandshakeTimeout: handshakeTimeout, DisableKeepAlives: true, DisableCompression: true,
	}
}

func answer(resp *http.Response, b []byte, out any) (after time.Duration, err error) {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n >= 0 {
			after = max(time.Duration(n)*time.Second, time.Millisecond)
		}
		return after, problemOf(resp, b)
	}
	if len(b) > maxAnswer {
		return 0, fmt.Errorf("%w: larger than %d MiB", ErrAnswer, maxAnswer>>20)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return 0, nil
}

// problemOf reads a problem document, or makes one of an answer that is none (of
// a proxy, say).
func problemOf(resp *http.Response, body []byte) error {
	p := &wire.Problem{}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(body, p) != nil || p.Title == "" {
		p = &wire.Problem{Type: "about:blank", Title: "the server answered " + resp.Status}
	}
	p.Status = resp.StatusCode
	return p
}
