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
	lacks               Lacks
}

// Lacks is what nobody can take over from a copy, because it was erased when it was copied:
// indices in each log, of what the database does not have.
type Lacks struct {
	Acts         []int64
	Certificates []int64
}

// err tells it; nil: nothing is lacking. The chain goes over the names of acts, and serials
// stand in certificates: hashes alone do not replace them.
func (l *Lacks) err() error {
	if len(l.Acts)+len(l.Certificates) == 0 {
		return nil
	}
	tell := func(what string, list []int64) string {
		if len(list) == 0 {
			return "no " + what
		}
		return fmt.Sprintf("%d %s (the first has index %d, the last %d)", len(list), what, list[0], list[len(list)-1])
	}
	return fmt.Errorf("the database lacks what was erased before it was copied: %s and %s. Nothing is taken over. Take a copy that is older than the erasure, or a newer backup: %w",
		tell("acts", l.Acts), tell("certificates", l.Certificates), ErrErased)
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
		for i := max(0, leaves-n*tiles.Width); i < int64(len(entries)); i++ {
			if entries[i].TBS == nil {
				out.lacks.Certificates = append(out.lacks.Certificates, n*tiles.Width+i)
			}
			out.entries = append(out.entries, entries[i])
		}
	}
	return out, out.lacks.err()
}

func (s *story) add(index int64, raw []byte) error {
	if len(raw) == 0 {
		s.lacks.Acts = append(s.lacks.Acts, index)
		return nil
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
