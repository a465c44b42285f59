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
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidOCSPBasic         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidOCSPNoCheck       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidOCSPArchiveCutoff = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}
	oidSHA1              = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256            = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// Limits of an OCSP request. A request needs about 80 octets a certificate and
// at most 140 for a nonce; what is longer is not a question.
const (
	MaxOCSPRequest = 4096 // octets
	maxOCSPCertIDs = 16   // each costs a read of the database
	maxNonce       = 128  // octets (RFC 9654, 2.1)
)

// OCSPStatus is the status of one certificate in an answer (RFC 6960, 2.2).
type OCSPStatus int

// The zero status is unknown: what was not decided is never good.
const (
	OCSPUnknown OCSPStatus = iota
	OCSPGood
	OCSPRevoked
)

func (s OCSPStatus) String() string {
	switch s {
	case OCSPGood:
		return "good"
	case OCSPRevoked:
		return "revoked"
	}
	return "unknown"
}

// OCSPErrorStatus is the responseStatus of an answer that says nothing of a
// certificate (RFC 6960, 4.2.1).
type OCSPErrorStatus byte

const (
	OCSPMalformedRequest OCSPErrorStatus = 1
	OCSPInternalError    OCSPErrorStatus = 2
	OCSPTryLater         OCSPErrorStatus = 3
	OCSPUnauthorized     OCSPErrorStatus = 6
)

// OCSPError returns the unsigned answer with this status.
func OCSPError(s OCSPErrorStatus) []byte { return []byte{0x30, 0x03, 0x0a, 0x01, byte(s)} }

// CertID names a certificate by its issuer's hashes and its serial.
type CertID struct {
	Hash     crypto.Hash // SHA-1 or SHA-256; 0 for an algorithm that is not known here
	NameHash string      // octets
	KeyHash  string      // octets
	Serial   *big.Int
	// Raw is the DER as the client sent it. The answer repeats it, because
	// clients compare it byte by byte, parameters of the hash included.
	Raw []byte
}

// OCSPRequest is a question of a relying party.
type OCSPRequest struct {
	CertIDs []CertID // one or more
	// Nonce is the value of the nonce extension as it was sent, for the answer
	// to repeat; nil without one.
	Nonce []byte
}

var errOCSPSyntax = errors.New("ocsp request: not an OCSPRequest in DER")

// ParseOCSPRequest reads an OCSPRequest (RFC 6960, 4.1.1). A requestor's name
// and signature are checked for their form and otherwise ignored: status is
// public. A critical extension that is not known is refused.
func ParseOCSPRequest(der []byte) (*OCSPRequest, error) {
	if len(der) > MaxOCSPRequest {
		return nil, fmt.Errorf("ocsp request: %d octets are too many", len(der))
	}
	in := cryptobyte.String(der)
	var request, tbs, list cryptobyte.String
	if !in.ReadASN1(&request, cryptobyteasn1.SEQUENCE) || !in.Empty() ||
		!request.ReadASN1(&tbs, cryptobyteasn1.SEQUENCE) ||
		!request.SkipOptionalASN1(tagContext0Structured) || !request.Empty() { // optionalSignature
		return nil, errOCSPSyntax
	}
	// version is DEFAULT v1 and there is no other; DER leaves a default out, but
	// some clients write it.
	var version cryptobyte.String
	var hasVersion bool
	if !tbs.ReadOptionalASN1(&version, &hasVersion, tagContext0Structured) ||
		hasVersion && !bytes.Equal(version, []byte{2, 1, 0}) ||
		!tbs.SkipOptionalASN1(tagContext1Structured) || // requestorName
		!tbs.ReadASN1(&list, cryptobyteasn1.SEQUENCE) {
		return nil, errOCSPSyntax
	}
	out := &OCSPRequest{}
	if err := out.readCertIDs(list); err != nil {
		return nil, err
	}
	if err := out.readExtensions(&tbs); err != nil {
		return nil, err
	}
	if !tbs.Empty() {
		return nil, errOCSPSyntax
	}
	return out, nil
}

