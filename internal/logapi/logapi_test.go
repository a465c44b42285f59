package logapi

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/der"
	"sigill/internal/store"
	"sigill/internal/tiles"
	"sigill/orders/issue"
	"sigill/policy"
)

// get asks a service for an address.
func get(t testing.TB, s *Service, address string) (*Answer, error) {
	t.Helper()
	return s.Read(httptest.NewRequestWithContext(t.Context(), "GET", address, nil))
}

func read[T any](t testing.TB, s *Service, address string) T {
	t.Helper()
	a, err := get(t, s, address)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	var v T
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	if a.Type != typeJSON || a.Cache != "no-store" {
		t.Errorf("%s: %s, %s", address, a.Type, a.Cache)
	}
	return v
}

// kind is what an answer comes to: 200, 400, 404, 410 or 500.
func kind(err error) int {
	if refusal, ok := errors.AsType[*policy.Refusal](err); ok && refusal.Rule == policy.RequestForm {
		return 400
	}
	switch {
	case err == nil:
		return 200
	case errors.Is(err, issue.ErrNotFound):
		return 404
	case errors.Is(err, ErrErased):
		return 410
	}
	return 500
}

func TestCheckpoint(t *testing.T) {
	m := newMemory(t)
	m.add(3, 5)
	m.sign()
	s := m.service()
	for tree, want := range map[tiles.Name]int64{audit.ActTree: 5, audit.CertificateTree: 3} {
		a, err := get(t, s, "/log/"+string(tree)+"/checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		c, err := m.logs[tree].Open(a.Body)
		if err != nil || c.Size != want {
			t.Errorf("checkpoint of %s: %+v, %v", tree, c, err)
		}
		if a.Cache != "private, no-cache" || a.Type != "text/plain; charset=utf-8" {
			t.Errorf("%s: %s", a.Type, a.Cache)
		}
	}
}

// overHTTP reads tiles as x/mod's clients do.
type overHTTP struct {
	t    testing.TB
	s    *Service
	tree tiles.Name
	full int // tiles that may be kept for ever
}

func (o *overHTTP) Height() int { return tiles.Height }

func (o *overHTTP) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range want {
		path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tiles.Height))
		a, err := get(o.t, o.s, "/log/"+string(o.tree)+"/tile/"+path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if full := tile.W == tiles.Width; full != (a.Cache == "private, max-age=31536000, immutable") || !full && a.Cache != "no-store" {
			o.t.Errorf("%s: Cache-Control: %s", path, a.Cache)
		} else if full {
			o.full++
		}
		out = append(out, a.Body)
	}
	return out, nil
}

func (o *overHTTP) SaveTiles([]tlog.Tile, [][]byte) {}

// x/mod's reader of tiles takes nothing on trust: what it returns is in the tree of the
// checkpoint. It reads every leaf, from the newest checkpoint and from one of before.
func TestTilesVerify(t *testing.T) {
	m := newMemory(t)
	m.add(0, 300)
	m.sign()
	early := m.heads[audit.ActTree]
	m.add(0, 2*tiles.Width+17)
	m.sign()
	s := m.service()
	for _, head := range []tlog.Tree{{N: early.Size, Hash: early.Root}, {N: m.heads[audit.ActTree].Size, Hash: m.heads[audit.ActTree].Root}} {
		from := &overHTTP{t: t, s: s, tree: audit.ActTree}
		reader := tlog.TileHashReader(head, from)
		var indexes []int64
		for i := range head.N {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			t.Fatalf("tree of %d: %v", head.N, err)
		}
		for i, h := range hashes {
			if h != tlog.Hash(audit.LeafHash(m.acts[i])) {
				t.Fatalf("leaf %d of %d is another", i, head.N)
			}
		}
		if int64(from.full) != head.N/tiles.Width {
			t.Errorf("%d full tiles of a tree of %d", from.full, head.N)
		}
	}
}

