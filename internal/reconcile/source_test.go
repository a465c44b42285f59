package reconcile

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
	"sigill/orders/issue"
)

// fake is the reading side of both logs, of leaves that are made here.
type fake struct {
	t      *testing.T
	logs   Logs
	keys   map[tiles.Name]*ecdsa.PrivateKey
	acts   [][]byte
	inputs [][]byte
	most   int // entries in an answer
	// erased acts and entries
	erasedActs, erased map[int]bool
	asked              []string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, keys: map[tiles.Name]*ecdsa.PrivateKey{}, most: 100}
	for tree, to := range map[tiles.Name]**checkpoint.Log{audit.ActTree: &f.logs.Acts, audit.CertificateTree: &f.logs.Certificates} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if *to, err = checkpoint.NewLog("copy.test/log/"+string(tree), key.Public()); err != nil {
			t.Fatal(err)
		}
		f.keys[tree] = key
	}
	return f
}

func (f *fake) grow(acts, certificates int) {
	f.t.Helper()
	for range acts {
		f.acts = append(f.acts, fmt.Appendf(nil, "act %d", len(f.acts)))
	}
	for range certificates {
		input, err := tls.Marshal(ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{
			Timestamp: uint64(len(f.inputs)), EntryType: ct.PrecertLogEntryType, PrecertEntry: &ct.PreCert{TBSCertificate: fmt.Appendf(nil, "tbs %d", len(f.inputs))}}})
		if err != nil {
			f.t.Fatal(err)
		}
		f.inputs = append(f.inputs, input)
	}
}

func (f *fake) get(_ context.Context, address string) ([]byte, error) {
	f.asked = append(f.asked, address)
	rest, _ := strings.CutPrefix(address, "/log/")
	switch rest {
	case "acts/checkpoint":
		return f.head(audit.ActTree, f.acts)
	case "certificates/checkpoint":
		return f.head(audit.CertificateTree, f.inputs)
	}
	var start, end int
	if _, err := fmt.Sscanf(rest, "certificates/ct/v1/get-entries?start=%d&end=%d", &start, &end); err == nil {
		var out ct.GetEntriesResponse
		if f.erased[start] {
			return nil, fmt.Errorf("410: %w", ErrErased)
		}
		for i, input := range f.inputs[start:min(end+1, start+f.most)] {
			if f.erased[start+i] {
				break
			}
			out.Entries = append(out.Entries, ct.LeafEntry{LeafInput: input})
		}
		return json.Marshal(out)
	}
	for tree, leaves := range map[string][][]byte{"acts": f.acts, "certificates": f.inputs} {
		if path, ok := strings.CutPrefix(rest, tree+"/tile/0/"); ok {
			tile, err := tlog.ParseTilePath("tile/8/0/" + path)
			if err != nil {
				return nil, err
			}
			var out []byte
			for _, l := range leaves[tile.N*256:][:tile.W] {
				h := tlog.RecordHash(l)
				out = append(out, h[:]...)
			}
			return out, nil
		}
	}
	path, _ := strings.CutPrefix(rest, "acts/tile/entries/")
	tile, err := tlog.ParseTilePath("tile/8/0/" + path)
	if err != nil {
		return nil, err
	}
	var out []byte
	for i, body := range f.acts[tile.N*256:][:tile.W] {
		if f.erasedActs[int(tile.N)*256+i] {
			body = nil
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(body))), body...)
	}
	return out, nil
}

func (f *fake) head(tree tiles.Name, leaves [][]byte) ([]byte, error) {
	m := tiles.Memory{}
	for _, l := range leaves {
		if _, err := tiles.Append(m, tree, []tlog.Hash{tlog.RecordHash(l)}); err != nil {
			return nil, err
		}
	}
	root, err := tiles.Root(m, tree, int64(len(leaves)))
	if err != nil {
		return nil, err
	}
	return f.logs.Of(tree).Sign(f.keys[tree], int64(len(leaves)), root, time.UnixMilli(1))
}

