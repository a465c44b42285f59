package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/revocation"
)

// anew is after how many full lists one is made from the ledger again: an error in
// what was carried over from list to list would live no longer than that.
const anew = 24

// job is one list on its way.
type job struct {
	*Scope
	*state
	path   string
	public *public // nil: nothing is public
	next   revocation.Publication
	err    error
}

// public is the list that relying parties see now.
type public struct {
	number     *big.Int
	thisUpdate time.Time
	sha256     [32]byte
}

// look finds out what is public. A file that is not a CRL of the issuer is an
// error and not "nothing": a first CRL in its place would be unchecked against
// what was public before.
func (j *job) look() error {
	f, info, err := openPublic(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the public CRL: %w", err)
	}
	defer f.Close()
	if stampOf(info) == j.file { // seen to be what the table says; its octets are compared later
		j.public = &public{big.NewInt(j.published.Number), j.published.ThisUpdate, j.published.SHA256}
		return nil
	}
	head, err := readHead(f, j.Scope)
	if err != nil {
		return fmt.Errorf("the public CRL %s is damaged or another issuer's; look why, then move it away: %w", j.path, err)
	}
	j.public = &public{head.Number, head.ThisUpdate, head.SHA256}
	return nil
}

// openPublic opens a list for reading. The directory may be written by others: what
// is no file, or too large to be a list, is not waited for.
func openPublic(path string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > crl.MaxOctets) {
		err = fmt.Errorf("%s is no file that could be a list", path)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// readHead reads and verifies a scope's list and returns what it says of itself.
func readHead(r io.Reader, s *Scope) (*crl.Head, error) {
	list, err := crl.NewReader(r, s.Signer.Certificate())
	if err != nil {
		return nil, err
	}
	for list.Next() {
	}
	head, err := list.Finish()
	switch {
	case err != nil:
		return nil, err
	case head.Number == nil:
		return nil, errors.New("the CRL has no number")
	case head.DistributionPoint != s.URL:
		return nil, fmt.Errorf("it is the list of %q", head.DistributionPoint)
	}
	return head, nil
}

// behind reports that the database is older than what is public.
func (j *job) behind(newest int64) error {
	number := j.seen()
	if number == nil || number.Cmp(big.NewInt(newest)) <= 0 {
		return nil
	}
	return fmt.Errorf("the public CRL has number %v, the newest in the database is %d: the database is older than what relying parties have seen, "+
		"probably restored; bring it up to date before anything is published", number, newest)
}

// seen returns the highest number that relying parties can have seen; nil: none.
func (j *job) seen() *big.Int {
	if j.public != nil && (j.elsewhere == nil || j.public.number.Cmp(j.elsewhere) > 0) {
		return j.public.number
	}
	return j.elsewhere
}

// above returns the number after the newest of the table and of what is public.
func (j *job) above(newest int64) (int64, error) {
	if seen := j.seen(); seen != nil && seen.Cmp(big.NewInt(newest)) > 0 {
		if !seen.IsInt64() || seen.Int64() == math.MaxInt64 {
			return 0, fmt.Errorf("no number is above %v, which is public", seen)
		}
		newest = seen.Int64()
	}
	return newest + 1, nil
}

// remember notes what a published job leaves for the next.
func (j *job) remember(now time.Time) {
	j.published, j.last, j.doubtful = j.next, now, false
	var left []change // the rest is let go
	for _, c := range j.changes {
		if c.number > j.next.Through {
			left = append(left, c)
		}
	}
	j.changes = left
	j.complete = true
	j.file = fileStamp{}
	if info, err := os.Stat(j.path); err == nil {
		j.file = stampOf(info)
	}
}

// write writes the signed list into f.
//
// An expired entry leaves only after it appeared in a CRL issued after its
// expiry (RFC 5280, 3.3): what ended before the last published CRL's thisUpdate
// was in that one, or in one before it.
func (p *Publisher) write(ctx context.Context, j *job, list crl.List, f io.Writer) error {
	j.next.KeptFrom = time.Unix(0, 0).UTC()
	if j.published.Number > 0 {
		j.next.KeptFrom = j.published.ThisUpdate
	}
	if p.head < j.published.Through {
		return fmt.Errorf("the last CRL contains what is numbered up to %d, the newest number is %d: numbers have gone backwards", j.published.Through, p.head)
	}
	if !p.ahead && j.carries(p.dirty[j.list()]) {
		return p.advance(ctx, j, list, f)
	}
	return p.rebuild(ctx, j, list, f)
}

// carries reports whether the list is made from the public one: that must be the
// one that the table knows, all changes since must be known, and now and then a
// list is made from the ledger all the same: a partition when nothing has changed
// and there is time, the full list by its number.
func (j *job) carries(dirty int64) bool {
	if j.public == nil || j.public.sha256 != j.published.SHA256 || !j.complete || j.published.KeptFrom.IsZero() || j.next.NextUpdate.Equal(Endless) {
		return false
	}
	if j.Partition == revocation.Whole {
		return j.next.Number%anew != 0
	}
	return dirty > j.published.Through
}

// rebuild makes the list from the ledger. The lines are read first and signed
// after, so that no transaction is open while a token signs.
func (p *Publisher) rebuild(ctx context.Context, j *job, list crl.List, f io.Writer) error {
	lines := &spool{dir: filepath.Dir(j.path)}
	defer lines.close()
	var through int64
	var ahead map[ca.Serial]int
	err := p.Store.View(ctx, func(tx *revocation.Tx) (err error) {
		if err := lines.reset(); err != nil { // View may call again
			return err
		}
		ahead = map[ca.Serial]int{}
		err = tx.UnnumberedEntries(func(e revocation.Entry) error {
			if e.Issuer == j.Issuer && (j.Partition == revocation.Whole || e.Partition == j.Partition) && !e.NotAfter.Before(j.next.KeptFrom) {
				ahead[e.Serial] = max(ahead[e.Serial], e.Version)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if through, err = tx.HeadNumber(); err != nil {
			return err
		}
		return tx.Lines(j.list(), j.next.KeptFrom, lines.add)
	})
	if err != nil {
		return fmt.Errorf("reading the entries: %w", err)
	}
	j.next.Through, j.ahead, j.exact = through, ahead, true
	return j.Signer.WriteCRL(f, list, crl.Lines{Count: lines.count, Octets: lines.octets, Write: lines.each})
}

// advance makes the list from the public one: its octets, without the lines that
// leave, with those that have come.
func (p *Publisher) advance(ctx context.Context, j *job, list crl.List, f io.Writer) error {
	e, err := p.edits(ctx, j)
	if err != nil {
		return fmt.Errorf("reading what ends: %w", err)
	}
	old, _, err := openPublic(j.path)
	if err != nil {
		return err
	}
	defer old.Close()
	from, err := crl.NewReader(old, nil)
	if err != nil {
		return err
	}
	lines := crl.Lines{Count: j.published.Entries - len(e.gone) + len(e.added), Octets: from.Octets(),
		Write: func(yield func([]byte) error) error { return e.merge(from, j.published.SHA256, yield) }}
	for _, octets := range e.gone {
		lines.Octets -= int64(octets)
	}
	for i := range e.added {
		lines.Octets += int64(len(e.added[i].line))
	}
	j.next.Through, j.exact = p.tail, true
	return j.Signer.WriteCRL(f, list, lines)
}

// edits are what a list differs in from the one before.
type edits struct {
	gone  map[ca.Serial]int // lengths of the lines that leave
	added []change          // by serial
}

// edits finds what has changed since the public list: entries whose certificates
// ended leave, a graver version replaces the line before it, the others come.
func (p *Publisher) edits(ctx context.Context, j *job) (edits, error) {
	first, last := map[ca.Serial]int{}, map[ca.Serial]change{}
	for _, c := range j.changes {
		if first[c.serial] == 0 {
			first[c.serial] = c.version
		}
		last[c.serial] = c
	}
	e := edits{gone: map[ca.Serial]int{}}
	for serial, c := range last {
		// A line keeps its length: date and presence of a reason do not change.
		if first[serial] > 1 && !c.notAfter.Before(j.published.KeptFrom) {
			e.gone[serial] = len(c.line)
		}
		if !c.notAfter.Before(j.next.KeptFrom) {
			e.added = append(e.added, c)
		}
	}
	slices.SortFunc(e.added, func(a, b change) int { return bytes.Compare(a.serial[:], b.serial[:]) })
	var ended map[ca.Serial]int
	err := p.Store.View(ctx, func(tx *revocation.Tx) error {
		ended = map[ca.Serial]int{} // anew: View may call again
		return tx.EntriesIn(j.list(), j.published.KeptFrom, j.next.KeptFrom, func(x revocation.Entry) error {
			if first[x.Serial] != 1 { // 1: it came since, and never was on the list
				ended[x.Serial] = len(x.Line)
			}
			return nil
		})
	})
	for serial, octets := range ended {
		e.gone[serial] = octets
	}
	if err != nil || j.exact || len(last)+len(j.unsure) == 0 {
		return e, err
	}
	return e, j.present(last, e.gone)
}

// present finds which of the changes the public list has already, whose lines make
// way for those that come, and what it is ahead with.
func (j *job) present(changed map[ca.Serial]change, gone map[ca.Serial]int) error {
	unsure := map[ca.Serial]change{}
	for _, c := range j.unsure {
		if c.version > unsure[c.serial].version {
			unsure[c.serial] = c
		}
	}
	j.ahead = map[ca.Serial]int{}
	f, _, err := openPublic(j.path)
	if err != nil {
		return err
	}
	defer f.Close()
	old, err := crl.NewReader(f, nil)
	if err != nil {
		return err
	}
	for old.Next() {
		if len(old.Serial()) != len(ca.Serial{}) {
			continue
		}
		serial := ca.Serial(old.Serial())
		if _, is := changed[serial]; is {
			gone[serial] = len(old.Line())
		} else if c, is := unsure[serial]; is && bytes.Equal(c.line, old.Line()) {
			j.ahead[serial] = c.version
		}
	}
	_, err = old.Finish()
	return err
}

// merge yields the lines of the new list by serial, and fails at the end, before
// anything is signed, if the old one is not the one with this hash.
func (e *edits) merge(old *crl.Reader, was [32]byte, yield func([]byte) error) error {
	added := e.added
	for old.Next() {
		serial := old.Serial()
		for len(added) > 0 && bytes.Compare(added[0].serial[:], serial) < 0 {
			if err := yield(added[0].line); err != nil {
				return err
			}
			added = added[1:]
		}
		if len(e.gone) > 0 && len(serial) == len(ca.Serial{}) {
			if _, gone := e.gone[ca.Serial(serial)]; gone {
				continue
			}
		}
		if err := yield(old.Line()); err != nil {
			return err
		}
	}
	for i := range added {
		if err := yield(added[i].line); err != nil {
			return err
		}
	}
	head, err := old.Finish()
	if err == nil && head.SHA256 != was {
		// Whoever can write the public directory must not have his octets signed.
		err = errors.New("the public CRL is not the one that was published")
	}
	return err
}
