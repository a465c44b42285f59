package api_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/api"
	"sigill/internal/card"
	"sigill/internal/store"
	"sigill/internal/texts"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/policy"
)

// aim is a world whose handler is called without a network, as a holder whose
// download is open, for as many requests as a fuzzer makes. What differs from one
// process to the next (ids, hashes) stands in inputs as a word in capitals.
type aim struct {
	*worldtest.Scene
	handler http.Handler
	rules   map[string]bool
	words   *texts.Catalogue

	h, other *world.Holder
	cleaning *world.Holder // whose download is installed and not reported clean
	st       *download.State
	key      *ecdsa.PrivateKey
	digest   [32]byte // of the binding that is right
	next     []byte   // the released certificate, in signed
	names    *strings.Replacer
	before   worldtest.Dump
	since    time.Time
}

func takeAim(f *testing.F) *aim {
	f.Helper()
	a := &aim{Scene: worldtest.New(f), rules: map[string]bool{"": true}}
	var err error
	if a.words, err = texts.Load(); err != nil {
		f.Fatal(err)
	}
	a.handler = api.New(api.Config{Register: a.Register, Orders: a.Orders, Downloads: a.Downloads,
		IssuerCertificate: func(id string) []byte {
			if i, err := a.Issuers.Issuer(ca.IssuerID(id)); err == nil {
				return i.Certificate().Raw
			}
			return nil
		},
		Texts: a.words, Log: slog.New(slog.DiscardHandler), MinClient: "0.1", Unknown: store.ErrOutcomeUnknown})
	files, err := filepath.Glob("../../policy/*.go")
	if err != nil {
		f.Fatal(err)
	}
	constant := regexp.MustCompile(`\bRule = "([a-z0-9.-]+)"`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range constant.FindAllSubmatch(text, -1) {
			a.rules[string(m[1])] = true
		}
	}
	if len(a.rules) < 40 {
		f.Fatalf("only %d rules were found in package policy", len(a.rules))
	}
	a.other = a.Holder()
	if _, err := a.Begin(f.Context(), a.other, a.Ordered(a.other, policy.OrderRenewal)); err != nil {
		f.Fatal(err)
	}
	a.cleaning = a.Holder()
	st, err := a.Begin(f.Context(), a.cleaning, a.Ordered(a.cleaning, policy.OrderRenewal))
	if err != nil {
		f.Fatal(err)
	}
	if st, err = a.Submit(f.Context(), a.cleaning, st); err != nil {
		f.Fatal(err)
	}
	if err := a.Confirm(f.Context(), a.cleaning, st); err != nil {
		f.Fatal(err)
	}
	a.aimAnew(false)
	return a
}

// aimAnew takes a new holder, because the old one's download has ended; signed:
// whose certificate is released and not confirmed.
func (a *aim) aimAnew(signed bool) {
	a.T.Helper()
	ctx := a.T.Context()
	a.h = a.Holder()
	var err error
	if a.st, err = a.Begin(ctx, a.h, a.Ordered(a.h, policy.OrderRenewal)); err != nil {
		a.T.Fatal(err)
	}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		a.T.Fatal(err)
	}
	a.digest = card.Binding{Download: string(a.st.Download.ID), Slot: string(policy.Authentication), Card: string(a.h.Card),
		Login: a.st.Download.Login, PlanHash: a.st.Download.PlanHash, Challenge: a.st.Item(policy.Authentication).Challenge}.Digest()
	csr := forge(a.T, a.key, a.digest).der()
	fp := ""
	if a.next = nil; signed {
		a.h.SetNextKey(a.key)
		if a.st, err = a.Submit(ctx, a.h, a.st); err != nil {
			a.T.Fatal(err)
		}
		a.next, fp = a.h.NextDER(), ca.FingerprintOf(a.h.NextDER()).String()
	}
	theirs, _, err := a.openOf(a.other)
	if err != nil {
		a.T.Fatal(err)
	}
	a.names = strings.NewReplacer("ORDER", string(a.st.Download.Order), "OWN", string(a.st.Download.ID), "THEIRS", theirs, "HASH", hexOf(a.st.Download.PlanHash),
		"PRINT", fp, "OLD", a.h.Certificate().Fingerprint.String(), "CSR", base64.StdEncoding.EncodeToString(csr), "CARD", string(a.h.Card),
		"SERIAL", a.h.Certificate().Serial.String(), "DONE", string(a.cleaning.Certificate().Download))
	a.before, a.since = a.Dump(), time.Now()
}

