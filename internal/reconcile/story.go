package reconcile

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/policy"
	"sigill/revocation"
)

// told is an act of the copy.
type told struct {
	*audit.Body
	raw    []byte
	leaf   [32]byte
	fields map[string]string
}

func (a *told) is(name string) string { return a.fields[name] }

// story is what the copy tells that the database does not have.
type story struct {
	firstAct, firstLeaf int64 // indices of the first of each
	acts                []told
	entries             []Entry
	intents             map[ca.Serial]*told
	ended               map[ca.Serial][]revocation.Entry // in the order in which it was told
	owners              map[policy.CardNumber]*told      // card.sent of cards
}

// read reads what a copy has beyond so many acts and leaves.
func read(ctx context.Context, s *Source, acts, leaves int64) (*story, error) {
	out := &story{firstAct: acts, firstLeaf: leaves, intents: map[ca.Serial]*told{}, ended: map[ca.Serial][]revocation.Entry{},
		owners: map[policy.CardNumber]*told{}}
	for n := acts / tiles.Width; n*tiles.Width < s.Acts.Size; n++ {
		bodies, err := s.bodies(ctx, n)
		if err != nil {
			return nil, err
		}
		for i, raw := range bodies {
			if index := n*tiles.Width + int64(i); index >= acts {
				if err := out.add(index, raw); err != nil {
					return nil, fmt.Errorf("act %d: %w", index, err)
				}
			}
		}
	}
	for n := leaves / tiles.Width; n*tiles.Width < s.Certificates.Size; n++ {
		entries, err := s.entries(ctx, n)
		if err != nil {
			return nil, err
		}
		out.entries = append(out.entries, entries[max(0, leaves-n*tiles.Width):]...)
	}
	return out, nil
}

func (s *story) add(index int64, raw []byte) error {
	if len(raw) == 0 {
		return errErased
	}
	body, err := audit.ParseBody(raw)
	if err != nil {
		return err
	}
	a := told{Body: body, raw: raw, leaf: audit.LeafHash(raw), fields: make(map[string]string, len(body.Public))}
	for _, f := range body.Public {
		a.fields[f.Name] = f.Value
	}
	s.acts = append(s.acts, a)
	switch a.Act {
	case audit.IntentRecorded:
		serial, err := ca.ParseSerial(a.is("serial"))
		if err != nil {
			return err
		}
		s.intents[serial] = &a
	case audit.IntentAbandoned, audit.CertificateRevoked, audit.CertificateSuperseded:
		e, err := a.revocation()
		if err != nil {
			return err
		}
		s.ended[e.Serial] = append(s.ended[e.Serial], e)
	case audit.CardSent:
		s.owners[policy.CardNumber(a.is("card"))] = &a
	}
	return nil
}

// revocation returns what an act says of a serial; NotAfter is left out.
func (a *told) revocation() (e revocation.Entry, err error) {
	if e.Serial, err = ca.ParseSerial(a.is("serial")); err != nil {
		return e, err
	}
	if e.Reason, err = ca.ParseReason(a.is("reason")); err != nil {
		return e, err
	}
	if e.Partition, err = strconv.Atoi(a.is("partition")); err != nil {
		return e, err
	}
	e.Issuer, e.Rule, e.Event, e.At = ca.IssuerID(a.is("issuer")), a.is("rule"), a.ID, a.At
	return e, nil
}

func (s *story) actLeaves() []tlog.Hash {
	out := make([]tlog.Hash, len(s.acts))
	for i := range s.acts {
		out[i] = s.acts[i].leaf
	}
	return out
}

func (s *story) certificateLeaves() []tlog.Hash {
	out := make([]tlog.Hash, len(s.entries))
	for i := range s.entries {
		out[i] = s.entries[i].Leaf
	}
	return out
}

// overlay is a tree that grows in memory over that of the database.
type overlay struct {
	base tiles.Records
	over tiles.Memory
}

func (o overlay) Tile(tree tiles.Name, level int, n int64) ([]byte, error) {
	if t, ok := o.over[tiles.Place{Tree: tree, Level: level, N: n}]; ok {
		return t, nil
	}
	return o.base.Tile(tree, level, n)
}

func (o overlay) PutTile(tree tiles.Name, level int, n int64, hashes []byte) error {
	return o.over.PutTile(tree, level, n, hashes)
}

func (o overlay) LastTile(tree tiles.Name) (int64, []byte, error) {
	n, hashes, err := o.base.LastTile(tree)
	if err != nil {
		return 0, nil, err
	}
	if m, over, _ := o.over.LastTile(tree); m >= n && m >= 0 {
		return m, over, nil
	}
	return n, hashes, nil
}

// ErrOther says that a copy is of another history than the database's.
var ErrOther = errors.New("the copy does not go on from this database")

// grown returns the tree as it will be, and refuses one that is not the copy's.
func grown(base tiles.Records, tree tiles.Name, first int64, leaves []tlog.Hash, head Head) (overlay, error) {
	o := overlay{base, tiles.Memory{}}
	size, err := tiles.Size(base, tree)
	if err != nil {
		return o, err
	}
	if size != first {
		return o, fmt.Errorf("log of %s: it has grown meanwhile, from %d leaves to %d: stop what serves the installation", tree, first, size)
	}
	if _, err := tiles.Append(o, tree, leaves); err != nil {
		return o, err
	}
	root, err := tiles.Root(o, tree, head.Size)
	if err != nil {
		return o, err
	}
	if root != head.Root {
		return o, fmt.Errorf("log of %s: the %d leaves that are here and the %d of the copy behind them do not lead to the root that was signed for %d: %w",
			tree, first, len(leaves), head.Size, ErrOther)
	}
	return o, nil
}

// fingerprint reads a hash in hexadecimal digits; what is none is zero.
func fingerprint(text string) (f [32]byte) {
	if b, err := hex.DecodeString(text); err == nil && len(b) == len(f) {
		copy(f[:], b)
	}
	return f
}

// micro cuts a time to what databases keep.
func micro(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
