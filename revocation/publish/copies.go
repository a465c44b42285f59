package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/durable"
	"sigill/revocation"
)

// copyPart is how many octets of a list the store is given at a time.
const copyPart = 1 << 20

// copied is what a process that does not publish has put in place.
type copied struct {
	number int64
	file   fileStamp
}

// share gives the store the octets of the list in f, for the processes that do not
// publish, in place of the list before. It may be called again.
func (j *job) share(tx *revocation.Tx, f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	c := revocation.Copy{Issuer: j.Issuer, Scope: j.next.Scope, Number: j.next.Number}
	if err := tx.DeleteCopy(c.Issuer, c.Scope); err != nil {
		return err
	}
	octets := make([]byte, copyPart)
	for part := 0; ; part++ {
		n, err := io.ReadFull(f, octets)
		if n > 0 {
			if err := tx.InsertCopyPart(c, part, octets[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// follow puts in place what another process has published, octet for octet. One
// list's error does not keep the others back; it is tried again after a pause.
//
// Who leads looks too: at first, to go on from the newest lists, and always, because
// another one may have led for a moment. What it can't copy it makes anew, by numbers
// above it.
func (p *Publisher) follow(ctx context.Context, leads bool, now time.Time) error {
	if p.copied == nil {
		if err := p.sweep(); err != nil {
			return err
		}
		p.copied = map[revocation.List]copied{}
	}
	if p.pause == nil {
		p.pause = map[revocation.List]trouble{}
	}
	type name struct {
		issuer ca.IssuerID
		scope  string
	}
	copies := map[name]revocation.Copy{}
	err := p.Store.View(ctx, func(tx *revocation.Tx) error {
		list, err := tx.Copied()
		clear(copies) // View may call again
		for _, c := range list {
			copies[name{c.Issuer, c.Scope}] = c
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("finding CRLs to copy: %w", err)
	}
	p.shared = map[revocation.List]int64{}
	var errs []error
	n := 0
	for i := range p.Scopes {
		s := &p.Scopes[i]
		p.shared[s.list()] = copies[name{s.Issuer, s.list().Scope()}].Number
		c, there := copies[name{s.Issuer, s.list().Scope()}]
		if !there || p.has(s, c.Number) {
			continue
		}
		if t := p.pause[s.list()]; !leads && now.Before(t.until) && !now.Before(t.at) {
			errs = append(errs, t.err)
			continue
		}
		done, err := p.fetch(ctx, s, c)
		if done {
			n++
		}
		if leads {
			continue
		}
		if err := p.settle(&job{Scope: s, err: err}, now); err != nil {
			errs = append(errs, err)
		}
	}
	if n > 0 {
		p.Log.Info("copied CRLs", "count", n)
	}
	return errors.Join(errs...)
}

// has reports whether the public file is the list with this number, as it was when it
// was put in place. It forgets of who leads what another process has gone beyond.
func (p *Publisher) has(s *Scope, number int64) bool {
	if st := p.known[s.list()]; st != nil && number <= st.published.Number {
		return true // its own pass looks at the file
	}
	delete(p.known, s.list())
	c, known := p.copied[s.list()]
	if !known || c.number != number {
		return false
	}
	info, err := os.Stat(p.path(s))
	return err == nil && stampOf(info) == c.file
}

// fetch puts a list in place from the store's copy. Nothing of the copy is believed:
// it must be the list that the table calls published, verify, and not go behind what
// is public here. A list that is newer here stays: it was put in place by this process
// when it led, and it did not get to say so. Who leads publishes above it.
func (p *Publisher) fetch(ctx context.Context, s *Scope, c revocation.Copy) (done bool, err error) {
	j := &job{Scope: s, state: &state{}, path: p.path(s)}
	if err := j.look(); err != nil {
		return false, err
	}
	if err := durable.MkdirAll(filepath.Dir(j.path), 0o755); err != nil {
		return false, err
	}
	f, err := durable.Create(j.path, 0o644)
	if err != nil {
		return false, err
	}
	defer f.Abort()
	found, reserved, err := p.read(ctx, s, c, f.File)
	switch {
	case err != nil:
		return false, err
	case found.Number == 0: // there is a newer one by now
		return false, nil
	case j.public != nil && j.public.sha256 == found.SHA256:
		p.noteCopy(s, found.Number)
		return false, nil
	case j.public != nil && j.public.number.Cmp(big.NewInt(found.Number)) >= 0:
		return false, j.behind(reserved)
	}
	if err := j.isPublication(f.File, &found); err != nil {
		return false, fmt.Errorf("the copy of number %d is not put in place: %w", c.Number, err)
	}
	if err := f.Commit(); err != nil {
		return false, err
	}
	p.noteCopy(s, found.Number)
	return true, nil
}

// noteCopy remembers what has been put in place.
func (p *Publisher) noteCopy(s *Scope, number int64) {
	delete(p.copied, s.list())
	if info, err := os.Stat(p.path(s)); err == nil {
		p.copied[s.list()] = copied{number, stampOf(info)}
	}
}

// read writes the octets of a copy into f and returns the row of what is published,
// zero if that is another list, and the highest number of the scope.
func (p *Publisher) read(ctx context.Context, s *Scope, c revocation.Copy, f *os.File) (found revocation.Publication, reserved int64, err error) {
	err = p.Store.View(ctx, func(tx *revocation.Tx) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil { // View may call again
			return err
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
		last, err := newest(tx, s, "")
		if err != nil {
			return err
		}
		reserved = last.Number
		if found, err = newest(tx, s, revocation.Published); err != nil {
			return err
		}
		var size int64
		for part := 0; found.Number == c.Number; part++ {
			octets, err := tx.CopyPart(c, part)
			if size += int64(len(octets)); err == nil && size > crl.MaxOctets {
				return fmt.Errorf("the copy of number %d is larger than a list may be", c.Number)
			}
			if errors.Is(err, revocation.ErrNotFound) {
				if part == 0 { // replaced between the look and this snapshot
					found = revocation.Publication{}
				}
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := f.Write(octets); err != nil {
				return err
			}
		}
		found = revocation.Publication{}
		return nil
	})
	return found, reserved, err
}

// isPublication reports why the list in f is not the one that was published, or must
// not follow the public one.
func (j *job) isPublication(f io.ReadSeeker, published *revocation.Publication) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	head, err := readHead(f, j.Scope)
	if err != nil {
		return err
	}
	if head.SHA256 != published.SHA256 {
		return errors.New("it does not have the hash of what was published")
	}
	j.next = *published
	if err := j.says(head); err != nil {
		return err
	}
	if j.public == nil {
		return nil
	}
	return notBackwards(j.public.number, head.Number, j.public.thisUpdate, head.ThisUpdate)
}
