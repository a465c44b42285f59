package pkits

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func context(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }

// ReasonFlags (RFC 5280, 4.2.1.13) as the content of their BIT STRING, of some
// reasons and of all others. Between them they list everything.
var (
	someReasons  = []byte{0x05, 0x60}       // bits 1 and 2: keyCompromise, cACompromise
	otherReasons = []byte{0x07, 0x1f, 0x80} // bits 3 to 8: affiliationChanged to aACompromise
)

// point is a distribution point, of a certificate or of a list.
type point struct {
	uri       string
	directory *pkix.Name
	relative  string // common name below the issuer
	reasons   []byte
	issuer    *pkix.Name // cRLIssuer: whose list it is
	user, ca, attributes,
	indirect bool
}

// addName encodes DistributionPointName under [0].
func (p point) addName(b *cryptobyte.Builder) {
	if p.uri == "" && p.directory == nil && p.relative == "" {
		return
	}
	b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
		if p.relative != "" {
			b.AddASN1(context(1).Constructed(), func(b *cryptobyte.Builder) {
				b.AddBytes(marshal(pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: p.relative}))
			})
			return
		}
		b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
			if p.uri != "" {
				b.AddASN1(context(6), func(b *cryptobyte.Builder) { b.AddBytes([]byte(p.uri)) })
			}
			addDirectory(b, p.directory)
		})
	})
}

func addDirectory(b *cryptobyte.Builder, n *pkix.Name) {
	if n != nil {
		b.AddASN1(context(4).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(marshal(n.ToRDNSequence())) })
	}
}

// idp is the issuing distribution point of a list.
func idp(p point) func(*list) {
	var b cryptobyte.Builder
	flag := func(b *cryptobyte.Builder, tag uint8, set bool) {
		if set {
			b.AddASN1(context(tag), func(b *cryptobyte.Builder) { b.AddUint8(0xff) })
		}
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		p.addName(b)
		flag(b, 1, p.user)
		flag(b, 2, p.ca)
		if p.reasons != nil {
			b.AddASN1(context(3), func(b *cryptobyte.Builder) { b.AddBytes(p.reasons) })
		}
		flag(b, 4, p.indirect)
		flag(b, 5, p.attributes)
	})
	ext := extension(true, b.BytesOrPanic(), 2, 5, 29, 28)
	return func(l *list) { l.ExtraExtensions = append(l.ExtraExtensions, ext) }
}

// cdp gives a certificate these distribution points instead of its issuer's.
func cdp(points ...point) change {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, p := range points {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				p.addName(b)
				if p.reasons != nil {
					b.AddASN1(context(1), func(b *cryptobyte.Builder) { b.AddBytes(p.reasons) })
				}
				if p.issuer != nil {
					b.AddASN1(context(2).Constructed(), func(b *cryptobyte.Builder) { addDirectory(b, p.issuer) })
				}
			})
		}
	})
	ext := extension(false, b.BytesOrPanic(), 2, 5, 29, 31)
	return func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{}
		c.ExtraExtensions = append(c.ExtraExtensions, ext)
	}
}

// noCDP leaves the distribution points out.
func noCDP(c *x509.Certificate) { c.CRLDistributionPoints = []string{} }

// freshest is the value of freshestCRL: where the delta lists are.
func freshest(uri string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { point{uri: uri}.addName(b) })
	})
	return b.BytesOrPanic()
}

type asn1OID = asn1.ObjectIdentifier

// oid reads a dotted OID.
func oid(dotted string) asn1OID {
	var out asn1OID
	for part := range strings.SplitSeq(dotted, ".") {
		out = append(out, must(strconv.Atoi(part)))
	}
	return out
}
