package keys

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"

	"sigill/ca"
	"sigill/internal/durable"
)

// rootCRLLife is how long a root CRL is valid. The root is offline; it is brought
// out once a year at least.
const rootCRLLife = year

// RevokedCA is a CA certificate that the root takes back.
type RevokedCA struct {
	Serial ca.Serial
	At     time.Time
	Reason ca.Reason
}

// SignRootCRL opens the root's key, signs a new root CRL and puts it in place of
// the public one: what was revoked stays revoked, revoked is added, the number
// goes up. It refuses a CRL that would be older than the public one.
func (h *Hierarchy) SignRootCRL(ctx context.Context, rootPass Passphrase, at time.Time, revoked []RevokedCA) error {
	old, err := h.RootCRL()
	if err != nil {
		return err
	}
	key, err := h.open(ctx, h.Root, rootPass)
	if err != nil {
		return fmt.Errorf("opening root: %w", err)
	}
	return errors.Join(h.signRootCRL(key.Signer, at, old, revoked), key.Close())
}

// RootCRL reads the public root CRL and verifies it.
func (h *Hierarchy) RootCRL() (*x509.RevocationList, error) {
	raw, err := os.ReadFile(h.RootCRLPath())
	if err != nil {
		return nil, fmt.Errorf("reading root CRL: %w", err)
	}
	list, err := x509.ParseRevocationList(raw)
	if err != nil {
		return nil, fmt.Errorf("reading root CRL: %w", err)
	}
	if err := list.CheckSignatureFrom(h.Root.Certificate); err != nil {
		return nil, fmt.Errorf("root CRL is not the root's: %w", err)
	}
	return list, nil
}

// signRootCRL signs the successor of old, which is nil for the first.
func (h *Hierarchy) signRootCRL(signer crypto.Signer, at time.Time, old *x509.RevocationList, revoked []RevokedCA) error {
	at = at.UTC().Truncate(time.Second)
	next := &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: at.Add(-backdate),
		NextUpdate: at.Add(rootCRLLife),
	}
	if old != nil {
		if next.ThisUpdate.Before(old.ThisUpdate) {
			return fmt.Errorf("root CRL would be older than the public one of %s: is the clock right?", old.ThisUpdate.Format(time.RFC3339))
		}
		next.Number.Add(old.Number, big.NewInt(1))
		for _, e := range old.RevokedCertificateEntries {
			next.RevokedCertificateEntries = append(next.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: e.SerialNumber, RevocationTime: e.RevocationTime, ReasonCode: e.ReasonCode,
			})
		}
	}
	for _, r := range revoked {
		if r.Serial.IsZero() || r.Serial.Int().Cmp(h.Root.Certificate.SerialNumber) == 0 {
			return errors.New("a root CRL takes back certificates of issuing CAs, each by its serial")
		}
		if r.At.Truncate(time.Second).After(at) {
			return fmt.Errorf("CA certificate %s would be revoked in the future", r.Serial)
		}
		if listed(next, r.Serial) {
			continue // revoked already: the date never moves
		}
		next.RevokedCertificateEntries = append(next.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: r.Serial.Int(), RevocationTime: r.At.UTC().Truncate(time.Second), ReasonCode: int(r.Reason),
		})
	}
	raw, err := x509.CreateRevocationList(rand.Reader, next, h.Root.Certificate, signer)
	if err != nil {
		return fmt.Errorf("signing root CRL: %w", err)
	}
	parsed, err := x509.ParseRevocationList(raw)
	if err == nil {
		err = parsed.CheckSignatureFrom(h.Root.Certificate)
	}
	if err != nil {
		return fmt.Errorf("checking root CRL: %w", err)
	}
	if err := durable.WriteFile(h.RootCRLPath(), raw, fs.FileMode(0o644)); err != nil {
		return fmt.Errorf("writing root CRL: %w", err)
	}
	return nil
}

func listed(list *x509.RevocationList, serial ca.Serial) bool {
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(serial.Int()) == 0 {
			return true
		}
	}
	return false
}
