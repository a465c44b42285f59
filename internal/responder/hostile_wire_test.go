package responder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
)

// exchange sends octets, says that there are no more, and reads what is answered.
func (h *hall) exchange(t testing.TB, sent string) []string {
	t.Helper()
	conn := h.dial(t)
	defer conn.Close()
	go func() {
		io.WriteString(conn, sent) // the server may have had enough before the end
		conn.CloseWrite()
	}()
	return h.answers(t, conn)
}

// What may come over a connection, octet for octet, and what is answered. After each,
// others are served, nothing is in the log, and no connection is left.
func TestHostileWire(t *testing.T) {
	h := newHall(t, 100).listens(t)
	if err := os.MkdirAll(filepath.Join(h.dir, "crl", "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"crl/root/0.crl": "a list", "secret.crl": "secret", "crl/secret.crl": "secret"} {
		if err := os.WriteFile(filepath.Join(h.dir, filepath.FromSlash(name)), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	der := h.question(t, h.good())
	chunked := "Transfer-Encoding: chunked"
	line := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d", n) }
	text := base64.StdEncoding.EncodeToString(der)
	for name, test := range map[string]struct {
		sent string
		want string // the answers, in order
	}{
		"GET":                      {get(der), "good"},
		"POST":                     {post(der, lengthOf(der)), "good"},
		"length too long":          {post(der, length(len(der)+1)), "malformed"},
		"length too short":         {post(der, length(len(der)-40)), "malformed, 400"},
		"no length":                {post(der), "malformed, 400"},
		"no body":                  {post(nil), "malformed"},
		"length of none":           {post(nil, "Content-Length: 0"), "malformed"},
		"negative":                 {post(der, "Content-Length: -1"), "400"},
		"signed":                   {post(der, fmt.Sprintf("Content-Length: +%d", len(der))), "400"},
		"hexadecimal":              {post(der, "Content-Length: 0x53"), "400"},
		"no number":                {post(der, "Content-Length: many"), "400"},
		"past all numbers":         {post(der, "Content-Length: 99999999999999999999"), "400"},
		"more than there is":       {post(der, "Content-Length: 9223372036854775807"), "malformed"},
		"two equal lengths":        {post(der, lengthOf(der), lengthOf(der)), "good"},
		"two lengths":              {post(der, lengthOf(der), length(1)), "400"},
		"a list of lengths":        {post(der, lengthOf(der)+", 1"), "400"},
		"too long":                 {post(make([]byte, ca.MaxOCSPRequest+1), length(ca.MaxOCSPRequest+1)), "malformed"},
		"much too long":            {post(make([]byte, 1<<20), length(1<<20)), "malformed"},
		"chunks":                   {post([]byte(chunks(der)), chunked), "good"},
		"chunks without an end":    {post([]byte(strings.TrimSuffix(chunks(der), "0\r\n\r\n")), chunked), "malformed"},
		"chunk of a lie":           {post([]byte("ffff\r\n"+string(der)), chunked), "malformed"},
		"chunk past all numbers":   {post([]byte("fffffffffffffffff\r\n"+string(der)), chunked), "malformed"},
		"negative chunk":           {post([]byte("-1\r\n"+string(der)), chunked), "malformed"},
		"endless chunks":           {post([]byte(strings.Repeat("1\r\n0\r\n", 100_000)), chunked), "malformed"},
		"chunk with a long name":   {post([]byte("1;"+strings.Repeat("x", 100_000)+"\r\n0\r\n"), chunked), "malformed"},
		"endless trailers":         {post([]byte("0\r\n"+strings.Repeat("x: y\r\n", 100_000)+"\r\n"), chunked), "malformed"},
		"chunks and a length":      {post([]byte(chunks(der)), chunked, length(5)), "good"},
		"gzip":                     {post(der, "Transfer-Encoding: gzip, chunked"), "501"},
		"chunked twice":            {post(der, chunked, chunked), "501"},
		"expects":                  {post(der, lengthOf(der), "Expect: 100-continue"), "100, good"},
		"expects with too much":    {post(nil, length(1<<20), "Expect: 100-continue"), "malformed"},
		"expects something else":   {post(der, lengthOf(der), "Expect: a miracle"), "417"},
		"wants to upgrade":         {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", "good"},
		"GET with a body":          {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\n" + lengthOf(der) + "\r\n\r\n" + string(der) + line("/ocsp"), "good, malformed"},
		"GET with a large body":    {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000), "good"},
		"HTTP/1.0":                 {"GET /ocsp/" + text + " HTTP/1.0\r\n\r\n", "good"},
		"HTTP/1.0 and more":        {strings.Repeat("GET /ocsp/"+text+" HTTP/1.0\r\n\r\n", 2), "good"},
		"HTTP/1.0 kept":            {strings.Repeat("GET /ocsp/"+text+" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 2), "good, good"},
		"HTTP/0.9":                 {"GET /ocsp/" + text + "\r\n\r\n", "400"},
		"HTTP/1.9":                 {"GET /ocsp/" + text + " HTTP/1.9\r\nHost: x\r\n\r\n", "good"},
		"HTTP/3":                   {"GET /ocsp/" + text + " HTTP/3.0\r\nHost: x\r\n\r\n", "505"},
		"preface of HTTP/2":        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "404"},
		"only line feeds":          {"GET /ocsp/" + text + " HTTP/1.1\nHost: x\n\n", "good"},
		"nothing":                  {"", ""},
		"empty lines":              {"\r\n\r\n\r\n", "400"},
		"zeros":                    {strings.Repeat("\x00", 10_000), "400"},
		"one endless line":         {strings.Repeat("G", 1<<20), "431"},
		"TLS":                      {"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03" + strings.Repeat("\xaa", 180) + "\r\n", "400"},
		"SSH":                      {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "400"},
		"no host":                  {"GET /ocsp/" + text + " HTTP/1.1\r\n\r\n", "400"},
		"two hosts":                {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"},
		"host that is none":        {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
		"odd host":                 {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: [::1]:99999\r\n\r\n", "good"},
		"empty host":               {"GET /ocsp/" + text + " HTTP/1.1\r\nHost:\r\n\r\n", "good"},
		"zero in a header":         {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", "400"},
		"space in a header's name": {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "400"},
		"many headers":             {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a: b\r\n", 10_000) + "\r\n", "431"},
		"a long header":            {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\na: " + strings.Repeat("b", 30_000) + "\r\n\r\n", "431"},
		"a long address":           {line("/ocsp/" + strings.Repeat("M", 30_000)), "431"},
		"the longest that is read": {line("/ocsp/" + strings.Repeat("%4d", maxRequestText/3)), "malformed"},
		"whole address":            {line("http://other.example/ocsp/" + text), "good"},
		"whole address, https":     {line("https://other.example/ocsp/" + text), "good"},
		"whole address, no path":   {line("http://other.example"), "404"},
		"whole address of a file":  {line("http://other.example/crl/root/0.crl"), "200"},
		"two slashes":              {line("//ocsp/" + text), "404"},
		"two slashes of a file":    {line("//crl/root/0.crl"), "404"},
		"dots":                     {line("/./ocsp/" + text), "404"},
		"dots upwards":             {line("/crl/../secret.crl") + line("/crl/root/../secret.crl") + line("/../../../etc/passwd"), "404, 404, 404"},
		"escaped dots":             {line("/crl/%2e%2e/secret.crl") + line("/crl/root/..%2fsecret.crl") + line("/crl/%2e%2e%5csecret.crl"), "404, 404, 404"},
		"escaped letters":          {line("/%6fcsp/"+text) + line("/crl/root/%30.crl"), "404, 404"},
		"escaped zeros":            {line("/ocsp/%00"+text) + line("/crl/root/0.crl%00"), "malformed, 404"},
		"escapes that are none":    {line("/ocsp/%zz"), "400"},
		"query":                    {line("/ocsp/"+text+"?a=%zz;b") + line("/crl/root/0.crl?"+strings.Repeat(";", 100)), "good, 200"},
		"fragment":                 {line("/ocsp/" + text + "#a"), "malformed"},
		"zone":                     {line("http://[fe80::1%25eth0]/ocsp/" + text), "good"},
		"methods":                  {strings.ReplaceAll("PUT DELETE PATCH OPTIONS TRACE PROPFIND get BREW ", " ", " /ocsp HTTP/1.1\r\nHost: x\r\n\r\n"), strings.Repeat(", 405", 8)[2:]},
		"methods of files":         {strings.ReplaceAll("PUT DELETE POST OPTIONS TRACE get ", " ", " /crl/root/0.crl HTTP/1.1\r\nHost: x\r\n\r\n"), strings.Repeat(", 405", 6)[2:]},
		"method that is none":      {"G@T /ocsp HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"a long method":            {strings.Repeat("A", 10_000) + " /ocsp HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
		"options of all":           {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		"tunnel":                   {"CONNECT other.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		"tunnel to a path":         {"CONNECT /ocsp HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
		"many ranges":              {"GET /crl/root/0.crl HTTP/1.1\r\nHost: x\r\nRange: bytes=" + strings.Repeat("0-,", 3000) + "0-\r\n\r\n", "200"},
		"range past the end":       {"GET /crl/root/0.crl HTTP/1.1\r\nHost: x\r\nRange: bytes=9-\r\n\r\n", "416"},
		"ranges of an answer":      {"GET /ocsp/" + text + " HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n", "good"},
		"smuggled":                 {post(der, length(len(der)), "Transfer-Encoding : chunked"), "400"},
		"request behind chunks":    {post([]byte("0\r\n\r\n"+get(der)), chunked, length(len(get(der))+5)), "malformed, good"}, // as RFC 9112, 6.3 reads it
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(h.exchange(t, test.sent), ", "); got != test.want {
				t.Errorf("answered %q, want %q", got, test.want)
			}
			h.served(t)
		})
	}
	if log := h.log.String(); log != "" {
		t.Errorf("strangers write the log:\n%s", log)
	}
}

// Many requests at once on one connection are answered in order, each with its own.
func TestHostilePipelined(t *testing.T) {
	h := newHall(t, 100).listens(t)
	var sent strings.Builder
	var want []string
	var serials []ca.Serial
	for i := range 300 {
		serial, says := ca.NewSerial(), "unknown"
		switch i % 5 {
		case 0, 1:
			serial, says = h.good(), "good"
		case 2:
			serial, says = h.revoked(), "revoked"
		case 3:
			serial, says = ca.Serial{}, "404"
		}
		der := h.question(t, serial)
		switch {
		case says == "404":
			sent.WriteString("GET /crl/root/1.crl HTTP/1.1\r\nHost: x\r\n\r\n")
		case i%2 == 0:
			sent.WriteString(get(der))
		default:
			sent.WriteString(post(der, lengthOf(der)))
		}
		want, serials = append(want, says), append(serials, serial)
	}
	conn := h.dial(t)
	go func() {
		io.WriteString(conn, sent.String())
		conn.CloseWrite()
	}()
	in := bufio.NewReader(conn)
	for i, says := range want {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		var body bytes.Buffer
		r.Body = io.NopCloser(io.TeeReader(r.Body, &body))
		if got := h.say(t, r); got != says {
			t.Fatalf("answer %d says %q, want %q", i, got, says)
		}
		if says == "404" {
			continue
		}
		answer, err := ocsp.ParseResponse(body.Bytes(), h.authority.Cert)
		if err != nil || answer.SerialNumber.Cmp(serials[i].Int()) != 0 {
			t.Fatalf("answer %d is about another certificate: %v", i, err)
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after the last answer: %v", err)
	}
}

// A client that has said that it sends no more still gets its answer, also when it was
// not in the cache, and when net/http has noticed while the ledger was read.
func TestHostileHalfClosed(t *testing.T) {
	h := newHall(t, 100)
	noticed := make(chan struct{})
	inner := h.server.Handler
	h.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ledger.reading = func(context.Context) { <-r.Context().Done(); close(noticed) }
		inner.ServeHTTP(w, r)
	})
	h.listens(t)
	conn := h.dial(t)
	if _, err := io.WriteString(conn, get(h.question(t, h.good()))); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := h.answers(t, conn); !slices.Equal(got, []string{"good"}) {
		t.Errorf("answered %q", got)
	}
	<-noticed
}

// Connections that are reset in the midst of everything leave nothing behind, and
// nobody else notices.
func TestHostileResets(t *testing.T) {
	h := newHall(t, 1000).listens(t)
	der := h.question(t, h.good())
	whole := post(der, lengthOf(der))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := i; n < len(whole); n += 16 {
				conn := h.dial(t)
				io.WriteString(conn, whole[:n])
				conn.SetLinger(0) // closing sends a reset
				conn.Close()
				conn = h.dial(t)
				io.WriteString(conn, strings.Repeat(whole, 3)+whole[:n])
				conn.SetLinger(0)
				conn.Close()
			}
		})
	}
	for range 50 {
		h.served(t)
	}
	wg.Wait()
	h.served(t)
	// Shutdown returns when every connection has ended by itself: none hangs.
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	h.open.none()
	if n, closed := h.clients.Count(); n != 0 || closed != 0 {
		t.Errorf("%d connections are left, %d made room", n, closed)
	}
	if log := h.log.String(); log != "" {
		t.Errorf("strangers write the log:\n%s", log)
	}
}