// Nothing is shown that was not signed, though the rows are there; and a full tile is no
// answer where there is none yet.
func TestTilesEndWithTheCheckpoint(t *testing.T) {
	m := newMemory(t)
	m.add(0, 257)
	m.sign()
	m.add(3, 300)
	s := m.service()
	for path, want := range map[string]int{
		"acts/tile/0/000":               200,
		"acts/tile/0/000.p/255":         200,
		"acts/tile/0/001.p/1":           200,
		"acts/tile/0/001.p/2":           404,
		"acts/tile/0/001":               404,
		"acts/tile/0/002":               404,
		"acts/tile/1/000.p/1":           200,
		"acts/tile/1/000.p/2":           404,
		"acts/tile/1/000":               404,
		"acts/tile/2/000.p/1":           404,
		"acts/tile/7/000.p/1":           404,
		"acts/tile/8/000.p/1":           404,
		"acts/tile/63/000":              404,
		"acts/tile/entries/000":         200,
		"acts/tile/entries/001.p/1":     200,
		"acts/tile/entries/001.p/2":     404,
		"certificates/tile/0/000.p/1":   404,
		"certificates/tile/entries/000": 404,
	} {
		if _, err := get(t, s, "/log/"+path); kind(err) != want {
			t.Errorf("%s: %v, want %d", path, err, want)
		}
	}
	full, _ := get(t, s, "/log/acts/tile/0/000")
	if part, _ := get(t, s, "/log/acts/tile/0/000.p/3"); !bytes.Equal(part.Body, full.Body[:3*32]) {
		t.Error("a narrow tile is not the beginning of the wide one")
	}
}

// hostilePaths are no address of anything.
var hostilePaths = []string{
	"", "/", "acts", "acts/", "acts/checkpoint/", "acts//checkpoint", "Acts/checkpoint", "acts/Checkpoint", "%61cts/checkpoint", "other/checkpoint", "acts/checkpoint%00",
	"acts/tile", "acts/tile/", "acts/tile/0", "acts/tile/0/", "acts/tile/0/0", "acts/tile/0/00", "acts/tile/0/0000", "acts/tile/0/x000/000", "acts/tile/00/000",
	"acts/tile/+0/000", "acts/tile/-0/000", "acts/tile/-1/000", "acts/tile/0/-01", "acts/tile/0/+00", "acts/tile/data/000", "acts/tile/entries", "acts/tile/0/000/",
	"acts/tile/0/000.p", "acts/tile/0/000.p/", "acts/tile/0/000.p/0", "acts/tile/0/000.p/256", "acts/tile/0/000.p/-1", "acts/tile/0/000.p/01", "acts/tile/0/000.p/1/2", "acts/tile/0/.p/1",
	"acts/tile/0/x999/x999/x999/x999/x999/x999/999", "acts/tile/0/x009/x223/x372/x036/x854/x775/807", "acts/tile/0/x018/x446/x744/x073/x709/x551/616", "acts/tile/entries/x999/x999/x999/x999/x999/x999/999",
	"acts/tile/entries/x009/x223/x372/x036/x854/x775/807.p/255", "acts/tile/7/x009/x223/x372/x036/x854/x775/807", "acts/tile/99999999999999999999/000", "acts/tile/8/0/000", "acts/tile/0/0%30%30", "acts/tile/0/000%2Ep/1", "acts/tile/../checkpoint",
	"acts/ct/v1/get-sth", "certificates/ct/v1", "certificates/ct/v1/", "certificates/ct/v1/add-chain", "certificates/ct/v1/get-sth/", "certificates/ct/v2/get-sth",
	"evidence", "evidence/", "evidence/ord_none", "evidence/per_a", "evidence/ord_a/", "evidence/ord_a/b", "evidence/../acts/checkpoint",
}

