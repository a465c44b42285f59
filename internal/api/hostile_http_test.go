package api_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf16"

	"sigill/internal/wire"
	"sigill/internal/world/worldtest"
	"sigill/policy"
)

func hexOf(h [32]byte) string { return hex.EncodeToString(h[:]) }

// lookalike is a certificate that says all that another one says, by a key of its
// own.
func lookalike(t *testing.T, der []byte) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	genuine, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := *genuine
	template.ExtraExtensions, template.SignatureAlgorithm = genuine.Extensions, x509.ECDSAWithSHA256
	forged, err := x509.CreateCertificate(rand.Reader, &template, &x509.Certificate{RawSubject: genuine.RawIssuer}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return key, forged
}

// chain is a client that presents several certificates.
func (s *server) chain(key crypto.Signer, der ...[]byte) *http.Client {
	c := s.client(key, der[0])
	c.Transport.(*http.Transport).TLSClientConfig.Certificates[0].Certificate = der
	return c
}

// Nobody is who he says he is but by the key of a certificate that is in the
// store, proved on this very connection.
func TestHostileConnection(t *testing.T) {
	s := newScene(t)
	key, forged := lookalike(t, s.h.CertificateOf())
	stranger, _ := lookalike(t, s.h.CertificateOf())
	before := s.Dump()
	block := wire.Block{Reason: "lost"}
	forwarded := []string{"X-Forwarded-Client-Cert", `Hash=` + s.h.Certificate().Fingerprint.String(), "X-SSL-Client-Cert", "-----BEGIN CERTIFICATE-----",
		"X-Client-Verify", "SUCCESS", "Ssl-Client-Cert", "x", "Authorization", "Bearer " + string(s.h.Person), "Cookie", "session=" + string(s.h.Card)}
	type attempt struct {
		client *http.Client
		header []string
		status int
		kind   string
		rule   policy.Rule
	}
	each(t, s.server, map[string]attempt{
		"no certificate":                        {s.client(nil, nil), nil, 401, "no-certificate", ""},
		"no certificate, one in a header":       {s.client(nil, nil), forwarded, 401, "no-certificate", ""},
		"made by oneself, with another's names": {s.client(key, forged), nil, 401, "refused", policy.LoginUnknown},
		"the same, and a header":                {s.client(key, forged), forwarded, 401, "refused", policy.LoginUnknown},
		"the same, with the real one behind":    {s.chain(key, forged, s.h.CertificateOf()), nil, 401, "refused", policy.LoginUnknown},
		"the certificate that the card had":     {s.client(s.h.TransportKey(), s.h.TransportDER()), nil, 403, "refused", policy.LoginUnarmed},
		"another site's page":                   {s.c, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403, "cross-origin", ""},
	}, func(a attempt) {
		s.refused(s.do(a.client, "POST", "/card/v1/block", block, a.header...), a.status, a.kind, a.rule)
		s.refused(s.do(a.client, "POST", s.path+"/abandon", nil, a.header...), a.status, a.kind, a.rule)
		s.unchanged(before)
	})
	old := s.as(s.h)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	for name, c := range map[string]*http.Client{
		"TLS 1.2": old, "another's certificate without its key": s.client(stranger, s.h.CertificateOf()),
		"the same, with one's own behind": s.chain(key, s.h.CertificateOf(), forged),
	} {
		res, err := c.Post(s.http.URL+"/card/v1/block", "application/json", strings.NewReader(`{"reason":"lost"}`))
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: status %d", name, res.StatusCode)
			}
		}
		s.unchanged(before)
	}
	s.withoutHandshake(before)
	var me wire.Me
	s.do(s.as(s.other), "GET", "/card/v1/me", nil, forwarded...).read(t, &me)
	if me.Card != string(s.other.Card) {
		t.Error("a header made another of the caller")
	}
}

// withoutHandshake calls the handler as a listener would that forgot to turn
// resumption off, or TLS.
func (s *scene) withoutHandshake(before worldtest.Dump) {
	s.t.Helper()
	cert, err := x509.ParseCertificate(s.h.CertificateOf())
	if err != nil {
		s.t.Fatal(err)
	}
	state := &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, DidResume: true, PeerCertificates: []*x509.Certificate{cert}}
	for name, state := range map[string]*tls.ConnectionState{"no TLS": nil, "a resumed session": state} {
		r := httptest.NewRequest("POST", "/card/v1/block", strings.NewReader(`{"reason":"lost"}`))
		r.Header.Set("Content-Type", "application/json")
		r.TLS = state
		w := httptest.NewRecorder()
		s.http.Config.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "no-certificate") {
			s.t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	s.unchanged(before)
}

