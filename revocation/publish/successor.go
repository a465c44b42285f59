package publish

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/revocation"
)

// lintBatch is how many new entries are shown to the linter at a time.
const lintBatch = 1000

// successor reports why the list in f may not replace the public one (nothing, if
// there is none). Whatever went wrong before, relying parties never see a list
// that goes back in number, time or content, that is another scope's, that does
// not verify or that the linter refuses. It reads both lists from their files,
// side by side and in one pass, and asks the ledger what has left; nothing of how
// the list was made is believed.
func (p *Publisher) successor(ctx context.Context, j *job, list crl.List, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	fresh, err := crl.NewReader(f, j.Signer.Certificate())
	if err != nil {
		return err
	}
	c := comparison{fresh: fresh, lint: func(lines [][]byte) error { return p.lint(j, list, lines) }}
	if j.public != nil {
		old, _, err := openPublic(j.path)
		if err != nil {
			return err
		}
		defer old.Close()
		if c.old, err = crl.NewReader(old, nil); err != nil { // its octets are known by their hash
			return err
		}
	}
	if err := c.run(); err != nil {
		return err
	}
	head, err := fresh.Finish()
	if err != nil {
		return err
	}
	if err := j.says(head); err != nil {
		return err
	}
	if c.old != nil {
		public, err := c.old.Finish()
		if err != nil {
			return err
		}
		if public.SHA256 != j.public.sha256 {
			return errors.New("the public CRL has changed meanwhile")
		}
		if err := notBackwards(j.public.number, head.Number, j.public.thisUpdate, head.ThisUpdate); err != nil {
			return err
		}
		if err := p.mayLeave(ctx, c.left, j.public.thisUpdate); err != nil {
			return err
		}
	}
	j.next.State, j.next.Entries, j.next.SHA256 = revocation.Published, head.Entries, head.SHA256
	return nil
}

// lint shows the linter the list with some of its lines.
func (p *Publisher) lint(j *job, list crl.List, lines [][]byte) error {
	sample, err := j.Signer.SampleCRL(list, lines)
	if err != nil {
		return err
	}
	if err := p.Lint.LintCRL(sample); err != nil {
		return fmt.Errorf("lint: %w", err)
	}
	return nil
}

// says compares what the list says of itself with what it shall say.
func (j *job) says(head *crl.Head) error {
	switch {
	case head.DistributionPoint != j.URL || head.Scope.Present != (j.URL != ""):
		return fmt.Errorf("it is for %q, the certificates say %q", head.DistributionPoint, j.URL)
	case head.Number == nil || head.Number.Cmp(big.NewInt(j.next.Number)) != 0:
		return fmt.Errorf("it has number %v", head.Number)
	case !head.ThisUpdate.Equal(j.next.ThisUpdate) || !head.NextUpdate.Equal(j.next.NextUpdate):
		return fmt.Errorf("it is for %v to %v", head.ThisUpdate, head.NextUpdate)
	case !head.Sorted || head.DeltaBase != nil || len(head.UnknownCritical) > 0 || head.CriticalEntries > 0:
		return errors.New("it is not in order, a delta, or has critical extensions that it should not")
	}
	return nil
}

// mayLeave asks the ledger whether what has left the list was on one that was
// issued after the end of its certificate.
func (p *Publisher) mayLeave(ctx context.Context, left []ca.Serial, thisUpdate time.Time) error {
	if len(left) == 0 {
		return nil
	}
	return p.Store.View(ctx, func(tx *revocation.Tx) error {
		for _, serial := range left {
			entry, revoked, err := tx.Revocation(serial)
			switch {
			case err != nil:
				return err
			case !revoked:
				return fmt.Errorf("serial %s is on the public CRL and not known to the database", serial)
			case !entry.NotAfter.Before(thisUpdate):
				return fmt.Errorf("serial %s would be dropped though it was not on a CRL after its end %v", serial, entry.NotAfter)
			}
		}
		return nil
	})
}

// comparison walks two lists side by side; both are sorted by serial.
type comparison struct {
	old, fresh *crl.Reader // old is nil: every line is new
	left       []ca.Serial // on old and not on fresh
	lint       func(lines [][]byte) error

	added [][]byte
	shown bool // the linter has seen the list
}

func (c *comparison) run() error {
	more := c.old != nil && c.old.Next()
	for c.fresh.Next() {
		serial := c.fresh.Serial()
		order := 1
		for more {
			if order = bytes.Compare(c.old.Serial(), serial); order >= 0 {
				break
			}
			if err := c.leave(); err != nil {
				return err
			}
			more = c.old.Next()
		}
		if more && order == 0 {
			if err := c.same(); err != nil {
				return err
			}
			more = c.old.Next()
			continue
		}
		if err := c.add(); err != nil {
			return err
		}
	}
	for more {
		if err := c.leave(); err != nil {
			return err
		}
		more = c.old.Next()
	}
	if len(c.added) > 0 || !c.shown {
		return c.lint(c.added)
	}
	return nil
}

// leave notes that the old list's line is not on the new one.
func (c *comparison) leave() error {
	serial, ours := ca.SerialOf(new(big.Int).SetBytes(c.old.Serial()))
	if !ours {
		return fmt.Errorf("serial %x is on the public CRL and not known to the database", c.old.Serial())
	}
	c.left = append(c.left, serial)
	return nil
}

// same compares two lines of one serial: a date never moves, and only a graver
// reason takes the place of another.
func (c *comparison) same() error {
	if bytes.Equal(c.old.Line(), c.fresh.Line()) {
		return nil
	}
	was, err := crl.ParseRevoked(c.old.Line())
	if err != nil {
		return fmt.Errorf("on the public CRL: %w", err)
	}
	is, err := crl.ParseRevoked(c.fresh.Line())
	if err != nil {
		return err
	}
	if !is.At.Equal(was.At) || !revocation.Graver(is.Reason, was.Reason) {
		return fmt.Errorf("serial %s is revoked at %v as %v, the public CRL says at %v as %v", is.Serial, is.At, is.Reason, was.At, was.Reason)
	}
	return c.add()
}

// add notes a line that relying parties have not seen: it is linted once, here.
func (c *comparison) add() error {
	c.added = append(c.added, bytes.Clone(c.fresh.Line()))
	if len(c.added) < lintBatch {
		return nil
	}
	err := c.lint(c.added)
	c.added, c.shown = c.added[:0], true
	return err
}

// ErrClock says that a list would be older than the public one, because the clock
// has gone back. The public one stays, and is good until its own nextUpdate.
var ErrClock = errors.New("look at the clock")

// notBackwards compares what two lists of one scope say of themselves.
func notBackwards(was, is *big.Int, wasUpdate, isUpdate time.Time) error {
	if was != nil && is.Cmp(was) <= 0 {
		return fmt.Errorf("the public CRL has number %v", was)
	}
	if isUpdate.Before(wasUpdate) {
		return fmt.Errorf("thisUpdate %v is before that of the public CRL, %v: %w", isUpdate, wasUpdate, ErrClock)
	}
	return nil
}

// parseCRL reads der and verifies it under issuer.
func parseCRL(der []byte, issuer *x509.Certificate) (*x509.RevocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, err
	}
	if list.Number == nil {
		return nil, errors.New("the CRL has no number")
	}
	return list, nil
}