func TestHostilePaths(t *testing.T) {
	m := newMemory(t)
	m.add(2, 2)
	m.sign()
	s := m.service()
	for _, path := range hostilePaths {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/log/", nil)
		u, err := url.Parse("http://x/log/" + path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		if a, err := s.Read(r); kind(err) != 404 {
			t.Errorf("%q: %v, %v", path, a, err)
		}
	}
	if s.Broken() != 0 {
		t.Errorf("%d alarms for what strangers ask", s.Broken())
	}
}

// Each parameter has one form, stands there once, and nothing else stands there.
func TestHostileParameters(t *testing.T) {
	m := newMemory(t)
	m.add(5, 1)
	m.sign()
	s := m.service()
	leaf := url.QueryEscape(base64.StdEncoding.EncodeToString(m.leafOf(0)))
	last := url.QueryEscape(base64.StdEncoding.EncodeToString(m.leafOf(4)))
	none := url.QueryEscape(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	for _, x := range []struct {
		query string
		want  int
	}{
		{"get-sth", 200}, {"get-sth?", 200}, {"get-sth?x=1", 400}, {"get-roots?x=1", 400}, {"get-sth?%zz", 400}, {"get-sth?a;b", 400},
		{"get-sth-consistency?first=2&second=5", 200}, {"get-sth-consistency?first=0&second=5", 200}, {"get-sth-consistency?first=0&second=0", 200}, {"get-sth-consistency?first=5&second=5", 200},
		{"get-sth-consistency?first=0&second=6", 400}, {"get-sth-consistency?first=1&second=6", 400}, {"get-sth-consistency?first=3&second=2", 400}, {"get-sth-consistency?first=-1&second=2", 400},
		{"get-sth-consistency?first=2", 400}, {"get-sth-consistency?second=2", 400}, {"get-sth-consistency", 400}, {"get-sth-consistency?first=&second=2", 400}, {"get-sth-consistency?first=1&first=2&second=3", 400},
		{"get-sth-consistency?first=01&second=2", 400}, {"get-sth-consistency?first=%2B1&second=2", 400}, {"get-sth-consistency?first=1.0&second=2", 400}, {"get-sth-consistency?first=0x1&second=2", 400},
		{"get-sth-consistency?first=1&second=9223372036854775808", 400}, {"get-sth-consistency?first=1&second=9223372036854775807", 400}, {"get-sth-consistency?first=1&second=2&third=3", 400},
		{"get-proof-by-hash?tree_size=5&hash=" + leaf, 200}, {"get-proof-by-hash?tree_size=1&hash=" + leaf, 200}, {"get-proof-by-hash?tree_size=0&hash=" + leaf, 400}, {"get-proof-by-hash?tree_size=6&hash=" + leaf, 400},
		{"get-proof-by-hash?tree_size=5&hash=" + none, 404}, {"get-proof-by-hash?tree_size=4&hash=" + last, 404}, {"get-proof-by-hash?tree_size=5&hash=" + last, 200}, {"get-proof-by-hash?tree_size=5&hash=" + none[:40], 400}, {"get-proof-by-hash?tree_size=5&hash=", 400}, {"get-proof-by-hash?tree_size=5", 400},
		{"get-proof-by-hash?tree_size=5&hash=" + strings.Repeat("00", 32), 400}, {"get-proof-by-hash?tree_size=5&hash=" + leaf + "%0A", 400},
		{"get-entries?start=0&end=4", 200}, {"get-entries?start=4&end=9223372036854775807", 200}, {"get-entries?start=0&end=0", 200}, {"get-entries?start=5&end=5", 400}, {"get-entries?start=2&end=1", 400},
		{"get-entries?start=-1&end=1", 400}, {"get-entries?start=0&end=-1", 400}, {"get-entries?start=9223372036854775807&end=9223372036854775807", 400}, {"get-entries?start=0", 400},
		{"get-entry-and-proof?leaf_index=4&tree_size=5", 200}, {"get-entry-and-proof?leaf_index=0&tree_size=1", 200}, {"get-entry-and-proof?leaf_index=5&tree_size=5", 400}, {"get-entry-and-proof?leaf_index=0&tree_size=0", 400},
		{"get-entry-and-proof?leaf_index=0&tree_size=6", 400}, {"get-entry-and-proof?leaf_index=-1&tree_size=5", 400}, {"get-entry-and-proof?leaf_index=9223372036854775807&tree_size=9223372036854775807", 400},
	} {
		if _, err := get(t, s, "/log/certificates/ct/v1/"+x.query); kind(err) != x.want {
			t.Errorf("%s: %v, want %d", x.query, err, x.want)
		}
	}
	for _, path := range []string{"acts/checkpoint?x=1", "acts/tile/0/000.p/1?x=1", "certificates/checkpoint?%zz"} {
		if _, err := get(t, s, "/log/"+path); kind(err) != 400 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// leafOf is the hash that the tree has.
func (m *memory) leafOf(index int64) []byte {
	m.t.Helper()
	octets, _ := m.tiles.Tile(audit.CertificateTree, 0, index/tiles.Width)
	return octets[index%tiles.Width*32:][:32]
}

const ctPath = "/log/certificates/ct/v1/"

// Every proof is checked by code that shares nothing with what made it.
func TestProofsVerifyElsewhere(t *testing.T) {
	m := newMemory(t)
	const n = 70
	m.add(n, 0)
	m.sign()
	s := m.service()
	sth := read[ct.GetSTHResponse](t, s, ctPath+"get-sth")
	head, err := sth.ToSignedTreeHead()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.logs[audit.CertificateTree].Signatures().VerifySTHSignature(*head); err != nil || head.TreeSize != n {
		t.Fatalf("tree head of %d: %v", head.TreeSize, err)
	}
	roots := make([][]byte, n+1)
	for size := range int64(n + 1) {
		h := must[tlog.Hash](t)(tiles.Root(m.tiles, audit.CertificateTree, size))
		roots[size] = h[:]
	}
	if !bytes.Equal(sth.SHA256RootHash, roots[n]) {
		t.Error("the tree head has another root")
	}
	for _, size := range []int64{1, 2, 3, 5, 33, 64, n} {
		for index := int64(0); index < size; index += 1 + size/9 {
			leaf := m.leafOf(index)
			p := read[ct.GetProofByHashResponse](t, s, fmt.Sprintf("%sget-proof-by-hash?tree_size=%d&hash=%s", ctPath, size, url.QueryEscape(base64.StdEncoding.EncodeToString(leaf))))
			if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.LeafIndex), uint64(size), leaf, p.AuditPath, roots[size]); err != nil || p.LeafIndex != index || p.AuditPath == nil {
				t.Errorf("leaf %d of %d: %v", index, size, err)
			}
			e := read[ct.GetEntryAndProofResponse](t, s, fmt.Sprintf("%sget-entry-and-proof?leaf_index=%d&tree_size=%d", ctPath, index, size))
			if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(size), rfc6962.DefaultHasher.HashLeaf(e.LeafInput), e.AuditPath, roots[size]); err != nil {
				t.Errorf("entry %d of %d: %v", index, size, err)
			}
		}
		for before := int64(0); before <= size; before += 1 + size/7 {
			a, err := get(t, s, fmt.Sprintf("%sget-sth-consistency?first=%d&second=%d", ctPath, before, size))
			if err != nil {
				t.Fatal(err)
			}
			var p ct.GetSTHConsistencyResponse
			if err := json.Unmarshal(a.Body, &p); err != nil || p.Consistency == nil {
				t.Errorf("%s: %v: null is no list", a.Body, err)
			}
			if before == 0 {
				if len(p.Consistency) != 0 {
					t.Error("a proof of what needs none")
				}
				continue
			}
			if err := merkle.VerifyConsistency(rfc6962.DefaultHasher, uint64(before), uint64(size), p.Consistency, roots[before], roots[size]); err != nil {
				t.Errorf("from %d to %d: %v", before, size, err)
			}
		}
	}
}

func TestEntries(t *testing.T) {
	m := newMemory(t)
	m.add(maxEntries+40, 0)
	m.certificates[1].DER = nil // it was never released
	bare := must[[]byte](t)(der.RemoveExtension(m.certificates[2].TBS, oidSCTList))
	m.certificates[2].TBS = bare // taken over from a copy of the log
	m.sign()
	s := m.service()
	list := read[ct.GetEntriesResponse](t, s, ctPath+"get-entries?start=0&end=100000").Entries
	if len(list) != maxEntries {
		t.Fatalf("%d entries in a page", len(list))
	}
	for i, e := range list {
		if !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(e.LeafInput), m.leafOf(int64(i))) {
			t.Fatalf("entry %d is not the leaf", i)
		}
		entry, err := ct.LogEntryFromLeaf(int64(i), &e)
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if want := fmt.Sprintf("Holder %d", i); entry.Precert.TBSCertificate.Subject.CommonName != want {
			t.Errorf("entry %d is about %s", i, entry.Precert.TBSCertificate.Subject)
		}
		if len(entry.Chain) != 2 || !bytes.Equal(entry.Chain[0].Data, m.issuer.Raw) || !bytes.Equal(entry.Chain[1].Data, m.root.Raw) {
			t.Errorf("entry %d has another chain", i)
		}
		if submitted := entry.Precert.Submitted.Data; i != 1 && !bytes.Equal(submitted, m.certificates[i].DER) {
			t.Errorf("entry %d has another certificate", i)
		}
	}
	var chain ct.PrecertChainEntry
	if _, err := tls.Unmarshal(list[1].ExtraData, &chain); err != nil {
		t.Fatal(err)
	}
	var leaf ct.MerkleTreeLeaf
	if _, err := tls.Unmarshal(list[1].LeafInput, &leaf); err != nil {
		t.Fatal(err)
	}
	bare = chain.PreCertificate.Data
	if !bytes.Contains(bare, leaf.TimestampedEntry.PrecertEntry.TBSCertificate) || !bytes.HasSuffix(bare, []byte{3, 1, 0}) {
		t.Errorf("in place of a certificate that was never released: %x", bare)
	}
	if got := len(read[ct.GetEntriesResponse](t, s, ctPath+"get-entries?start=290&end=100000").Entries); got != 6 {
		t.Errorf("the last page has %d entries", got)
	}
	if got := len(read[ct.GetEntriesResponse](t, s, ctPath+"get-entries?start=250&end=260").Entries); got != 11 {
		t.Errorf("a page over two tiles has %d entries", got)
	}
	if roots := read[ct.GetRootsResponse](t, s, ctPath+"get-roots").Certificates; len(roots) != 1 || roots[0] != base64.StdEncoding.EncodeToString(m.root.Raw) {
		t.Errorf("roots: %v", roots)
	}
}

