// Package der writes and takes apart the pieces of DER for which encoding/asn1
// cannot be trusted: names whose string types matter, otherNames with explicit
// tags, and the extension list of a to-be-signed certificate. It knows ASN.1 and
// X.509 structures and nothing of what certificates mean here.
//
// Its readers are strict (DER, not BER): whatever they accept they would have
// written byte for byte the same. That makes [Parse] a second opinion on a
// certificate, independent of crypto/x509.
package der

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Attribute is one attribute of a distinguished name, in an RDN of its own.
type Attribute struct {
	Type  asn1.ObjectIdentifier
	Value string
	// Printable selects PrintableString; otherwise the value is a UTF8String.
	// The caller must have checked the value with IsPrintable.
	Printable bool
}

// Name encodes a distinguished name (RFC 5280, 4.1.2.4) with the attributes in
// the order given, values byte for byte.
func Name(attributes []Attribute) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, a := range attributes {
			b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(a.Type)
					b.AddASN1(stringTag(a.Printable), addString(a.Value))
				})
			})
		}
	})
	return b.Bytes()
}

func stringTag(printable bool) casn1.Tag {
	if printable {
		return casn1.PrintableString
	}
	return casn1.UTF8String
}

func addString(s string) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) }
}

// PrintableString encodes s; the caller must have checked it with IsPrintable.
func PrintableString(s string) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.PrintableString, addString(s))
	return b.Bytes()
}

// IsPrintable reports whether s is in the PrintableString alphabet (X.680, 41.4).
// encoding/asn1 also accepts "*" and "&", which other parsers refuse.
func IsPrintable(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == ' ', c == '\'', c == '(', c == ')', c == '+', c == ',', c == '-',
			c == '.', c == '/', c == ':', c == '=', c == '?':
		default:
			return false
		}
	}
	return true
}

// GeneralNames is a list of alternative names (RFC 5280, 4.2.1.6), written in
// the order of the fields.
type GeneralNames struct {
	Emails   []string // rfc822Name, ASCII
	DNSNames []string // dNSName, ASCII
	IPs      [][]byte // iPAddress, 4 or 16 octets
	Others   []OtherName
}

// OtherName is an otherName; Value is the complete DER of the value, without
// the explicit [0] that encloses it.
type OtherName struct {
	Type  asn1.ObjectIdentifier
	Value []byte
}

// UTF8String encodes s, which the caller must have checked to be valid UTF-8.
func UTF8String(s string) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.UTF8String, addString(s))
	return b.Bytes()
}

// OctetString encodes v.
func OctetString(v []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1OctetString(v)
	return b.Bytes()
}

// Encode returns the DER of the GeneralNames.
func (n GeneralNames) Encode() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, s := range n.Emails {
			b.AddASN1(casn1.Tag(1).ContextSpecific(), addString(s))
		}
		for _, s := range n.DNSNames {
			b.AddASN1(casn1.Tag(2).ContextSpecific(), addString(s))
		}
		for _, ip := range n.IPs {
			b.AddASN1(casn1.Tag(7).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(ip) })
		}
		for _, o := range n.Others {
			b.AddASN1(casn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(o.Type)
				b.AddASN1(casn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(o.Value) })
			})
		}
	})
	return b.Bytes()
}
