package publish

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"

	"sigill/ca"
	"sigill/revocation"
)

// readPublic reads the CRL that relying parties see now, nil if there is none.
// A file that is not a CRL of the issuer is an error and not "none": a first CRL
// in its place would be unchecked against what was public before.
func readPublic(path string, issuer *x509.Certificate) (*x509.RevocationList, error) {
	der, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the public CRL: %w", err)
	}
	list, err := parseCRL(der, issuer)
	if err != nil {
		return nil, fmt.Errorf("the public CRL %s is damaged or another issuer's; look why, then move it away: %w", path, err)
	}
	return list, nil
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

// read fills list and next.Through from one snapshot. dropped are the serials
// of the public CRL that the list leaves out, with the end of their certificates,
// zero if the ledger does not know them.
//
// An expired entry leaves only after it appeared in a CRL issued after its
// expiry (RFC 5280, 3.3): what ended before the last published CRL's thisUpdate
// was in that one, or in one before it.
func (p *Publisher) read(ctx context.Context, s *Scope, public *x509.RevocationList, next *revocation.Publication) (list ca.CRL, dropped map[string]time.Time, err error) {
	var through int64
	err = p.Store.View(ctx, func(tx *revocation.Tx) error {
		list = ca.CRL{Number: next.Number, ThisUpdate: next.ThisUpdate, NextUpdate: next.NextUpdate, DistributionPoint: s.URL}
		dropped = map[string]time.Time{}
		last, err := newest(tx, s, revocation.Published)
		if err != nil {
			return err
		}
		if through, err = tx.HeadNumber(); err != nil {
			return err
		}
		if through < last.Through {
			return fmt.Errorf("the last CRL contains what is numbered up to %d, the newest number is %d: numbers have gone backwards", last.Through, through)
		}
		since := time.Unix(0, 0)
		if last.Number > 0 {
			since = last.ThisUpdate
		}
		err = tx.EntriesIn(s.Issuer, s.Partition, since, func(e revocation.Entry) error {
			list.Entries = append(list.Entries, ca.Revoked{Serial: e.Serial, At: e.At, Reason: e.Reason})
			return nil
		})
		if err != nil {
			return err
		}
		return findDropped(tx, public, list.Entries, dropped)
	})
	if err != nil {
		return ca.CRL{}, nil, err
	}
	next.Through = through
	return list, dropped, nil
}

// findDropped looks up what the public CRL has and the new entries have not.
func findDropped(tx *revocation.Tx, public *x509.RevocationList, entries []ca.Revoked, dropped map[string]time.Time) error {
	if public == nil {
		return nil
	}
	kept := make(map[ca.Serial]bool, len(entries))
	for i := range entries {
		kept[entries[i].Serial] = true
	}
	for i := range public.RevokedCertificateEntries {
		number := public.RevokedCertificateEntries[i].SerialNumber
		serial, ours := ca.SerialOf(number)
		if ours && kept[serial] {
			continue
		}
		var end time.Time
		if ours {
			entry, revoked, err := tx.Revocation(serial)
			if err != nil {
				return err
			}
			if revoked {
				end = entry.NotAfter
			}
		}
		dropped[number.String()] = end
	}
	return nil
}

// successor reports why der may not replace the public CRL (nil if there is
// none). Whatever went wrong before, relying parties never see a list that goes
// back in number, time or content, that is another scope's or that does not
// verify.
func successor(public *x509.RevocationList, der []byte, s *Scope, next *revocation.Publication, dropped map[string]time.Time) error {
	list, err := parseCRL(der, s.Signer.Certificate())
	if err != nil {
		return err
	}
	url, err := ca.IssuingDistributionPoint(list)
	if err != nil {
		return err
	}
	switch {
	case url != s.URL:
		return fmt.Errorf("it is for %q, the certificates say %q", url, s.URL)
	case list.Number.Cmp(big.NewInt(next.Number)) != 0:
		return fmt.Errorf("it has number %v", list.Number)
	case !list.ThisUpdate.Equal(next.ThisUpdate) || !list.NextUpdate.Equal(next.NextUpdate):
		return fmt.Errorf("it is for %v to %v", list.ThisUpdate, list.NextUpdate)
	case public == nil:
		return nil
	}
	if err := notBackwards(public, list); err != nil {
		return err
	}
	has := serialSet(list)
	for _, e := range public.RevokedCertificateEntries {
		number := e.SerialNumber.String()
		if has[number] {
			continue
		}
		end, expected := dropped[number]
		if !expected || end.IsZero() {
			return fmt.Errorf("serial %x is on the public CRL and not known to the database", e.SerialNumber)
		}
		if !end.Before(public.ThisUpdate) {
			return fmt.Errorf("serial %x would be dropped though it was not on a CRL after its end %v", e.SerialNumber, end)
		}
	}
	return nil
}

// ErrClock says that a list would be older than the public one, because the clock
// has gone back. The public one stays, and is good until its own nextUpdate.
var ErrClock = errors.New("look at the clock")

// notBackwards compares what two lists of one scope say of themselves.
func notBackwards(public, list *x509.RevocationList) error {
	if list.Number.Cmp(public.Number) <= 0 {
		return fmt.Errorf("the public CRL has number %v", public.Number)
	}
	if list.ThisUpdate.Before(public.ThisUpdate) {
		return fmt.Errorf("thisUpdate %v is before that of the public CRL, %v: %w", list.ThisUpdate, public.ThisUpdate, ErrClock)
	}
	return nil
}

func serialSet(list *x509.RevocationList) map[string]bool {
	has := make(map[string]bool, len(list.RevokedCertificateEntries))
	for i := range list.RevokedCertificateEntries {
		has[list.RevokedCertificateEntries[i].SerialNumber.String()] = true
	}
	return has
}
