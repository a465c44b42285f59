package cardhttp_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigill/internal/cardhttp"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/policy"
)

const (
	tries     = 3
	maxAnswer = 100
)

// oneKey is a card with one key that counts what it is asked for.
type oneKey struct {
	token.Card
	key      *ecdsa.PrivateKey
	refusal  error        // of each signature
	opened   atomic.Int32 // how often the PIN would have been asked for
	signed   atomic.Int32
	notFound error
}

func (k *oneKey) Signer(context.Context, []byte) (crypto.Signer, error) {
	k.opened.Add(1)
	return signer{k}, k.notFound
}

type signer struct{ of *oneKey }

func (s signer) Public() crypto.PublicKey { return s.of.key.Public() }

func (s signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.of.signed.Add(1)
	if s.of.refusal != nil {
		return nil, s.of.refusal
	}
	return s.of.key.Sign(rand, digest, opts)
}

// scene is a server and a card that logs in to it.
type scene struct {
	config cardhttp.Config
	card   *oneKey
	cert   *x509.Certificate
	waits  []time.Duration

	mu       sync.Mutex
	requests []string // method, address, body
	headers  http.Header
	conns    map[string]bool
	resumed  bool
}

func newScene(t *testing.T, harden func(*tls.Config), answer func(n int, w http.ResponseWriter, r *http.Request)) *scene {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := tokentest.NewAuthority(t, "TEST CA")
	s := &scene{card: &oneKey{key: key}, conns: map[string]bool{}}
	if s.cert, err = x509.ParseCertificate(authority.Issue(t, key.Public(), policy.Authentication, "9752000000000000017")); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, r.Method+" "+r.RequestURI+" "+string(body))
		s.headers, s.conns[r.RemoteAddr] = r.Header, true
		s.resumed = s.resumed || r.TLS.DidResume
		answer(len(s.requests), w, r)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	if harden != nil {
		harden(server.TLS)
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // cut connections are meant
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	s.config = cardhttp.Config{Server: server.URL, Roots: roots, Card: s.card, Agent: "test/1", Language: "sv", Tries: tries, MaxAnswer: maxAnswer,
		Wait: func(_ context.Context, d time.Duration) error { s.waits = append(s.waits, d); return nil }}
	return s
}

func (s *scene) open(t *testing.T) *cardhttp.Session {
	t.Helper()
	session, err := cardhttp.Open(t.Context(), s.config, []byte{1}, s.cert)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}

type answer struct{ ID string }

func (s *scene) get(t *testing.T) (answer, error) {
	t.Helper()
	var a answer
	err := s.open(t).Do(t.Context(), cardhttp.Request{Method: "GET", Path: []string{"a"}}, &a)
	return a, err
}

func right(w http.ResponseWriter) { io.WriteString(w, `{"id":"1"}`) }

