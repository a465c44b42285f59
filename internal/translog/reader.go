package translog

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
)

// Reader reads the logs and proves what is in them. It shows nothing that no stored head
// covers. It is safe for concurrent use.
type Reader struct {
	Store        Store
	Acts         *checkpoint.Log
	Certificates *checkpoint.Log
}

// Signed is a stored head.
type Signed struct {
	checkpoint.Checkpoint
	Note []byte
}

// Log returns the log of a tree; nil if there is none of that name.
func (r Reader) Log(tree tiles.Name) *checkpoint.Log {
	switch tree {
	case audit.ActTree:
		return r.Acts
	case audit.CertificateTree:
		return r.Certificates
	}
	return nil
}

// head reads a stored head.
func (r Reader) head(tx *Tx, tree tiles.Name, kind Kind) (Signed, error) {
	log := r.Log(tree)
	if log == nil {
		return Signed{}, ErrNotFound
	}
	note, err := tx.Head(tree, kind)
	if err != nil {
		return Signed{}, err
	}
	c, err := log.Open(note)
	return Signed{c, note}, err
}

// Head returns the newest head of a log, with the witnesses' signatures if they have
// signed that one.
func (r Reader) Head(ctx context.Context, tree tiles.Name) (s Signed, err error) {
	err = r.Store.View(ctx, func(tx *Tx) error {
		if s, err = r.head(tx, tree, Newest); err != nil {
			return err
		}
		w, err := r.head(tx, tree, Witnessed)
		if err == nil && w.Size == s.Size {
			s = w
		}
		return notMissing(err)
	})
	return s, err
}

// Tile returns the first width hashes of a tile, 32 octets each, or ErrNotFound if no
// stored head covers as many.
func (r Reader) Tile(ctx context.Context, tree tiles.Name, level int, n int64, width int) (hashes []byte, err error) {
	if level < 0 || level > 7 || n < 0 || width < 1 || width > tiles.Width {
		return nil, ErrNotFound
	}
	err = r.Store.View(ctx, func(tx *Tx) error {
		head, err := r.head(tx, tree, Newest)
		if err != nil {
			return err
		}
		// In this order nothing overflows, whatever is asked.
		if have := head.Size >> (tiles.Height * level); n > have/tiles.Width || have-n*tiles.Width < int64(width) {
			return ErrNotFound
		}
		if hashes, err = tx.Tile(tree, level, n); err == nil && len(hashes) < width*tlog.HashSize {
			err = fmt.Errorf("log %s: tile %d of level %d has %d octets under a head of %d leaves", tree, n, level, len(hashes), head.Size)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return hashes[:width*tlog.HashSize], nil
}

// Inclusion proves that a leaf is in the tree of size leaves (RFC 6962, 2.1.1).
func (r Reader) Inclusion(ctx context.Context, tree tiles.Name, index, size int64) (p []tlog.Hash, err error) {
	err = r.within(ctx, tree, size, func(tx *Tx) error {
		p, err = tiles.Inclusion(tx, tree, index, size)
		return err
	})
	return p, err
}

// Consistency proves that a tree grew out of one of old leaves (RFC 6962, 2.1.2).
func (r Reader) Consistency(ctx context.Context, tree tiles.Name, old, size int64) (p []tlog.Hash, err error) {
	err = r.within(ctx, tree, size, func(tx *Tx) error {
		p, err = tiles.Consistency(tx, tree, old, size)
		return err
	})
	return p, err
}

// within runs fn if a stored head covers size leaves. A place that the tree has not is
// ErrNotFound.
func (r Reader) within(ctx context.Context, tree tiles.Name, size int64, fn func(*Tx) error) error {
	err := r.Store.View(ctx, func(tx *Tx) error {
		head, err := r.head(tx, tree, Newest)
		if err != nil {
			return err
		}
		if size > head.Size {
			return ErrNotFound
		}
		return fn(tx)
	})
	if errors.Is(err, tiles.ErrRange) {
		return ErrNotFound
	}
	return err
}

// IndexOf returns the place of a certificate's leaf, from 0.
func (r Reader) IndexOf(ctx context.Context, leaf tlog.Hash) (index int64, err error) {
	err = r.Store.View(ctx, func(tx *Tx) error {
		number, err := tx.LeafNumber(leaf)
		index = number - 1
		return err
	})
	return index, err
}

// ActIndex returns the place of an event's leaf, from 0.
func (r Reader) ActIndex(ctx context.Context, event string) (index int64, err error) {
	err = r.Store.View(ctx, func(tx *Tx) error {
		number, err := tx.EventNumber(event)
		index = number - 1
		return err
	})
	return index, err
}

// Proof returns the proof that a leaf is in its log, as C2SP tlog-proof has it: under the
// newest head that witnesses signed if that covers the leaf, else under the newest.
// ErrNotFound: no stored head covers it.
func (r Reader) Proof(ctx context.Context, tree tiles.Name, index int64) ([]byte, error) {
	p := checkpoint.Proof{Index: index}
	err := r.Store.View(ctx, func(tx *Tx) error {
		head, err := r.head(tx, tree, Witnessed)
		if err := notMissing(err); err != nil {
			return err
		}
		if head.Size <= index {
			if head, err = r.head(tx, tree, Newest); err != nil {
				return err
			}
		}
		p.Note = head.Note
		hashes, err := tiles.Inclusion(tx, tree, index, head.Size)
		p.Hashes = hashes
		return err
	})
	if errors.Is(err, tiles.ErrRange) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return p.Text(), nil
}

func notMissing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