// all reads everything that a source has.
func all(t *testing.T, s *Source) (acts [][]byte, leaves []tlog.Hash) {
	t.Helper()
	for n := int64(0); n*256 < s.Acts.Size; n++ {
		bodies, err := s.bodies(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		acts = append(acts, bodies...)
	}
	for n := int64(0); n*256 < s.Certificates.Size; n++ {
		entries, err := s.entries(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			leaves = append(leaves, e.Leaf)
		}
	}
	return acts, leaves
}

// TestExport: a copy has everything, is made anew by what has grown alone, is never
// replaced by a smaller one, and one that is cut off is the older one.
func TestExport(t *testing.T) {
	f, dir := newFake(t), filepath.Join(t.TempDir(), "copy")
	for _, grown := range [][2]int{{3, 2}, {0, 0}, {300, 290}, {1, 1}, {208, 219}} {
		f.grow(grown[0], grown[1])
		f.asked = nil
		if _, err := Export(t.Context(), f.get, f.logs, dir); err != nil {
			t.Fatal(err)
		}
		if len(f.acts) > 512 && slices.ContainsFunc(f.asked, func(a string) bool { return strings.HasSuffix(a, "/entries/000") }) {
			t.Errorf("what was whole is asked for again: %v", f.asked)
		}
		s, err := OpenSource(t.Context(), Files(dir), f.logs)
		if err != nil {
			t.Fatal(err)
		}
		acts, leaves := all(t, s)
		if len(acts) != len(f.acts) || len(leaves) != len(f.inputs) {
			t.Fatalf("the copy has %d acts and %d certificates of %d and %d", len(acts), len(leaves), len(f.acts), len(f.inputs))
		}
		for i := range acts {
			if !bytes.Equal(acts[i], f.acts[i]) {
				t.Fatalf("act %d is %q", i, acts[i])
			}
		}
		for i := range leaves {
			if leaves[i] != tlog.RecordHash(f.inputs[i]) {
				t.Fatalf("leaf %d is another", i)
			}
		}
	}
	whole := len(f.acts)
	f.grow(5, 5)
	cut := errors.New("cut off")
	for n := 1; ; n++ {
		left := n
		_, err := Export(t.Context(), func(ctx context.Context, address string) ([]byte, error) {
			if left--; left < 0 {
				return nil, cut
			}
			return f.get(ctx, address)
		}, f.logs, dir)
		if err == nil {
			break
		}
		s, err := OpenSource(t.Context(), Files(dir), f.logs)
		if err != nil {
			t.Fatal(err)
		}
		if acts, _ := all(t, s); len(acts) != whole {
			t.Fatalf("cut off after %d answers the copy has %d acts", n, len(acts))
		}
	}
	older := newFake(t)
	older.logs, older.keys = f.logs, f.keys
	older.grow(2, 2)
	if _, err := Export(t.Context(), older.get, f.logs, dir); err == nil {
		t.Error("a copy was replaced by a smaller one")
	}
	if _, err := Export(t.Context(), newFake(t).get, f.logs, t.TempDir()); err == nil {
		t.Error("the heads of other logs were taken")
	}
}

// What is not in form is an error, and no address leads out of a copy.
func TestSourceRefuses(t *testing.T) {
	f := newFake(t)
	f.grow(2, 2)
	for name, answer := range map[string][]byte{"nothing": {}, "cut off": {0, 9, 'x'}, "half a length": {0}, "too few": {0, 1, 'x'}} {
		s, err := OpenSource(t.Context(), f.get, f.logs)
		if err != nil {
			t.Fatal(err)
		}
		s.get = func(context.Context, string) ([]byte, error) { return answer, nil }
		if bodies, err := s.bodies(t.Context(), 0); err == nil {
			t.Errorf("acts, %s: %q", name, bodies)
		}
		if entries, err := s.entries(t.Context(), 0); err == nil {
			t.Errorf("certificates, %s: %v", name, entries)
		}
	}
	for _, address := range []string{"/log/../secrets/passphrase", "/etc/passwd", "/log//etc/passwd", "/log/certificates/ct/v1/get-entries?start=../../x", "log/acts/checkpoint"} {
		if b, err := Files(t.TempDir())(t.Context(), address); err == nil || os.IsPermission(err) {
			t.Errorf("%s: %q", address, b)
		}
		if path, err := pathOf(address); err == nil && !filepath.IsLocal(path) {
			t.Errorf("%s leads to %s", address, path)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	g := &fake{t: &testing.T{}}
	g.grow(0, 1)
	f.Add(g.inputs[0])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) {
		e, err := parseEntry(input)
		if err != nil {
			return
		}
		again, err := tls.Marshal(ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{
			Timestamp: uint64(e.At.UnixMilli()), EntryType: ct.PrecertLogEntryType, PrecertEntry: &ct.PreCert{IssuerKeyHash: e.IssuerKey, TBSCertificate: e.TBS}}})
		if err != nil || e.Leaf != tlog.RecordHash(input) {
			t.Fatalf("%v: %v", e, err)
		}
		// Extensions are the log's, which has none: the entry says all but them.
		if len(again) == len(input) && !bytes.Equal(again, input) {
			t.Fatalf("%x was read as %x", input, again)
		}
		if _, err := parseTBS(e.TBS); err != nil {
			return
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'x', 0, 0})
	f.Fuzz(func(t *testing.T, bundle []byte) {
		bodies, err := parseBundle(bundle)
		if err != nil {
			return
		}
		var again []byte
		for _, b := range bodies {
			again = append(binary.BigEndian.AppendUint16(again, uint16(len(b))), b...)
		}
		if !bytes.Equal(again, bundle) {
			t.Fatalf("%x was read as %q", bundle, bodies)
		}
	})
}

// TestExportOfErased: a log that retention has erased parts of is copied all the same. What
// is erased stands there as its hash; the copy proves all that the log does, serves a
// database that has what was erased, and tells one that has not what it lacks.
func TestExportOfErased(t *testing.T) {
	f, dir := newFake(t), filepath.Join(t.TempDir(), "copy")
	f.erased, f.erasedActs = map[int]bool{}, map[int]bool{}
	grow := func(acts, certificates int) {
		f.grow(0, certificates)
		for range acts {
			r, err := audit.Seal(issue.NewEvent(audit.OrderExpired, time.Now(), "system", issue.F("order", fmt.Sprint("ord_", len(f.acts))), issue.F("card", "9752000000000000009")))
			if err != nil {
				t.Fatal(err)
			}
			f.acts = append(f.acts, r.Body)
		}
	}
	grow(600, 600)
	for _, i := range []int{0, 1, 2, 7, 100, 255, 256, 300, 301, 598} {
		f.erased[i] = true
	}
	for i := 256; i < 512; i++ {
		f.erased[i] = true // a whole tile
	}
	for _, i := range []int{0, 3, 4, 255, 590} {
		f.erasedActs[i] = true
	}
	verified := func(acts, certificates HeldLog) *Source {
		t.Helper()
		if _, err := Export(t.Context(), f.get, f.logs, dir); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSource(t.Context(), Files(dir), f.logs)
		if err != nil {
			t.Fatal(err)
		}
		held, err := s.Verify(t.Context())
		if err != nil || held.Acts != acts || held.Certificates != certificates {
			t.Fatalf("the copy has %+v: %v; want %+v and %+v", held, err, acts, certificates)
		}
		return s
	}
	verified(HeldLog{600, 5, 590}, HeldLog{600, 6 + 256 + 1, 598})
	grow(10, 500)
	f.erased[1050] = true
	s := verified(HeldLog{610, 5, 590}, HeldLog{1100, 264, 1050})

	for _, x := range []struct {
		acts, leaves int64
		want         string // "": it is enough
	}{
		{591, 1051, ""},
		{610, 1100, ""},
		{590, 1051, "1 acts (the first has index 590, the last 590) and no certificates"},
		{591, 1050, "no acts and 1 certificates (the first has index 1050, the last 1050)"},
		{4, 300, "3 acts (the first has index 4, the last 590) and 214 certificates (the first has index 300, the last 1050)"},
	} {
		_, err := read(t.Context(), s, x.acts, x.leaves)
		if x.want == "" && err != nil || x.want != "" && (!errors.Is(err, ErrErased) || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("a database of %d acts and %d certificates: %v, want %q", x.acts, x.leaves, err, x.want)
		}
	}
	story, err := read(t.Context(), s, 610, 1051)
	if err != nil || len(story.entries) != 49 || story.entries[0].Leaf != tlog.RecordHash(f.inputs[1051]) {
		t.Errorf("behind what was erased: %d entries, %v", len(story.entries), err)
	}
	tampered(t, f, dir)
}

// tampered changes each file of a copy, one at a time: it proves nothing then.
func tampered(t *testing.T, f *fake, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, ".p") && !strings.Contains(path, "610") && !strings.Contains(path, "1100") {
			return err
		}
		was, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		is := bytes.Clone(was)
		if is[len(is)/2]++; bytes.Contains(was, []byte(`"erased"`)) {
			return nil // who leaves out what is there can only say so: its hash proves it
		}
		for i := 0; strings.Contains(path, "/tile/0/") && i < len(is); i += tlog.HashSize {
			is[i] = was[i] + 1 // those of what was not erased are not looked at
		}
		if err := os.WriteFile(path, is, 0o600); err != nil {
			return err
		}
		if s, err := OpenSource(t.Context(), Files(dir), f.logs); err == nil {
			if _, err = s.Verify(t.Context()); err == nil {
				t.Errorf("%s was changed, and nobody sees it", strings.TrimPrefix(path, dir))
			}
		}
		files++
		return os.WriteFile(path, was, 0o600)
	})
	if err != nil || files < 10 {
		t.Errorf("%d files, %v", files, err)
	}
}