// on begins a request of the fuzzer. A challenge lives ten minutes, and a fuzzer
// longer.
func (a *aim) on(t *testing.T) {
	t.Helper()
	a.T = t
	if time.Since(a.since) > 5*time.Minute {
		a.aimAnew(a.next != nil)
	}
}

func (a *aim) openOf(h *world.Holder) (id, order string, err error) {
	err = a.Views.Downloads.View(a.T.Context(), func(tx *download.Tx) error {
		d, _, err := tx.OpenDownloadOfCard(h.Card)
		if err == nil {
			id, order = string(d.ID), string(d.Order)
		}
		return err
	})
	return id, order, err
}

// send makes one request over a connection that proved a certificate; nil: none.
// It returns nil for a target that no server takes.
func (a *aim) send(der []byte, method, target, kind string, body []byte) *httptest.ResponseRecorder {
	a.T.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return nil
	}
	r := &http.Request{Method: method, URL: u, RequestURI: target, Host: "card.example", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		TLS: &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}}
	if der != nil {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			a.T.Fatal(err)
		}
		r.TLS.PeerCertificates = []*x509.Certificate{cert}
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(unhurried{w}, r.WithContext(a.T.Context()))
	return w
}

// unhurried has the deadlines that a connection has.
type unhurried struct{ *httptest.ResponseRecorder }

func (unhurried) SetReadDeadline(time.Time) error  { return nil }
func (unhurried) SetWriteDeadline(time.Time) error { return nil }

// judge holds an answer to what every answer is: never an error of the server's
// own, always a document of ours, a rule that is a clause of the policy, and
// nothing changed by what was refused. It reports whether it was accepted.
func (a *aim) judge(w *httptest.ResponseRecorder) bool {
	a.T.Helper()
	kind := w.Header().Get("Content-Type")
	if !json.Valid(w.Body.Bytes()) {
		a.T.Errorf("%d: the answer is no JSON: %.300q", w.Code, w.Body)
	}
	if w.Code == http.StatusOK {
		if kind != "application/json" {
			a.T.Errorf("accepted with content type %q", kind)
		}
		return true
	}
	var p wire.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || kind != "application/problem+json" {
		a.T.Fatalf("%d with content type %q: %.300q", w.Code, kind, w.Body)
	}
	name, ours := strings.CutPrefix(p.Type, "urn:sigill:problem:")
	known := name == "refused" || ours && a.words.Title("en", name) != a.words.Title("en", "internal")
	if w.Code < 400 || w.Code >= 500 || p.Status != w.Code || !known || !a.rules[p.Rule] || (p.Rule == "") != (name != "refused") || p.Title == "" || p.Next == "" {
		a.T.Errorf("status %d with %+v", w.Code, p)
	}
	for _, row := range a.Dump().Since(a.before) {
		a.T.Errorf("refused by %s %s, and changed: %.300s", name, p.Rule, row)
	}
	return false
}

// FuzzCardRequest: whatever stands in a request beside its key, and however it is
// written, it is certified only if it is the one request for this item. The
// signature is right for whatever is said.
func FuzzCardRequest(f *testing.F) {
	a := takeAim(f)
	digest := []byte("DIGEST OF THE BINDING, 32 OCTETS")
	right := forge(f, a.key, a.digest)
	binding := bindingAttribute(f, tlv(4, digest))
	f.Add(right.version, right.subject, tlv(0xa0, binding), []byte{}, uint8(0))
	f.Add(right.version, right.subject, tlv(0xa0, bindingAttribute(f, tlv(4, make([]byte, 32)))), []byte{}, uint8(0))
	f.Add([]byte{2, 0}, []byte{0x30, 0}, []byte{0xa0, 0}, []byte{5, 0}, uint8(1))
	f.Add(right.version, right.subject, tlv(0xa0, binding), []byte{5, 0}, uint8(3))
	f.Add([]byte{2, 1, 1}, right.subject, tlv(0xa0, binding), []byte{}, uint8(0))
	f.Add(right.version, marshal(f, pkix.Name{CommonName: "Chef"}.ToRDNSequence()), tlv(0xa0, binding), []byte{}, uint8(0))
	for _, e := range slipped(f) {
		ask := extensionRequest(f, e)
		f.Add(right.version, right.subject, ask, []byte{}, uint8(1))
		f.Add(right.version, right.subject, tlv(0xa0, ask, binding), []byte{}, uint8(0))
	}
	f.Fuzz(func(t *testing.T, version, subject, attributes, tail []byte, how uint8) {
		a.on(t)
		g := forge(t, a.key, a.digest)
		expected := g
		g.version, g.subject, g.tail = version, subject, tail
		g.attributes = bytes.ReplaceAll(attributes, digest, a.digest[:])
		switch how % 4 {
		case 1:
			g.attributes = tlv(0xa0, bindingAttribute(t, tlv(4, a.digest[:])), attributes)
		case 2:
			g.attributes = tlv(0xa0, attributes)
		case 3:
			g.spki = append(bytes.Clone(g.spki), tail...)
		}
		if len(g.attributes)+len(subject)+len(tail)+len(version) > 60_000 {
			return
		}
		body := marshalWire(t, wire.Submit{CSR: g.der()})
		w := a.send(a.h.CertificateOf(), "POST", "/card/v1/downloads/"+string(a.st.Download.ID)+"/items/authentication", "application/json", body)
		same := bytes.Equal(g.version, expected.version) && bytes.Equal(g.subject, expected.subject) && bytes.Equal(g.attributes, expected.attributes) &&
			bytes.Equal(g.spki, expected.spki) && len(tail) == 0
		accepted := a.judge(w)
		if accepted != same {
			t.Errorf("certified %t: version %x, subject %x, attributes %x, tail %x", accepted, version, subject, g.attributes, tail)
		}
		if accepted {
			a.aimAnew(false)
		}
	})
}

