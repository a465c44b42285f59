package source

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
)

// height of the tiles.
const height = 8

// Across is how many hashes a tile has, and entries a bundle.
const Across = 1 << height

// Reader is a log's tree under one signed checkpoint. What it returns was authenticated
// against the root.
type Reader struct {
	ctx    context.Context
	Name   Tree
	source Source
	Head   checkpoint.Checkpoint
	tiles  *tileCache
}

// Under returns the tree of a log under a checkpoint that was verified, as s shows it.
func Under(ctx context.Context, s Source, name Tree, head checkpoint.Checkpoint) *Reader {
	return &Reader{ctx, name, s, head, &tileCache{tiles: map[tlog.Tile][]byte{}}}
}

// ErrTiles says that what is shown as hashes does not lead to the signed root.
var ErrTiles = errors.New("the hashes shown do not lead to the signed root")

// reader returns the tree's hashes, authenticated.
func (t *Reader) reader() (tlog.HashReader, *fetched) {
	f := &fetched{t: t}
	return tlog.TileHashReader(tlog.Tree{N: t.Head.Size, Hash: t.Head.Root}, f), f
}

// Hashes reads stored hashes by their place. An error that is ErrTiles is the log's fault, any
// other one nobody's.
func (t *Reader) Hashes(indexes []int64) ([]tlog.Hash, error) {
	r, f := t.reader()
	hashes, err := r.ReadHashes(indexes)
	return hashes, f.fault(err)
}

// Root returns the root that the tree had at an earlier size.
func (t *Reader) Root(size int64) (tlog.Hash, error) {
	if size == t.Head.Size {
		return t.Head.Root, nil
	}
	r, f := t.reader()
	root, err := tlog.TreeHash(size, r)
	return root, f.fault(err)
}

// Leaves returns the hashes of leaves first to first+count.
func (t *Reader) Leaves(first int64, count int) ([]tlog.Hash, error) {
	indexes := make([]int64, count)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	return t.Hashes(indexes)
}

// Compare holds the hashes of the entries of chunk n against the tree. known tells which
// of them could be computed. It returns those of the tree, and which are others.
func (t *Reader) Compare(n int64, hashes []tlog.Hash, known []bool) (is []tlog.Hash, differ []int, err error) {
	whole := len(hashes) == Across
	for _, k := range known {
		whole = whole && k
	}
	if whole {
		// A full chunk is one hash of the level above: no tile of leaves is fetched.
		above, err := t.Hashes([]int64{tlog.StoredHashIndex(height, n)})
		if err != nil || above[0] == subtree(hashes) {
			return hashes, nil, err
		}
	}
	if is, err = t.Leaves(n*Across, len(hashes)); err != nil {
		return nil, nil, err
	}
	for i := range hashes {
		if known[i] && hashes[i] != is[i] {
			differ = append(differ, i)
		}
	}
	return is, differ, nil
}

// subtree returns the root of a full chunk.
func subtree(leaves []tlog.Hash) tlog.Hash {
	level := append([]tlog.Hash{}, leaves...)
	for len(level) > 1 {
		for i := 0; i < len(level); i += 2 {
			level[i/2] = tlog.NodeHash(level[i], level[i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

// fetched implements [tlog.TileReader] for one reading, and remembers whether fetching
// failed: what fails otherwise are the hashes.
type fetched struct {
	t   *Reader
	err error
}

func (f *fetched) fault(err error) error {
	switch {
	case err == nil:
		return nil
	case f.err != nil:
		return fmt.Errorf("reading hashes of the log of %s: %w", f.t.Name, f.err)
	}
	return fmt.Errorf("log of %s: %w: %w", f.t.Name, ErrTiles, err)
}

// Height implements [tlog.TileReader].
func (f *fetched) Height() int { return height }

// ReadTiles implements [tlog.TileReader].
func (f *fetched) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if out[i] = f.t.tiles.get(tile); out[i] != nil {
			continue
		}
		if out[i], f.err = f.t.source.Tile(f.t.ctx, f.t.Name, tile); f.err != nil {
			if errors.Is(f.err, ErrUnshown) {
				f.err = nil // a hash that is not shown is one that does not fit
			}
			return nil, fmt.Errorf("tile %s is not shown", tile.Path())
		}
		if len(out[i]) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %s has %d octets", tile.Path(), len(out[i]))
		}
	}
	return out, nil
}

// SaveTiles implements [tlog.TileReader]: only what was authenticated is kept.
func (f *fetched) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i := range tiles {
		f.t.tiles.put(tiles[i], data[i])
	}
}

// tileCache keeps some tiles: those above the leaves are asked for again and again.
type tileCache struct {
	mu    sync.Mutex
	tiles map[tlog.Tile][]byte // guarded by mu
}

const cachedTiles = 256

func (c *tileCache) get(t tlog.Tile) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tiles[t]
}

func (c *tileCache) put(t tlog.Tile, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tiles) >= cachedTiles {
		clear(c.tiles) // seldom, and fetched again
	}
	c.tiles[t] = data
}
