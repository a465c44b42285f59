package responder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/revocation/status"
)

var start = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// echo answers with the request it was given.
type echo struct {
	got    [][]byte
	from   string
	answer status.Answer
	err    error
}

func (e *echo) Reply(_ context.Context, q status.Question) (*status.Answer, error) {
	e.got, e.from = append(e.got, bytes.Clone(q.DER)), q.From
	if len(q.DER) == 0 {
		return &status.Answer{DER: ca.OCSPError(ca.OCSPMalformedRequest)}, nil
	}
	return &e.answer, e.err
}

// listener is a handler over a directory with a few files.
type listener struct {
	*Handler
	ocsp *echo
	log  *bytes.Buffer
	dir  string
}

func newListener(t testing.TB) *listener {
	t.Helper()
	l := &listener{ocsp: &echo{}, log: &bytes.Buffer{}, dir: filepath.Join(t.TempDir(), "public")}
	for name, content := range map[string]string{
		"crl/person-hsa-id-3-v1/0.crl": "partition zero", "crl/person-hsa-id-3-v1/12.crl": "partition twelve", "crl/root/0.crl": "the root's",
		"crl/person-hsa-id-3-v1/.0.crl.1.tmp": "half", "crl/person-hsa-id-3-v1/notes.txt": "notes", "aia/root.cer": "certificate", "secret.crl": "secret",
		"../keys.pem": "key",
	} {
		path := filepath.Join(l.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := New(Config{OCSP: l.ocsp, Dir: l.dir, Now: func() time.Time { return start }, Log: slog.New(slog.NewTextHandler(l.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.Handler = h
	return l
}

func (l *listener) do(method, target string, body []byte) *http.Response {
	w := httptest.NewRecorder()
	l.ServeHTTP(w, httptest.NewRequest(method, target, bytes.NewReader(body)))
	return w.Result()
}

func bodyOf(t testing.TB, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// der has a base64 with +, / twice in a row, and padding.
var der = []byte{0x30, 0x05, 0xff, 0xff, 0xff, 0xff, 0xfb, 0xef, 0xbe, 0x01}

func TestOCSPForms(t *testing.T) {
	text := base64.StdEncoding.EncodeToString(der)
	for _, c := range []string{"+", "//", "="} {
		if !strings.Contains(text, c) {
			t.Fatalf("%q has no %s in it", text, c)
		}
	}
	every := ""
	for _, c := range []byte(text) {
		every += fmt.Sprintf("%%%02x", c)
	}
	for name, target := range map[string]string{
		"as it is":               "/ocsp/" + text,
		"escaped":                "/ocsp/" + url.QueryEscape(text),
		"path-escaped":           "/ocsp/" + url.PathEscape(text),
		"each character":         "/ocsp/" + every,
		"alphabet for URLs":      "/ocsp/" + base64.URLEncoding.EncodeToString(der),
		"no padding":             "/ocsp/" + base64.RawStdEncoding.EncodeToString(der),
		"URLs, no padding":       "/ocsp/" + base64.RawURLEncoding.EncodeToString(der),
		"slash too many":         "/ocsp//" + text,
		"plus become space":      "/ocsp/" + strings.ReplaceAll(text, "+", "%20"),
		"lower-case escapes":     "/ocsp/" + strings.NewReplacer("+", "%2b", "/", "%2f", "=", "%3d").Replace(text),
		"query is not looked at": "/ocsp/" + text + "?x=1",
	} {
		l := newListener(t)
		l.ocsp.answer = status.Answer{DER: []byte("answer"), Cacheable: true, ProducedAt: start, NextUpdate: start.Add(time.Hour)}
		r := l.do("GET", target, nil)
		if len(l.ocsp.got) != 1 || !bytes.Equal(l.ocsp.got[0], der) {
			t.Errorf("%s: %s is read as %x", name, target, l.ocsp.got)
		}
		if r.StatusCode != 200 || bodyOf(t, r) != "answer" {
			t.Errorf("%s: status %d", name, r.StatusCode)
		}
	}
}

func TestOCSPHeaders(t *testing.T) {
	sum := sha256.Sum256([]byte("answer"))
	target := "/ocsp/" + base64.StdEncoding.EncodeToString(der)
	for name, test := range map[string]struct {
		answer status.Answer
		err    error
		cache  string
		end    time.Time
	}{
		"good":    {status.Answer{Cacheable: true, ProducedAt: start, NextUpdate: start.Add(time.Hour)}, nil, "public, max-age=60, no-transform, must-revalidate", start.Add(time.Minute)},
		"ends":    {status.Answer{Cacheable: true, ProducedAt: start, NextUpdate: start.Add(9 * time.Second)}, nil, "public, max-age=9, no-transform, must-revalidate", start.Add(9 * time.Second)},
		"ended":   {status.Answer{Cacheable: true, ProducedAt: start, NextUpdate: start}, nil, "no-store", time.Time{}},
		"unknown": {status.Answer{ProducedAt: start, NextUpdate: start.Add(time.Hour)}, nil, "no-store", time.Time{}},
		"error":   {status.Answer{}, errors.New("database is gone"), "no-store", time.Time{}},
	} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			l := newListener(t)
			test.answer.DER, test.answer.Tag[0], test.answer.Since[0] = []byte("answer"), `"`+hex.EncodeToString(sum[:])+`"`, start.Add(-5*time.Minute).Format(http.TimeFormat)
			l.ocsp.answer, l.ocsp.err = test.answer, test.err
			where, body := target, []byte(nil)
			if method == "POST" {
				where, body = "/ocsp", der
			}
			r := l.do(method, where, body)
			if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/ocsp-response" || r.Header.Get("Cache-Control") != test.cache ||
				r.Header.Get("Content-Length") != "6" || r.Header.Get("Location") != "" {
				t.Errorf("%s %s: %d %v", method, name, r.StatusCode, r.Header)
			}
			wantEnd, wantTag, wantMade := "", "", ""
			if !test.end.IsZero() {
				wantEnd, wantTag, wantMade = test.end.Format(http.TimeFormat), `"`+hex.EncodeToString(sum[:])+`"`, start.Add(-5*time.Minute).Format(http.TimeFormat)
			}
			if r.Header.Get("Expires") != wantEnd || r.Header.Get("ETag") != wantTag || r.Header.Get("Last-Modified") != wantMade {
				t.Errorf("%s %s: %v", method, name, r.Header)
			}
			if want := map[bool]string{true: "", false: "answer"}[method == "HEAD"]; bodyOf(t, r) != want {
				t.Errorf("%s %s: body is not %q", method, name, want)
			}
			if logged := strings.Contains(l.log.String(), "database is gone"); logged != (test.err != nil) {
				t.Errorf("%s: log %q", name, l.log)
			}
		}
	}
}

// What is no request is told in OCSP's own words, with HTTP 200.
func TestOCSPMalformed(t *testing.T) {
	long := make([]byte, ca.MaxOCSPRequest+1)
	for name, test := range map[string]struct {
		method, target string
		body           []byte
	}{
		"GET without request": {"GET", "/ocsp", nil},
		"and a slash":         {"GET", "/ocsp/", nil},
		"not base64":          {"GET", "/ocsp/M!!!", nil},
		"padding without end": {"GET", "/ocsp/MAA=====", nil},
		"loose bits":          {"GET", "/ocsp/MAD", nil},
		"too long":            {"GET", "/ocsp/" + strings.Repeat("%4d", 6000), nil},
		"empty POST":          {"POST", "/ocsp", nil},
		"too long POST":       {"POST", "/ocsp", long},
	} {
		l := newListener(t)
		l.ocsp.answer = status.Answer{DER: []byte("answer")}
		r := l.do(test.method, test.target, test.body)
		if body := bodyOf(t, r); r.StatusCode != 200 || body != string(ca.OCSPError(ca.OCSPMalformedRequest)) || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %x %v", name, r.StatusCode, body, r.Header)
		}
	}
	// The longest that may be.
	l := newListener(t)
	l.ocsp.answer = status.Answer{DER: []byte("answer")}
	if r := l.do("POST", "/ocsp", long[1:]); bodyOf(t, r) != "answer" {
		t.Error("a request of the greatest length is refused")
	}
}

func TestFiles(t *testing.T) {
	l := newListener(t)
	for target, want := range map[string]string{
		"/crl/person-hsa-id-3-v1/0.crl":  "partition zero",
		"/crl/person-hsa-id-3-v1/12.crl": "partition twelve",
		"/crl/root/0.crl":                "the root's",
		"/aia/root.cer":                  "certificate",
	} {
		r := l.do("GET", target, nil)
		mediaType := "application/pkix-crl"
		if strings.HasPrefix(target, "/aia/") {
			mediaType = "application/pkix-cert"
		}
		if r.StatusCode != 200 || bodyOf(t, r) != want || r.Header.Get("Content-Type") != mediaType ||
			r.Header.Get("Cache-Control") != "public, max-age=60, no-transform, must-revalidate" || r.Header.Get("Last-Modified") == "" ||
			r.Header.Get("Expires") != start.Add(time.Minute).Format(http.TimeFormat) {
			t.Errorf("%s: %d %v", target, r.StatusCode, r.Header)
		}
		tag := r.Header.Get("ETag")
		again := httptest.NewRequest("GET", target, nil)
		again.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		l.ServeHTTP(w, again)
		if w.Code != 304 || tag == "" {
			t.Errorf("%s with its ETag %q: %d", target, tag, w.Code)
		}
		if r := l.do("HEAD", target, nil); r.StatusCode != 200 || bodyOf(t, r) != "" || r.Header.Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("HEAD %s: %d %v", target, r.StatusCode, r.Header)
		}
	}
	// The full CRL is served when it is there, and a replaced file has another tag.
	path := filepath.Join(l.dir, "crl", "root", "full.crl")
	if r := l.do("GET", "/crl/root/full.crl", nil); r.StatusCode != 404 {
		t.Errorf("full.crl before it is there: %d", r.StatusCode)
	}
	tags := map[string]bool{}
	for i, content := range []string{"one", "three"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		r := l.do("GET", "/crl/root/full.crl", nil)
		if bodyOf(t, r) != content {
			t.Errorf("full.crl is not %q", content)
		}
		if tags[r.Header.Get("ETag")] = true; len(tags) != i+1 {
			t.Error("another file, the same tag")
		}
	}
}

// Nothing but the named files, whatever the path.
func TestFilesNotFound(t *testing.T) {
	l := newListener(t)
	if err := os.Mkdir(filepath.Join(l.dir, "crl", "root", "8.crl"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{
		"/", "/crl", "/crl/", "/crl/root", "/crl/root/", "/aia/", "/crl/root/8.crl", "/crl/root/1.crl", "/crl/root/00.crl", "/crl/root/+0.crl",
		"/crl/root/0", "/crl/root/0.crl/", "/crl//root/0.crl", "//crl/root/0.crl", "/crl/./root/0.crl", "/crl/../secret.crl", "/crl/root/../../secret.crl",
		"/crl/%2e%2e/secret.crl", "/crl/..%2fsecret.crl", "/crl/root/%30.crl", "/crl/root/..%2f..%2fsecret.crl", "/secret.crl", "/crl/ROOT/0.crl", "/crl/../../keys.pem",
		"/crl/person-hsa-id-3-v1/.0.crl.1.tmp", "/crl/person-hsa-id-3-v1/notes.txt", "/aia/../../keys.pem", "/aia/root.crl", "/aia/.cer", "/crl//0.crl", "/aia/root%00.cer",
		"/ocspx", "/OCSP", "/index.html", "/crl/root/99999999999999999999.crl",
	} {
		r := l.do("GET", target, nil)
		if r.StatusCode != 404 || r.Header.Get("Location") != "" {
			t.Errorf("%s: %d, location %q", target, r.StatusCode, r.Header.Get("Location"))
		}
		if body := bodyOf(t, r); strings.Contains(body, "secret") || strings.Contains(body, "key") || strings.Contains(body, "tmp") {
			t.Errorf("%s: %q", target, body)
		}
	}
	if len(l.ocsp.got) != 0 {
		t.Errorf("%d of them were taken for OCSP", len(l.ocsp.got))
	}
}

func TestMethods(t *testing.T) {
	l := newListener(t)
	for _, test := range []struct{ method, target, allow string }{
		{"PUT", "/ocsp", "GET, HEAD, POST"}, {"DELETE", "/ocsp", "GET, HEAD, POST"}, {"OPTIONS", "/ocsp/", "GET, HEAD, POST"},
		{"POST", "/ocsp/MAA", "GET, HEAD"}, {"POST", "/crl/root/0.crl", "GET, HEAD"}, {"DELETE", "/aia/root.cer", "GET, HEAD"}, {"PUT", "/crl/root/1.crl", "GET, HEAD"},
	} {
		r := l.do(test.method, test.target, der)
		if r.StatusCode != 405 || r.Header.Get("Allow") != test.allow {
			t.Errorf("%s %s: %d, allow %q", test.method, test.target, r.StatusCode, r.Header.Get("Allow"))
		}
	}
	if len(l.ocsp.got) != 0 {
		t.Error("a request by another method was answered")
	}
}

// Over a real connection, where the request line is what a client sends: no
// redirect for //, and it works by IPv6 where there is any.
func TestOverTheWire(t *testing.T) {
	l := newListener(t)
	l.ocsp.answer = status.Answer{DER: []byte("answer"), Cacheable: true, ProducedAt: start, NextUpdate: start.Add(time.Hour)}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		socket, err := net.Listen("tcp", address)
		if err != nil {
			if address == "127.0.0.1:0" {
				t.Fatal(err)
			}
			t.Logf("no IPv6 here: %v", err)
			continue
		}
		server := &httptest.Server{Listener: socket, Config: &http.Server{Handler: l}}
		server.Start()
		conn, err := net.Dial("tcp", socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /ocsp/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", base64.StdEncoding.EncodeToString(der))
		got, err := io.ReadAll(conn)
		conn.Close()
		server.Close()
		if err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 200 OK\r\n")) || !bytes.HasSuffix(got, []byte("\r\n\r\nanswer")) {
			t.Errorf("%s: %v\n%s", address, err, got)
		}
	}
	for _, got := range l.ocsp.got {
		if !bytes.Equal(got, der) {
			t.Errorf("read as %x", got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{OCSP: &echo{}, Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	for name, spoil := range map[string]func(*Config){
		"no responder": func(c *Config) { c.OCSP = nil }, "no clock": func(c *Config) { c.Now = nil }, "no log": func(c *Config) { c.Log = nil },
		"no directory": func(c *Config) { c.Dir = filepath.Join(c.Dir, "missing") },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzPath: whatever the path, no panic, no redirect, no file but a named one;
// and every encoding of a request is read as that request.
func FuzzPath(f *testing.F) {
	f.Add("/ocsp/"+base64.StdEncoding.EncodeToString(der), der)
	f.Add("/crl/root/../../secret.crl", []byte{0x30})
	f.Add("/ocsp//%2F%2f+ =", []byte{0x30, 0xfb, 0xff})
	l := newListener(f)
	l.ocsp.answer = status.Answer{DER: []byte("answer")}
	f.Fuzz(func(t *testing.T, path string, request []byte) {
		l.ocsp.got = nil
		if u, err := url.ParseRequestURI(path); err == nil && strings.HasPrefix(path, "/") {
			w := httptest.NewRecorder()
			l.ServeHTTP(w, &http.Request{Method: "GET", URL: u, Header: http.Header{}, Body: http.NoBody})
			if w.Code != 200 && w.Code != 404 || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), "key") {
				t.Fatalf("%q: %d %q", path, w.Code, w.Body)
			}
		}
		if len(request) == 0 || len(request) > ca.MaxOCSPRequest {
			return
		}
		request[0] = 0x30
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			text := e.EncodeToString(request)
			for _, form := range []string{text, url.PathEscape(text), url.QueryEscape(text), "/" + text} {
				got, err := decodeRequest(form)
				if err != nil || !bytes.Equal(got, request) {
					t.Fatalf("%q is read as %x, %v, want %x", form, got, err, request)
				}
			}
		}
	})
}
