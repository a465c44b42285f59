package card

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cb "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// maxRequest bounds what is parsed at all. A request for RSA-4096 has some
	// 1200 octets.
	maxRequest = 8 << 10
	minRSABits = 2048
	// maxRSABits bounds the work of one verification (the same limit as in
	// crypto/tls): the requester chooses the size of the key.
	maxRSABits = 8192
)

// ErrProof is the error, wrapped, of a request whose signature does not verify
// under the key in it: the sender has not shown that he holds the private key.
var ErrProof = errors.New("proof of possession does not verify")

var (
	oidCommonName      = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}   // RFC 5758, 3.2
	oidECDSAWithSHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}   // RFC 5758, 3.2
	oidSHA256WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11} // RFC 4055, 5
	attributesTag      = cb.Tag(0).ContextSpecific().Constructed()          // RFC 2986, 4.1
	emptyName          = []byte{byte(cb.SEQUENCE), 0}                       // RFC 5280, 4.1.2.4: no RDN
	requestAlgorithms  = []x509.SignatureAlgorithm{
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	}
)

// Request is a parsed request whose proof of possession has been verified.
type Request struct {
	PublicKey crypto.PublicKey // *ecdsa.PublicKey (P-256, P-384) or *rsa.PublicKey
	Digest    [32]byte         // of the binding it was made for; the caller compares
}

// NewRequest returns the DER of a certification request for key, bound to b. It
// has an empty subject, because what stands in the certificate is decided by
// the order and not by the card, and one attribute with b's digest. It uses key
// once: SHA-256, or SHA-384 for P-384; RSA with PKCS #1 v1.5, which every card
// can do.
func NewRequest(key crypto.Signer, b Binding) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	digest := b.Digest()
	info, err := requestInfo(key.Public(), emptyName, digest[:])
	if err != nil {
		return nil, err
	}
	return signRequest(key, info)
}

// ParseRequest reads what [NewRequest] writes, and only that: at most 8 KiB,
// nothing after the request, an empty subject, exactly one attribute, and the
// request info in the one encoding that DER and this protocol allow. The
// signature may be of any of ECDSA with SHA-256 or SHA-384, and RSA PKCS #1
// v1.5 or PSS with SHA-256, SHA-384 or SHA-512. The error wraps [ErrProof] if
// the request is well formed and its signature does not verify.
func ParseRequest(der []byte) (*Request, error) {
	csr, err := parseRequest(der)
	if err != nil {
		return nil, err
	}
	digest, err := bindingOf(csr.RawTBSCertificateRequest)
	if err != nil {
		return nil, err
	}
	// Compared as a whole: whatever the parsers above are lenient about (a
	// compressed point, a subject, an odd length) can't get past this, and a
	// key has one request info for one binding.
	want, err := requestInfo(csr.PublicKey, emptyName, digest)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(want, csr.RawTBSCertificateRequest) {
		return nil, errors.New("certification request: not in the one form allowed")
	}
	if err := prove(csr); err != nil {
		return nil, err
	}
	return &Request{PublicKey: csr.PublicKey, Digest: [32]byte(digest)}, nil
}

// requestInfo returns a CertificationRequestInfo (RFC 2986, 4.1); without a
// binding attribute if digest is nil.
func requestInfo(public crypto.PublicKey, name, digest []byte) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("certification request: %w", err)
	}
	var w cryptobyte.Builder
	w.AddASN1(cb.SEQUENCE, func(w *cryptobyte.Builder) {
		w.AddASN1Int64(0) // version 1
		w.AddBytes(name)
		w.AddBytes(spki)
		w.AddASN1(attributesTag, func(w *cryptobyte.Builder) {
			if digest == nil {
				return
			}
			w.AddASN1(cb.SEQUENCE, func(w *cryptobyte.Builder) {
				w.AddASN1ObjectIdentifier(bindingAttribute)
				w.AddASN1(cb.SET, func(w *cryptobyte.Builder) { w.AddASN1OctetString(digest) })
			})
		})
	})
	return w.Bytes()
}

