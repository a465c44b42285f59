// Package crl owns what certificate revocation lists say (RFC 5280, 5): entries that are
// encoded once, when a serial is revoked, lists that are written from those octets and
// signed as a stream, and a reader that takes nothing but DER, in constant memory.
//
// It must not know which lists there are, when they are due or where they are put.
package crl

import (
	"bytes"
	"crypto"
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

	"sigill/ca"
	"sigill/ca/signing"
)

var (
	oidCRLNumber          = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidIssuingDistPoint   = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKeyID     = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidNextPublish        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 4}
	tagContext0           = cryptobyteasn1.Tag(0).ContextSpecific()
	tagContext0Structured = tagContext0.Constructed()
	tagContext1Structured = cryptobyteasn1.Tag(1).ContextSpecific().Constructed()
	tagContext6           = cryptobyteasn1.Tag(6).ContextSpecific()
)

// Revoked is one line of a CRL.
type Revoked struct {
	Serial ca.Serial
	At     time.Time
	Reason ca.Reason // Unspecified is written by leaving the extension out (RFC 5280, 5.3.1)
}

// List is what a certificate revocation list shall say.
type List struct {
	Number     int64 // cRLNumber, 1 or more
	ThisUpdate time.Time
	NextUpdate time.Time
	// DistributionPoint is, byte for byte, the address in the CRL distribution
	// point of the certificates that this list covers. It is written into a
	// critical issuing distribution point, so that nobody can pass off one
	// partition's list as another's. Empty for a list of all certificates of the
	// issuer, which then has no such extension.
	DistributionPoint string
	// NextPublish is when the next list can be expected at the same address. It
	// is written into Microsoft's extension of that name (not critical), from
	// which Windows fetches ahead of NextUpdate instead of at it. Zero leaves it
	// out; otherwise it is between ThisUpdate and NextUpdate.
	NextPublish time.Time
	// Entries are sorted by serial, each serial once. [Signer.WriteCRL] takes
	// them as Lines instead.
	Entries []Revoked
}

// Signer signs the CRLs of one issuer (RFC 5280, 5). Its methods may be
// called concurrently if the signer's may.
type Signer struct {
	cert *x509.Certificate
	key  signing.Key
}

// NewSigner returns a signer of CRLs for the issuer cert. It refuses a key
// that is not cert's and a certificate that may not sign CRLs or that carries no
// key identifier for the CRLs to name.
func NewSigner(cert *x509.Certificate, signer crypto.Signer) (*Signer, error) {
	if cert == nil || signer == nil {
		return nil, errors.New("crl signer: certificate or key is missing")
	}
	if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return nil, fmt.Errorf("crl signer: %q may not sign CRLs", cert.Subject)
	}
	if len(cert.SubjectKeyId) == 0 {
		return nil, fmt.Errorf("crl signer: %q has no subject key identifier", cert.Subject)
	}
	key, err := signing.New(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("crl signer: %w", err)
	}
	return &Signer{cert: cert, key: key}, nil
}

// Certificate returns the issuer's certificate.
func (s *Signer) Certificate() *x509.Certificate { return s.cert }

// SignCRL returns the signed list in DER. Before it is returned it has been
// parsed again by the standard library and verified under the issuer's
// certificate: a list that only the signer believes to be right is never seen.
//
// It holds the list several times over in memory and is meant for short ones,
// as a root's; what it returns is, but for the signature, what
// [Signer.WriteCRL] writes.
func (s *Signer) SignCRL(list List) ([]byte, error) {
	lines, err := encodeLines(list.Entries)
	if err != nil {
		return nil, fmt.Errorf("crl %d: %w", list.Number, err)
	}
	entries := list.Entries
	list.Entries = nil
	var out bytes.Buffer
	if err := s.WriteCRL(&out, list, lines); err != nil {
		return nil, err
	}
	der := out.Bytes()
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("crl %d: reading it back: %w", list.Number, err)
	}
	if err := parsed.CheckSignatureFrom(s.cert); err != nil {
		return nil, fmt.Errorf("crl %d: verifying it: %w", list.Number, err)
	}
	if parsed.Number.Cmp(big.NewInt(list.Number)) != 0 || len(parsed.RevokedCertificateEntries) != len(entries) {
		return nil, fmt.Errorf("crl %d: read back, it says something else", list.Number)
	}
	for i := range entries {
		if parsed.RevokedCertificateEntries[i].SerialNumber.Cmp(entries[i].Serial.Int()) != 0 {
			return nil, fmt.Errorf("crl %d: read back, entry %d is of another serial", list.Number, i)
		}
	}
	return der, nil
}

// encodeLines encodes the entries of a short list.
func encodeLines(entries []Revoked) (Lines, error) {
	encoded := make([][]byte, len(entries))
	lines := Lines{Count: len(entries)}
	for i, e := range entries {
		line, err := EncodeRevoked(e)
		if err != nil {
			return Lines{}, fmt.Errorf("entry %d: %w", i, err)
		}
		encoded[i] = line
		lines.Octets += int64(len(line))
	}
	lines.Write = func(yield func([]byte) error) error {
		for _, line := range encoded {
			if err := yield(line); err != nil {
				return err
			}
		}
		return nil
	}
	return lines, nil
}

// check looks at everything but the entries.
func (list *List) check() error {
	if list.Number < 1 {
		return errors.New("numbers begin at 1")
	}
	// Times are written in whole seconds; what is after by less is not after.
	from, to := list.ThisUpdate.Truncate(time.Second), list.NextUpdate.Truncate(time.Second)
	if list.ThisUpdate.IsZero() || !to.After(from) {
		return fmt.Errorf("nextUpdate %v is not after thisUpdate %v", list.NextUpdate, list.ThisUpdate)
	}
	if next := list.NextPublish.Truncate(time.Second); !list.NextPublish.IsZero() && (next.Before(from) || next.After(to)) {
		return fmt.Errorf("the next publication, %v, is not between thisUpdate and nextUpdate", list.NextPublish)
	}
	return nil
}

func (s *Signer) addExtensions(b *cryptobyte.Builder, list *List) {
	addExtension(b, oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tagContext0, func(b *cryptobyte.Builder) { b.AddBytes(s.cert.SubjectKeyId) })
		})
	})
	addExtension(b, oidCRLNumber, false, func(b *cryptobyte.Builder) { b.AddASN1Int64(list.Number) })
	if !list.NextPublish.IsZero() {
		addExtension(b, oidNextPublish, false, func(b *cryptobyte.Builder) { addTime(b, list.NextPublish) })
	}
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
