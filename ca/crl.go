package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // linked in for crypto.Hash.New
	_ "crypto/sha512" // likewise
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
	oidCRLNumber          = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidReasonCode         = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidIssuingDistPoint   = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKeyID     = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidECDSAWithSHA256    = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSAWithSHA384    = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECDSAWithSHA512    = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
	oidRSAWithSHA256      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidEd25519            = asn1.ObjectIdentifier{1, 3, 101, 112}
	tagContext0           = cryptobyteasn1.Tag(0).ContextSpecific()
	tagContext0Structured = tagContext0.Constructed()
	tagContext1Structured = cryptobyteasn1.Tag(1).ContextSpecific().Constructed()
	tagContext2Structured = cryptobyteasn1.Tag(2).ContextSpecific().Constructed()
	tagContext6           = cryptobyteasn1.Tag(6).ContextSpecific()
)

// Revoked is one line of a CRL.
type Revoked struct {
	Serial Serial
	At     time.Time
	Reason Reason // Unspecified is written by leaving the extension out (RFC 5280, 5.3.1)
}

// CRL is what a certificate revocation list shall say.
type CRL struct {
	Number     int64 // cRLNumber, 1 or more
	ThisUpdate time.Time
	NextUpdate time.Time
	// DistributionPoint is, byte for byte, the address in the CRL distribution
	// point of the certificates that this list covers. It is written into a
	// critical issuing distribution point, so that nobody can pass off one
	// partition's list as another's. Empty for a list of all certificates of the
	// issuer, which then has no such extension.
	DistributionPoint string
	// Entries are sorted by serial, each serial once.
	Entries []Revoked
}

// CRLSigner signs the CRLs of one issuer (RFC 5280, 5). Its methods may be
// called concurrently if the signer's may.
type CRLSigner struct {
	cert *x509.Certificate
	key  statusKey
}

// NewCRLSigner returns a signer of CRLs for the issuer cert. It refuses a key
// that is not cert's and a certificate that may not sign CRLs or that carries no
// key identifier for the CRLs to name.
func NewCRLSigner(cert *x509.Certificate, signer crypto.Signer) (*CRLSigner, error) {
	if cert == nil || signer == nil {
		return nil, errors.New("crl signer: certificate or key is missing")
	}
	if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return nil, fmt.Errorf("crl signer: %q may not sign CRLs", cert.Subject)
	}
	if len(cert.SubjectKeyId) == 0 {
		return nil, fmt.Errorf("crl signer: %q has no subject key identifier", cert.Subject)
	}
	key, err := newStatusKey(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("crl signer: %w", err)
	}
	return &CRLSigner{cert: cert, key: key}, nil
}

// Certificate returns the issuer's certificate.
func (s *CRLSigner) Certificate() *x509.Certificate { return s.cert }

// SignCRL returns the signed list in DER. Before it is returned it has been
// parsed again by the standard library and verified under the issuer's
// certificate: a list that only the signer believes to be right is never seen.
func (s *CRLSigner) SignCRL(list CRL) ([]byte, error) {
	if err := list.check(); err != nil {
		return nil, fmt.Errorf("crl %d: %w", list.Number, err)
	}
	tbs, err := s.tbs(list)
	if err != nil {
		return nil, fmt.Errorf("crl %d: encoding: %w", list.Number, err)
	}
	der, err := s.key.seal(tbs)
	if err != nil {
		return nil, fmt.Errorf("crl %d: signing: %w", list.Number, err)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("crl %d: reading it back: %w", list.Number, err)
	}
	if err := parsed.CheckSignatureFrom(s.cert); err != nil {
		return nil, fmt.Errorf("crl %d: verifying it: %w", list.Number, err)
	}
	if len(parsed.RevokedCertificateEntries) != len(list.Entries) || !bytes.Equal(parsed.RawTBSRevocationList, tbs) {
		return nil, fmt.Errorf("crl %d: read back, it says something else", list.Number)
	}
	return der, nil
}

func (list CRL) check() error {
	if list.Number < 1 {
		return errors.New("numbers begin at 1")
	}
	if list.ThisUpdate.IsZero() || !list.NextUpdate.After(list.ThisUpdate) {
		return fmt.Errorf("nextUpdate %v is not after thisUpdate %v", list.NextUpdate, list.ThisUpdate)
	}
	for i := range list.Entries {
		e := &list.Entries[i]
		if e.Serial.IsZero() || e.At.IsZero() {
			return fmt.Errorf("entry %d has no serial or no time", i)
		}
		if i > 0 && bytes.Compare(list.Entries[i-1].Serial[:], e.Serial[:]) >= 0 {
			return fmt.Errorf("serial %s is twice in the list or not in order", e.Serial)
		}
	}
	return nil
}