func marshalWire(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// places are the addresses of the card protocol that take a document, with one
// that each takes.
func places() []struct{ path, body string } {
	return []struct{ path, body string }{
		{"/card/v1/downloads", `{"order":"ORDER"}`},
		{"/card/v1/downloads/OWN/items/authentication", `{"csr":"CSR"}`},
		{"/card/v1/downloads/OWN/confirm", `{"planHash":"HASH","readBack":{"authentication":"PRINT"}}`},
		{"/card/v1/downloads/DONE/removed", `{"fingerprints":["OLD"]}`},
		{"/card/v1/block", `{"reason":"lost"}`},
	}
}

// FuzzCardBody: each document of the card protocol, as text. What is accepted is
// the document of that address with the right values in it.
func FuzzCardBody(f *testing.F) {
	a := takeAim(f)
	a.aimAnew(true)
	for i, p := range places() {
		f.Add(uint8(i), p.body)
		for _, text := range spoilt(p.body) {
			if len(text) < 1000 {
				f.Add(uint8(i), text)
			}
		}
		f.Add(uint8(i), places()[(i+1)%len(places())].body)
	}
	f.Add(uint8(0), `{"signing":true}`)
	f.Add(uint8(0), `{"order":"ORDER","withoutSigning":true}`)
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		a.on(t)
		p := places()[int(which)%len(places())]
		der := a.h.CertificateOf()
		switch {
		case strings.HasSuffix(p.path, "/confirm"):
			der = a.next
		case strings.HasSuffix(p.path, "/removed"):
			der = a.cleaning.CertificateOf()
		}
		body := []byte(a.names.Replace(text))
		if !a.judge(a.send(der, "POST", a.names.Replace(p.path), "application/json", body)) {
			if text == p.body {
				t.Errorf("%s refused what is right", p.path)
			}
			return
		}
		if len(body) > 64<<10 || !meant(t, a.names.Replace(p.body), body) {
			t.Errorf("%s accepted %.500q", p.path, body)
		}
		if len(a.Dump().Since(a.before)) > 0 {
			a.aimAnew(true)
		}
	})
}

// meant reports whether a document says what the right one says, in any order and
// spacing, with either reason for a report and with or without what may be left out.
func meant(t *testing.T, right string, got []byte) bool {
	t.Helper()
	var a, b any
	if json.Unmarshal([]byte(right), &a) != nil || json.Unmarshal(got, &b) != nil {
		return false
	}
	if strings.Contains(right, "fingerprints") { // any list of them, or none, is a report
		var r wire.Removed
		return json.Unmarshal(got, &r) == nil && !slices.ContainsFunc(r.Fingerprints, func(f string) bool { _, err := ca.ParseFingerprint(f); return err != nil })
	}
	if begin, ok := b.(map[string]any); ok {
		delete(begin, "withoutSigning")
		if begin["signing"] == false {
			delete(begin, "signing")
		}
	}
	x, y := marshalWire(t, a), bytes.Replace(marshalWire(t, b), []byte(`"reason":"stolen"`), []byte(`"reason":"lost"`), 1)
	return bytes.EqualFold(x, y)
}

