package reconcile

import (
	"bytes"
	"context"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/tiles"
)

// Held is what a whole copy was found to have.
type Held struct {
	Acts         HeldLog `json:"acts"`
	Certificates HeldLog `json:"certificates"`
}

// HeldLog is what a copy has of one log.
type HeldLog struct {
	Size int64 `json:"size"`
	// Erased is how many of them are there as hashes alone, because retention had erased
	// them when they were copied: the tree is proved with them, and what they said is not
	// there.
	Erased int64 `json:"erased"`
	// Last is the index of the last one of these; -1: there is none. What a database has up
	// to there it needs from nobody.
	Last int64 `json:"last"`
}

// Verify reads all of a copy and holds it against the heads that it shows, which the logs
// have signed: every act and entry leads to the root, and every hash that stands where
// something was erased. It keeps nothing of it in memory.
func (s *Source) Verify(ctx context.Context) (*Held, error) {
	acts, err := whole(s.Acts, audit.ActTree, func(n int64) (leaves []tlog.Hash, erased []bool, err error) {
		bodies, err := s.bodies(ctx, n)
		if err != nil {
			return nil, nil, err
		}
		leaves, erased = make([]tlog.Hash, len(bodies)), make([]bool, len(bodies))
		var hashes []tlog.Hash
		for i, b := range bodies {
			if erased[i] = len(b) == 0; !erased[i] {
				leaves[i] = audit.LeafHash(b)
				continue
			}
			if hashes == nil {
				if hashes, err = s.hashes(ctx, audit.ActTree, n); err != nil {
					return nil, nil, err
				}
			}
			leaves[i] = hashes[i]
		}
		return leaves, erased, nil
	})
	if err != nil {
		return nil, err
	}
	certificates, err := whole(s.Certificates, audit.CertificateTree, func(n int64) (leaves []tlog.Hash, erased []bool, err error) {
		entries, err := s.entries(ctx, n)
		for i := range entries {
			leaves, erased = append(leaves, entries[i].Leaf), append(erased, entries[i].TBS == nil)
		}
		return leaves, erased, err
	})
	if err != nil {
		return nil, err
	}
	return &Held{Acts: acts, Certificates: certificates}, nil
}

// whole computes the root of a log from its leaves, 256 at a time.
func whole(head Head, tree tiles.Name, read func(n int64) (leaves []tlog.Hash, erased []bool, err error)) (HeldLog, error) {
	held := HeldLog{Size: head.Size, Last: -1}
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for n := int64(0); n*tiles.Width < head.Size; n++ {
		leaves, erased, err := read(n)
		if err != nil {
			return held, err
		}
		for i := range leaves {
			if erased[i] {
				held.Erased, held.Last = held.Erased+1, n*tiles.Width+int64(i)
			}
			if err := r.Append(bytes.Clone(leaves[i][:]), nil); err != nil { // it is kept
				return held, err
			}
		}
	}
	sum, err := r.GetRootHash(nil)
	if err != nil {
		return held, err
	}
	if head.Size == 0 {
		sum = rfc6962.DefaultHasher.EmptyRoot()
	}
	if !bytes.Equal(sum, head.Root[:]) {
		return held, fmt.Errorf("log of %s: the %d leaves of the copy do not lead to the root that was signed: %w", tree, head.Size, ErrOther)
	}
	return held, nil
}
