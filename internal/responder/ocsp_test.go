package responder

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation/status"
)

// desk is the handler over a real responder with a cache, over a store in memory.
type desk struct {
	*revtest.Store
	*Handler
	authority *revtest.Authority
	passed    atomic.Int64 // since revtest.Start
	log       bytes.Buffer
}

func (d *desk) at() time.Time         { return revtest.Start.Add(time.Duration(d.passed.Load())) }
func (d *desk) pass(by time.Duration) { d.passed.Add(int64(by)) }

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{Store: revtest.NewStore(t), authority: revtest.NewAuthority(t, revtest.Person, nil)}
	now := d.at
	signers := new(status.Signers)
	if err := signers.Set(revtest.Person, d.authority.Responder(t)); err != nil {
		t.Fatal(err)
	}
	cache, err := status.NewCache(1<<20, signers)
	if err != nil {
		t.Fatal(err)
	}
	r := &status.Responder{Store: d.Store, Signers: signers, Now: now, Cache: cache}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	d.Handler, err = New(Config{OCSP: r, Dir: t.TempDir(), Now: now, Log: slog.New(slog.NewTextHandler(&d.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Wait)
	return d
}

// released returns a request for a new good certificate.
func (d *desk) released(t testing.TB) []byte {
	t.Helper()
	serial := ca.NewSerial()
	d.Released[serial] = revtest.Person
	return d.request(t, serial)
}

func (d *desk) request(t testing.TB, serial ca.Serial) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, d.authority.Cert, &ocsp.RequestOptions{Hash: crypto.SHA1})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pathOf(der []byte) string {
	return "/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(der))
}

func (d *desk) do(method, target string, body []byte, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

// Who has the answer is told so, and only who has this one.
func TestOCSPConditional(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	first := d.do("GET", pathOf(der), nil)
	body := bodyOf(t, first)
	sum := sha256.Sum256([]byte(body))
	tag := `"` + hex.EncodeToString(sum[:]) + `"`
	if first.StatusCode != 200 || first.Header.Get("ETag") != tag {
		t.Fatalf("%d, ETag %s, want %s", first.StatusCode, first.Header.Get("ETag"), tag)
	}
	for name, test := range map[string]struct {
		method string
		lines  []string
		code   int
	}{
		"the same":           {"GET", []string{tag}, 304},
		"weak":               {"GET", []string{"W/" + tag}, 304},
		"any":                {"GET", []string{"*"}, 304},
		"among others":       {"GET", []string{`"x", ` + tag + `,"y"`}, 304},
		"in another line":    {"GET", []string{`"x"`, tag}, 304},
		"HEAD":               {"HEAD", []string{tag}, 304},
		"another":            {"GET", []string{`"x"`}, 200},
		"without quotes":     {"GET", []string{strings.Trim(tag, `"`)}, 200},
		"a part of it":       {"GET", []string{tag[:len(tag)-2] + `"`}, 200},
		"POST is not cached": {"POST", []string{tag}, 200},
	} {
		target, sent := pathOf(der), []byte(nil)
		if test.method == "POST" {
			target, sent = "/ocsp", der
		}
		var header []string
		for _, line := range test.lines {
			header = append(header, "If-None-Match", line)
		}
		r := d.do(test.method, target, sent, header...)
		if r.StatusCode != test.code {
			t.Errorf("%s: %d, want %d", name, r.StatusCode, test.code)
		}
		if got := bodyOf(t, r); (got == "") != (test.code == 304 || test.method == "HEAD") {
			t.Errorf("%s: %d octets", name, len(got))
		}
		if r.Header.Get("ETag") != tag || r.Header.Get("Cache-Control") == "" || r.Header.Get("Expires") == "" {
			t.Errorf("%s: a cache that has it is not told how long: %v", name, r.Header)
		}
	}
	// An hour later it is another answer; what is not cacheable has no tag to match.
	d.pass(time.Hour)
	if r := d.do("GET", pathOf(der), nil, "If-None-Match", tag); r.StatusCode != 200 || r.Header.Get("ETag") == tag {
		t.Errorf("after nextUpdate: %d", r.StatusCode)
	}
	if r := d.do("GET", pathOf(d.request(t, ca.NewSerial())), nil, "If-None-Match", "*"); r.StatusCode != 200 || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("unknown: %d %v", r.StatusCode, r.Header)
	}
}

// A revocation in the very second of the answer before it is seen by who asks whether
// there is something newer: times of Last-Modified are not looked at.
func TestOCSPNoTimeCondition(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	first := d.do("GET", pathOf(der), nil)
	if r := d.do("GET", pathOf(der), nil, "If-Modified-Since", first.Header.Get("Last-Modified")); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
}

// max-age and Expires end with the answer.
func TestOCSPClipped(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	for _, test := range []struct {
		pass time.Duration
		want string
	}{{0, "max-age=60"}, {time.Hour - time.Minute, "max-age=60"}, {30 * time.Second, "max-age=30"}, {29 * time.Second, "max-age=1"}} {
		d.pass(test.pass)
		// As a cache in front of this one would have it: an answer that nobody renews.
		answer, err := d.ocsp.Reply(t.Context(), status.Question{DER: der})
		if err != nil {
			t.Fatal(err)
		}
		fixed := *answer
		fixed.NextUpdate = revtest.Start.Add(time.Hour)
		w := httptest.NewRecorder()
		d.writeAnswer(w, httptest.NewRequest("GET", "/", nil), &fixed)
		left := revtest.Start.Add(time.Hour).Sub(d.at())
		if !strings.Contains(w.Header().Get("Cache-Control"), test.want+",") ||
			w.Header().Get("Expires") != d.at().Add(min(left, time.Minute)).Format(http.TimeFormat) {
			t.Errorf("%v before the end: %v", left, w.Header())
		}
	}
}

// As clients send it: HTTP/1.0 without and with keep-alive, several requests one
// after another on one connection, POST in chunks, an address in the request line.
func TestOCSPOverTheWire(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	text := base64.StdEncoding.EncodeToString(der)
	server := httptest.NewServer(d)
	defer server.Close()
	address := server.Listener.Addr().String()
	for name, request := range map[string]string{
		"HTTP/1.0":          "GET /ocsp/" + text + " HTTP/1.0\r\n\r\n",
		"HTTP/1.0 POST":     "POST /ocsp HTTP/1.0\r\nContent-Length: " + fmt.Sprint(len(der)) + "\r\n\r\n" + string(der),
		"HTTP/1.1":          "GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"whole address":     "GET http://" + address + "/ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"chunks":            "POST /ocsp HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(der),
		"a slash after it":  "POST /ocsp/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + fmt.Sprint(len(der)) + "\r\n\r\n" + string(der),
		"expects to go on":  "POST /ocsp HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: " + fmt.Sprint(len(der)) + "\r\n\r\n" + string(der),
		"HTTP/1.0 kept":     "GET /ocsp/" + text + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /ocsp/" + text + " HTTP/1.0\r\n\r\n",
		"three in one go":   strings.Repeat("GET /ocsp/"+text+" HTTP/1.1\r\nHost: x\r\n\r\n", 2) + "GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"HEAD then another": "HEAD /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\n\r\nGET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		answers := 0
		for {
			method := "GET"
			if answers == 0 && strings.HasPrefix(request, "HEAD") {
				method = "HEAD"
			}
			r, err := http.ReadResponse(in, &http.Request{Method: method})
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if r.StatusCode == http.StatusContinue {
				continue
			}
			answers++
			body := bodyOf(t, r)
			if r.StatusCode != 200 || r.ContentLength < 100 {
				t.Errorf("%s: %d %v", name, r.StatusCode, r.Header)
			}
			if method == "HEAD" {
				continue
			}
			if got, err := ocsp.ParseResponse([]byte(body), d.authority.Cert); err != nil || got.Status != ocsp.Good {
				t.Errorf("%s: %v", name, err)
			}
		}
		conn.Close()
		if want := strings.Count(request, " HTTP/1."); answers != want {
			t.Errorf("%s: %d answers, want %d", name, answers, want)
		}
	}
}

func chunks(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(len(b), 7)
		fmt.Fprintf(&s, "%x\r\n%s\r\n", n, b[:n])
		b = b[n:]
	}
	return s.String() + "0\r\n\r\n"
}

