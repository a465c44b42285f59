package api_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/api"
	"sigill/internal/store"
	"sigill/internal/texts"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// server is the card listener over a world.
type server struct {
	*worldtest.Scene
	t    *testing.T
	http *httptest.Server
	log  *journal
}

// journal is a log that is read while it is written.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.String()
}

func serve(t *testing.T, change ...func(*server, *api.Config)) *server {
	t.Helper()
	return serveOver(t, worldtest.New(t), change...)
}

// serveOver is serve over a world that is there.
func serveOver(t *testing.T, scene *worldtest.Scene, change ...func(*server, *api.Config)) *server {
	t.Helper()
	catalogue, err := texts.Load()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Scene: scene, t: t, log: new(journal)}
	c := api.Config{Register: s.Register, Orders: s.Orders, Downloads: s.Downloads,
		IssuerCertificate: func(id string) []byte {
			if i, err := s.Issuers.Issuer(ca.IssuerID(id)); err == nil {
				return i.Certificate().Raw
			}
			return nil
		},
		Texts: catalogue, Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), MinClient: "0.1", Unknown: store.ErrOutcomeUnknown}
	for _, f := range change {
		f(s, &c)
	}
	s.http = httptest.NewUnstartedServer(api.New(c))
	s.http.TLS = api.TLS(&tls.Config{})
	s.http.StartTLS()
	t.Cleanup(s.http.Close)
	return s
}

// client makes a new connection for each request and would resume its session if
// the server let it.
func (s *server) client(key crypto.Signer, der []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(s.http.Certificate())
	c := &tls.Config{RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(8), ServerName: "example.com"}
	if der != nil {
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
}

func (s *server) as(h *world.Holder) *http.Client { return s.client(h.CurrentKey(), h.CertificateOf()) }

// answer is what came back.
type answer struct {
	*http.Response
	body    []byte
	problem wire.Problem
}

// mediaOf is the type of a body that is sent to path.
func mediaOf(path string) string {
	if strings.HasSuffix(path, "/people") {
		return "text/csv; charset=utf-8"
	}
	return "application/json"
}

// do sends body, JSON unless it is a string, and reads the answer.
func (s *server) do(c *http.Client, method, path string, body any, header ...string) *answer {
	s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", mediaOf(path))
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	a := &answer{Response: res}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		s.t.Fatal(err)
	}
	if id := res.Header.Get("X-Request-Id"); !strings.HasPrefix(id, "req_") {
		s.t.Errorf("%s %s: request id %q", method, path, id)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		s.t.Errorf("%s %s: may be cached", method, path)
	}
	if res.StatusCode >= 400 {
		s.readProblem(a)
	} else if got := res.Header.Get("Content-Type"); got != "application/json" {
		s.t.Errorf("%s %s: content type %q", method, path, got)
	}
	return a
}

func (s *server) readProblem(a *answer) {
	s.t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		s.t.Fatalf("status %d with content type %q: %s", a.StatusCode, got, a.body)
	}
	if err := json.Unmarshal(a.body, &a.problem); err != nil {
		s.t.Fatal(err)
	}
	p := a.problem
	if p.Status != a.StatusCode || p.Title == "" || p.Next == "" || !strings.HasPrefix(p.Type, "urn:sigill:problem:") || p.Request != a.Header.Get("X-Request-Id") {
		s.t.Errorf("problem %+v with status %d", p, a.StatusCode)
	}
}

// refused compares an answer with a problem's status, type and rule.
func (s *server) refused(a *answer, status int, kind string, rule policy.Rule) {
	s.t.Helper()
	if a.StatusCode != status || a.problem.Type != "urn:sigill:problem:"+kind || a.problem.Rule != string(rule) {
		s.t.Errorf("status %d, type %s, rule %q; want %d, %s, %q", a.StatusCode, a.problem.Type, a.problem.Rule, status, kind, rule)
	}
}

func (a *answer) read(t *testing.T, v any) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatal(err)
	}
}