// What retention has taken ends an answer; it never makes one that leaves entries out.
func TestErased(t *testing.T) {
	m := newMemory(t)
	m.add(6, 6)
	m.sign()
	m.certificates[3].TBS, m.certificates[3].DER = nil, nil
	m.acts[2] = nil
	m.evidence["ord_gone"] = &store.Evidence{}
	m.evidence["ord_half"] = &store.Evidence{Order: []byte("{}"), Statements: []store.SignedStatement{{Content: []byte("x"), Signature: []byte("y")}}}
	s := m.service()
	for path, want := range map[string]int{
		"get-entries?start=3&end=3":                    410,
		"get-entries?start=3&end=5":                    410,
		"get-entry-and-proof?leaf_index=3&tree_size=6": 410,
		"get-entry-and-proof?leaf_index=4&tree_size=6": 200,
	} {
		if _, err := get(t, s, ctPath+path); kind(err) != want {
			t.Errorf("%s: %v, want %d", path, err, want)
		}
	}
	if got := len(read[ct.GetEntriesResponse](t, s, ctPath+"get-entries?start=1&end=5").Entries); got != 2 {
		t.Errorf("%d entries before the one that was erased", got)
	}
	for _, id := range []string{"ord_gone", "ord_half"} {
		if _, err := get(t, s, "/log/evidence/"+id); kind(err) != 410 {
			t.Errorf("evidence of %s: %v", id, err)
		}
	}
	a, err := get(t, s, "/log/acts/tile/entries/000.p/6")
	if err != nil {
		t.Fatal(err)
	}
	if a.Cache != "no-store" {
		t.Errorf("retention does not reach a cache: %s", a.Cache)
	}
	rest := a.Body
	for i := range m.acts {
		n := int(binary.BigEndian.Uint16(rest))
		body := rest[2 : 2+n]
		rest = rest[2+n:]
		if !bytes.Equal(body, m.acts[i]) || (n == 0) != (i == 2) {
			t.Errorf("act %d is %q", i, body)
		}
	}
	if len(rest) > 0 || s.Broken() != 0 {
		t.Errorf("%d octets more, %d alarms", len(rest), s.Broken())
	}
}

