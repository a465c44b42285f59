package adminclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/orders"
	"sigill/policy"
)

const (
	number  = "9752000000000000017"
	orderID = "ord_000000000000000000000001"
)

// fake is a server that knows one certificate at a time and answers by a handler.
type fake struct {
	url   string
	roots *x509.CertPool

	mu       sync.Mutex
	accepted string // fingerprint that may log in
	requests []string
	conns    map[string]bool
	kept     bool // a connection would have been kept open
	answer   func(http.ResponseWriter, *http.Request)
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{roots: x509.NewCertPool(), conns: map[string]bool{}}
	authority := tokentest.NewAuthority(t, "TEST Function CA")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)},
		authority.Certificate, key.Public(), authority.Key)
	if err != nil {
		t.Fatal(err)
	}
	f.roots.AddCert(authority.Certificate)
	s := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // cut connections are meant
	s.StartTLS()
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.RequestURI)
	f.conns[r.RemoteAddr] = true
	f.kept = f.kept || !r.Close
	as := ca.FingerprintOf(r.TLS.PeerCertificates[0].Raw).String()
	if as != f.accepted {
		problem(w, 401, &wire.Problem{Title: "replaced", Rule: "login.revoked", Next: "Use the new one."}, "")
		return
	}
	if r.URL.Path == "/api/v1/whoami" {
		json.NewEncoder(w).Encode(wire.WhoAmI{Name: "per_anna", Certificate: as})
		return
	}
	f.answer(w, r)
}

func problem(w http.ResponseWriter, status int, p *wire.Problem, after string) {
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(p)
}

// cardWith makes a card with n authentication certificates, the oldest first.
func cardWith(t *testing.T, n int) (c *token.Soft, fingerprints []string) {
	t.Helper()
	c, err := token.NewMemory(token.SoftConfig{Number: number, PIN1: "123456"})
	if err != nil {
		t.Fatal(err)
	}
	authority := tokentest.NewAuthority(t, "TEST CA")
	for i := range n {
		id, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
		if err != nil {
			t.Fatal(err)
		}
		key, err := c.Signer(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "Anna"},
			NotBefore: time.Now().Add(time.Duration(i-10) * time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature},
			authority.Certificate, key.Public(), authority.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.WriteCertificate(t.Context(), id, der); err != nil {
			t.Fatal(err)
		}
		fingerprints = append(fingerprints, ca.FingerprintOf(der).String())
	}
	return c, fingerprints
}

func (f *fake) client(c token.Card) *Client {
	return &Client{Server: f.url, Roots: f.roots, Card: c, Language: "sv",
		wait: func(context.Context, time.Duration) error { return nil }}
}

func TestLogsInWithWhatTheServerAccepts(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 3)
	c := f.client(card)
	f.answer = func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(wire.Order{ID: "ord_1"}) }
	f.accepted = fps[0] // the newest two were revoked
	if o, err := c.Order(t.Context(), "ord_1"); err != nil || o.ID != "ord_1" {
		t.Fatalf("order: %+v, %v", o, err)
	}
	want := []string{"GET /api/v1/whoami", "GET /api/v1/whoami", "GET /api/v1/whoami", "GET /api/v1/orders/ord_1"}
	if strings.Join(f.requests, ",") != strings.Join(want, ",") {
		t.Errorf("requests: %q", f.requests)
	}
	f.requests, f.accepted = nil, fps[2] // renewed since
	if _, err := c.Order(t.Context(), "ord_1"); err != nil {
		t.Fatal(err)
	}
	want = []string{"GET /api/v1/orders/ord_1", "GET /api/v1/whoami", "GET /api/v1/orders/ord_1"}
	if strings.Join(f.requests, ",") != strings.Join(want, ",") {
		t.Errorf("after a renewal: %q", f.requests)
	}
	st, err := c.Sign(t.Context(), statement.Statement{Act: statement.ActBlock, Subject: "x"})
	if err != nil || st.Certificate != fps[2] {
		t.Errorf("signed with %s, %v, want %s", st.Certificate, err, fps[2])
	}
	f.requests, f.accepted = nil, ""
	_, err = c.Order(t.Context(), "ord_1")
	var p *wire.Problem
	if !errors.As(err, &p) || p.Rule != "login.revoked" || p.Next == "" || len(f.requests) != 4 {
		t.Errorf("nothing accepted: %v after %q", err, f.requests)
	}
	if total := 4 + 3 + 4; len(f.conns) != total || f.kept {
		t.Errorf("%d connections for %d requests: each needs a handshake of its own", len(f.conns), total)
	}
}