// Whoever can't log in gets a document that says why, and not a closed door.
func TestWhoCannotLogInIsToldWhy(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Mallory"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	foreign, err := x509.CreateCertificate(rand.Reader, template, template, own.Public(), own)
	if err != nil {
		t.Fatal(err)
	}
	s.refused(s.do(s.client(nil, nil), "GET", "/card/v1/me", nil), 401, "no-certificate", "")
	s.refused(s.do(s.client(own, foreign), "GET", "/card/v1/me", nil), 401, "refused", policy.LoginUnknown)
	s.refused(s.do(s.client(h.TransportKey(), h.TransportDER()), "GET", "/card/v1/me", nil), 403, "refused", policy.LoginUnarmed)
	s.refused(s.do(s.client(nil, nil), "GET", "/nowhere", nil), 401, "no-certificate", "")

	revoked := s.Holder()
	admin := s.as(s.Admins[0])
	s.do(admin, "POST", "/api/v1/certificates/"+revoked.Certificate().Serial.String()+"/revoke", wire.Revoke{Reason: "keyCompromise"}).read(t, new(wire.Certificate))
	s.refused(s.do(s.as(revoked), "GET", "/card/v1/me", nil), 401, "refused", policy.LoginRevoked)

	locked := s.Holder()
	s.Exec("UPDATE cards SET state = 'locked' WHERE number = ?", string(locked.Card))
	s.refused(s.do(s.as(locked), "GET", "/card/v1/me", nil), 403, "refused", policy.LoginCard)

	late := s.Holder()
	s.Exec("UPDATE cards SET expires_at = expires_at + 1000000000000000")
	s.Pass(6 * 366 * 24 * time.Hour)
	s.refused(s.do(s.as(late), "GET", "/card/v1/me", nil), 401, "refused", policy.LoginExpired)
}

// A problem is told in the caller's language, Swedish if he names none.
func TestProblemsInTwoLanguages(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	titles := map[string]string{}
	for header, want := range map[string]string{"": "sv", "sv-SE": "sv", "en": "en", "en-GB,sv;q=0.5": "en", "de": "sv"} {
		var a *answer
		c := s.client(h.TransportKey(), h.TransportDER())
		if header == "" {
			a = s.do(c, "GET", "/card/v1/me", nil)
		} else {
			a = s.do(c, "GET", "/card/v1/me", nil, "Accept-Language", header)
		}
		if got := a.Header.Get("Content-Language"); got != want {
			t.Errorf("%q is answered in %s", header, got)
		}
		if titles[want] != "" && titles[want] != a.problem.Title {
			t.Errorf("two titles in %s: %q, %q", want, titles[want], a.problem.Title)
		}
		titles[want] = a.problem.Title
	}
	if titles["sv"] == titles["en"] {
		t.Errorf("one title for both: %q", titles["sv"])
	}
}

// A session that was resumed would use no key and look at no certificate: who was
// revoked would go on, and the log-in that proves that a new eID lives would
// prove nothing.
func TestEveryConnectionIsAFullHandshake(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	c := s.as(h)
	for range 4 {
		a := s.do(c, "GET", "/card/v1/me", nil)
		if a.StatusCode != 200 {
			t.Fatalf("status %d", a.StatusCode)
		}
		if a.TLS.DidResume {
			t.Error("the session was resumed")
		}
		if a.TLS.Version != tls.VersionTLS13 {
			t.Errorf("TLS version %#x", a.TLS.Version)
		}
	}
	s.do(c, "POST", "/card/v1/block", wire.Block{Reason: "lost"}).read(t, new(struct{}))
	s.refused(s.do(c, "GET", "/card/v1/me", nil), 401, "refused", policy.LoginRevoked)

	old := s.as(s.Holder())
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	if res, err := old.Get(s.http.URL + "/card/v1/me"); err == nil {
		res.Body.Close()
		t.Error("TLS 1.2, which shows the client's name to everybody, is spoken")
	}
}

// A connection that is kept is judged anew on each request.
func TestKeptConnectionIsJudgedAnew(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	c := s.as(h)
	c.Transport.(*http.Transport).DisableKeepAlives = false
	if a := s.do(c, "GET", "/card/v1/me", nil); a.StatusCode != 200 {
		t.Fatalf("status %d", a.StatusCode)
	}
	s.do(s.as(s.Admins[0]), "POST", "/api/v1/cards/"+string(h.Card)+"/block", wire.Block{Reason: "stolen"}).read(t, new(struct{}))
	s.refused(s.do(c, "GET", "/card/v1/me", nil), 401, "refused", policy.LoginRevoked)
}