func (r *OCSPRequest) readCertIDs(list cryptobyte.String) error {
	for !list.Empty() {
		if len(r.CertIDs) == maxOCSPCertIDs {
			return fmt.Errorf("ocsp request: more than %d certificates", maxOCSPCertIDs)
		}
		var one, raw cryptobyte.String
		if !list.ReadASN1(&one, cryptobyteasn1.SEQUENCE) ||
			!one.ReadASN1Element(&raw, cryptobyteasn1.SEQUENCE) {
			return errOCSPSyntax
		}
		id, ok := parseCertID(raw)
		if !ok {
			return errOCSPSyntax
		}
		// singleRequestExtensions: none is known here.
		_, err := readOCSPExtensions(&one, tagContext0Structured, nil)
		if err != nil {
			return err
		}
		if !one.Empty() {
			return errOCSPSyntax
		}
		r.CertIDs = append(r.CertIDs, id)
	}
	if len(r.CertIDs) == 0 {
		return errOCSPSyntax
	}
	return nil
}

func parseCertID(raw cryptobyte.String) (CertID, bool) {
	id := CertID{Raw: bytes.Clone(raw), Serial: new(big.Int)}
	var body, algorithm, name, key cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !raw.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !raw.Empty() ||
		!body.ReadASN1(&algorithm, cryptobyteasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&oid) ||
		!body.ReadASN1(&name, cryptobyteasn1.OCTET_STRING) ||
		!body.ReadASN1(&key, cryptobyteasn1.OCTET_STRING) ||
		!body.ReadASN1Integer(id.Serial) || !body.Empty() {
		return CertID{}, false
	}
	switch {
	case oid.Equal(oidSHA1):
		id.Hash = crypto.SHA1
	case oid.Equal(oidSHA256):
		id.Hash = crypto.SHA256
	}
	if id.Hash != 0 {
		// Parameters are NULL or absent, so that a CertID has two forms and not
		// as many as a client cares to invent.
		if !algorithm.Empty() && !bytes.Equal(algorithm, []byte{5, 0}) ||
			len(name) != id.Hash.Size() || len(key) != id.Hash.Size() {
			return CertID{}, false
		}
	}
	id.NameHash, id.KeyHash = string(name), string(key)
	return id, true
}

func (r *OCSPRequest) readExtensions(tbs *cryptobyte.String) error {
	value, err := readOCSPExtensions(tbs, tagContext2Structured, oidOCSPNonce)
	if err != nil || value == nil {
		return err
	}
	// RFC 9654 puts an OCTET STRING into the extension's; older clients put the
	// nonce there itself. Of a nonce that is neither too short nor too long the
	// form does not matter: it is repeated as it came.
	nonce := cryptobyte.String(value)
	var inner cryptobyte.String
	if !nonce.ReadASN1(&inner, cryptobyteasn1.OCTET_STRING) || !nonce.Empty() {
		inner = value
	}
	if len(inner) < 1 || len(inner) > maxNonce {
		return fmt.Errorf("ocsp request: nonce of %d octets", len(inner))
	}
	r.Nonce = value
	return nil
}