// A body that is broken off, or too long, whatever length was told, is malformed.
func TestOCSPBodies(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	for name, r := range map[string]*http.Request{
		"told too long":     {ContentLength: ca.MaxOCSPRequest + 1, Body: io.NopCloser(bytes.NewReader(der))},
		"not told too long": {ContentLength: -1, Body: io.NopCloser(bytes.NewReader(make([]byte, ca.MaxOCSPRequest+1)))},
		"broken off":        {ContentLength: -1, Body: io.NopCloser(io.MultiReader(bytes.NewReader(der), broken{}))},
	} {
		r.Method, r.URL, r.RequestURI = "POST", &url.URL{Path: "/ocsp"}, "/ocsp"
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), ca.OCSPError(ca.OCSPMalformedRequest)) || w.Header().Get("Connection") == "" && name != "broken off" {
			t.Errorf("%s: %d %x %v", name, w.Code, w.Body, w.Header())
		}
	}
	// In pieces of one octet it is the same request.
	r := &http.Request{Method: "POST", RequestURI: "/ocsp", URL: &url.URL{Path: "/ocsp"}, ContentLength: -1, Body: io.NopCloser(oneByOne{bytes.NewReader(der)})}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if got, err := ocsp.ParseResponse(w.Body.Bytes(), d.authority.Cert); err != nil || got.Status != ocsp.Good {
		t.Errorf("one octet at a time: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type oneByOne struct{ io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

// The database is away: one line a second, however many ask.
func TestOCSPFailureIsLoggedOnce(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	for i := range 50 {
		d.At, d.Fault = d.Count+1, revtest.NotBegun
		r := d.do("GET", pathOf(der), nil)
		if body := bodyOf(t, r); r.StatusCode != 200 || body != string(ca.OCSPError(ca.OCSPTryLater)) || r.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d: %d %x %v", i, r.StatusCode, body, r.Header)
		}
	}
	if n := strings.Count(d.log.String(), "answering OCSP"); n < 1 || n > 5 {
		t.Errorf("%d lines for fifty failures", n)
	}
}

// What an answer tells is shared between requests: nothing of one may reach another.
func TestOCSPSharesNothing(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	want := d.do("GET", pathOf(der), nil)
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest("GET", pathOf(der), nil))
	for name := range w.Header() {
		w.Header().Add(name, "of one request")
	}
	if again := d.do("GET", pathOf(der), nil); fmt.Sprint(again.Header) != fmt.Sprint(want.Header) {
		t.Errorf("%v, want %v", again.Header, want.Header)
	}
}

