package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/tiles"
)

// verifyPage is how many leaves are read in one snapshot: whole tiles.
const verifyPage = 16 * tiles.Width

// VerifyTrees builds both trees anew from the rows and holds what comes of it against the
// tiles and the stored heads. It calls report for everything that is wrong; findings are
// no error. It reads every leaf, in pages, and keeps one tile of each level.
//
// What the rows say of their leaves it does not look at: [audit.Verify] does for acts, and
// who serves a certificate's leaf does for that.
func (r Reader) VerifyTrees(ctx context.Context, report func(audit.Finding)) error {
	for _, tree := range []tiles.Name{audit.ActTree, audit.CertificateTree} {
		if err := r.verifyTree(ctx, tree, report); err != nil {
			return fmt.Errorf("verifying the tree of %s: %w", tree, err)
		}
	}
	return nil
}

func (r Reader) verifyTree(ctx context.Context, tree tiles.Name, report func(audit.Finding)) error {
	b := &rebuilt{tree: tree, right: map[int]tile{}, report: report}
	for {
		done, err := r.verifyOnce(ctx, b)
		if err != nil || done {
			return err
		}
	}
}

// verifyOnce adds one page of leaves, in one snapshot. After the last it holds the end
// against the tiles and heads of that snapshot.
func (r Reader) verifyOnce(ctx context.Context, b *rebuilt) (done bool, err error) {
	err = r.Store.View(ctx, func(tx *Tx) error {
		leaves, err := tx.Leaves(b.tree, b.size, verifyPage)
		if err != nil {
			return err
		}
		size, err := tiles.Size(tx, b.tree)
		if err != nil {
			return err
		}
		// Rows are numbered before the tree has them only where it catches up.
		leaves = leaves[:max(0, min(int64(len(leaves)), size-b.size))]
		b.stored = tx
		if b.size, err = tiles.Append(b, b.tree, leaves); err != nil {
			return err
		}
		if len(leaves) == verifyPage {
			return nil
		}
		done = true
		if b.size != size {
			b.find(audit.Missing, b.size+1, "the tree has %d leaves, but the rows end at %d", size, b.size)
			return nil
		}
		return r.verifyHeads(tx, b)
	})
	return done, err
}

// verifyHeads holds the stored heads against the tree, whose every tile was compared.
func (r Reader) verifyHeads(tx *Tx, b *rebuilt) error {
	if err := b.compareRight(); err != nil {
		return err
	}
	for _, kind := range []Kind{Newest, Witnessed} {
		head, err := r.head(tx, b.tree, kind)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			b.find(audit.Forked, 0, "the stored head (%s) is not the log's: %v", kind, err)
			continue
		}
		if err := Continues(tx, b.tree, b.size, head.Checkpoint); errors.Is(err, ErrForked) {
			b.find(audit.Forked, head.Size, "%v", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// rebuilt is a tree that is built from rows and compared tile by tile. It implements
// [tiles.Records] and keeps the last tile of each level.
type rebuilt struct {
	tree   tiles.Name
	stored tiles.Records
	size   int64
	right  map[int]tile
	report func(audit.Finding)
}

type tile struct {
	n      int64
	hashes []byte
}

func (b *rebuilt) find(kind audit.Kind, number int64, format string, args ...any) {
	b.report(audit.Finding{Kind: kind, Number: number, Detail: fmt.Sprintf("log of %s: ", b.tree) + fmt.Sprintf(format, args...)})
}

// Tile implements [tiles.Records].
func (b *rebuilt) Tile(_ tiles.Name, level int, n int64) ([]byte, error) {
	if t, ok := b.right[level]; ok && t.n == n {
		return t.hashes, nil
	}
	return nil, nil
}

// LastTile implements [tiles.Records].
func (b *rebuilt) LastTile(tiles.Name) (int64, []byte, error) {
	t, ok := b.right[0]
	if !ok {
		return -1, nil, nil
	}
	return t.n, t.hashes, nil
}

// PutTile implements [tiles.Records]: a tile that is full is compared at once.
func (b *rebuilt) PutTile(_ tiles.Name, level int, n int64, hashes []byte) error {
	b.right[level] = tile{n, bytes.Clone(hashes)}
	if len(hashes) < tiles.Width*tlog.HashSize {
		return nil
	}
	return b.compare(level, n, hashes)
}

// compareRight compares the tiles that are not full.
func (b *rebuilt) compareRight() error {
	for level, t := range b.right {
		if len(t.hashes) < tiles.Width*tlog.HashSize {
			if err := b.compare(level, t.n, t.hashes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *rebuilt) compare(level int, n int64, want []byte) error {
	have, err := b.stored.Tile(b.tree, level, n)
	if err != nil {
		return err
	}
	if bytes.Equal(have, want) {
		return nil
	}
	if level > 0 {
		b.find(audit.Changed, 0, "tile %d of level %d is not the one of the rows", n, level)
		return nil
	}
	for i := 0; i < len(want); i += tlog.HashSize {
		if end := i + tlog.HashSize; end > len(have) || !bytes.Equal(have[i:end], want[i:end]) {
			b.find(audit.Changed, n*tiles.Width+int64(i/tlog.HashSize)+1, "the leaf that the row has is not the one in the tree")
		}
	}
	return nil
}