// Who changed a row finds that it is not given out, and that it was noticed.
func TestChangedRowsAreNotGivenOut(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*memory)
		path   string
	}{
		"another act":           {func(m *memory) { m.acts[4] = []byte(`{"id":"evt_x"}`) }, "/log/acts/tile/entries/000.p/5"},
		"acts in another order": {func(m *memory) { m.acts[0], m.acts[1] = m.acts[1], m.acts[0] }, "/log/acts/tile/entries/000.p/2"},
		"an act is gone":        {func(m *memory) { m.acts = m.acts[:9] }, "/log/acts/tile/entries/000.p/10"},
		"another certificate":   {func(m *memory) { m.certificates[2].TBS = m.certificates[3].TBS }, ctPath + "get-entries?start=0&end=9"},
		"no certificate at all": {func(m *memory) { m.certificates[2].TBS = []byte{0x30, 0} }, ctPath + "get-entry-and-proof?leaf_index=2&tree_size=10"},
		"another time":          {func(m *memory) { m.certificates[2].Milliseconds++ }, ctPath + "get-entries?start=2&end=2"},
		"a certificate is gone": {func(m *memory) { m.certificates = m.certificates[:9] }, ctPath + "get-entries?start=0&end=9"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t)
			m.add(10, 10)
			m.sign()
			s := m.service()
			if _, err := get(t, s, x.path); err != nil {
				t.Fatalf("before: %v", err)
			}
			x.change(m)
			if _, err := get(t, s, x.path); kind(err) != 500 {
				t.Errorf("%v", err)
			}
			if s.Broken() != 1 {
				t.Errorf("%d alarms", s.Broken())
			}
		})
	}
}

