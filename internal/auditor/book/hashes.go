package book

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// PutHashes writes the hashes of leaves from number first on, durably. It is called
// before the transaction that says that they were followed: what that does not cover
// is written again.
func (b *Book) PutHashes(tree string, first int64, hashes []tlog.Hash) error {
	h := b.hashes[tree]
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, hash := range hashes {
		out = append(out, hash[:]...)
	}
	if _, err := h.f.WriteAt(out, first*tlog.HashSize); err != nil {
		return fmt.Errorf("keeping hashes of %s: %w", tree, err)
	}
	return nil
}

// SyncHashes makes what PutHashes wrote durable.
func (b *Book) SyncHashes(tree string) error { return b.hashes[tree].f.Sync() }

// Hash returns the hash of a leaf that was followed.
func (b *Book) Hash(tree string, number int64) (hash tlog.Hash, err error) {
	_, err = b.hashes[tree].f.ReadAt(hash[:], number*tlog.HashSize)
	return hash, err
}

// between is how many leaves lie between two places at which a tree is kept while its root
// is computed.
const between = 1 << 16

// Root computes the root that the tree had at a size, from the leaves that were followed.
// It goes on from where it has been: the first time it reads all of them, seconds for tens
// of millions, and later what came since, and no more than 65,536 before.
func (b *Book) Root(ctx context.Context, tree string, size int64) (root tlog.Hash, err error) {
	factory := &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	r, err := b.rangeBelow(ctx, factory, tree, size)
	if err != nil {
		return root, err
	}
	first := int64(r.End())
	in := bufio.NewReaderSize(io.NewSectionReader(b.hashes[tree].f, first*tlog.HashSize, (size-first)*tlog.HashSize), 1<<20)
	var hash [tlog.HashSize]byte
	for n := first; n < size; n++ {
		if _, err := io.ReadFull(in, hash[:]); err != nil {
			return root, fmt.Errorf("leaves of %s: %w", tree, err)
		}
		if err := r.Append(bytes.Clone(hash[:]), nil); err != nil { // it is kept
			return root, err
		}
		if (n+1)%between == 0 {
			if err := b.putRange(ctx, tree, n+1, r.Hashes()); err != nil {
				return root, err
			}
		}
	}
	sum, err := r.GetRootHash(nil)
	if size == 0 {
		sum = rfc6962.DefaultHasher.EmptyRoot()
	}
	copy(root[:], sum)
	return root, err
}

// rangeBelow returns the largest part of the tree below size that was kept; the empty one
// if none was. What was kept is of leaves that were followed, and these do not change.
func (b *Book) rangeBelow(ctx context.Context, factory *compact.RangeFactory, tree string, size int64) (*compact.Range, error) {
	var at int64
	var kept []byte
	err := b.read.QueryRowContext(ctx, `SELECT size, hashes FROM ranges WHERE tree = ? AND size <= ? ORDER BY size DESC LIMIT 1`, tree, size).Scan(&at, &kept)
	if errors.Is(err, sql.ErrNoRows) {
		return factory.NewEmptyRange(0), nil
	} else if err != nil {
		return nil, err
	}
	return factory.NewRange(0, uint64(at), slices.Collect(slices.Chunk(kept, tlog.HashSize)))
}

func (b *Book) putRange(ctx context.Context, tree string, size int64, hashes [][]byte) error {
	return b.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(`INSERT OR REPLACE INTO ranges (tree, size, hashes) VALUES (?, ?, ?)`, tree, size, bytes.Join(hashes, nil))
		return err
	})
}
