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
)

// fake is the reading side of both logs, of leaves that are made here.
type fake struct {
	t      *testing.T
	logs   Logs
	keys   map[tiles.Name]*ecdsa.PrivateKey
	acts   [][]byte
	inputs [][]byte
	most   int // entries in an answer
	asked  []string
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
		for _, input := range f.inputs[start:min(end+1, start+f.most)] {
			out.Entries = append(out.Entries, ct.LeafEntry{LeafInput: input})
		}
		return json.Marshal(out)
	}
	path, _ := strings.CutPrefix(rest, "acts/tile/entries/")
	tile, err := tlog.ParseTilePath("tile/8/0/" + path)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, body := range f.acts[tile.N*256:][:tile.W] {
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
