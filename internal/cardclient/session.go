package cardclient

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
	maxAnswer = 1 << 20
	// Each request may be tried this often: every step of the protocol gives
	// the same result when it is repeated.
	maxTries      = 4
	firstPause    = 250 * time.Millisecond
	longestPause  = 10 * time.Second
	dialTimeout   = 15 * time.Second
	headerTimeout = 30 * time.Second
	// requestTimeout bounds one try with everything in it, a slow card too.
	requestTimeout = 60 * time.Second
)

// session is connections to the server under one certificate: at most one at a
// time, always with a full handshake, because a resumed one would prove nothing
// about the card.
type session struct {
	client   *Client
	identity Identity
	base     *url.URL
	http     *http.Client
}

// baseURL checks the server's address: a card talks to nothing but https.
func (c *Client) baseURL() (*url.URL, error) {
	u, err := url.Parse(c.Server)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("server address %q is not of the form https://host:port", c.Server)
	}
	return u, nil
}

// session prepares connections that present the certificate of i. The PIN is
// asked for here, not in the middle of a handshake that the server times.
func (c *Client) session(ctx context.Context, i Identity) (*session, error) {
	base, err := c.baseURL()
	if err != nil {
		return nil, err
	}
	key, err := c.signer(ctx, i)
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{Certificate: [][]byte{i.Certificate.Raw}, PrivateKey: key, Leaf: i.Certificate}
	config := &tls.Config{
		// TLS 1.2 sends the client's certificate, with the holder's name, in
		// clear.
		MinVersion: tls.VersionTLS13,
		RootCAs:    c.Roots,
		// Whatever issuers the server names: it answers an unknown card with a
		// document, and the holder gets to read it.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &session{client: c, identity: i, base: base, http: &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: config,
			MaxConnsPerHost: 1, MaxIdleConns: 1, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: headerTimeout, ResponseHeaderTimeout: headerTimeout,
			DisableCompression: true,
		},
	}}, nil
}

// close ends the session's connection.
func (s *session) close() { s.http.CloseIdleConnections() }

// call makes a request and reads its answer into out. It tries again when the
// answer is lost and when the server says so (Retry-After); a refusal is a
// [*wire.Problem] and final.
func (s *session) call(ctx context.Context, method, path string, in, out any) error {
	pause := firstPause
	for try := 1; ; try++ {
		after, err := s.once(ctx, method, path, in, out)
		if err == nil || !again(err, after) || try == maxTries || ctx.Err() != nil {
			return err
		}
		s.close() // a lost answer says nothing good of its connection
		if err := s.client.wait(ctx, min(max(pause, after), longestPause)); err != nil {
			return err
		}
		pause *= 4
	}
}

// again reports whether a request may be repeated after err.
func again(err error, after time.Duration) bool {
	var problem *wire.Problem
	if errors.As(err, &problem) {
		return after > 0
	}
	// A server that is not who it must be, or that refuses the handshake, will
	// not change its mind.
	var cert *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	return !errors.As(err, &cert) && !errors.As(err, &alert) && !errors.As(err, &record) && !errors.Is(err, errAnswer)
}

// errAnswer marks an answer that is not of this protocol.
var errAnswer = errors.New("the server's answer is not understood")

// once makes one request. after is what Retry-After says.
func (s *session) once(ctx context.Context, method, path string, in, out any) (after time.Duration, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, fmt.Errorf("request: %w: %w", errAnswer, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base.JoinPath(path).String(), body)
	if err != nil {
		return 0, fmt.Errorf("request: %w: %w", errAnswer, err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("Accept-Language", s.client.Language)
	req.Header.Set("User-Agent", "sigill-card/"+s.client.Version)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("server %s: %w", s.base.Host, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, fmt.Errorf("server %s: %w", s.base.Host, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return retryAfter(resp), problemOf(resp, b)
	}
	if out == nil {
		return 0, nil
	}
	if len(b) > maxAnswer {
		return 0, fmt.Errorf("%w: larger than 1 MiB", errAnswer)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return 0, fmt.Errorf("%w: %w", errAnswer, err)
	}
	return 0, nil
}

func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return max(time.Duration(n)*time.Second, time.Millisecond)
}

// problemOf reads a problem document, or makes one of an answer that is none
// (of a proxy, say).
func problemOf(resp *http.Response, body []byte) error {
	p := &wire.Problem{}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(body, p) != nil || p.Title == "" {
		p = &wire.Problem{Type: "about:blank", Title: "the server answered " + resp.Status}
	}
	p.Status = resp.StatusCode
	return p
}