// FuzzEvidence: a confirmation in the right form with any values in it is taken
// only if they are the right ones.
func FuzzEvidence(f *testing.F) {
	a := takeAim(f)
	a.aimAnew(true)
	f.Add("HASH", "authentication", "PRINT", "", "", false)
	f.Add("HASH", "authentication", "PRINT", "signing", "PRINT", false)
	f.Add("HASH", "authentication", "PRINT", "", "", true)
	f.Add("HASH", "authentication", "OLD", "", "", false)
	f.Add("HASH", "signing", "PRINT", "", "", false)
	f.Add("PRINT", "authentication", "HASH", "", "", false)
	f.Add("", "", "", "", "", false)
	f.Fuzz(func(t *testing.T, hash, slot, print, slot2, print2 string, old bool) {
		a.on(t)
		ev := wire.Confirm{PlanHash: a.names.Replace(hash), ReadBack: map[string]string{slot: a.names.Replace(print)}}
		if slot2 != "" {
			ev.ReadBack[slot2] = a.names.Replace(print2)
		}
		der := a.next
		if old {
			der = a.h.CertificateOf()
		}
		body := marshalWire(t, ev)
		accepted := a.judge(a.send(der, "POST", "/card/v1/downloads/"+string(a.st.Download.ID)+"/confirm", "application/json", body))
		right := !old && strings.EqualFold(ev.PlanHash, hexOf(a.st.Download.PlanHash)) && len(ev.ReadBack) == 1 &&
			strings.EqualFold(ev.ReadBack["authentication"], ca.FingerprintOf(a.next).String())
		if accepted != right {
			t.Errorf("confirmed %t by %s, old certificate %t", accepted, body, old)
		}
		if accepted {
			a.Sound()
			a.aimAnew(true)
		}
	})
}

// FuzzCardAddress: any method and address. What is done is done to what is the
// caller's own, at an address that is one of the protocol, and nothing of
// another's is told.
func FuzzCardAddress(f *testing.F) {
	a := takeAim(f)
	for _, target := range []string{"/card/v1/me", "/card/v1/downloads/OWN", "/card/v1/downloads/THEIRS", "/card/v1/downloads/OWN/items/authentication/challenge",
		"/card/v1/downloads/THEIRS/items/authentication/challenge", "/card/v1/downloads/OWN/abandon", "/card/v1/downloads/THEIRS/abandon", "/card/v1/downloads/OWN/removed",
		"/card/v1/downloads/..%2fOWN", "/card/v1/downloads/OWN/../THEIRS", "//card/v1/block", "/card/v1/downloads/OWN%00", "/api/v1/whoami", "/api/v1/cards/CARD",
		"/api/v1/certificates/SERIAL", "/api/v1/orders/ORDER/withdraw", "/api/v1/orders/ORDER", "/api/v1/organisations/org_1/people?limit=5", "*", "/", "/%", "/card/v1/me?x=%zz"} {
		for _, method := range []string{"GET", "POST"} {
			f.Add(method, target, uint8(0))
		}
		f.Add("POST", target, uint8(1))
	}
	allowed := map[string]bool{"GET /card/v1/me": true, "GET /card/v1/downloads/OWN": true, "POST /card/v1/downloads/OWN/items/authentication/challenge": true,
		"POST /card/v1/downloads/OWN/abandon": true, "GET /api/v1/whoami": true, "GET /api/v1/certificates/SERIAL": true,
		"GET /api/v1/cards/CARD": true}
	f.Fuzz(func(t *testing.T, method, target string, as uint8) {
		a.on(t)
		der := a.h.CertificateOf()
		if as%2 == 1 {
			der = nil
		}
		target = a.names.Replace(target)
		w := a.send(der, method, target, "application/json", []byte("{}"))
		if w == nil || !a.judge(w) {
			return
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		named := strings.NewReplacer(string(a.st.Download.ID), "OWN", a.h.Certificate().Serial.String(), "SERIAL", string(a.h.Card), "CARD").Replace(u.Path)
		if der == nil || !allowed[method+" "+named] {
			t.Errorf("%s %q was accepted", method, target)
		}
		theirs, order, err := a.openOf(a.other)
		if err != nil || strings.Contains(w.Body.String(), theirs) || strings.Contains(w.Body.String(), order) {
			t.Errorf("%s %q touched or told of another's download: %v", method, target, err)
		}
		if len(a.Dump().Since(a.before)) > 0 {
			a.aimAnew(false)
		}
	})
}
