package read

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
)

// about reports whether s is about cert of issuer. A serial alone names nothing.
func (s *Single) about(cert, issuer *x509.Certificate) bool {
	if s.hash == 0 || s.serial.Cmp(cert.SerialNumber) != 0 {
		return false
	}
	name, key, err := issuerHashes(issuer, s.hash)
	return err == nil && bytes.Equal(s.nameHash, name) && bytes.Equal(s.keyHash, key)
}

// Names reports whether s has cert's serial, which alone names nothing.
func (s *Single) Names(cert *x509.Certificate) bool { return s.serial.Cmp(cert.SerialNumber) == 0 }

// About reports whether the answer has something on cert.
func (a *Answer) About(cert, issuer *x509.Certificate) bool {
	for i := range a.Singles {
		if a.Singles[i].about(cert, issuer) {
			return true
		}
	}
	return false
}

// Of returns what the answer says of cert. Two different things are nothing.
func (a *Answer) Of(cert, issuer *x509.Certificate) (Single, error) {
	var found *Single
	for i := range a.Singles {
		s := &a.Singles[i]
		if !s.about(cert, issuer) {
			continue
		}
		if found != nil && (found.Status != s.Status || !found.ThisUpdate.Equal(s.ThisUpdate) || !found.NextUpdate.Equal(s.NextUpdate)) {
			return Single{}, errors.New("the answer says two things of the certificate")
		}
		found = s
	}
	if found == nil {
		return Single{}, ErrNotAbout
	}
	return *found, nil
}

// Verify finds who signed: the issuer itself, or one to whom it delegated this by
// a certificate among those in the answer (RFC 6960, 4.2.2.2). Any certificate of the
// issuer without that purpose would let every holder vouch for himself.
func (a *Answer) Verify(issuer *x509.Certificate) error {
	err := issuer.CheckSignature(a.algorithm, a.tbs, a.signature)
	if err == nil {
		a.signedBy(issuer)
		return nil
	}
	why := fmt.Errorf("it is not signed by %q: %w", issuer.Subject.CommonName, err)
	for _, cert := range a.certs {
		if cert.Equal(issuer) {
			continue
		}
		// Before the signature under its key: a stranger's key may be as large as it likes.
		if err := ca.CheckOCSPSigner(issuer, cert); err != nil {
			why = err
			continue
		}
		if err := cert.CheckSignature(a.algorithm, a.tbs, a.signature); err != nil {
			why = fmt.Errorf("it is not signed by %q: %w", cert.Subject.CommonName, err)
			continue
		}
		if len(cert.UnhandledCriticalExtensions) > 0 {
			return fmt.Errorf("the signer's certificate has the critical extension %v, which is not known", asn1.ObjectIdentifier(cert.UnhandledCriticalExtensions[0]))
		}
		a.signedBy(cert)
		return nil
	}
	return why
}

// Forgets says why "good" tells nothing of cert if it has expired: a responder may
// have forgotten its revocation, unless it says how far back it keeps them (RFC
// 6960, 4.4.4).
func (s *Single) Forgets(cert *x509.Certificate) error {
	switch {
	case !cert.NotAfter.Before(s.ThisUpdate):
		return nil
	case s.ArchiveCutoff.IsZero():
		return errors.New("the certificate has expired since, and the answer does not say how long revocations are kept (archive cutoff)")
	case cert.NotAfter.Before(s.ArchiveCutoff):
		return fmt.Errorf("the certificate expired before %s, since when revocations are kept", s.ArchiveCutoff.UTC().Format(time.RFC3339))
	}
	return nil
}
