package responder

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
)

// FuzzHandler: whatever method, address and body net/http lets through, there is no
// panic, no redirect and no 5xx; an OCSP address is answered by OCSP or 405; good is said
// of the one good certificate only; and no file but a named one comes out.
func FuzzHandler(f *testing.F) {
	h := newHall(f, 1)
	serial := h.good()
	der := h.question(f, serial)
	files := map[string]string{"/crl/root/0.crl": "a list", "/crl/person-hsa-id-3-v1/full.crl": "all of it", "/aia/root.cer": "a certificate"}
	for name, content := range files {
		put(f, h.dir, name, content)
	}
	put(f, h.dir, "crl/secret.crl", "secret")
	text := base64.StdEncoding.EncodeToString(der)
	for _, s := range []struct {
		method, target string
		body           []byte
	}{
		{"GET", "/ocsp/" + text, nil}, {"GET", "/ocsp/" + url.QueryEscape(text), nil}, {"POST", "/ocsp", der}, {"POST", "/ocsp/", der}, {"HEAD", "/ocsp//" + text, nil},
		{"GET", "/crl/root/0.crl", nil}, {"GET", "/crl/../secret.crl", nil}, {"GET", "http://x/aia/root.cer?a", nil}, {"OPTIONS", "*", nil}, {"CONNECT", "x:1", nil},
		{"PUT", "/ocsp", der}, {"GET", "//ocsp/%2e%2E/", nil}, {"PRI", "*", nil}, {"POST", "/ocsp", h.question(f, ca.NewSerial())}, {"POST", "/ocsp", bytes.Repeat(der, 60)},
	} {
		f.Add(s.method, s.target, s.body)
	}
	f.Fuzz(func(t *testing.T, method, target string, body []byte) {
		line := method + " " + target + " HTTP/1.1\r\nHost: x\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", line, len(body), body))))
		if err != nil || strings.ContainsAny(method+target, "\r\n") {
			return // it does not come so far
		}
		r.RemoteAddr = "192.0.2.1:1"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		path := sentPath(r)
		isOCSP := path == "/ocsp" || strings.HasPrefix(path, "/ocsp/")
		content, isFile := files[path]
		switch {
		case w.Header().Get("Location") != "" || w.Header().Get("X-Content-Type-Options") != "nosniff":
			t.Fatalf("headers %v", w.Header())
		case w.Code == http.StatusMethodNotAllowed:
			if w.Header().Get("Allow") == "" || r.Method == "GET" || r.Method == "HEAD" {
				t.Fatalf("%s is not allowed: %v", r.Method, w.Header())
			}
		case isOCSP && w.Code == 200:
			if w.Header().Get("Content-Type") != typeOCSP {
				t.Fatalf("headers %v", w.Header())
			}
			if r.Method != "HEAD" {
				believable(t, h, w.Body.Bytes(), serial)
			}
		case isFile && w.Code == 200:
			if r.Method == "GET" && w.Body.String() != content {
				t.Fatalf("%s is %q", path, w.Body)
			}
		case !isOCSP && !isFile && w.Code == 404 && !strings.Contains(w.Body.String(), "secret"):
		default:
			t.Fatalf("%s %q: %d %q", method, target, w.Code, w.Body)
		}
	})
}

// believable fails the test unless der is an answer, and says good of one serial at most.
func believable(t *testing.T, h *hall, der []byte, serial ca.Serial) {
	if len(der) == 5 {
		if status := ca.OCSPErrorStatus(der[4]); !bytes.Equal(der, ca.OCSPError(status)) || status == 0 {
			t.Fatalf("error %x", der)
		}
		return
	}
	answer, err := ocsp.ParseResponse(der, nil) // the first of several
	if err != nil {
		if strings.Contains(err.Error(), "unsupported") || strings.Contains(err.Error(), "multiple") || strings.Contains(err.Error(), "number of responses") {
			return // x/crypto reads one, and not every form
		}
		t.Fatalf("answer %x: %v", der, err)
	}
	if answer.Status == ocsp.Good && answer.SerialNumber.Cmp(serial.Int()) != 0 {
		t.Fatalf("%v is good", answer.SerialNumber)
	}
}

// tolerant decodes a request as slowly and plainly as can be, bit by bit.
func tolerant(text string) (out []byte, ok bool) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return nil, false
	}
	for strings.HasPrefix(plain, "/") {
		plain = plain[1:]
	}
	for range 2 {
		plain = strings.TrimSuffix(plain, "=")
	}
	bits := ""
	for _, c := range []byte(plain) {
		switch c {
		case '\r', '\n': // base64 in lines
			continue
		case '-', ' ':
			c = '+'
		case '_':
			c = '/'
		}
		n := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c)
		if n < 0 {
			return nil, false
		}
		bits += fmt.Sprintf("%06b", n)
	}
	for ; len(bits) >= 8; bits = bits[8:] {
		var b byte
		fmt.Sscanf(bits[:8], "%b", &b)
		out = append(out, b)
	}
	return out, len(bits) < 6 && strings.Trim(bits, "0") == ""
}

// FuzzRequestText: an address is read as the plain decoder reads it, or by neither, by
// whichever way it is read.
func FuzzRequestText(f *testing.F) {
	text := base64.StdEncoding.EncodeToString(der)
	for _, s := range []string{"", text, url.QueryEscape(text), "//" + text, strings.TrimRight(text, "="), strings.ReplaceAll(text, "+", " "), strings.ReplaceAll(text, "+", "%20"),
		base64.RawURLEncoding.EncodeToString(der), text + "====", "MAD", "M", "%", "%4", "MA%3d%3D", "MA\n", "M\r\nA", "MA==MA==", "%2F_", "=", "a b_-", "\xff", "%ff", "MA=", "M A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return // the plain decoder is slow
		}
		want, ok := tolerant(text)
		got, err := decodeRequest(text)
		if (err == nil) != ok || ok && !bytes.Equal(got, want) {
			t.Fatalf("%q is read as %x, %v, want %x, %t", text, got, err, want, ok)
		}
		var b buffer
		if read := readText(b[:], text); !ok && len(read) > 0 || ok && !bytes.Equal(read, want) {
			t.Fatalf("%q is read as %x, want %x", text, read, want)
		}
	})
}

// FuzzWire: whatever octets come over a connection, what goes back is whole answers with
// the statuses that there are, and the server lives.
func FuzzWire(f *testing.F) {
	h := newHall(f, 10).listens(f)
	der := h.question(f, h.good())
	for _, s := range []string{get(der), post(der, lengthOf(der)), post([]byte(chunks(der)), "Transfer-Encoding: chunked"), "GET / HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		get(der) + post(der, "Expect: 100-continue", lengthOf(der)) + get(der), "\x16\x03\x01\x02\x00\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) > 1<<16 || bytes.Contains(sent, []byte("HEAD")) {
			return // its answer has no body, and whoever reads must know
		}
		conn := h.dial(t)
		defer conn.Close()
		go func() {
			conn.Write(sent)
			conn.CloseWrite()
		}()
		in := bufio.NewReader(conn)
		for {
			r, err := http.ReadResponse(in, nil)
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				return
			}
			if err != nil {
				return // reset: the server had had enough
			}
			io.Copy(io.Discard, r.Body)
			switch r.StatusCode {
			case 100, 200, 206, 304, 400, 404, 405, 412, 416, 417, 431, 501, 505:
			default:
				t.Fatalf("status %d", r.StatusCode)
			}
		}
	})
}