// readOCSPExtensions reads Extensions under an explicit tag, if they are there,
// and returns the value of the extension want, nil if it is absent.
func readOCSPExtensions(in *cryptobyte.String, tag cryptobyteasn1.Tag, want asn1.ObjectIdentifier) ([]byte, error) {
	var wrapped, list cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&wrapped, &present, tag) {
		return nil, errOCSPSyntax
	}
	if !present {
		return nil, nil
	}
	if !wrapped.ReadASN1(&list, cryptobyteasn1.SEQUENCE) || !wrapped.Empty() || list.Empty() {
		return nil, errOCSPSyntax
	}
	var found []byte
	for !list.Empty() {
		var ext, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		var critical bool
		if !list.ReadASN1(&ext, cryptobyteasn1.SEQUENCE) ||
			!ext.ReadASN1ObjectIdentifier(&oid) ||
			ext.PeekASN1Tag(cryptobyteasn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical) ||
			!ext.ReadASN1(&value, cryptobyteasn1.OCTET_STRING) || !ext.Empty() {
			return nil, errOCSPSyntax
		}
		switch {
		case want != nil && oid.Equal(want):
			if found != nil {
				return nil, fmt.Errorf("ocsp request: extension %s is there twice", oid)
			}
			found = append([]byte{}, value...)
		case critical:
			return nil, fmt.Errorf("ocsp request: critical extension %s is not known", oid)
		}
	}
	return found, nil
}

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
	issuer *x509.Certificate
	cert   *x509.Certificate
	key    statusKey
	keyID  [sha1.Size]byte // byKey: SHA-1 of the signer's public key
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
	key, err := newStatusKey(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("ocsp responder: %w", err)
	}
	bits, err := publicKeyBits(cert)
	if err != nil {
		return nil, fmt.Errorf("ocsp responder: %w", err)
	}
	return &Responder{issuer: issuer, cert: cert, key: key, keyID: sha1.Sum(bits)}, nil
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
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { r.addResponseData(b, a) })
	tbs, err := b.Bytes()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("ocsp: encoding: %w", err)
	}
	signature, err := r.key.sign(tbs)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("ocsp: signing: %w", err)
	}
	der, err = r.wrap(tbs, signature)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("ocsp: encoding: %w", err)
	}
	return der, a.NextUpdate, nil
}

// wrap encodes OCSPResponse with its BasicOCSPResponse.
func (r *Responder) wrap(tbs, signature []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(signature)+len(r.cert.Raw)+128))
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0) // successful
		b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidOCSPBasic)
				b.AddASN1(cryptobyteasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(tbs)
						b.AddBytes(r.key.algorithm)
						b.AddASN1BitString(signature)
						b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) {
							b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(r.cert.Raw) })
						})
					})
				})
			})
		})
	})
	return b.Bytes()
}

// addResponseData encodes the body of ResponseData. Times are GeneralizedTime
// without fractions (RFC 5019, 2.2.4), which is what cryptobyte writes.
func (r *Responder) addResponseData(b *cryptobyte.Builder, a OCSPAnswer) {
	b.AddASN1(tagContext2Structured, func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.keyID[:]) })
	b.AddASN1GeneralizedTime(a.ProducedAt.UTC())
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for i := range a.Singles {
			addSingle(b, &a.Singles[i], a.ThisUpdate.UTC(), a.NextUpdate.UTC())
		}
	})
	if a.Nonce == nil {
		return
	}
	b.AddASN1(tagContext1Structured, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addExtension(b, oidOCSPNonce, false, func(b *cryptobyte.Builder) { b.AddBytes(a.Nonce) })
		})
	})
}

// addSingle encodes a SingleResponse.
func addSingle(b *cryptobyte.Builder, s *OCSPSingle, thisUpdate, nextUpdate time.Time) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(s.ID.Raw)
		switch s.Status {
		case OCSPGood:
			b.AddASN1(tagContext0, func(*cryptobyte.Builder) {})
		case OCSPRevoked:
			b.AddASN1(tagContext1Structured, func(b *cryptobyte.Builder) {
				b.AddASN1GeneralizedTime(s.At.UTC())
				if s.Reason != Unspecified {
					b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(s.Reason)) })
				}
			})
		default:
			b.AddASN1(cryptobyteasn1.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {})
		}
		b.AddASN1GeneralizedTime(thisUpdate)
		b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(nextUpdate) })
		if s.ArchiveCutoff.IsZero() {
			return
		}
		b.AddASN1(tagContext1Structured, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addExtension(b, oidOCSPArchiveCutoff, false, func(b *cryptobyte.Builder) {
					b.AddASN1GeneralizedTime(s.ArchiveCutoff.UTC())
				})
			})
		})
	})
}
