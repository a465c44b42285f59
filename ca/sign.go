package ca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"sigill/internal/der"
)

// Sign signs exactly the recorded bytes, once, and not before the log has them. It takes no context: a signature
// that was begun is waited for. After an error the signature may exist all the
// same; the serial must then be revoked and never be signed again.
//
// Before the certificate is handed out it is read by two parsers, verified under
// the issuer, and compared with what was recorded. It is not linted again: its
// to-be-signed bytes are those that were.
func (i *Issuer) Sign(r *Logged) (*Issued, error) {
	if r == nil || r.issuer == nil || r.issuer != i {
		return nil, fmt.Errorf("signing: not an intent of issuer %s", i.id)
	}
	if !r.used.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("signing %s: %w", r.intent.Serial, errUsed)
	}
	cert, err := i.key.Seal(r.intent.TBS)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", r.intent.Serial, err)
	}
	if err := i.checkSigned(r, cert); err != nil {
		return nil, fmt.Errorf("signed %s, but: %w", r.intent.Serial, err)
	}
	in := r.intent
	return &Issued{Fingerprint: FingerprintOf(cert), Serial: in.Serial, Issuer: in.Issuer, Partition: in.Partition,
		Profile: in.Profile, NotBefore: in.NotBefore, NotAfter: in.NotAfter, Key: in.Key, DER: cert}, nil
}

// checkSigned compares a signed certificate with its intent.
func (i *Issuer) checkSigned(r *Logged, cert []byte) error {
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		return fmt.Errorf("it does not parse: %w", err)
	}
	if err := i.certificate.CheckSignature(parsed.SignatureAlgorithm, parsed.RawTBSCertificate, parsed.Signature); err != nil {
		return fmt.Errorf("its signature does not verify: %w", err)
	}
	second, err := der.Parse(cert)
	if err != nil {
		return fmt.Errorf("the second parser refuses it: %w", err)
	}
	if !bytes.Equal(parsed.RawTBSCertificate, r.intent.TBS) || !bytes.Equal(second.TBS, r.intent.TBS) {
		return errors.New("it is not what was recorded")
	}
	serial, ok := SerialOf(second.Serial)
	key, err := FingerprintKey(parsed.PublicKey)
	switch {
	case !ok || serial != r.intent.Serial || parsed.SerialNumber.Cmp(second.Serial) != 0:
		return errors.New("its serial is not the recorded one")
	case !bytes.Equal(second.Issuer, i.certificate.RawSubject) || !bytes.Equal(parsed.AuthorityKeyId, i.certificate.SubjectKeyId):
		return errors.New("it names another issuer")
	case err != nil || key != r.intent.Key || !bytes.Equal(second.PublicKey, r.spki):
		return errors.New("its key is not the requested one")
	case !parsed.NotBefore.Equal(r.intent.NotBefore) || !parsed.NotAfter.Equal(r.intent.NotAfter):
		return errors.New("its validity is not the recorded one")
	}
	if err := checkSCTList(r.intent.TBS, r.tbs0); err != nil {
		return err
	}
	if (r.log != nil) == bytes.Equal(r.intent.TBS, r.tbs0) {
		return errors.New("it has an SCT list and no log, or a log and no SCT list")
	}
	return nil
}
