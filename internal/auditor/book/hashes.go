package book

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

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

// Root computes the root that the tree had at a size, from the leaves that were
// followed. It reads all of them: seconds for tens of millions.
func (b *Book) Root(tree string, size int64) (root tlog.Hash, err error) {
	in := bufio.NewReaderSize(io.NewSectionReader(b.hashes[tree].f, 0, size*tlog.HashSize), 1<<20)
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	var hash [tlog.HashSize]byte
	for range size {
		if _, err := io.ReadFull(in, hash[:]); err != nil {
			return root, fmt.Errorf("leaves of %s: %w", tree, err)
		}
		if err := r.Append(bytes.Clone(hash[:]), nil); err != nil { // it is kept
			return root, err
		}
	}
	sum, err := r.GetRootHash(nil)
	if size == 0 {
		sum = rfc6962.DefaultHasher.EmptyRoot()
	}
	copy(root[:], sum)
	return root, err
}