// Requests are understood exactly or not at all.
func TestRequestForm(t *testing.T) {
	s := serve(t)
	c := s.as(s.Holder())
	admin := s.as(s.Admins[0])
	org := "/api/v1/organisations/" + string(s.Org)
	for _, x := range []struct {
		name   string
		client *http.Client
		method string
		path   string
		body   string
		status int
		kind   string
		rule   policy.Rule
	}{
		{"no body", c, "POST", "/card/v1/downloads", "", 400, "refused", policy.RequestForm},
		{"not JSON", c, "POST", "/card/v1/downloads", "order=1", 400, "refused", policy.RequestForm},
		{"unknown member", c, "POST", "/card/v1/downloads", `{"order":"ord_1","more":1}`, 400, "refused", policy.RequestForm},
		{"member twice", c, "POST", "/card/v1/block", `{"reason":"bored","Reason":"stolen","reason":"lost"}`, 400, "refused", policy.RequestForm},
		{"member in another case", c, "POST", "/card/v1/block", `{"Reason":"lost"}`, 400, "refused", policy.RequestForm},
		{"member twice, deeper", admin, "POST", "/api/v1/orders", `{"document":"e30=","statements":[{"content":"","content":"e30="}]}`, 400, "refused", policy.RequestForm},
		{"trailing data", c, "POST", "/card/v1/downloads", `{"order":"ord_1"} {}`, 400, "refused", policy.RequestForm},
		{"wrong type", c, "POST", "/card/v1/downloads", `{"order":1}`, 400, "refused", policy.RequestForm},
		{"array", c, "POST", "/card/v1/downloads", `[]`, 400, "refused", policy.RequestForm},
		{"too large", c, "POST", "/card/v1/downloads", `{"order":"` + strings.Repeat("o", 65<<10) + `"}`, 413, "too-large", ""},
		{"file too large", admin, "POST", org + "/people", "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n" + strings.Repeat("x", 9<<20), 413, "too-large", ""},
		{"file with a wrong row", admin, "POST", org + "/people", "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n1,2,3\n", 400, "refused", policy.RequestForm},
		{"unknown address", c, "GET", "/card/v1/nowhere", "", 404, "not-found", ""},
		{"unknown method", c, "DELETE", "/card/v1/me", "", 404, "not-found", ""},
		{"unknown parameter", admin, "GET", org + "/cards?more=1", "", 400, "refused", policy.RequestForm},
		{"limit", admin, "GET", org + "/cards?limit=201", "", 400, "refused", policy.RequestForm},
		{"not a serial", admin, "GET", "/api/v1/certificates/xyz", "", 400, "refused", policy.RequestForm},
		{"not a card number", admin, "GET", "/api/v1/cards/1234", "", 400, "refused", policy.RequestForm},
		{"not a reason", c, "POST", "/card/v1/block", `{"reason":"bored"}`, 400, "refused", policy.RequestForm},
		{"person named twice", admin, "POST", "/api/v1/orders/preview", `{"personNumber":"191212121212","hsaId":"SE2321000016-1"}`, 400, "refused", policy.RequestForm},
		{"person not named", admin, "POST", "/api/v1/orders/preview", `{}`, 400, "refused", policy.RequestForm},
		{"no statement", admin, "POST", "/api/v1/orders", `{"document":"e30=","statements":[]}`, 400, "refused", policy.RequestForm},
		{"fingerprint", admin, "POST", "/api/v1/orders", `{"document":"e30=","statements":[{"certificate":"00"}]}`, 400, "refused", policy.StatementForm},
	} {
		t.Run(x.name, func(t *testing.T) {
			s.t = t
			var body any
			if x.body != "" {
				body = x.body
			}
			a := s.do(x.client, x.method, x.path, body)
			s.refused(a, x.status, x.kind, x.rule)
		})
	}
	s.t = t
	a := s.do(c, "POST", "/card/v1/block", `{"reason":"bored","reason":"lost"}`, "Accept-Language", "en")
	if !strings.Contains(a.problem.Detail, `"reason" stands twice`) {
		t.Errorf("told as %q", a.problem.Detail)
	}
	if n := s.Rows("cards", "state = 'blocked'"); n != 0 {
		t.Error("a request that was not understood blocked a card")
	}
}

