package witness

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
)

// post sends a body as anybody can.
func (s *stand) post(body []byte) (int, string, http.Header) {
	s.t.Helper()
	response, err := http.Post(s.http.URL+"/prefix/add-checkpoint", "", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header
}

// The status codes are those of C2SP tlog-witness.
func TestAnswers(t *testing.T) {
	h, stranger, impostor := newHistory(t, origin), newHistory(t, "stranger.example/log"), newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	code, text, header := s.post(request{10, h.proof(t, 10, 12), h.note(t, 12)}.text())
	if code != 200 || !strings.HasPrefix(text, "— witness.example/w1 ") || strings.Count(text, "\n") != 1 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("grown: %d %q %v", code, text, header)
	}
	for name, test := range map[string]struct {
		r    request
		code int
	}{
		"the same again":    {request{12, nil, h.note(t, 12)}, 200},
		"unknown log":       {request{0, nil, stranger.note(t, 1)}, 404},
		"not the log's":     {request{12, nil, impostor.note(t, 12)}, 403},
		"beyond":            {request{13, nil, h.note(t, 12)}, 400},
		"elsewhere":         {request{0, nil, h.note(t, 13)}, 409},
		"another history":   {request{12, nil, h.forked(3).note(t, 12)}, 422},
		"no proof":          {request{12, nil, h.note(t, 13)}, 422},
		"another's proof":   {request{12, h.proof(t, 11, 13), h.note(t, 13)}, 422},
		"more than a proof": {request{12, append(h.proof(t, 12, 13), tlog.Hash{}), h.note(t, 13)}, 422},
	} {
		code, text, header := s.post(test.r.text())
		if code != test.code {
			t.Errorf("%s: %d %s, want %d", name, code, text, test.code)
		}
		if code == 409 && (text != "12\n" || header.Get("Content-Type") != "text/x.tlog.size") {
			t.Errorf("%s: %q %v", name, text, header)
		}
		if header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, header)
		}
	}
}

func TestHostileBodies(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	note := string(h.note(t, 12))
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	for name, body := range map[string]string{
		"nothing":           "",
		"noise":             "\x00\xff\xfe",
		"no old size":       "\n" + note,
		"another word":      "new 10\n\n" + note,
		"no number":         "old \n\n" + note,
		"leading zero":      "old 010\n\n" + note,
		"sign":              "old +10\n\n" + note,
		"negative":          "old -1\n\n" + note,
		"two spaces":        "old  10\n\n" + note,
		"larger than int64": "old 99999999999999999999\n\n" + note,
		"lines of Windows":  "old 10\r\n\r\n" + note,
		"no empty line":     "old 10\n" + hash,
		"64 hashes":         "old 10\n" + strings.Repeat(hash, 64) + "\n" + note,
		"short hash":        "old 10\n" + hash[4:] + "\n" + note,
		"not base64":        "old 10\n" + "!" + hash[1:] + "\n" + note,
		"two texts":         "old 10\n" + hash[:42] + "B=\n\n" + note,
		"no note":           "old 10\n\n",
		"body alone":        "old 10\n\n" + note[:strings.Index(note, "\n\n")+1],
		"no checkpoint":     "old 10\n\n" + origin + "\nmany\n\n— x AAAAAAAA\n",
		"no end":            "old 10\n\n" + note[:len(note)-1],
		"many signatures":   "old 10\n\n" + note + strings.Repeat("— x AAAAAAAA\n", 90),
		"control character": "old 10\n\n" + strings.Replace(note, "\n", "\x01\n", 1),
	} {
		if code, text, _ := s.post([]byte(body)); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	if code, text, _ := s.post(bytes.Repeat([]byte("x"), maxRequest+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d %s", code, text)
	}
	s.at(h, 10)
	if files, err := os.ReadDir(filepath.Join(s.dir, evidenceDir)); err != nil || len(files) > 0 {
		t.Errorf("evidence of nothing: %v, %v", files, err)
	}
}

func TestOnlyOneAddress(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	for _, test := range []struct {
		method, path string
		code         int
	}{{"GET", "/prefix/add-checkpoint", 405}, {"PUT", "/prefix/add-checkpoint", 405}, {"POST", "/prefix/", 404}, {"GET", "/prefix/heads", 404},
		{"POST", "/prefix/add-checkpoint/", 404}, {"POST", "/add-checkpoint", 404}} {
		r := httptest.NewRequest(test.method, test.path, strings.NewReader("old 0\n\n"))
		w := httptest.NewRecorder()
		http.StripPrefix("/prefix", s.server).ServeHTTP(w, r)
		if w.Code != test.code {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, w.Code, test.code)
		}
	}
}

// More than are looked at together are sent away, and who waits for a turn does not wait
// longer than its client.
func TestTooManyAtOnce(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	for range atOnce {
		s.server.slots <- struct{}{}
	}
	if err := s.add(h, 0, 10); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("all at work: %v", err)
	}
	for range atOnce {
		<-s.server.slots
	}
	s.server.heads[origin].turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.server.add(ctx, request{note: h.note(t, 10)}.text()); !errors.Is(err, context.Canceled) {
		t.Errorf("the client has left: %v", err)
	}
	s.server.heads[origin].give()
	s.must(h, 0, 10)
}

