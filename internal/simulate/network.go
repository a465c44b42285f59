package simulate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"sigill/internal/wire"
)

// wireless carries the requests of one certificate of a client, in place of TLS.
type wireless struct {
	c    *client
	cert *x509.Certificate
	key  crypto.Signer
	conn *connection
}

// connection is a handshake that a process remembers.
type connection struct {
	proc *process
	used time.Time
}

// As the server and the client have them.
const (
	idleTimeout    = 30 * time.Second
	requestTimeout = 30 * time.Second
)

var errNoAnswer = fmt.Errorf("%w: connection reset", errInjected)

// CloseIdleConnections is called by [http.Client.CloseIdleConnections].
func (t *wireless) CloseIdleConnections() { t.conn = nil }

// RoundTrip implements [http.RoundTripper].
func (t *wireless) RoundTrip(r *http.Request) (*http.Response, error) {
	s := t.c.s
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	route := routeOf(r)
	s.point("send " + route)
	if t.c.killed {
		return nil, errKilled
	}
	if err := t.connect(); err != nil {
		s.note("send "+route, outcome(err))
		return nil, err
	}
	m := message{route: route, method: r.Method, path: r.URL.EscapedPath(), header: r.Header, body: body, cert: t.cert}
	switch s.draw(NetRequestLost, NetTwice, NetDelayed) {
	case NetRequestLost:
		return t.silence()
	case NetDelayed:
		s.courier(m, s.between(0, 2*requestTimeout))
		return t.silence()
	case NetTwice:
		s.courier(m, s.between(0, requestTimeout))
	}
	proc := t.conn.proc
	resp := s.serve(r.Context(), proc, m)
	s.point("answer " + route)
	t.conn = nil
	switch {
	case t.c.killed:
		return nil, errKilled
	case !proc.alive || resp == nil:
		s.note("answer "+route, "none: the server died")
		return nil, errNoAnswer
	case s.drawAt(NetAnswerLost):
		return t.silence()
	}
	t.conn = &connection{proc, s.clock}
	return resp, nil
}

// silence is what a client hears whose packets are lost: nothing, until it gives
// the connection up.
func (t *wireless) silence() (*http.Response, error) {
	t.conn = nil
	t.c.s.pause(requestTimeout)
	if t.c.killed {
		return nil, errKilled
	}
	return nil, fmt.Errorf("%w: timeout", errNoAnswer)
}

// connect sees to it that there is a connection: its handshake lets the card sign
// what nobody signed before.
func (t *wireless) connect() error {
	s := t.c.s
	if t.conn != nil && t.conn.proc.alive && s.clock.Sub(t.conn.used) < idleTimeout && !s.clock.Before(t.conn.used) {
		return nil
	}
	t.conn = nil
	if t.cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		s.wrong("%s: the client logs in with a key for signatures that bind", t.c.h.name)
	}
	proc := s.living()
	if proc == nil {
		return &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%w: connection refused", errInjected)}
	}
	challenge := make([]byte, 32)
	rand.Read(challenge)
	digest := sha256.Sum256(append([]byte("simulated handshake"), challenge...))
	signature, err := t.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	public, ok := t.cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(public, digest[:], signature) {
		return errors.New("handshake: the signature is not by the key of the certificate")
	}
	if !proc.alive {
		return errNoAnswer
	}
	t.conn = &connection{proc, s.clock}
	return nil
}

// message is a request on its way.
type message struct {
	route, method, path string
	header              http.Header
	body                []byte
	cert                *x509.Certificate
}

// courier delivers a message later, to whom is there then. Nobody waits for the
// answer.
func (s *Sim) courier(m message, after time.Duration) {
	s.spawn("courier", func(a *actor) {
		s.pause(after)
		if p := s.living(); p != nil && !s.closing {
			s.serve(context.Background(), p, m)
		}
	})
	s.actors[len(s.actors)-1].wake = s.clock.Add(after)
}

// serve lets a process answer a request, in the actor that asks. It returns nil
// if the process died meanwhile.
func (s *Sim) serve(ctx context.Context, p *process, m message) *http.Response {
	r, err := http.NewRequestWithContext(ctx, m.method, "https://card.example"+m.path, bytes.NewReader(m.body))
	if err != nil {
		s.wrong("request %s: %v", m.path, err)
		return nil
	}
	r.RequestURI, r.Header = m.path, m.header.Clone()
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: []*x509.Certificate{m.cert}}
	if strings.HasSuffix(m.route, "/confirm") {
		s.confirming(strings.Split(m.path, "/")[4], m.cert.Raw)
	}
	w := &answer{header: http.Header{}}
	if a := s.current; a != nil {
		before := a.proc
		a.proc = p
		defer func() { a.proc = before }()
	}
	p.handler.ServeHTTP(w, r)
	if !p.alive {
		return nil
	}
	s.heard(m, w)
	body := w.body.Bytes()
	if s.Answer != nil {
		body = s.Answer(m.route, body)
	}
	return &http.Response{StatusCode: w.status, Status: fmt.Sprint(w.status), Header: w.header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r}
}

// answer is a [http.ResponseWriter] in memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (w *answer) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *answer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements [http.ResponseWriter].
func (w *answer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// heard notes what the server answered, and counts the refusals that it told.
func (s *Sim) heard(m message, w *answer) {
	text := fmt.Sprint(w.status)
	if w.status >= 400 {
		var p wire.Problem
		if err := json.Unmarshal(w.body.Bytes(), &p); err != nil {
			s.wrong("%s was answered %d without a problem document: %v", m.route, w.status, err)
			return
		}
		text += " " + p.Type + " " + p.Rule
		if p.Rule != "" {
			s.refusals[p.Rule]++
		}
	}
	s.note("server "+m.route, text)
}

// routeOf is a request's address without its ids.
func routeOf(r *http.Request) string {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/card/v1/"), "/")
	if len(parts) > 1 {
		parts[1] = "-"
	}
	return strings.Join(parts, "/")
}