func TestLogsInWithWhatItIsTold(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 2)
	objects, err := card.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range objects {
		c := f.client(card)
		c.LoginWith, f.accepted = o.ID, ca.FingerprintOf(o.Certificate).String()
		if me, err := c.WhoAmI(t.Context()); err != nil || me.Certificate != f.accepted {
			t.Errorf("object %d: %+v, %v", i, me, err)
		}
		f.accepted = fps[0] + "x"
		f.requests = nil
		if _, err := c.WhoAmI(t.Context()); !loginRefused(err) && !errors.Is(err, ErrNoCertificate) || len(f.requests) > 2 {
			t.Errorf("object %d: another was tried: %v, %q", i, err, f.requests)
		}
	}
	c := f.client(card)
	c.LoginWith = []byte("none")
	if _, err := c.WhoAmI(t.Context()); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("no such object: %v", err)
	}
}

func TestNoCertificate(t *testing.T) {
	f := newFake(t)
	card, _ := cardWith(t, 0)
	if _, err := f.client(card).WhoAmI(t.Context()); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("got %v", err)
	}
}

func TestSign(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 1)
	f.accepted = fps[0]
	c := f.client(card)
	at := time.Date(2026, 5, 1, 10, 0, 0, 999, time.FixedZone("", 7200))
	c.Now = func() time.Time { return at }
	content := sha256.Sum256([]byte("document"))
	got, err := c.Sign(t.Context(), statement.Statement{Act: statement.ActPlace, Subject: "ord_1", By: "somebody else", Content: content})
	if err != nil {
		t.Fatal(err)
	}
	want := statement.Statement{Act: statement.ActPlace, Subject: "ord_1", By: "per_anna", For: "-", Card: "-", Content: content, At: at.Truncate(time.Second)}
	if string(got.Content) != string(want.Bytes()) || got.Certificate != fps[0] {
		t.Errorf("signed %q\nwant %q", got.Content, want.Bytes())
	}
	objects, err := card.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := statement.Verify(objects[0].Public, got.Content, got.Signature); err != nil {
		t.Error(err)
	}
	for _, bad := range []statement.Statement{{Act: statement.ActPlace, Subject: "ord_1\nby: x"}, {Act: "mischief", Subject: "x"}, {Act: statement.ActPlace}} {
		if _, err := c.Sign(t.Context(), bad); err == nil {
			t.Errorf("signed %+v", bad)
		}
	}
}

func document() orders.Document {
	return orders.Document{Version: 1, Order: orderID, Type: "ordinary", Organisation: "org_1", Person: "per_2", Card: number,
		IDKind: policy.ByHSAID, LoA: 3, Issuer: "p3", NotAfter: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		Content: ca.Content{SerialNumber: "SE2321000016-1", CardNumber: number}}
}

