package checker

import (
	"bytes"
	"context"
	"slices"
	"time"

	"sigill/ca/crl"
)

// entries are what a full list has, in 25 octets each: a million are compared with their
// partitions without holding a million objects.
type entries struct {
	thisUpdate time.Time
	serials    [][20]byte // increasing
	at         []uint32   // Unix time, to 2106
	reasons    []uint8
	matched    []uint64 // a bit each
}

// full reads the full list of a CA; nil if there is none to compare with, or it is the one
// of an earlier round.
func (r *round) full(ctx context.Context, a *authority, again bool) *entries {
	path := "/crl/" + a.name + "/full.crl"
	f := &entries{}
	fits := true
	got := r.list(ctx, a, path, again, func(reader *crl.Reader, e entry) {
		key, ok := keyOf(reader.Serial())
		fits = fits && ok
		f.serials = append(f.serials, key)
		f.at = append(f.at, uint32(e.at.Unix()))
		f.reasons = append(f.reasons, uint8(e.reason))
	})
	if got == absent {
		r.say(Warning, FullMissing, r.c.Base+path, "there is no full list: no certificate names it, but who mirrors everything misses it")
	}
	if got != read || !fits || !a.lists[path].head.Sorted {
		return nil
	}
	f.thisUpdate = a.lists[path].head.ThisUpdate
	f.matched = make([]uint64, len(f.serials)/64+1)
	return f
}

// keyOf pads a serial of at most 20 octets.
func keyOf(serial []byte) (key [20]byte, ok bool) {
	if len(serial) == 21 && serial[0] == 0 {
		serial = serial[1:]
	}
	if len(serial) > len(key) || len(serial) == 0 || serial[0] >= 0x80 && len(serial) < len(key) {
		return key, false
	}
	copy(key[len(key)-len(serial):], serial)
	return key, true
}

// comparison is what comparing one partition with the full list finds.
type comparison struct {
	full           *entries
	lacks, differs int
	lacking        []byte // a serial, for one
	differing      []byte
}

// comparison begins to compare; with no full list it compares nothing.
func (f *entries) comparison() *comparison { return &comparison{full: f} }

// see compares one entry of a partition of partitionAt. What was revoked after the full
// list was made is not on it, and a reason may have become graver since.
func (c *comparison) see(serial []byte, e entry, partitionAt time.Time) {
	if c.full == nil {
		return
	}
	key, ok := keyOf(serial)
	if !ok {
		return
	}
	i, found := slices.BinarySearchFunc(c.full.serials, key, func(a, b [20]byte) int { return bytes.Compare(a[:], b[:]) })
	if !found {
		if e.at.Before(c.full.thisUpdate) {
			c.lacks++
			c.lacking = bytes.Clone(serial)
		}
		return
	}
	c.full.matched[i/64] |= 1 << (i % 64)
	reasonMayDiffer := partitionAt.After(c.full.thisUpdate)
	if c.full.at[i] != uint32(e.at.Unix()) || c.full.reasons[i] != uint8(e.reason) && !reasonMayDiffer {
		c.differs++
		c.differing = bytes.Clone(serial)
	}
}

// differences tells what comparing a partition has found.
func (r *round) differences(a *authority, path string, c *comparison) {
	subject := r.c.Base + "/crl/" + a.name + "/full.crl"
	if c.lacks > 0 {
		r.say(Failure, FullLacks, subject, "it lacks %d entries of %s, serial %x for one", c.lacks, path, c.lacking)
	}
	if c.differs > 0 {
		r.say(Failure, FullDiffers, subject, "it says otherwise than %s of %d entries, serial %x for one", path, c.differs, c.differing)
	}
}

// unmatched counts entries that no partition has, though all partitions are younger than
// they.
func (f *entries) unmatched(oldestPartition time.Time) (n int, example []byte) {
	for i := range f.serials {
		if f.matched[i/64]&(1<<(i%64)) == 0 && time.Unix(int64(f.at[i]), 0).Before(oldestPartition) {
			n, example = n+1, f.serials[i][:]
		}
	}
	return n, example
}