// FuzzDecodeUsual: what the short way reads, the long way reads the same.
func FuzzDecodeUsual(f *testing.F) {
	text := base64.StdEncoding.EncodeToString(der)
	for _, s := range []string{"", text, url.QueryEscape(text), url.PathEscape(text), "/" + text, "//" + text, "%2F" + text, "_" + text, "=" + text, text + "=",
		text + "====", text + "%3d", strings.TrimRight(text, "="), text + "\n", text + "%0a", "%", "%4", "%4G", "MAD", "MAA", "M", "MA", "=/M", "MA==MA==",
		base64.RawURLEncoding.EncodeToString(der), strings.Repeat("A", 2000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out := make([]byte, 600)
		n, ok := decodeUsual(out, text)
		if !ok {
			return
		}
		want, err := decodeRequest(text)
		if err != nil || !bytes.Equal(out[:n], want) {
			t.Fatalf("%q is read as %x, and as %x, %v", text, out[:n], want, err)
		}
	})
}

// The usual forms need no garbage.
func TestDecodeUsualForms(t *testing.T) {
	request := make([]byte, 83)
	for i := range request {
		request[i] = byte(i*151 + 0x30)
	}
	out := make([]byte, 100)
	text := base64.StdEncoding.EncodeToString(request)
	for _, form := range []string{text, url.QueryEscape(text), url.PathEscape(text), base64.RawURLEncoding.EncodeToString(request), "/" + text} {
		var n int
		var ok bool
		if allocs := testing.AllocsPerRun(10, func() { n, ok = decodeUsual(out, form) }); allocs != 0 {
			t.Errorf("%q: %v allocations", form, allocs)
		}
		if !ok || !bytes.Equal(out[:n], request) {
			t.Errorf("%q is left to the long way", form)
		}
		if _, ok := decodeUsual(out[:82], form); ok {
			t.Errorf("%q is read into less than it needs", form)
		}
	}
}
