package responder

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/status"
)

// ledger is what the answers of a hall are made from. It can be away.
type ledger struct {
	mu      sync.Mutex
	known   map[ca.Serial]*revocation.Entry // nil: good
	reads   int                             // of all
	ofKnown int
	away    error
	reading func(context.Context) // at each reading, if set
}

func (l *ledger) Status(ctx context.Context, _ ca.IssuerID, serial ca.Serial) (bool, *revocation.Entry, error) {
	if l.reading != nil {
		l.reading(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	entry, known := l.known[serial]
	if known {
		l.ofKnown++
	}
	return known, entry, errors.Join(l.away, ctx.Err())
}

func (l *ledger) set(away error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

// hall is a status listener as it is served: handler, cache, bounds, server.
type hall struct {
	*Handler
	ledger    *ledger
	responder *status.Responder
	authority *revtest.Authority
	clients   *Connections
	server    *http.Server
	dir       string
	clock     atomic.Int64
	log       syncBuffer
	address   string // of the socket, if there is one
	open      tally  // the server's connections
}

// tally counts what comes and goes.
type tally struct {
	mu      sync.Mutex
	n       int
	changed *sync.Cond
}

func (c *tally) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	if c.changed != nil {
		c.changed.Broadcast()
	}
}

// none waits until there is none; what is still to come is not waited for.
func (c *tally) none() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = sync.NewCond(&c.mu)
	}
	for c.n > 0 {
		c.changed.Wait()
	}
}

// syncBuffer is a log that many write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newHall(t testing.TB, connections int) *hall {
	t.Helper()
	h := &hall{ledger: &ledger{known: map[ca.Serial]*revocation.Entry{}}, authority: revtest.NewAuthority(t, revtest.Person, nil), dir: t.TempDir()}
	h.clock.Store(revtest.Start.UnixNano())
	signers := new(status.Signers)
	if err := signers.Set(revtest.Person, h.authority.Responder(t)); err != nil {
		t.Fatal(err)
	}
	cache, err := status.NewCache(1<<20, signers)
	if err != nil {
		t.Fatal(err)
	}
	h.responder = &status.Responder{Reader: h.ledger, Signers: signers, Now: h.now, Cache: cache}
	if err := h.responder.Check(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.responder.Wait)
	log := slog.New(slog.NewTextHandler(&h.log, nil))
	if h.Handler, err = New(Config{OCSP: h.responder, Dir: h.dir, Now: h.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	h.clients = NewConnections(connections, log)
	h.server = NewServer(h.Handler, h.clients)
	changed := h.server.ConnState
	h.server.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			h.open.add(1)
		}
		changed(conn, state)
		if state == http.StateClosed {
			h.open.add(-1)
		}
	}
	return h
}

func (h *hall) now() time.Time       { return time.Unix(0, h.clock.Load()).UTC() }
func (h *hall) pass(d time.Duration) { h.clock.Add(int64(d)) }

// listens serves on a socket until the test ends, and every connection with it.
func (h *hall) listens(t testing.TB) *hall {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.address = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- h.server.Serve(l) }()
	t.Cleanup(func() {
		h.server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		h.open.none()
	})
	return h
}

func (h *hall) good() ca.Serial {
	serial := ca.NewSerial()
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	h.ledger.known[serial] = nil
	return serial
}

func (h *hall) revoked() ca.Serial {
	e := revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise)
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	h.ledger.known[e.Serial] = &e
	return e.Serial
}

func (h *hall) question(t testing.TB, serial ca.Serial) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, h.authority.Cert, &ocsp.RequestOptions{Hash: crypto.SHA1})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// get is a request by GET that keeps the connection; post is one by POST.
func get(der []byte) string { return "GET " + pathOf(der) + " HTTP/1.1\r\nHost: x\r\n\r\n" }

func post(der []byte, header ...string) string {
	return "POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\n" + strings.Join(append(header, ""), "\r\n") + "\r\n" + string(der)
}

// lengthOf is the header line that tells a body's true length.
func lengthOf(der []byte) string { return fmt.Sprintf("Content-Length: %d", len(der)) }

// say puts an answer in a word or two: its HTTP status, and what OCSP says.
func (h *hall) say(t testing.TB, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("reading an answer: %v", err)
	}
	if r.StatusCode/100 == 3 && r.StatusCode != http.StatusNotModified || r.Header.Get("Location") != "" {
		t.Errorf("a redirect: %d %v", r.StatusCode, r.Header)
	}
	if r.Header.Get("Content-Type") != typeOCSP {
		return fmt.Sprint(r.StatusCode)
	}
	if r.StatusCode != 200 {
		t.Errorf("OCSP with HTTP %d", r.StatusCode)
	}
	if len(body) == 5 {
		return [...]string{1: "malformed", 2: "internal error", 3: "later", 6: "unauthorized"}[body[4]]
	}
	answer, err := ocsp.ParseResponse(body, h.authority.Cert)
	if err != nil {
		t.Errorf("an answer: %v", err)
		return "unread"
	}
	return [...]string{ocsp.Good: "good", ocsp.Revoked: "revoked", ocsp.Unknown: "unknown"}[answer.Status]
}

// answers reads answers until the server ends the connection.
func (h *hall) answers(t testing.TB, conn io.Reader) (said []string) {
	t.Helper()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return said
		}
		said = append(said, h.say(t, r))
	}
}

// one asks one question over a connection and reads its answer.
func (h *hall) one(t testing.TB, conn net.Conn, request string) string {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Errorf("asking: %v", err)
		return "not asked"
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("answer: %v", err)
		return "no answer"
	}
	return h.say(t, r)
}

func (h *hall) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// served fails the test unless somebody else is served now.
func (h *hall) served(t testing.TB) {
	t.Helper()
	conn := h.dial(t)
	defer conn.Close()
	if got := h.one(t, conn, get(h.question(t, h.good()))); got != "good" {
		t.Errorf("somebody else is told %q meanwhile", got)
	}
}