func TestPreviewIsWhatWasAskedFor(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 1)
	f.accepted = fps[0]
	end := document().NotAfter
	asked := wire.OrderRequest{Type: "ordinary", Organisation: "org_1", HSAID: "SE2321000016-1", Card: number, IDKind: "hsa-id", LoA: 3, NotAfter: &end}
	for name, c := range map[string]struct {
		edit func(*orders.Document)
		ok   bool
	}{
		"same":         {func(*orders.Document) {}, true},
		"shorter":      {func(d *orders.Document) { d.NotAfter = end.AddDate(-1, 0, 0) }, true},
		"type":         {func(d *orders.Document) { d.Type = "update" }, false},
		"organisation": {func(d *orders.Document) { d.Organisation = "org_2" }, false},
		"card":         {func(d *orders.Document) { d.Card = "9752000000000000018" }, false},
		"content card": {func(d *orders.Document) { d.Content.CardNumber = "9752000000000000018" }, false},
		"kind":         {func(d *orders.Document) { d.IDKind = policy.ByPersonNumber }, false},
		"level":        {func(d *orders.Document) { d.LoA = 2 }, false},
		"person":       {func(d *orders.Document) { d.Content.SerialNumber = "SE2321000016-2" }, false},
		"longer":       {func(d *orders.Document) { d.NotAfter = end.AddDate(1, 0, 0) }, false},
		"version":      {func(d *orders.Document) { d.Version = 2 }, false},
	} {
		d := document()
		c.edit(&d)
		f.answer = func(w http.ResponseWriter, r *http.Request) {
			json.NewEncoder(w).Encode(wire.Preview{Document: d.Bytes()})
		}
		got, err := f.client(card).PreviewOrder(t.Context(), asked)
		if c.ok && (err != nil || string(got) != string(d.Bytes())) || !c.ok && !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPlaceAndApproveSignTheDocument(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 1)
	f.accepted = fps[0]
	d := document()
	var sent []wire.Stated
	f.answer = func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			var s wire.Stated
			json.NewDecoder(r.Body).Decode(&s)
			sent = append(sent, s)
		}
		json.NewEncoder(w).Encode(wire.Order{ID: orderID, State: "placed", Document: d.Bytes()})
	}
	c := f.client(card)
	if _, err := c.PlaceOrder(t.Context(), d.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ApproveOrder(t.Context(), orderID); err != nil {
		t.Fatal(err)
	}
	for i, act := range []string{statement.ActPlace, statement.ActApprove} {
		st, err := statement.Parse(sent[i].Statements[0].Content)
		if err != nil || st.Act != act || st.Subject != orderID || st.For != "per_2" || st.Card != number || st.Content != sha256.Sum256(d.Bytes()) {
			t.Errorf("%s: %+v, %v", act, st, err)
		}
	}
	if string(sent[0].Document) != string(d.Bytes()) || sent[1].Document != nil {
		t.Error("an order is placed by its document, and approved without one")
	}
	// A server that gives another order than was asked for gets no signature.
	sent = nil
	if _, err := c.ApproveOrder(t.Context(), "ord_2"); !errors.Is(err, ErrDocument) || len(sent) != 0 {
		t.Errorf("approved another order: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	card, fps := cardWith(t, 1)
	for name, c := range map[string]struct {
		answer func(n int, w http.ResponseWriter)
		tries  int
		ok     bool
		want   string
	}{
		"busy, then done": {func(n int, w http.ResponseWriter) {
			if n < 3 {
				problem(w, 409, &wire.Problem{Title: "busy"}, "1")
				return
			}
			io.WriteString(w, `{"id":"ord_1"}`)
		}, 3, true, ""},
		"always busy": {func(n int, w http.ResponseWriter) { problem(w, 503, &wire.Problem{Title: "away"}, "1") }, 3, false, "away"},
		"refused": {func(n int, w http.ResponseWriter) {
			problem(w, 403, &wire.Problem{Title: "no", Rule: "order.self"}, "")
		}, 1, false, "no [order.self]"},
		"lost and done": {func(n int, w http.ResponseWriter) { lostThen(n, w) }, 2, true, ""},
		"a proxy":       {func(n int, w http.ResponseWriter) { w.WriteHeader(502); io.WriteString(w, "<html>") }, 1, false, "502"},
		"a redirect":    {func(n int, w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(302) }, 1, false, "302"},
		"no JSON":       {func(n int, w http.ResponseWriter) { io.WriteString(w, "ok") }, 1, false, ErrAnswer.Error()},
	} {
		f := newFake(t)
		f.accepted = fps[0]
		n := 0
		f.answer = func(w http.ResponseWriter, r *http.Request) { n++; c.answer(n, w) }
		_, err := f.client(card).Order(t.Context(), "ord_1")
		if n != c.tries || (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d tries, %v", name, n, err)
		}
	}
}

func lostThen(n int, w http.ResponseWriter) {
	if n == 1 {
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, `{"id":"ord_1"}`)
}

func TestWhomItTalksTo(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 1)
	f.accepted = fps[0]
	for _, server := range []string{"http://127.0.0.1:1", "card.example", "https://", "https://x/y", "https://u@x", "https://x?y", "https://x#y"} {
		c := f.client(card)
		c.Server = server
		if _, err := c.WhoAmI(t.Context()); err == nil || !strings.Contains(err.Error(), "https://host:port") {
			t.Errorf("%s: %v", server, err)
		}
	}
	c := f.client(card)
	c.Roots = x509.NewCertPool() // somebody else's root
	var unknown *tls.CertificateVerificationError
	if _, err := c.WhoAmI(t.Context()); !errors.As(err, &unknown) || len(f.requests) != 0 {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
	c = f.client(card)
	f.answer = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "{}") }
	for _, id := range []string{"", ".", "..", "a/../../b"} {
		f.requests = nil
		_, err := c.Order(t.Context(), id)
		if last := f.requests; err == nil && (len(last) == 0 || last[len(last)-1] != "GET /api/v1/orders/a%2F..%2F..%2Fb") {
			t.Errorf("id %q asked for %q", id, last)
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 1)
	f.accepted = fps[0]
	old := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	defer old.Close()
	c := f.client(card)
	c.Server, c.Roots = old.URL, x509.NewCertPool()
	c.Roots.AddCert(old.Certificate())
	if _, err := c.WhoAmI(t.Context()); err == nil || len(f.requests) != 0 {
		t.Errorf("talked TLS 1.2: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	f := newFake(t)
	card, fps := cardWith(t, 1)
	f.accepted = fps[0]
	f.answer = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"id":"ord_1"}`) }
	c := f.client(card)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Order(t.Context(), "ord_1"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
