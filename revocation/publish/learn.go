package publish

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/durable"
	"sigill/revocation"
)

const (
	// tailBatch is how many numbered entries are read at a time.
	tailBatch = 1000
	// maxChanges is how many changes of a list are held. A list with more is
	// made anew from the ledger, which is then hardly slower.
	maxChanges = 200_000
)

// state is what the publisher remembers of a scope, so that a pass in which
// nothing is due reads one number and the tail, and a list in which little
// changed is made from the one before.
type state struct {
	published revocation.Publication // zero if there is none
	file      fileStamp              // of the public file when it was last seen to be published
	last      time.Time              // of the last publication of this process
	// changes are the entries numbered above published.Through, in order, all
	// of them if complete.
	changes  []change
	complete bool
	// ahead are the entries that the public list has and that had no number when
	// it was read from the ledger: their highest versions there.
	ahead map[ca.Serial]int
	// unsure are the entries that had no number when this process began to know
	// the list: it may have them already.
	unsure []change
	// exact says that the public list is known to have what is numbered up to
	// published.Through, what is ahead, and nothing else. Of what another process
	// has published it is not.
	exact bool
	// doubtful: a number above it was reserved by a process that led before. What it
	// made with it may be public in its directory, so the next list goes above it.
	doubtful bool
	// elsewhere is the number of the list where it is brought to, if asked; nil if
	// that was not told.
	elsewhere *big.Int
	asked     bool
}

// change is an entry that a list has not yet.
type change struct {
	number   int64
	serial   ca.Serial
	version  int
	notAfter time.Time
	line     []byte
}

// fileStamp tells whether a file was touched since it was read.
type fileStamp struct {
	modified time.Time
	size     int64
}

func stampOf(info os.FileInfo) fileStamp { return fileStamp{info.ModTime(), info.Size()} }

// learn brings what is known of the scopes up to the committed state.
func (p *Publisher) learn(ctx context.Context) error {
	if p.known == nil {
		if err := p.sweep(); err != nil {
			return err
		}
		p.known, p.dirty, p.pause = map[revocation.List]*state{}, map[revocation.List]int64{}, map[revocation.List]trouble{}
		p.tail = -1
	}
	var read map[revocation.List]*state
	var found []revocation.Numbered
	var without []revocation.Entry // a number
	var tail, head int64
	err := p.Store.View(ctx, func(tx *revocation.Tx) (err error) {
		read, found, without, tail = nil, nil, nil, p.tail // anew: View may call again
		if read, err = p.unknown(tx); err != nil {
			return err
		}
		if len(read) > 0 || p.ahead {
			err := tx.UnnumberedEntries(func(e revocation.Entry) error { without = append(without, e); return nil })
			if err != nil {
				return err
			}
		}
		if head, err = tx.HeadNumber(); err != nil {
			return err
		}
		if tail < 0 {
			tail = p.begin(read, head)
		}
		// Most numbers are not revocations': those up to head are behind us too.
		for after := tail; after < head; {
			batch, err := tx.NumberedEntries(after, tailBatch)
			if err != nil {
				return err
			}
			found = append(found, batch...)
			if len(batch) < tailBatch {
				break
			}
			after = batch[len(batch)-1].Number
		}
		tail = max(tail, head)
		return nil
	})
	if err != nil {
		return err
	}
	for list, st := range read {
		// What is learnt again in the middle has lost the changes since.
		st.complete = p.tail < 0 || st.published.Through >= p.tail
		p.known[list] = st
	}
	p.loose = map[revocation.List]map[ca.Serial]int{}
	for _, e := range without {
		p.noteLoose(&e)
		for _, list := range listsOf(&e) {
			if st := read[list]; st != nil {
				st.unsure = append(st.unsure, change{serial: e.Serial, version: e.Version, line: e.Line})
			}
		}
	}
	for i := range found {
		p.note(&found[i])
	}
	p.tail, p.head = tail, head
	return nil
}

// begin returns from where a new process reads the tail: from the least that a
// public list contains. What was never published is made from the ledger.
func (p *Publisher) begin(read map[revocation.List]*state, head int64) int64 {
	tail := head
	for i := range p.Scopes {
		if st := read[p.Scopes[i].list()]; st != nil && st.published.Number > 0 {
			tail = min(tail, st.published.Through)
		}
	}
	return tail
}