// signRequest signs a CertificationRequestInfo with key.
func signRequest(key crypto.Signer, info []byte) ([]byte, error) {
	oid, hash, null := oidECDSAWithSHA256, crypto.SHA256, false
	switch public := key.Public().(type) {
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P384() {
			oid, hash = oidECDSAWithSHA384, crypto.SHA384
		}
	case *rsa.PublicKey:
		oid, null = oidSHA256WithRSA, true // RFC 4055, 5: parameters MUST be NULL
	default:
		return nil, fmt.Errorf("certification request: no algorithm for a key of type %T", public)
	}
	h := hash.New()
	h.Write(info)
	signature, err := key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		return nil, fmt.Errorf("signing certification request: %w", err)
	}
	var w cryptobyte.Builder
	w.AddASN1(cb.SEQUENCE, func(w *cryptobyte.Builder) {
		w.AddBytes(info)
		w.AddASN1(cb.SEQUENCE, func(w *cryptobyte.Builder) {
			w.AddASN1ObjectIdentifier(oid)
			if null {
				w.AddASN1NULL()
			}
		})
		w.AddASN1BitString(signature)
	})
	return w.Bytes()
}

// parseRequest reads a request of either kind and checks size, key and
// algorithm, but not the signature.
func parseRequest(der []byte) (*x509.CertificateRequest, error) {
	if len(der) > maxRequest {
		return nil, fmt.Errorf("certification request of %d octets, at most %d are read", len(der), maxRequest)
	}
	csr, err := x509.ParseCertificateRequest(der) // refuses trailing data
	if err != nil {
		return nil, fmt.Errorf("certification request: %w", err)
	}
	if !slices.Contains(requestAlgorithms, csr.SignatureAlgorithm) {
		return nil, fmt.Errorf("certification request: signature algorithm %v is not allowed", csr.SignatureAlgorithm)
	}
	switch key := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return nil, fmt.Errorf("certification request: curve %s is not allowed", key.Params().Name)
		}
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("certification request: RSA key of %d bits, allowed are %d to %d", n, minRSABits, maxRSABits)
		}
	default:
		return nil, fmt.Errorf("certification request: key of type %T is not allowed", key)
	}
	return csr, nil
}

// prove checks the proof of possession. It is the last check, so that ErrProof
// is told only of requests that are otherwise right.
func prove(csr *x509.CertificateRequest) error {
	if err := csr.CheckSignature(); err != nil {
		return fmt.Errorf("certification request: %w", ErrProof)
	}
	return nil
}

// bindingOf returns the digest in the one attribute of a request info.
func bindingOf(info []byte) ([]byte, error) {
	attributes, err := attributesOf(info)
	if err != nil {
		return nil, err
	}
	var attribute, values cryptobyte.String
	var oid asn1.ObjectIdentifier
	var digest []byte
	if !attributes.ReadASN1(&attribute, cb.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) ||
		!attribute.ReadASN1(&values, cb.SET) || !attribute.Empty() {
		return nil, errors.New("certification request: binding attribute is missing or malformed")
	}
	if !attributes.Empty() {
		return nil, errors.New("certification request: more than one attribute")
	}
	if !oid.Equal(bindingAttribute) {
		return nil, fmt.Errorf("certification request: attribute %v instead of the binding", oid)
	}
	if !values.ReadASN1Bytes(&digest, cb.OCTET_STRING) || !values.Empty() || len(digest) != 32 {
		return nil, errors.New("certification request: binding attribute is not one OCTET STRING of 32 octets")
	}
	return digest, nil
}

// attributesOf returns the attributes of a request info, without tag and length.
func attributesOf(info []byte) (cryptobyte.String, error) {
	in := cryptobyte.String(info)
	var seq, attributes cryptobyte.String
	if !in.ReadASN1(&seq, cb.SEQUENCE) || !in.Empty() ||
		!seq.SkipASN1(cb.INTEGER) || !seq.SkipASN1(cb.SEQUENCE) || !seq.SkipASN1(cb.SEQUENCE) ||
		!seq.ReadASN1(&attributes, attributesTag) || !seq.Empty() {
		return nil, errors.New("certification request: malformed")
	}
	return attributes, nil
}