func problem(w http.ResponseWriter, status int, after string) {
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, `{"title":"no","status":299,"rule":"order.self"}`)
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(n int, w http.ResponseWriter, r *http.Request)
		tries  int
		status int    // of the problem; 0: none
		want   string // of the error; empty: none
		waits  []time.Duration
	}{
		"at once": {func(_ int, w http.ResponseWriter, _ *http.Request) { right(w) }, 1, 0, "", nil},
		"lost once": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			right(w)
		}, 2, 0, "", []time.Duration{250 * time.Millisecond}},
		"cut in the middle": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.Header().Set("Content-Length", "20")
				io.WriteString(w, `{"id"`)
				panic(http.ErrAbortHandler)
			}
			right(w)
		}, 2, 0, "", []time.Duration{250 * time.Millisecond}},
		"lost for good": {func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, tries, 0, "no answer",
			[]time.Duration{250 * time.Millisecond, time.Second}},
		"asked again": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n < tries {
				problem(w, 409, "3")
				return
			}
			right(w)
		}, tries, 0, "", []time.Duration{3 * time.Second, 3 * time.Second}},
		"asked again at once": {func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				problem(w, 409, "0")
				return
			}
			right(w)
		}, 2, 0, "", []time.Duration{250 * time.Millisecond}},
		"asked to wait for years": {func(n int, w http.ResponseWriter, _ *http.Request) { problem(w, 503, "9223372036854775807") }, tries, 503, "no [order.self]",
			[]time.Duration{10 * time.Second, 10 * time.Second}},
		"refused":           {func(_ int, w http.ResponseWriter, _ *http.Request) { problem(w, 403, "") }, 1, 403, "no [order.self]", nil},
		"a date":            {func(_ int, w http.ResponseWriter, _ *http.Request) { problem(w, 503, "Fri, 31 Dec 1999 23:59:59 GMT") }, 1, 503, "no", nil},
		"a time gone by":    {func(_ int, w http.ResponseWriter, _ *http.Request) { problem(w, 503, "-1") }, 1, 503, "no", nil},
		"a proxy's page":    {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); io.WriteString(w, "<html>") }, 1, 502, "502 Bad Gateway", nil},
		"an empty problem":  {empty, 1, 400, "400 Bad Request", nil},
		"a redirect":        {redirect, 1, 302, "302 Found", nil},
		"no JSON":           {func(_ int, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }, 1, 0, cardhttp.ErrAnswer.Error(), nil},
		"the largest":       {func(_ int, w http.ResponseWriter, _ *http.Request) { large(w, maxAnswer) }, 1, 0, "", nil},
		"larger":            {func(_ int, w http.ResponseWriter, _ *http.Request) { large(w, maxAnswer+1) }, 1, 0, "larger than 100", nil},
		"a refusal, larger": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); large(w, 1<<20) }, 1, 500, "500 Internal", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nil, c.answer)
			a, err := s.get(t)
			if c.want == "" && (err != nil || a.ID != "1") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%+v, %v, want %q", a, err, c.want)
			}
			if p, ok := errors.AsType[*wire.Problem](err); ok != (c.status != 0) || ok && p.Status != c.status {
				t.Errorf("problem %+v, want status %d", p, c.status)
			}
			if len(s.requests) != c.tries {
				t.Errorf("%d tries, want %d", len(s.requests), c.tries)
			}
			if len(s.waits) != len(c.waits) {
				t.Fatalf("waited %v, want %v", s.waits, c.waits)
			}
			for i := range c.waits {
				if s.waits[i] != c.waits[i] {
					t.Errorf("waited %v, want %v", s.waits, c.waits)
				}
			}
			if s.card.opened.Load() != 1 {
				t.Errorf("the card was opened %d times", s.card.opened.Load())
			}
		})
	}
}

func empty(_ int, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(400)
	io.WriteString(w, "{}")
}

func redirect(_ int, w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/b", http.StatusFound)
}

// large writes an answer of n octets.
func large(w http.ResponseWriter, n int) {
	const head, tail = `{"id":"1","more":"`, `"}`
	io.WriteString(w, head+strings.Repeat("x", n-len(head)-len(tail))+tail)
}

