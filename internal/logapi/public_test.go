package logapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/formats/proof"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/tiles"
)

// limited allows so many requests.
type limited struct{ left int }

func (l *limited) Allow(string, time.Time) bool { l.left--; return l.left >= 0 }

func ask(t testing.TB, h http.Handler, method, address string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, address, nil))
	return w
}

// The public sees checkpoints and proofs, which verify by themselves, and nothing else.
func TestPublic(t *testing.T) {
	m := newMemory(t)
	m.add(9, 300)
	m.sign()
	m.add(1, 1)
	h := NewPublic(m, nil, time.Now, m.said)
	act := func(i int) string {
		return fmt.Sprintf("/log/acts/proof/%x?event=evt_%d", audit.LeafHash(m.acts[i]), i)
	}
	for i := range 9 {
		w := ask(t, h, "GET", fmt.Sprintf("/log/certificates/proof/%x", m.leafOf(int64(i))))
		m.proves(w, audit.CertificateTree, tlog.Hash(m.leafOf(int64(i))), i)
	}
	for _, i := range []int{0, 255, 256, 299} {
		leaf := tlog.Hash(audit.LeafHash(m.acts[i]))
		m.proves(ask(t, h, "GET", act(i)), audit.ActTree, leaf, i)
		m.proves(ask(t, h, "GET", fmt.Sprintf("/log/acts/proof/%x?index=%d", leaf[:], i)), audit.ActTree, leaf, i)
	}
	for _, tree := range []tiles.Name{audit.ActTree, audit.CertificateTree} {
		w := ask(t, h, "GET", "/log/"+string(tree)+"/checkpoint")
		if _, err := m.logs[tree].Open(w.Body.Bytes()); err != nil || w.Code != 200 || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("checkpoint of %s: %d, %v, %v", tree, w.Code, err, w.Header())
		}
	}
	leaf := fmt.Sprintf("%x", m.leafOf(0))
	for _, path := range append(hostilePaths, "certificates/proof/"+strings.ToUpper(leaf), "certificates/proof/"+leaf[2:], "certificates/proof/"+leaf+"00", "certificates/proof/"+leaf+"/",
		"certificates/proof/"+leaf+"?x=1", "certificates/proof/"+strings.Repeat("0", 64), "certificates/proof/"+strings.Repeat("g", 64), "acts/proof/"+leaf, "acts/proof/"+leaf+"?event=evt_0", "acts/checkpoint?x",
		fmt.Sprintf("acts/proof/%x?index=1", audit.LeafHash(m.acts[0])), fmt.Sprintf("acts/proof/%x?index=300", audit.LeafHash(m.acts[300])), fmt.Sprintf("acts/proof/%x?index=-1", audit.LeafHash(m.acts[0])),
		fmt.Sprintf("acts/proof/%x?index=9223372036854775807", audit.LeafHash(m.acts[0])), fmt.Sprintf("acts/proof/%x?index=00", audit.LeafHash(m.acts[0])), fmt.Sprintf("acts/proof/%x?index=0&event=evt_0", audit.LeafHash(m.acts[0])),
		fmt.Sprintf("acts/proof/%x?event=evt_1", audit.LeafHash(m.acts[0])), fmt.Sprintf("acts/proof/%x?event=evt_none", audit.LeafHash(m.acts[0])), fmt.Sprintf("acts/proof/%x?event=evt_0&event=evt_0", audit.LeafHash(m.acts[0])),
		// What auditors read, and what no checkpoint covers yet.
		"acts/tile/0/000", "acts/tile/entries/000", "certificates/ct/v1/get-sth", "certificates/ct/v1/get-entries?start=0&end=1", "evidence/ord_a",
		fmt.Sprintf("certificates/proof/%x", m.leafOf(9)), strings.TrimPrefix(act(300), "/log/")) {
		u, err := url.Parse("http://x/log/" + path)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/log/", nil)
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %d %v", path, w.Code, w.Header())
		}
	}
	if w := ask(t, h, "POST", "/log/acts/checkpoint"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
}

// proves checks an answer as somebody does who has the log's key and the leaf.
func (m *memory) proves(w *httptest.ResponseRecorder, tree tiles.Name, leaf tlog.Hash, index int) {
	m.t.Helper()
	var p proof.TLogProof
	if err := p.Unmarshal(w.Body.Bytes()); w.Code != 200 || err != nil {
		m.t.Fatalf("proof of %d: %d, %v", index, w.Code, err)
	}
	c, err := m.logs[tree].Open(p.Checkpoint)
	if err != nil {
		m.t.Fatal(err)
	}
	path := make([][]byte, len(p.Hashes))
	for i := range p.Hashes {
		path[i] = p.Hashes[i][:]
	}
	if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, p.Index, uint64(c.Size), leaf[:], path, c.Root[:]); err != nil || p.Index != uint64(index) {
		m.t.Errorf("proof of %d at %d: %v", index, p.Index, err)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		m.t.Errorf("proof of %d: %v", index, w.Header())
	}
}

func TestPublicLimit(t *testing.T) {
	m := newMemory(t)
	m.add(1, 0)
	m.sign()
	limit := &limited{left: 2}
	h := NewPublic(m, limit, time.Now, m.said)
	ask(t, h, "GET", "/log/nothing") // costs nothing
	for _, want := range []int{200, 200, 429} {
		if w := ask(t, h, "GET", fmt.Sprintf("/log/certificates/proof/%x", m.leafOf(0))); w.Code != want || (w.Header().Get("Retry-After") != "") != (want == 429) {
			t.Errorf("%d %v, want %d", w.Code, w.Header(), want)
		}
	}
}