// Evidence cannot fill the disk: what anybody can make is kept a hundred times.
func TestEvidenceIsBounded(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 1)
	for i := range maxEvidence + 5 {
		text, err := h.Sign(h.key, int64(i+2), tlog.RecordHash([]byte{byte(i)}), noon)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.server.add(t.Context(), request{old: 1, note: text}.text()); err == nil {
			t.Fatal("cosigned")
		}
	}
	if n := len(s.evidence(kindUnproved)); n != maxEvidence {
		t.Errorf("%d are kept", n)
	}
	// A fork is kept all the same, and once.
	for range 3 {
		if err := s.add(h.forked(0), 1, 1); !errors.Is(err, ErrInconsistent) {
			t.Error(err)
		}
	}
	if n := len(s.evidence(kindFork)); n != 1 {
		t.Errorf("%d forks are kept", n)
	}
}

// fake is a witness that answers anything.
func fake(t *testing.T, w checkpoint.Witness, code int, mediaType, body string) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Location", "/add-checkpoint")
		w.WriteHeader(code)
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c, err := NewClient(server.URL, w)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The client believes the witness's key and nothing else.
func TestClientBelievesTheKey(t *testing.T) {
	h := newHistory(t, origin)
	skey, err := checkpoint.GenerateCosigner("w.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.NewCosigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	cosigned := func(text []byte) string {
		c, err := h.Open(text)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := s.Cosign(c, noon)
		if err != nil {
			t.Fatal(err)
		}
		return string(lines)
	}
	text := h.note(t, 10)
	good, other := cosigned(text), cosigned(h.note(t, 11))
	unknown := "— v.example " + base64.StdEncoding.EncodeToString(make([]byte, 76)) + "\n"
	for _, test := range []struct {
		name, body string
		ok         bool
	}{
		{"true", good, true},
		{"with another's beside it", unknown + good, true},
		{"of another checkpoint", other, false},
		{"another's alone", unknown, false},
		{"nothing", "", false},
		{"words", "all is well\n", false},
		{"twice", good + good, false},
		{"cut off", good[:len(good)-1], false},
		{"without end", strings.Repeat(unknown, 1000), false},
	} {
		lines, err := fake(t, s.Witness(), 200, "text/plain", test.body).Add(t.Context(), h.Log, 0, nil, text)
		if (err == nil) != test.ok || test.ok && string(lines) != good {
			t.Errorf("%s: %q, %v", test.name, lines, err)
		}
	}
	// Nothing is asked about a note that is not the log's.
	c := fake(t, s.Witness(), 200, "text/plain", good)
	if _, err := c.Add(t.Context(), newHistory(t, origin).Log, 0, nil, text); !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("another log's: %v", err)
	}
	if _, err := c.Submit(t.Context(), newHistory(t, origin).Log, 0, 0, text, h.prove); !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("another log's: %v", err)
	}
}

func TestClientReadsRefusals(t *testing.T) {
	h := newHistory(t, origin)
	skey, err := checkpoint.GenerateCosigner("w.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.NewCosigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		code       int
		media      string
		body       string
		conflict   int64
		consistent bool
		text       string
	}{
		{409, "text/x.tlog.size", "20\n", 20, true, "tree of 20"},
		{409, "text/x.tlog.size", "0\n", 0, true, "tree of 0"},
		{409, "text/x.tlog.size", "7\n", -1, false, ""}, // where the request began
		{409, "text/plain", "20\n", -1, false, ""},
		{409, "text/x.tlog.size", "20", -1, true, "no size"},
		{409, "text/x.tlog.size", "-20\n", -1, true, "no size"},
		{409, "text/x.tlog.size", "020\n", -1, true, "no size"},
		{422, "text/plain", "", -1, false, ""},
		{404, "text/plain", "never heard of it\x1b[2J\n", -1, true, "404: never heard of it[2J"},
		{302, "text/plain", "", -1, true, "302"},
		{500, "text/plain", strings.Repeat("x", 5000), -1, true, "500: " + strings.Repeat("x", 200)},
		{200, "text/plain", strings.Repeat("x", maxAnswer+1), -1, true, "octets"},
	} {
		_, err := fake(t, s.Witness(), test.code, test.media, test.body).Add(t.Context(), h.Log, 7, h.proof(t, 7, 10), h.note(t, 10))
		if err == nil || conflictAt(err) != test.conflict || errors.Is(err, ErrInconsistent) == test.consistent || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%d %q: %v", test.code, test.body, err)
		}
		if err != nil && (len(err.Error()) > 400 || strings.ContainsRune(err.Error(), '\x1b')) {
			t.Errorf("%d: tells %q", test.code, err)
		}
	}
}

