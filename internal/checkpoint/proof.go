package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxHashes bounds proofs: a tree has no more levels than the bits of its size.
const MaxHashes = 63

// maxProof bounds the text of a proof: what stands before the note, and the note.
const maxProof = 128 + MaxHashes*45 + MaxNote

// ErrFork says that a log signed two trees of one size. Two such notes are evidence that
// needs nothing else.
var ErrFork = errors.New("two trees of one size: the log has more than one history")

// Proof says, to who has the log's key and nothing else, that a leaf is in the log (C2SP
// tlog-proof).
type Proof struct {
	Index  int64       // of the leaf, from 0
	Hashes []tlog.Hash // the audit path (RFC 6962, 2.1.1), from the leaf up
	Note   []byte      // a signed checkpoint, with or without cosignatures
}

// Text returns the proof as [ParseProof] reads it.
func (p Proof) Text() []byte {
	hashes := make([][sha256.Size]byte, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = h
	}
	return proof.TLogProof{Index: uint64(p.Index), Hashes: hashes, Checkpoint: p.Note}.Marshal()
}

// ParseProof reads the text of a proof and verifies nothing: that is [Proof.Verify]. One
// proof has one text; every other form is refused, also one with extra data, which
// nothing here makes and nothing would protect.
func ParseProof(text []byte) (Proof, error) {
	if len(text) > maxProof {
		return Proof{}, fmt.Errorf("proof: more than %d octets", maxProof)
	}
	var read proof.TLogProof
	if err := read.Unmarshal(text); err != nil {
		return Proof{}, fmt.Errorf("proof: %w", err)
	}
	switch {
	case read.ExtraData != nil:
		return Proof{}, errors.New("proof: with extra data")
	case len(read.Hashes) > MaxHashes:
		return Proof{}, fmt.Errorf("proof: more than %d hashes", MaxHashes)
	case read.Index > MaxSize:
		return Proof{}, errors.New("proof: no log has so many leaves")
	case len(read.Checkpoint) > MaxNote:
		return Proof{}, fmt.Errorf("proof: the note has more than %d octets", MaxNote)
	}
	p := Proof{Index: int64(read.Index), Note: read.Checkpoint}
	for _, h := range read.Hashes {
		p.Hashes = append(p.Hashes, h)
	}
	if !bytes.Equal(p.Text(), text) {
		return Proof{}, errors.New("proof: not in canonical form")
	}
	return p, nil
}

// Verify returns the checkpoint under which the leaf with that hash is in the log, and
// who of the witnesses has seen it. The error is nil only if the log signed the note and
// the path leads from the leaf to its root.
func (p Proof) Verify(l *Log, leaf tlog.Hash, witnesses []Witness) (Checkpoint, []Cosignature, error) {
	c, seen, err := l.Witnessed(p.Note, witnesses)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if err := CheckLeaf(c, p.Index, leaf, p.Hashes); err != nil {
		return Checkpoint{}, nil, err
	}
	return c, seen, nil
}

// CheckLeaf returns nil if hashes, an audit path (RFC 6962, 2.1.1), shows that the leaf
// with that hash is the one of that index, from 0, in c's tree.
func CheckLeaf(c Checkpoint, index int64, leaf tlog.Hash, hashes []tlog.Hash) error {
	if index < 0 || index >= c.Size {
		return fmt.Errorf("%s: leaf %d is not in a tree of %d", c.Origin, index, c.Size)
	}
	if err := tlog.CheckRecord(hashes, c.Size, c.Root, index, leaf); err != nil {
		return fmt.Errorf("%s: leaf %d of %d is not proved: %w", c.Origin, index, c.Size, err)
	}
	return nil
}

// CheckGrowth returns nil if hashes, a consistency proof (RFC 6962, 2.1.2), show that the
// tree of old is the beginning of the tree of new. Both are believed to be what the log
// signed. From an empty tree, and between equal ones, the proof is empty; two roots of
// one size are [ErrFork].
func CheckGrowth(old, new Checkpoint, hashes []tlog.Hash) error {
	switch {
	case old.Origin != new.Origin:
		return fmt.Errorf("checkpoints of two logs, %s and %s", old.Origin, new.Origin)
	case old.Size < 0 || new.Size < old.Size:
		return fmt.Errorf("%s: a tree of %d does not grow to %d", old.Origin, old.Size, new.Size)
	case len(hashes) > MaxHashes:
		return fmt.Errorf("%s: a consistency proof of more than %d hashes", old.Origin, MaxHashes)
	case old.Size == new.Size && old.Root != new.Root:
		return fmt.Errorf("%s at %d: %w", old.Origin, old.Size, ErrFork)
	case old.Size == 0 && old.Root != emptyRoot:
		return fmt.Errorf("%s: the root of an empty tree is another", old.Origin)
	case old.Size == 0 || old.Size == new.Size:
		if len(hashes) > 0 {
			return fmt.Errorf("%s: from %d to %d there is nothing to prove, and %d hashes prove it", old.Origin, old.Size, new.Size, len(hashes))
		}
		return nil
	}
	if err := tlog.CheckTree(hashes, new.Size, new.Root, old.Size, old.Root); err != nil {
		return fmt.Errorf("%s: that the tree of %d is the beginning of the one of %d is not proved: %w", old.Origin, old.Size, new.Size, err)
	}
	return nil
}
