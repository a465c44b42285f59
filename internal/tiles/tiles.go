// Package tiles keeps Merkle trees (RFC 6962, 2.1) as tiles: rows of up to 256 hashes,
// in the geometry of C2SP tlog-tiles. It owns how a tree grows and what is proved from
// it; the arithmetic is that of golang.org/x/mod/sumdb/tlog.
//
// It must not know what the leaves are, who signs a tree, or where the rows are kept. A
// tree is what its tiles say: there is no size beside them that could disagree.
package tiles

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// Height is the height of a tile: it has 2^8 hashes.
	Height = 8
	// Width is the number of hashes in a full tile.
	Width = 1 << Height
	// maxLevel is the highest level of tiles: 2^63 leaves have no more.
	maxLevel = 63 / Height
)

// Name names a tree.
type Name string

// Records are the rows of the tiles. A partial tile is a row with fewer hashes, which is
// replaced as the tree grows; a row never loses or changes a hash.
type Records interface {
	// Tile returns the hashes of a tile one after the other, 32 octets each; nil if there
	// is no such tile.
	Tile(tree Name, level int, n int64) ([]byte, error)
	// PutTile writes a tile in place of what it was.
	PutTile(tree Name, level int, n int64, hashes []byte) error
	// LastTile returns the number of the last tile of level 0 and its hashes; -1 if the
	// tree is empty.
	LastTile(tree Name) (n int64, hashes []byte, err error)
}

// Size returns how many leaves a tree has.
func Size(r Records, tree Name) (int64, error) {
	n, hashes, err := r.LastTile(tree)
	if err != nil || n < 0 {
		return 0, err
	}
	if len(hashes) == 0 || len(hashes)%tlog.HashSize != 0 || len(hashes) > Width*tlog.HashSize {
		return 0, fmt.Errorf("tree %s: its last tile has %d octets", tree, len(hashes))
	}
	return n*Width + int64(len(hashes)/tlog.HashSize), nil
}

// Append adds leaves, which are hashes of leaves already, at the end of a tree and
// returns its size. It writes each tile that it changes once.
func Append(r Records, tree Name, leaves []tlog.Hash) (int64, error) {
	size, err := Size(r, tree)
	if err != nil || len(leaves) == 0 {
		return size, err
	}
	if err := appendAt(r, tree, 0, size, leaves); err != nil {
		return 0, fmt.Errorf("tree %s: %w", tree, err)
	}
	return size + int64(len(leaves)), nil
}

// appendAt adds hashes behind the first have of a level, and the root of each tile that
// becomes full to the level above.
func appendAt(r Records, tree Name, level int, have int64, hashes []tlog.Hash) error {
	n, width := have/Width, int(have%Width)
	var tile []byte
	if width > 0 {
		old, err := r.Tile(tree, level, n)
		if err != nil {
			return err
		}
		if len(old) != width*tlog.HashSize {
			return fmt.Errorf("tile %d of level %d has %d octets instead of %d", n, level, len(old), width*tlog.HashSize)
		}
		tile = append(make([]byte, 0, Width*tlog.HashSize), old...)
	}
	var roots []tlog.Hash
	full := n // number of full tiles before these
	for len(hashes) > 0 {
		take := min(len(hashes), Width-len(tile)/tlog.HashSize)
		for _, h := range hashes[:take] {
			tile = append(tile, h[:]...)
		}
		hashes = hashes[take:]
		if err := r.PutTile(tree, level, n, tile); err != nil {
			return err
		}
		if len(tile) == Width*tlog.HashSize {
			roots = append(roots, rootOf(tile))
			n, tile = n+1, nil
		}
	}
	if len(roots) == 0 || level == maxLevel {
		return nil
	}
	return appendAt(r, tree, level+1, full, roots)
}

// rootOf returns the root over the hashes of a full tile.
func rootOf(tile []byte) tlog.Hash {
	level := make([]tlog.Hash, len(tile)/tlog.HashSize)
	for i := range level {
		level[i] = tlog.Hash(tile[i*tlog.HashSize:])
	}
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = tlog.NodeHash(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

// reader reads a tree of a size through its tiles.
type reader struct {
	records Records
	tree    Name
	kept    map[tlog.Tile][]byte
}

// Reader returns the stored hashes of a tree, as tlog's functions ask for them. It keeps
// the tiles that it has read and belongs to one transaction.
func Reader(r Records, tree Name) tlog.HashReader {
	return &reader{records: r, tree: tree, kept: map[tlog.Tile][]byte{}}
}

// ReadHashes implements [tlog.HashReader].
func (r *reader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		want := tlog.TileForIndex(Height, index)
		octets, err := r.tile(want)
		if err != nil {
			return nil, err
		}
		if len(octets) < want.W*tlog.HashSize {
			return nil, fmt.Errorf("tree %s: tile %d of level %d has %d octets and is to have %d", r.tree, want.N, want.L, len(octets), want.W*tlog.HashSize)
		}
		if out[i], err = tlog.HashFromTile(want, octets[:want.W*tlog.HashSize], index); err != nil {
			return nil, fmt.Errorf("tree %s: %w", r.tree, err)
		}
	}
	return out, nil
}

func (r *reader) tile(t tlog.Tile) ([]byte, error) {
	key := tlog.Tile{H: t.H, L: t.L, N: t.N}
	if octets, ok := r.kept[key]; ok {
		return octets, nil
	}
	octets, err := r.records.Tile(r.tree, t.L, t.N)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", r.tree, err)
	}
	r.kept[key] = octets
	return octets, nil
}

// ErrRange is returned for a place that the tree does not have.
var ErrRange = errors.New("the tree has no such place")

// Root returns the root of a tree when it had size leaves.
func Root(r Records, tree Name, size int64) (tlog.Hash, error) {
	if size < 0 {
		return tlog.Hash{}, ErrRange
	}
	return tlog.TreeHash(size, Reader(r, tree))
}

// Inclusion proves that leaf index is in the tree of size leaves (RFC 6962, 2.1.1).
func Inclusion(r Records, tree Name, index, size int64) (tlog.RecordProof, error) {
	if index < 0 || index >= size {
		return nil, ErrRange
	}
	return tlog.ProveRecord(size, index, Reader(r, tree))
}

// Consistency proves that the tree of size leaves grew out of that of old leaves (RFC
// 6962, 2.1.2). Nothing is to prove of an empty tree, or of one and the same.
func Consistency(r Records, tree Name, old, size int64) (tlog.TreeProof, error) {
	switch {
	case old < 0 || old > size:
		return nil, ErrRange
	case old == 0 || old == size:
		return nil, nil
	}
	return tlog.ProveTree(size, old, Reader(r, tree))
}