// What is sent is the same in each try, and an id is one element of the address.
func TestRequest(t *testing.T) {
	s := newScene(t, nil, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n < tries {
			panic(http.ErrAbortHandler)
		}
		right(w)
	})
	r := cardhttp.Request{Method: "POST", Path: []string{"a", "b/../ö?x#y"}, Query: url.Values{"q": {"a&b"}}, JSON: map[string]int{"n": 1}}
	if err := s.open(t).Do(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	for _, got := range s.requests {
		if want := `POST /a/b%2F..%2F%C3%B6%3Fx%23y?q=a%26b {"n":1}`; got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Accept-Language": "sv", "User-Agent": "test/1", "Accept": "application/json, application/problem+json"} {
		if got := s.headers.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	r = cardhttp.Request{Method: "POST", Path: []string{"a"}, File: []byte("a,b"), Kind: "text/csv"}
	if err := s.open(t).Do(t.Context(), r, nil); err != nil || s.requests[tries] != "POST /a a,b" || s.headers.Get("Content-Type") != "text/csv" {
		t.Errorf("a file: %v, %q, %v", err, s.requests, s.headers)
	}
	sent := len(s.requests)
	for _, r := range []cardhttp.Request{{Method: "GET", Path: []string{"a", ""}}, {Method: "GET", Path: []string{"..", "a"}}, {Method: "GET", Path: []string{"."}},
		{Method: "POST", Path: []string{"a"}, JSON: func() {}}, {Method: "BAD METHOD", Path: []string{"a"}}} {
		if err := s.open(t).Do(t.Context(), r, nil); err == nil || len(s.requests) != sent {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// A connection is kept only where that is asked for, and is never resumed.
func TestConnections(t *testing.T) {
	for _, keep := range []bool{false, true} {
		s := newScene(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) { right(w) })
		s.config.Keep = keep
		want := 3
		if keep {
			want = 1
		}
		session := s.open(t)
		for range 3 {
			if err := session.Do(t.Context(), cardhttp.Request{Method: "GET", Path: []string{"a"}}, new(answer)); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.conns) != want || int(s.card.signed.Load()) != want {
			t.Errorf("kept %t: %d connections, %d signatures, want %d", keep, len(s.conns), s.card.signed.Load(), want)
		}
		session.Close()
		if err := session.Do(t.Context(), cardhttp.Request{Method: "GET", Path: []string{"a"}}, nil); err != nil || int(s.card.signed.Load()) != want+1 {
			t.Errorf("kept %t: after a close %d signatures, %v", keep, s.card.signed.Load(), err)
		}
		if s.resumed {
			t.Errorf("kept %t: a session was resumed", keep)
		}
	}
}

var errCard = errors.New("the card was pulled")

// What ends for good at the handshake is not tried again: the card signs once, or
// not at all.
func TestHandshakeIsFinal(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for name, c := range map[string]struct {
		harden func(*tls.Config)
		change func(*scene)
		signed int32
		want   string
	}{
		"refused certificate": {func(c *tls.Config) {
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return errors.New("not this one") }
		}, nil, 1, "remote error: tls: bad certificate"},
		"unknown issuer": {func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool() }, nil, 1,
			"remote error: tls:"},
		"TLS 1.2":           {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, nil, 0, "protocol version"},
		"somebody else":     {nil, func(s *scene) { s.config.Roots = x509.NewCertPool() }, 0, "certificate"},
		"card gone":         {nil, func(s *scene) { s.card.refusal = errCard }, 1, errCard.Error()},
		"wrong PIN":         {nil, func(s *scene) { s.card.refusal = token.ErrPIN{Left: 2} }, 1, "2 tries left"},
		"plain HTTP behind": {nil, func(s *scene) { s.config.Server = strings.Replace(plain.URL, "http:", "https:", 1) }, 0, "HTTP response to HTTPS client"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, c.harden, func(_ int, w http.ResponseWriter, _ *http.Request) { right(w) })
			if c.change != nil {
				c.change(s)
			}
			_, err := s.get(t)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if got := s.card.signed.Load(); got != c.signed || len(s.requests) != 0 || len(s.waits) != 0 {
				t.Errorf("%d signatures, %d requests, %d second tries", got, len(s.requests), len(s.waits))
			}
			if s.card.refusal != nil && !errors.Is(err, s.card.refusal) {
				t.Errorf("%v is not the card's own error", err)
			}
		})
	}
}

func TestDial(t *testing.T) {
	for _, redial := range []bool{false, true} {
		s := newScene(t, nil, nil)
		s.config.Server, s.config.Redial = gone(), redial
		_, err := s.get(t)
		if want := map[bool]int{false: 0, true: tries - 1}[redial]; err == nil || len(s.waits) != want {
			t.Errorf("redial %t: %d second tries, %v", redial, len(s.waits), err)
		}
	}
}

// gone is the address of a server that was there.
func gone() string {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return s.URL
}

// Who asks ends the tries.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newScene(t, nil, func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s.config.Wait = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
	err := s.open(t).Do(ctx, cardhttp.Request{Method: "GET", Path: []string{"a"}}, nil)
	if !errors.Is(err, context.Canceled) || len(s.requests) != 1 {
		t.Errorf("%d requests, %v", len(s.requests), err)
	}
}

func TestOpen(t *testing.T) {
	s := newScene(t, nil, nil)
	address := s.config.Server
	for _, server := range []string{"http://127.0.0.1:1", "card.example", "https://", "https://x/y", "https://u@x", "https://x?y", "https://x#y", "https://%zz"} {
		s.config.Server = server
		if _, err := cardhttp.Open(t.Context(), s.config, nil, s.cert); err == nil || !strings.Contains(err.Error(), "server address") {
			t.Errorf("%s: %v", server, err)
		}
	}
	if n := s.card.opened.Load(); n != 0 {
		t.Errorf("the PIN was asked for %d times, for no server", n)
	}
	s.config.Server = address + "/"
	if _, err := cardhttp.Open(t.Context(), s.config, nil, s.cert); err != nil {
		t.Error(err)
	}
	s.card.notFound = token.ErrNotFound
	if _, err := cardhttp.Open(t.Context(), s.config, nil, s.cert); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("no such key: %v", err)
	}
	s.card.notFound = nil
	other := newScene(t, nil, nil)
	if _, err := cardhttp.Open(t.Context(), s.config, []byte{7}, other.cert); err == nil || !strings.Contains(err.Error(), "07 on the card do not belong together") {
		t.Errorf("another's certificate: %v", err)
	}
}
