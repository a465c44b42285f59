package ca

import (
	"bytes"
	"crypto"
	"crypto/sha1" // RFC 6960 CertIDs; names a key, protects nothing
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca/signing"
)

// OCSPSingle is what an answer says of one certificate.
type OCSPSingle struct {
	ID     CertID
	Status OCSPStatus
	At     time.Time // of the revocation
	Reason Reason
	// ArchiveCutoff is the time since when expired certificates keep their
	// status (RFC 6960, 4.4.4); zero leaves it out.
	ArchiveCutoff time.Time
}

// OCSPAnswer is what a signed answer shall say.
type OCSPAnswer struct {
	ProducedAt time.Time
	ThisUpdate time.Time
	NextUpdate time.Time // brought forward to the end of the signer's certificate
	Singles    []OCSPSingle
	Nonce      []byte // OCSPRequest.Nonce
}

// Responder signs OCSP answers for one issuer by a key that the issuer has
// delegated this to (RFC 6960, 4.2.2.2). Its methods may be called concurrently
// if the signer's may.
type Responder struct {
	issuer    *x509.Certificate
	cert      *x509.Certificate
	key       signing.Key
	algorithm []byte          // of key
	keyID     [sha1.Size]byte // byKey: SHA-1 of the signer's public key
	ending    []byte          // of a BasicOCSPResponse: the signer's certificate
}

// NewResponder returns a responder that answers for issuer with the certificate
// cert and its key. It refuses a certificate that relying parties would refuse:
// not issued by issuer, not for OCSP signing, without nocheck (they would ask
// for the signer's own status, and go round in a circle), or with another key.
func NewResponder(issuer, cert *x509.Certificate, signer crypto.Signer) (*Responder, error) {
	if issuer == nil || cert == nil || signer == nil {
		return nil, errors.New("ocsp responder: certificate or key is missing")
	}
	if err := CheckOCSPSigner(issuer, cert); err != nil {
		return nil, fmt.Errorf("ocsp responder: %w", err)
	}
	key, err := signing.New(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("ocsp responder: %w", err)
	}
	bits, err := publicKeyBits(cert)
	if err != nil {
		return nil, fmt.Errorf("ocsp responder: %w", err)
	}
	return &Responder{issuer: issuer, cert: cert, key: key, algorithm: key.Algorithm(), keyID: sha1.Sum(bits), ending: certificateEnding(cert.Raw)}, nil
}

// CheckOCSPSigner reports why cert may not sign OCSP answers for issuer: it must
// be issued by issuer itself, for this purpose and for signatures, and carry
// id-pkix-ocsp-nocheck. Without the check of the purpose every holder of a
// certificate of this issuer could call his own certificate good.
func CheckOCSPSigner(issuer, cert *x509.Certificate) error {
	if cert.IsCA || !bytes.Equal(cert.RawIssuer, issuer.RawSubject) {
		return fmt.Errorf("%q was not issued by %q for OCSP", cert.Subject, issuer.Subject)
	}
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("%q was not issued by %q: %w", cert.Subject, issuer.Subject, err)
	}
	forOCSP := false
	for _, usage := range cert.ExtKeyUsage {
		forOCSP = forOCSP || usage == x509.ExtKeyUsageOCSPSigning
	}
	if !forOCSP || cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("%q is not for signing OCSP answers", cert.Subject)
	}
	for _, ext := range cert.Extensions {
		if ext.Id.Equal(oidOCSPNoCheck) {
			return nil
		}
	}
	return fmt.Errorf("%q has no id-pkix-ocsp-nocheck", cert.Subject)
}

// Issuer returns the certificate of the issuer that r answers for.
func (r *Responder) Issuer() *x509.Certificate { return r.issuer }

// Certificate returns the certificate of r's signer.
func (r *Responder) Certificate() *x509.Certificate { return r.cert }

// IssuerHashes returns the hashes by which a CertID names the issuer cert.
func IssuerHashes(cert *x509.Certificate, hash crypto.Hash) (name, key string, err error) {
	bits, err := publicKeyBits(cert)
	if err != nil {
		return "", "", err
	}
	switch hash {
	case crypto.SHA1:
		n, k := sha1.Sum(cert.RawSubject), sha1.Sum(bits)
		return string(n[:]), string(k[:]), nil
	case crypto.SHA256:
		n, k := sha256.Sum256(cert.RawSubject), sha256.Sum256(bits)
		return string(n[:]), string(k[:]), nil
	}
	return "", "", fmt.Errorf("no CertIDs with %v", hash)
}

// publicKeyBits returns the BIT STRING subjectPublicKey without its count of
// unused bits: what issuerKeyHash and byKey are hashes of.
func publicKeyBits(cert *x509.Certificate) ([]byte, error) {
	in := cryptobyte.String(cert.RawSubjectPublicKeyInfo)
	var spki cryptobyte.String
	var bits asn1.BitString
	if !in.ReadASN1(&spki, cryptobyteasn1.SEQUENCE) || !spki.SkipASN1(cryptobyteasn1.SEQUENCE) ||
		!spki.ReadASN1BitString(&bits) {
		return nil, fmt.Errorf("public key of %q cannot be read", cert.Subject)
	}
	return bits.RightAlign(), nil
}

// SignOCSP returns the signed answer in DER and its nextUpdate, which is not
// later than the end of the signer's certificate: after that nobody could
// verify the answer. It fails if that end has come.
func (r *Responder) SignOCSP(a OCSPAnswer) (der []byte, nextUpdate time.Time, err error) {
	a.NextUpdate = a.NextUpdate.Truncate(time.Second)
	if a.NextUpdate.After(r.cert.NotAfter) {
		a.NextUpdate = r.cert.NotAfter
	}
	if len(a.Singles) == 0 || a.ThisUpdate.IsZero() || !a.NextUpdate.After(a.ThisUpdate) ||
		!a.NextUpdate.After(a.ProducedAt) {
		return nil, time.Time{}, fmt.Errorf("ocsp: no answer for %v to %v by a signer that ends %v",
			a.ThisUpdate, a.NextUpdate, r.cert.NotAfter)
	}
	tbs, err := r.responseData(&a)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("ocsp: encoding: %w", err)
	}
	signature, err := r.key.Sign(tbs)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("ocsp: signing: %w", err)
	}
	return r.wrap(tbs, signature), a.NextUpdate, nil
}