// For who has no right to it a thing does not exist, in the same words as one
// that does not.
func TestAnothersThingsAreNotThere(t *testing.T) {
	s := serve(t)
	h, stranger := s.Holder(), s.Holder()
	c := s.as(stranger)
	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(t.Context(), h, id)
	if err != nil {
		t.Fatal(err)
	}
	same := func(method, there, missing string, body any) {
		t.Helper()
		a, b := s.do(c, method, there, body), s.do(c, method, missing, body)
		a.problem.Request, b.problem.Request = "", ""
		if a.problem != b.problem || a.StatusCode < 400 {
			t.Errorf("%s %s: %+v; for what is not there %+v", method, there, a.problem, b.problem)
		}
	}
	serial := h.Certificate().Serial.String()
	download := "/card/v1/downloads/" + string(st.Download.ID)
	same("GET", "/api/v1/orders/"+string(id), "/api/v1/orders/ord_none", nil)
	same("POST", "/api/v1/orders/"+string(id)+"/withdraw", "/api/v1/orders/ord_none/withdraw", nil)
	same("GET", "/api/v1/cards/"+string(h.Card), "/api/v1/cards/9752000000000999999", nil)
	same("POST", "/api/v1/cards/"+string(h.Card)+"/block", "/api/v1/cards/9752000000000999999/block", wire.Block{Reason: "lost"})
	same("GET", "/api/v1/certificates/"+serial, "/api/v1/certificates/"+ca.NewSerial().String(), nil)
	same("POST", "/api/v1/certificates/"+serial+"/revoke", "/api/v1/certificates/"+ca.NewSerial().String()+"/revoke", wire.Revoke{Reason: "keyCompromise"})
	same("GET", "/api/v1/organisations/"+string(s.Org)+"/cards", "/api/v1/organisations/org_none/cards", nil)
	same("GET", "/api/v1/organisations/"+string(s.Org)+"/people", "/api/v1/organisations/org_none/people", nil)
	same("GET", "/api/v1/organisations/"+string(s.Org)+"/orders", "/api/v1/organisations/org_none/orders", nil)
	same("POST", "/api/v1/people/"+h.Name()+"/end-assignment", "/api/v1/people/per_none/end-assignment", wire.EndAssignment{Organisation: string(s.Org)})
	same("GET", download, "/card/v1/downloads/dl_none", nil)
	same("POST", download+"/abandon", "/card/v1/downloads/dl_none/abandon", nil)
	same("POST", download+"/items/authentication/challenge", "/card/v1/downloads/dl_none/items/authentication/challenge", nil)
	same("POST", download+"/removed", "/card/v1/downloads/dl_none/removed", wire.Removed{})
	if s.Working(h) != 1 || s.Rows("orders", "id = ? AND state = 'approved'", string(id)) != 1 {
		t.Error("something was done to another's eID or order")
	}
}

// The whole card protocol; the pending certificate opens the one door of
// confirming on its way.
func TestCardProtocol(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	old := s.as(h)
	var me wire.Me
	s.do(old, "GET", "/card/v1/me", nil).read(t, &me)
	if me.Card != string(h.Card) || len(me.Offers) != 1 || me.Offers[0].Order != string(id) || len(me.EIDs) != 1 || me.EIDs[0].State != "current" || me.Open != nil {
		t.Errorf("me: %+v", me)
	}
	var d wire.Download
	s.do(old, "POST", "/card/v1/downloads", wire.Begin{Order: string(id)}).read(t, &d)
	path := "/card/v1/downloads/" + d.ID
	st, err := s.Begin(t.Context(), h, id) // the same one
	if err != nil || string(st.Download.ID) != d.ID {
		t.Fatal(st, err)
	}
	csr, err := h.Request(st)
	if err != nil {
		t.Fatal(err)
	}
	var item wire.Item
	s.do(old, "POST", path+"/items/authentication", wire.Submit{CSR: csr}).read(t, &item)
	if item.State != "signed" || len(item.Certificate) == 0 || len(item.Issuer) == 0 || item.Challenge != nil {
		t.Errorf("item %+v", item)
	}
	s.refused(s.do(old, "POST", path+"/items/signing", wire.Submit{CSR: csr}), 403, "refused", policy.DownloadPlan)

	next := s.client(h.NextKey(), item.Certificate)
	fp := ca.FingerprintOf(item.Certificate)
	for _, x := range [][2]string{{"GET", "/card/v1/me"}, {"GET", path}, {"POST", path + "/abandon"}, {"POST", "/card/v1/block"},
		{"GET", "/api/v1/whoami"}, {"GET", "/api/v1/organisations/" + string(s.Org) + "/cards"}, {"GET", "/nowhere"}} {
		s.refused(s.do(next, x[0], x[1], nil), 403, "refused", policy.LoginPending)
	}
	confirm := wire.Confirm{PlanHash: d.PlanHash, ReadBack: map[string]string{"authentication": fp.String()}}
	s.refused(s.do(old, "POST", path+"/confirm", confirm), 403, "refused", policy.DownloadEvidence)
	short := confirm
	short.PlanHash = hex.EncodeToString([]byte("short"))
	s.refused(s.do(next, "POST", path+"/confirm", short), 400, "refused", policy.RequestForm)
	s.do(next, "POST", path+"/confirm", confirm).read(t, &d)
	if d.State != "installed" || len(d.Remove) != 1 || d.Remove[0] != h.Certificate().Fingerprint.String() {
		t.Errorf("confirmed: %+v", d)
	}
	s.refused(s.do(old, "GET", "/card/v1/me", nil), 401, "refused", policy.LoginRevoked)
	s.do(next, "POST", path+"/removed", wire.Removed{Fingerprints: d.Remove}).read(t, new(struct{}))
	s.do(next, "GET", "/card/v1/me", nil).read(t, &me)
	if len(me.EIDs) != 1 || len(me.EIDs[0].Certificates) != 2 || me.EIDs[0].State != "current" || len(me.Offers) != 0 {
		t.Errorf("me: %+v", me)
	}
	s.Sound()
	s.Truth()
}
