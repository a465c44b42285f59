package tiles

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

func leaf(i int64) tlog.Hash {
	return tlog.RecordHash(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func leaves(from, to int64) []tlog.Hash {
	var out []tlog.Hash
	for i := from; i < to; i++ {
		out = append(out, leaf(i))
	}
	return out
}

// naive is the definition of RFC 6962, 2.1.
func naive(hashes []tlog.Hash) tlog.Hash {
	switch n := len(hashes); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return hashes[0]
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return tlog.NodeHash(naive(hashes[:k]), naive(hashes[k:]))
	}
}

// However a tree grew, it is the one that the definition says, at every size it had, and
// proofs between any of its sizes verify.
func TestGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Memory{}
		size := int64(0)
		all := leaves(0, 1400)
		for i, step := range rapid.SliceOfN(rapid.Int64Range(0, 300), 1, 5).Draw(t, "steps") {
			got, err := Append(m, "t", all[size:size+step])
			if size += step; err != nil || got != size {
				t.Fatalf("step %d: size %d, want %d: %v", i, got, size, err)
			}
		}
		if got, err := Size(m, "t"); err != nil || got != size {
			t.Fatalf("size %d, want %d: %v", got, size, err)
		}
		root, err := Root(m, "t", size)
		if err != nil || root != naive(all[:size]) {
			t.Fatalf("root of %d: %v", size, err)
		}
		if size == 0 {
			return
		}
		old := rapid.Int64Range(1, size).Draw(t, "old")
		oldRoot, err := Root(m, "t", old)
		if err != nil || oldRoot != naive(all[:old]) {
			t.Fatalf("root of %d of %d: %v", old, size, err)
		}
		grown, err := Consistency(m, "t", old, size)
		if err != nil {
			t.Fatal(err)
		}
		if old < size {
			if err := tlog.CheckTree(grown, size, root, old, oldRoot); err != nil {
				t.Fatal(err)
			}
		}
		index := rapid.Int64Range(0, size-1).Draw(t, "index")
		proof, err := Inclusion(m, "t", index, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, size, root, index, all[index]); err != nil {
			t.Fatal(err)
		}
	})
}

// The third level of tiles begins at 65,536 leaves.
func TestThreeLevels(t *testing.T) {
	m := Memory{}
	all := leaves(0, Width*Width+Width+3)
	for _, to := range []int64{Width*Width - 1, Width * Width, Width*Width + Width + 3} {
		from, err := Size(m, "t")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Append(m, "t", all[from:to]); err != nil {
			t.Fatal(err)
		}
		if root, err := Root(m, "t", to); err != nil || root != naive(all[:to]) {
			t.Errorf("root of %d: %v", to, err)
		}
	}
	if len(m[Place{"t", 2, 0}]) != tlog.HashSize || len(m[Place{"t", 1, 1}]) != tlog.HashSize {
		t.Errorf("level 2 has %d octets, tile 1 of level 1 %d", len(m[Place{"t", 2, 0}]), len(m[Place{"t", 1, 1}]))
	}
}

func TestOutOfRange(t *testing.T) {
	m := Memory{}
	if _, err := Append(m, "t", leaves(0, 5)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]int64{{-1, 5}, {5, 5}, {0, 0}, {2, 1}} {
		if _, err := Inclusion(m, "t", c[0], c[1]); !errors.Is(err, ErrRange) {
			t.Errorf("inclusion of %d in %d: %v", c[0], c[1], err)
		}
	}
	for _, c := range [][2]int64{{-1, 5}, {6, 5}} {
		if _, err := Consistency(m, "t", c[0], c[1]); !errors.Is(err, ErrRange) {
			t.Errorf("consistency of %d with %d: %v", c[0], c[1], err)
		}
	}
	// More than there is: the tiles say no, whatever was asked.
	if _, err := Inclusion(m, "t", 2, 9); err == nil {
		t.Error("a proof in a tree that is not there yet")
	}
	if _, err := Root(m, "t", 6); err == nil {
		t.Error("the root of a tree that is not there yet")
	}
}

// A tile that lost or gained hashes is noticed before anything is built upon it.
func TestDamagedTile(t *testing.T) {
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },
		func([]byte) []byte { return nil },
		func(b []byte) []byte { return append(b, make([]byte, Width*tlog.HashSize)...) },
	} {
		m := Memory{}
		if _, err := Append(m, "t", leaves(0, Width+5)); err != nil {
			t.Fatal(err)
		}
		m[Place{"t", 0, 1}] = change(m[Place{"t", 0, 1}])
		if size, err := Append(m, "t", leaves(0, 1)); err == nil {
			t.Errorf("grew to %d", size)
		}
	}
}

// What is missing above the leaves does not show in the size: nothing is put behind it.
func TestDamagedUpperTile(t *testing.T) {
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-tlog.HashSize] },
		func([]byte) []byte { return nil },
		func(b []byte) []byte { return append(b, make([]byte, tlog.HashSize)...) },
	} {
		m := Memory{}
		if _, err := Append(m, "t", leaves(0, 2*Width)); err != nil {
			t.Fatal(err)
		}
		m[Place{"t", 1, 0}] = change(m[Place{"t", 1, 0}])
		if size, err := Append(m, "t", leaves(0, Width)); err == nil {
			t.Errorf("grew to %d", size)
		}
	}
}