// tbs encodes TBSCertList (RFC 5280, 5.1.2).
func (s *CRLSigner) tbs(list CRL) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 512+len(list.DistributionPoint)+52*len(list.Entries)))
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1) // v2
		b.AddBytes(s.key.algorithm)
		b.AddBytes(s.cert.RawSubject)
		addTime(b, list.ThisUpdate)
		addTime(b, list.NextUpdate)
		if len(list.Entries) > 0 { // an empty list must be absent (RFC 5280, 5.1.2.6)
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for i := range list.Entries {
					addRevoked(b, &list.Entries[i])
				}
			})
		}
		b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { s.addExtensions(b, list) })
		})
	})
	return b.Bytes()
}

// addRevoked encodes one line. Lines do not depend on each other, so that they
// can be written as they are read.
func addRevoked(b *cryptobyte.Builder, r *Revoked) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(r.Serial[:]))
		addTime(b, r.At)
		if r.Reason == Unspecified {
			return
		}
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addExtension(b, oidReasonCode, false, func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(r.Reason)) })
		})
	})
}

func (s *CRLSigner) addExtensions(b *cryptobyte.Builder, list CRL) {
	addExtension(b, oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tagContext0, func(b *cryptobyte.Builder) { b.AddBytes(s.cert.SubjectKeyId) })
		})
	})
	addExtension(b, oidCRLNumber, false, func(b *cryptobyte.Builder) { b.AddASN1Int64(list.Number) })
	if list.DistributionPoint == "" {
		return
	}
	addExtension(b, oidIssuingDistPoint, true, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) { // distributionPoint
				b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) { // fullName
					b.AddASN1(tagContext6, func(b *cryptobyte.Builder) { b.AddBytes([]byte(list.DistributionPoint)) })
				})
			})
		})
	})
}

// IssuingDistributionPoint returns the address in the CRL's issuing
// distribution point, "" if it has none. It fails if the extension is not
// critical or says anything but one URI: such a list's scope is not one that
// this system gives out.
func IssuingDistributionPoint(list *x509.RevocationList) (string, error) {
	for _, ext := range list.Extensions {
		if !ext.Id.Equal(oidIssuingDistPoint) {
			continue
		}
		if !ext.Critical {
			return "", errors.New("issuing distribution point is not critical")
		}
		in := cryptobyte.String(ext.Value)
		var idp, point, full, uri cryptobyte.String
		if !in.ReadASN1(&idp, cryptobyteasn1.SEQUENCE) || !in.Empty() ||
			!idp.ReadASN1(&point, tagContext0Structured) || !idp.Empty() ||
			!point.ReadASN1(&full, tagContext0Structured) || !point.Empty() ||
			!full.ReadASN1(&uri, tagContext6) || !full.Empty() || uri.Empty() {
			return "", errors.New("issuing distribution point is not one address")
		}
		return string(uri), nil
	}
	return "", nil
}

// addExtension encodes an Extension (RFC 5280, 4.1).
func addExtension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, critical bool, value func(*cryptobyte.Builder)) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(cryptobyteasn1.OCTET_STRING, value)
	})
}

// addTime encodes a Time: UTCTime through 2049, GeneralizedTime from 2050 on
// (RFC 5280, 5.1.2.4).
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC()
	if t.Year() >= 1950 && t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// statusKey signs what tells the status of certificates: CRLs and OCSP answers.
type statusKey struct {
	signer    crypto.Signer
	hash      crypto.Hash // 0: the algorithm takes the message itself
	algorithm []byte      // AlgorithmIdentifier in DER
}

// newStatusKey checks that signer holds the key of cert.
func newStatusKey(cert *x509.Certificate, signer crypto.Signer) (statusKey, error) {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(signer.Public()) {
		return statusKey{}, fmt.Errorf("the key is not the key of %q", cert.Subject)
	}
	k := statusKey{signer: signer, hash: crypto.SHA256}
	oid, null := oidECDSAWithSHA256, false
	switch pub := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
		case elliptic.P384():
			oid, k.hash = oidECDSAWithSHA384, crypto.SHA384
		case elliptic.P521():
			oid, k.hash = oidECDSAWithSHA512, crypto.SHA512
		default:
			return statusKey{}, fmt.Errorf("curve %s is not supported", pub.Params().Name)
		}
	case *rsa.PublicKey:
		oid, null = oidRSAWithSHA256, true // RFC 4055, 5: parameters are NULL
	case ed25519.PublicKey:
		oid, k.hash = oidEd25519, 0
	default:
		return statusKey{}, fmt.Errorf("keys of type %T are not supported", pub)
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if null {
			b.AddASN1NULL()
		}
	})
	var err error
	k.algorithm, err = b.Bytes()
	return k, err
}

// sign returns the signature over tbs.
func (k statusKey) sign(tbs []byte) ([]byte, error) {
	message := tbs
	if k.hash != 0 {
		h := k.hash.New()
		h.Write(tbs)
		message = h.Sum(nil)
	}
	return k.signer.Sign(rand.Reader, message, k.hash)
}

// seal returns SEQUENCE {tbs, algorithm, signature}.
func (k statusKey) seal(tbs []byte) ([]byte, error) {
	signature, err := k.sign(tbs)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(k.algorithm)+len(signature)+32))
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(k.algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}