// Submit finds the witness wherever it is, and does not go on for ever with one that
// answers something else each time.
func TestSubmit(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	s.must(h, 0, 10)
	for _, known := range []int64{0, 3, 20, 40, -1} {
		size := int(s.server.heads[origin].Size) + 2
		if lines, err := s.client.Submit(t.Context(), h.Log, known, 0, h.note(t, size), h.prove); err != nil || len(lines) == 0 {
			t.Errorf("from %d: %v", known, err)
		}
	}
	s.at(h, 20)
	if _, err := s.client.Submit(t.Context(), h.Log, 10, 0, h.note(t, 15), h.prove); conflictAt(err) != 20 {
		t.Errorf("behind the witness: %v", err)
	}
	lost := errors.New("lost")
	if _, err := s.client.Submit(t.Context(), h.Log, 20, 0, h.note(t, 21), func(context.Context, int64, int64) ([]tlog.Hash, error) { return nil, lost }); !errors.Is(err, lost) {
		t.Errorf("without a proof: %v", err)
	}

	asked := 0
	restless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", typeSize)
		w.WriteHeader(409)
		fmt.Fprintf(w, "%d\n", 10+asked)
	}))
	defer restless.Close()
	c, err := NewClient(restless.URL, s.client.Witness())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(t.Context(), h.Log, 0, 0, h.note(t, 40), h.prove); conflictAt(err) != 13 || asked != tries {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestAddressesOfWitnesses(t *testing.T) {
	w := newStand(t, newHistory(t, origin).Log).client.Witness()
	for address, want := range map[string]string{"http://w.example": "http://w.example/add-checkpoint", "https://w.example/a/": "https://w.example/a/add-checkpoint",
		"ftp://w.example": "", "w.example": "", "http://": "", "http://user@w.example": "", "http://w.example?a": "", "http://w.example#a": "", "": ""} {
		c, err := NewClient(address, w)
		if (err == nil) != (want != "") || err == nil && c.url != want {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// Serve ends when it is told to, after what is under way.
func TestServeEnds(t *testing.T) {
	h := newHistory(t, origin)
	s := newStand(t, h.Log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(ctx, l) }()
	c, err := NewClient("http://"+l.Addr().String(), s.client.Witness())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(t.Context(), h.Log, 0, nil, h.note(t, 10)); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if conn, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
		conn.Close()
		t.Error("it listens still")
	}
}

// FuzzParseRequest: what is read as a request is written the same, and the witness's
// memory follows nothing but what the log signed.
func FuzzParseRequest(f *testing.F) {
	// The same key in each of the processes that fuzz.
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	h := newHistory(f, origin)
	if h.Log, err = checkpoint.NewLog(origin, key.Public()); err != nil {
		f.Fatal(err)
	}
	h.key = key
	s := newStand(f, h.Log)
	s.must(h, 0, 10)
	f.Add(request{10, h.proof(f, 10, 12), h.note(f, 12)}.text())
	f.Add(request{0, nil, h.note(f, 1)}.text())
	f.Add([]byte("old 0\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRequest(body)
		if err == nil && !bytes.Equal(r.text(), body) {
			t.Fatalf("%q is read as %q", body, r.text())
		}
		if err == nil && len(r.proof) > checkpoint.MaxHashes {
			t.Fatalf("%d hashes", len(r.proof))
		}
		lines, err := s.server.add(t.Context(), body)
		size := s.server.heads[origin].Size
		if err == nil && !bytes.Contains(body, []byte(fmt.Sprintf("\n%d\n", size))) || size != 10 && size != 12 {
			t.Fatalf("%q, %v: the witness is at %d", lines, err, size)
		}
	})
}