// spoilt are documents that are almost the right one.
func spoilt(right string) map[string]string {
	first := strings.Index(right, `"`) + 1
	colon := strings.Index(right, ":") + 1
	wide := utf16.Encode([]rune(right))
	var utf16le bytes.Buffer
	for _, u := range wide {
		utf16le.Write([]byte{byte(u), byte(u >> 8)})
	}
	return map[string]string{
		"a member twice":               right[:len(right)-1] + "," + right[1:],
		"a member unknown":             right[:len(right)-1] + `,"more":1}`,
		"a member __proto__":           right[:len(right)-1] + `,"__proto__":{}}`,
		"a member without name":        right[:len(right)-1] + `,"":1}`,
		"a member in capitals":         right[:first] + strings.ToUpper(right[first:first+1]) + right[first+1:],
		"a member with a long s":       strings.Replace(right[:colon], "s", "ſ", 1) + right[colon:],
		"a second document":            right + right,
		"a letter after it":            right + "x",
		"NUL after it":                 right + "\x00",
		"a byte order mark before it":  "\ufeff" + right,
		"a comment":                    "/*x*/" + right,
		"a comma too many":             right[:len(right)-1] + ",}",
		"cut off":                      right[:len(right)-1],
		"in an array":                  "[" + right + "]",
		"as text":                      `"` + strings.ReplaceAll(right, `"`, `\"`) + `"`,
		"a number":                     "1",
		"null":                         "null",
		"nothing":                      "",
		"spaces":                       "   ",
		"a huge number for the value":  right[:colon] + strings.Repeat("9", 40_000) + "}",
		"a huge exponent":              right[:colon] + "1e999999999}",
		"NaN":                          right[:colon] + "NaN}",
		"null for the value":           right[:colon] + "null}",
		"values deep in one another":   right[:colon] + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}",
		"objects deep in one another":  strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"arrays that do not end":       strings.Repeat("[", 60_000),
		"octets that are no UTF-8":     right[:first] + "\xff\xfe" + right[first:],
		"a surrogate in octets":        right[:colon] + "\"\xed\xa0\x80\"}",
		"an overlong encoding":         right[:colon] + "\"\xc0\xaf\"}",
		"UTF-16":                       utf16le.String(),
		"a control character in it":    right[:colon] + "\"a\nb\"}",
		"half an escape":               right[:colon] + `"\u00"}`,
		"quotes of another kind":       strings.ReplaceAll(right, `"`, `'`),
		"names without quotes":         strings.Replace(strings.Replace(right, `"`, "", 1), `"`, "", 1),
		"as a form":                    "order=1&reason=lost",
		"as XML with an outer entity":  `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`,
		"octets as an array of number": right[:colon] + `[1,2,3]}`,
	}
}

// A document is understood exactly as it is meant or not at all, at every address
// that takes one, and before anything is done.
func TestHostileJSON(t *testing.T) {
	s := newScene(t)
	fp := s.h.Certificate().Fingerprint.String()
	right := map[string]string{
		"/card/v1/downloads":             string(marshalJSON(t, wire.Begin{Order: string(s.st.Download.Order)})),
		s.path + "/items/authentication": string(marshalJSON(t, wire.Submit{CSR: forge(t, s.key, s.right.Digest()).der()})),
		s.path + "/confirm":              string(marshalJSON(t, wire.Confirm{PlanHash: hexOf(s.st.Download.PlanHash), ReadBack: map[string]string{"authentication": fp}})),
		s.path + "/removed":              `{"fingerprints":["` + fp + `"]}`,
		"/card/v1/block":                 `{"reason":"lost"}`,
	}
	before := s.Dump()
	each(t, s.server, right, func(body string) {
		path := pathOf(right, body)
		for name, text := range spoilt(body) {
			if text == body {
				continue // it has no such letter
			}
			a := s.do(s.c, "POST", path, text)
			if strings.HasSuffix(path, "/removed") && (name == "null" || name == "null for the value") {
				s.refused(a, 409, "refused", policy.DownloadStateRule) // nothing removed, which is a report too
				continue
			}
			if a.StatusCode != 400 || a.problem.Rule != string(policy.RequestForm) {
				s.t.Errorf("%s: status %d, rule %q", name, a.StatusCode, a.problem.Rule)
			}
		}
		for _, kind := range []string{"", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "application/json; ="} {
			s.refused(s.do(s.c, "POST", path, body, "Content-Type", kind), 415, "media-type", "")
		}
		s.refused(s.do(s.c, "POST", path, body+strings.Repeat(" ", 64<<10)), 413, "too-large", "")
		s.refused(s.do(s.c, "POST", path, body, "Content-Encoding", "gzip", "Content-Type", "application/gzip"), 415, "media-type", "")
		s.unchanged(before)
	})
	s.endless("/card/v1/block")
	s.unchanged(before)
	for path, body := range right { // they were right but for what was spoilt
		if a := s.do(s.c, "POST", path, body); a.problem.Rule == string(policy.RequestForm) || a.StatusCode >= 500 {
			t.Errorf("%s unspoilt: %d %s", path, a.StatusCode, a.body)
		}
	}
}

func pathOf(all map[string]string, body string) string {
	for path, b := range all {
		if b == body {
			return path
		}
	}
	return ""
}

func marshalJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dial opens a connection as the holder, for octets that no HTTP client sends.
func (s *scene) dial() *tls.Conn {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.http.Listener.Addr().String(), s.c.Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// endless sends a body in chunks that has no end: the server answers, and stops
// reading.
func (s *scene) endless(path string) {
	s.t.Helper()
	c := s.dial()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: card.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", path)
	sent := make(chan int, 1)
	go func() {
		n, chunk := 0, append([]byte("1000\r\n"+strings.Repeat(" ", 4096)), "\r\n"...)
		for n < 64<<20 {
			if _, err := c.Write(chunk); err != nil {
				break
			}
			n += 4096
		}
		sent <- n
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatalf("no answer to an endless body: %v", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusRequestEntityTooLarge || !bytes.Contains(text, []byte("too-large")) {
		s.t.Errorf("endless body: %d %s, %v", res.StatusCode, text, err)
	}
	c.Close()
	if n := <-sent; n >= 64<<20 {
		s.t.Errorf("the server read %d octets", n)
	}
}

// raw sends a request line as it is.
func (s *scene) raw(method, target string) (int, wire.Problem, string) {
	s.t.Helper()
	c := s.dial()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: card.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", method, target)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatalf("%s %q: %v", method, target, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var p wire.Problem
	if res.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(text, &p); err != nil {
			s.t.Fatal(err)
		}
	}
	return res.StatusCode, p, string(text)
}

// An id or a slot in an address is one that is the caller's, or it is not there,
// however it is written.
func TestHostileAddress(t *testing.T) {
	s := newScene(t)
	own, theirs := string(s.st.Download.ID), string(s.otherSt.Download.ID)
	ids := map[string]string{
		"another's": theirs, "none": "dl_none", "capitals": strings.ToUpper(own), "a space after it": own + "%20", "NUL after it": own + "%00", "NUL before it": "%00" + own,
		"very long": "dl_" + strings.Repeat("a", 60_000), "another type's": string(s.st.Download.Order), "a wildcard": "%25", "an underscore": strings.Replace(own, "dl_", "dl-", 1),
		"SQL": "'%20OR%20'1'='1", "dots": "..%2f..%2fdownloads%2f" + own, "an escaped slash": own + "%2fitems", "a line break": own + "%0d%0aX:%20y", "an octet that is no UTF-8": own + "%ff",
		"another width": own + "%ef%bc%8f", "a semicolon": own + ";" + theirs, "braces": "{id}", "a star": "*",
	}
	before := s.Dump()
	each(t, s.server, ids, func(id string) {
		for _, x := range []string{"GET ", "POST /items/authentication/challenge", "POST /abandon"} {
			method, rest, _ := strings.Cut(x, " ")
			status, p, text := s.raw(method, "/card/v1/downloads/"+id+rest)
			if status != 403 || p.Rule != string(policy.DownloadCard) {
				s.t.Errorf("%s: %d %.200s", x, status, text)
			}
		}
		s.unchanged(before)
	})
	slots := map[string]policy.Rule{
		"signing": policy.DownloadStateRule, "transport": policy.DownloadStateRule, "Authentication": policy.DownloadStateRule, "authentication%20": policy.DownloadStateRule,
		"authentication%00": policy.DownloadStateRule, "%61uth": policy.DownloadStateRule, "..%2fauthentication": policy.DownloadStateRule, "%2e%2e%2fauthentication": policy.DownloadStateRule,
	}
	for slot, rule := range slots {
		status, p, text := s.raw("POST", s.path+"/items/"+slot+"/challenge")
		if status != 409 || p.Rule != string(rule) {
			t.Errorf("challenge of %q: %d %.200s", slot, status, text)
		}
		a := s.do(s.c, "POST", s.path+"/items/"+slot, wire.Submit{CSR: forge(t, s.key, s.right.Digest()).der()})
		s.refused(a, 403, "refused", policy.DownloadPlan)
	}
	s.unchanged(before)
	for _, target := range []string{"/card/v1/downloads//items/authentication", s.path + "/items/", s.path + "/items//challenge", "/card/v1/downloads/", "/card//v1/me",
		"/card/v1/downloads/../block", "/card/v1/../v1/block", s.path + "/../../block", "/./card/v1/block", s.path + "/items/authentication/challenge/", "/card/v1/block/", "/CARD/v1/block", "//card/v1/block"} {
		status, p, text := s.raw("POST", target)
		if status != 404 || p.Type != "urn:sigill:problem:not-found" {
			t.Errorf("%s: %d %.200s", target, status, text)
		}
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "HEAD", "post", "MOVE"} {
		if method == "HEAD" {
			continue // has no body to look at
		}
		if status, p, text := s.raw(method, "/card/v1/block"); status != 404 || p.Type != "urn:sigill:problem:not-found" {
			t.Errorf("%s: %d %.200s", method, status, text)
		}
	}
	s.unchanged(before)
}