func TestEvidence(t *testing.T) {
	m := newMemory(t)
	m.evidence["ord_a"] = &store.Evidence{Order: []byte(`{"order":1}`), Statements: []store.SignedStatement{{Content: []byte("c"), Signature: []byte("s"), Certificate: []byte("d")}}}
	a, err := get(t, m.service(), "/log/evidence/ord_a")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"order":"eyJvcmRlciI6MX0=","statements":[{"content":"Yw==","signature":"cw==","certificate":"ZA=="}]}` + "\n"
	if string(a.Body) != want || a.Cache != "no-store" {
		t.Errorf("%s, %s", a.Body, a.Cache)
	}
	m.evidence["st_a"] = &store.Evidence{Statements: []store.SignedStatement{{Content: []byte("c"), Signature: []byte("s"), Certificate: []byte("d")}}}
	m.evidence["st_b"] = &store.Evidence{Statements: []store.SignedStatement{{Content: []byte{}, Signature: []byte{}, Certificate: []byte("d")}}}
	if a, err = get(t, m.service(), "/log/evidence/st_a"); err != nil || string(a.Body) != `{"statements":[{"content":"Yw==","signature":"cw==","certificate":"ZA=="}]}`+"\n" {
		t.Errorf("a statement: %v, %v", a, err)
	}
	if _, err := get(t, m.service(), "/log/evidence/st_b"); !errors.Is(err, ErrErased) {
		t.Errorf("a statement that was erased: %v", err)
	}
	if _, err := get(t, m.service(), "/log/evidence/st_c"); !errors.Is(err, issue.ErrNotFound) {
		t.Errorf("no statement: %v", err)
	}
}
