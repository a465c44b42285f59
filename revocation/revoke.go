package revocation

import (
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
)

// gravity orders reasons by what a relying party must do about what was signed
// before. The ordinary ends of a certificate are equal: none of them says more
// than another. A withdrawn privilege says that the certificate should not have
// been trusted, a compromise that somebody else may have used the key.
var gravity = map[ca.Reason]int{
	ca.Superseded:           1,
	ca.CessationOfOperation: 1,
	ca.AffiliationChanged:   1,
	ca.PrivilegeWithdrawn:   2,
	ca.KeyCompromise:        3,
	ca.CACompromise:         3,
}

// Graver reports whether reason a must replace reason b of an entry.
func Graver(a, b ca.Reason) bool { return gravity[a] > gravity[b] }

// Revoke writes into the ledger that e.Serial is revoked, and returns the entry
// that stands then and whether it is new. It is for use within the transaction
// of the act that revokes.
//
// The first entry of a serial is its version 1. Once revoked, a serial stays
// revoked since the same time: again with a reason that is not graver changes
// nothing, so that a repeated act is harmless; a graver reason is a further
// version with the reason, rule and event of e and the time of the first, for a
// date that moved would give the signatures made in between another meaning.
// e.Version and e.Line are ignored.
func Revoke(ledger Ledger, e Entry) (Entry, bool, error) {
	if err := e.check(); err != nil {
		return Entry{}, false, fmt.Errorf("revoking %s: %w", e.Serial, err)
	}
	e.At = e.At.UTC().Truncate(time.Second) // CRL and OCSP have no fractions
	e.Version = 1
	old, revoked, err := ledger.Revocation(e.Serial)
	if err != nil {
		return Entry{}, false, fmt.Errorf("revoking %s: %w", e.Serial, err)
	}
	if revoked {
		if old.Issuer != e.Issuer || old.Partition != e.Partition {
			return Entry{}, false, fmt.Errorf("revoking %s of %s/%d: it is revoked as one of %s/%d",
				e.Serial, e.Issuer, e.Partition, old.Issuer, old.Partition)
		}
		if !Graver(e.Reason, old.Reason) {
			return old, false, nil
		}
		next := old
		next.Version, next.Reason, next.Rule, next.Event = old.Version+1, e.Reason, e.Rule, e.Event
		e = next
	}
	if e.Line, err = crl.EncodeRevoked(crl.Revoked{Serial: e.Serial, At: e.At, Reason: e.Reason}); err != nil {
		return Entry{}, false, fmt.Errorf("revoking %s: %w", e.Serial, err)
	}
	if err := ledger.InsertRevocation(e); err != nil {
		return Entry{}, false, fmt.Errorf("revoking %s: %w", e.Serial, err)
	}
	return e, true, nil
}

// check refuses what could never be published: without issuer no CRL would list
// it, without event no number would bring it to the publisher's notice.
func (e Entry) check() error {
	switch {
	case e.Serial.IsZero():
		return errors.New("no serial")
	case e.Issuer == "" || e.Partition < 0:
		return fmt.Errorf("no CRL of issuer %q, partition %d", e.Issuer, e.Partition)
	case e.NotAfter.IsZero():
		return errors.New("no end of the certificate")
	case e.At.IsZero():
		return errors.New("no time")
	case gravity[e.Reason] == 0:
		return fmt.Errorf("reason %v is not given to a new revocation", e.Reason)
	case e.Event == "":
		return errors.New("no audit event")
	}
	return nil
}