// unknown reads the newest publication of each scope that is not known.
func (p *Publisher) unknown(tx *revocation.Tx) (map[revocation.List]*state, error) {
	read := map[revocation.List]*state{}
	for i := range p.Scopes {
		s := &p.Scopes[i]
		if p.known[s.list()] != nil {
			continue
		}
		last, err := newest(tx, s, revocation.Published)
		if err != nil {
			return nil, err
		}
		read[s.list()] = &state{published: last}
		if p.Leader == nil {
			continue // one directory: its file tells
		}
		if last, err = newest(tx, s, ""); err != nil {
			return nil, err
		}
		read[s.list()].doubtful = last.Number > read[s.list()].published.Number
	}
	return read, nil
}

// listsOf returns the lists that an entry belongs in, its partition's first.
func listsOf(e *revocation.Entry) [2]revocation.List {
	return [2]revocation.List{{Issuer: e.Issuer, Partition: e.Partition}, {Issuer: e.Issuer, Partition: revocation.Whole}}
}

// note adds an entry to the changes of the lists that it belongs in.
func (p *Publisher) note(e *revocation.Numbered) {
	lists := listsOf(&e.Entry)
	p.dirty[lists[0]] = e.Number
	for _, list := range lists {
		st := p.known[list]
		switch {
		case st == nil || e.Number <= st.published.Through || !st.complete:
		case e.Version <= st.ahead[e.Serial]: // it is there already
			if e.Version == st.ahead[e.Serial] {
				delete(st.ahead, e.Serial)
			}
		case len(st.changes) == maxChanges:
			st.changes, st.complete = nil, false
		default:
			st.changes = append(st.changes, change{e.Number, e.Serial, e.Version, e.NotAfter, e.Line})
		}
	}
}

// noteLoose remembers, while nothing is numbered, an entry that the list of its partition
// must have all the same.
func (p *Publisher) noteLoose(e *revocation.Entry) {
	if !p.ahead {
		return
	}
	list := listsOf(e)[0]
	if p.loose[list] == nil {
		p.loose[list] = map[ca.Serial]int{}
	}
	p.loose[list][e.Serial] = max(p.loose[list][e.Serial], e.Version)
}

// lacksLoose reports whether a list was published without such an entry, as far as this
// process knows.
func (p *Publisher) lacksLoose(list revocation.List) bool {
	for serial, version := range p.loose[list] {
		if p.known[list].ahead[serial] < version {
			return true
		}
	}
	return false
}

// sweep removes what a process that was killed has left beside the CRLs.
func (p *Publisher) sweep() error {
	for i := range p.Scopes {
		dir := filepath.Join(p.Dir, filepath.Dir(CRLPath(p.Scopes[i].Issuer, 0)))
		if err := durable.Sweep(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// newest returns the publication with the highest number, the zero one if there
// is none.
func newest(tx *revocation.Tx, s *Scope, state revocation.PublicationState) (revocation.Publication, error) {
	last, err := tx.NewestPublication(s.Issuer, s.list().Scope(), state)
	switch {
	case errors.Is(err, revocation.ErrNotFound):
		return revocation.Publication{}, nil
	case err != nil:
		return revocation.Publication{}, err
	}
	return *last, nil
}

// Reserve uses up the number of a list that is public and that the table does not know,
// so that what is published next goes above it.
func Reserve(tx revocation.Publications, list revocation.List, number int64, now time.Time) error {
	last, err := tx.NewestPublication(list.Issuer, list.Scope(), "")
	if err != nil && !errors.Is(err, revocation.ErrNotFound) {
		return err
	}
	if err == nil && last.Number >= number {
		return nil
	}
	now = now.UTC().Truncate(time.Second)
	return tx.InsertPublication(&revocation.Publication{Issuer: list.Issuer, Scope: list.Scope(), Number: number, State: revocation.Reserved,
		ThisUpdate: now, NextUpdate: now})
}

// unlisted reports entries of scopes that nobody publishes: those certificates
// are revoked and no CRL will ever say so.
func (p *Publisher) unlisted() error {
	var errs []error
	for list := range p.dirty {
		if p.known[list] == nil {
			errs = append(errs, fmt.Errorf("crl %s: it has entries and no publisher", list))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
