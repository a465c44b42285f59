package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// tree is a Merkle tree in memory, with all its hashes.
type tree struct {
	hashes []tlog.Hash
	size   int64
}

func (m *tree) ReadHashes(at []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range at {
		out = append(out, m.hashes[i])
	}
	return out, nil
}

func (m *tree) add(t testing.TB, leaf []byte) {
	more, err := tlog.StoredHashes(m.size, leaf, m)
	if err != nil {
		t.Fatal(err)
	}
	m.hashes = append(m.hashes, more...)
	m.size++
}

func (m *tree) at(t testing.TB, size int64) Checkpoint {
	if size == 0 {
		return Checkpoint{Origin: "test.example/log", Root: EmptyRoot()}
	}
	root, err := tlog.TreeHash(size, m)
	if err != nil {
		t.Fatal(err)
	}
	return Checkpoint{Origin: "test.example/log", Size: size, Root: root}
}

func (m *tree) grown(t testing.TB, old, new int64) []tlog.Hash {
	if old == 0 || old == new {
		return nil
	}
	p, err := tlog.ProveTree(new, old, m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (m *tree) path(t testing.TB, size, index int64) []tlog.Hash {
	p, err := tlog.ProveRecord(size, index, m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func growTo(t testing.TB, size int) *tree {
	var m tree
	for i := range size {
		m.add(t, fmt.Appendf(nil, "leaf %d", i))
	}
	return &m
}

func octets(hashes []tlog.Hash) [][]byte {
	var out [][]byte
	for _, h := range hashes {
		out = append(out, bytes.Clone(h[:]))
	}
	return out
}

// damaged returns a proof that differs from an honest one.
func damaged(rt *rapid.T, hashes []tlog.Hash) []tlog.Hash {
	out := slices.Clone(hashes)
	kind := rapid.IntRange(0, 3).Draw(rt, "damage")
	if len(out) == 0 {
		kind = 0
	}
	at := rapid.IntRange(0, max(len(out)-1, 0)).Draw(rt, "at")
	switch kind {
	case 0:
		return slices.Insert(out, at, tlog.RecordHash([]byte("more")))
	case 1:
		return slices.Delete(out, at, at+1)
	case 2:
		out[at][rapid.IntRange(0, 31).Draw(rt, "octet")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		return out
	}
	other := rapid.IntRange(0, len(out)-1).Draw(rt, "other")
	out[at], out[other] = out[other], out[at]
	if slices.Equal(out, hashes) {
		return append(out, tlog.Hash{})
	}
	return out
}

// An honest proof is taken, here and by the code of others; a damaged one, a wrong leaf, a
// wrong index and another tree are refused.
func TestProofsOfLeaves(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	m := growTo(t, 300)
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(1, m.size).Draw(rt, "size")
		index := rapid.Int64Range(0, size-1).Draw(rt, "index")
		c := m.at(t, size)
		leaf := tlog.RecordHash(fmt.Appendf(nil, "leaf %d", index))
		p := Proof{Index: index, Hashes: m.path(t, size, index), Note: sign(t, l, key, size, c.Root)}

		read, err := ParseProof(p.Text())
		if err != nil || read.Index != index || !slices.Equal(read.Hashes, p.Hashes) || !bytes.Equal(read.Note, p.Note) {
			rt.Fatalf("read %+v, %v", read, err)
		}
		if got, _, err := read.Verify(l, leaf, nil); err != nil || got.Body() != c.Body() {
			rt.Fatalf("honest: %+v, %v", got, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(size), leaf[:], octets(p.Hashes), c.Root[:]); err != nil {
			rt.Fatalf("others do not take it: %v", err)
		}
		bad := p
		bad.Hashes = damaged(rt, p.Hashes)
		if _, _, err := bad.Verify(l, leaf, nil); err == nil {
			rt.Fatal("a damaged path was taken")
		}
		if _, _, err := p.Verify(l, tlog.RecordHash(nil), nil); err == nil {
			rt.Fatal("another leaf was taken")
		}
		bad = p
		bad.Index = rapid.Int64Range(-1, size+1).Filter(func(i int64) bool { return i != index }).Draw(rt, "another index")
		if _, _, err := bad.Verify(l, leaf, nil); err == nil {
			rt.Fatalf("index %d was taken for %d", bad.Index, index)
		}
		bad = p
		bad.Note = sign(t, l, key, size, tlog.RecordHash([]byte("another tree")))
		if _, _, err := bad.Verify(l, leaf, nil); err == nil {
			rt.Fatal("another tree was taken")
		}
	})
}

func TestProofNeedsTheLog(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	other, _ := newLog(t, "test.example/log")
	s := newCosigner(t, "w.example")
	leaf := tlog.RecordHash([]byte("leaf"))
	text := sign(t, l, key, 1, leaf)
	p := Proof{Note: join(text, cosign(t, s, l, text, noon))}
	if _, seen, err := p.Verify(l, leaf, []Witness{s.Witness()}); err != nil || len(seen) != 1 || seen[0].Name != "w.example" {
		t.Errorf("%v, %v", seen, err)
	}
	if _, _, err := p.Verify(other, leaf, []Witness{s.Witness()}); !errors.Is(err, ErrSignature) {
		t.Errorf("under another key: %v", err)
	}
}

func TestProofHasOneText(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	m := growTo(t, 3)
	p := Proof{Index: 1, Hashes: m.path(t, 3, 1), Note: sign(t, l, key, 3, m.at(t, 3).Root)}
	text := string(p.Text())
	if _, err := ParseProof([]byte(text)); err != nil {
		t.Fatal(err)
	}
	hash := strings.Split(text, "\n")[2]
	for name, bad := range map[string]string{
		"nothing":               "",
		"another version":       strings.Replace(text, "@v1", "@v2", 1),
		"leading zero":          strings.Replace(text, "index 1", "index 01", 1),
		"negative":              strings.Replace(text, "index 1", "index -1", 1),
		"plus":                  strings.Replace(text, "index 1", "index +1", 1),
		"larger than any log":   strings.Replace(text, "index 1", "index 18446744073709551615", 1),
		"extra data":            strings.Replace(text, "index 1", "extra AAAA\nindex 1", 1),
		"empty extra data":      strings.Replace(text, "index 1", "extra \nindex 1", 1),
		"lines of Windows":      strings.ReplaceAll(text, "\n", "\r\n"),
		"one line of Windows":   strings.Replace(text, "index 1\n", "index 1\r\n", 1),
		"no end of line":        strings.TrimSuffix(text, "\n"),
		"more than 63 hashes":   strings.Replace(text, hash+"\n", strings.Repeat(hash+"\n", MaxHashes), 1),
		"a short hash":          strings.Replace(text, hash, hash[4:], 1),
		"a hash without base64": strings.Replace(text, hash, "!"+hash[1:], 1),
		"too large":             text + strings.Repeat("x\n", maxProof/2),
		"too large a note":      text + strings.Repeat("x\n", MaxNote/2),
	} {
		if bad == text {
			t.Fatalf("%s: the test changes nothing", name)
		}
		if got, err := ParseProof([]byte(bad)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
	// Bits that base64 does not read: 32 octets leave two.
	if i := strings.Index(text, hash) + len(hash) - 2; text[i+1] == '=' {
		for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
			if got, err := ParseProof([]byte(text[:i] + string(c) + text[i+1:])); err == nil && byte(c) != text[i] && slices.Equal(got.Hashes, p.Hashes) {
				t.Errorf("%c for %c is the same proof", c, text[i])
			}
		}
	}
}

// What has grown is proved, here and for the code of others; damaged proofs, trees that
// differ anywhere in the old part, and trees that went back are refused.
func TestProofsOfGrowth(t *testing.T) {
	m := growTo(t, 300)
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(0, m.size).Draw(rt, "new")
		before := rapid.Int64Range(0, size).Draw(rt, "old")
		old, new, hashes := m.at(t, before), m.at(t, size), m.grown(t, before, size)
		if err := CheckGrowth(old, new, hashes); err != nil {
			rt.Fatalf("honest, %d to %d: %v", before, size, err)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(before), uint64(size), octets(hashes), old.Root[:], new.Root[:]); err != nil {
			rt.Fatalf("others do not take it: %v", err)
		}
		if err := CheckGrowth(old, new, damaged(rt, hashes)); err == nil {
			rt.Fatalf("a damaged proof from %d to %d was taken", before, size)
		}
		if before < size {
			if err := CheckGrowth(new, old, hashes); err == nil {
				rt.Fatalf("went back from %d to %d", size, before)
			}
		}
		if before == 0 {
			return
		}
		forked := forkOf(t, m, rapid.Int64Range(0, before-1).Draw(rt, "fork"), size)
		err := CheckGrowth(old, forked.at(t, size), forked.grown(t, before, size))
		if err == nil || errors.Is(err, ErrFork) != (before == size) {
			rt.Fatalf("a tree with another past, %d to %d: %v", before, size, err)
		}
	})
}

// forkOf returns a tree of that size that differs from m in one leaf.
func forkOf(t testing.TB, m *tree, at, size int64) *tree {
	var out tree
	for i := range size {
		if i == at {
			out.add(t, []byte("another leaf"))
		} else {
			out.add(t, fmt.Appendf(nil, "leaf %d", i))
		}
	}
	return &out
}

func TestGrowthAtItsEdges(t *testing.T) {
	m := growTo(t, 4)
	empty, one, four := m.at(t, 0), m.at(t, 1), m.at(t, 4)
	another := four
	another.Origin = "other.example/log"
	forged := empty
	forged.Root = one.Root
	fork := four
	fork.Root = one.Root
	some := m.grown(t, 1, 4)
	for name, test := range map[string]struct {
		old, new Checkpoint
		hashes   []tlog.Hash
		ok       bool
	}{
		"empty to empty":                  {empty, empty, nil, true},
		"empty to four":                   {empty, four, nil, true},
		"four to four":                    {four, four, nil, true},
		"one to four":                     {one, four, some, true},
		"empty to four, with a proof":     {empty, four, some, false},
		"four to four, with a proof":      {four, four, some, false},
		"one to four, without a proof":    {one, four, nil, false},
		"four to empty":                   {four, empty, nil, false},
		"four to one":                     {four, one, some, false},
		"another log":                     {one, another, some, false},
		"an empty tree with a root":       {forged, four, nil, false},
		"two roots of four":               {four, fork, nil, false},
		"two roots of an empty tree":      {empty, forged, nil, false},
		"more hashes than levels":         {one, four, make([]tlog.Hash, MaxHashes+1), false},
		"a size that no tree has":         {Checkpoint{Origin: one.Origin, Size: -1, Root: one.Root}, four, nil, false},
		"a size that no tree has, at end": {one, Checkpoint{Origin: one.Origin, Size: -1, Root: one.Root}, nil, false},
	} {
		if err := CheckGrowth(test.old, test.new, test.hashes); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckGrowth(four, fork, nil); !errors.Is(err, ErrFork) {
		t.Errorf("two roots of four: %v", err)
	}
}
