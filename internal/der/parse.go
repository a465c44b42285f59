package der

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Extension is an extension of a certificate. Value is the content of its
// OCTET STRING.
type Extension struct {
	ID       asn1.ObjectIdentifier
	Critical bool
	Value    []byte
}

// Parsed is a certificate taken apart. All slices but the extensions' point
// into the input and hold complete DER elements.
type Parsed struct {
	TBS       []byte
	Signature []byte // octets of the BIT STRING
	TBSParts         // its Algorithm is the outer one's equal
}

// TBSParts is a to-be-signed certificate taken apart (RFC 5280, 4.1).
type TBSParts struct {
	Serial     *big.Int
	Algorithm  []byte
	Issuer     []byte
	Validity   []byte
	Subject    []byte
	PublicKey  []byte // SubjectPublicKeyInfo
	Extensions []Extension

	head []byte // everything before the extensions
}

var extensionsTag = casn1.Tag(3).ContextSpecific().Constructed()

// Parse takes a version 3 certificate apart.
func Parse(cert []byte) (*Parsed, error) {
	in := cryptobyte.String(cert)
	var body, tbs, alg cryptobyte.String
	var p Parsed
	if !in.ReadASN1(&body, casn1.SEQUENCE) || !in.Empty() {
		return nil, errors.New("certificate is not one SEQUENCE")
	}
	if !body.ReadASN1Element(&tbs, casn1.SEQUENCE) || !body.ReadASN1Element(&alg, casn1.SEQUENCE) ||
		!body.ReadASN1BitStringAsBytes(&p.Signature) || !body.Empty() {
		return nil, errors.New("certificate is not TBS, algorithm, signature")
	}
	parts, err := ParseTBS(tbs)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(parts.Algorithm, alg) {
		return nil, errors.New("certificate names two signature algorithms")
	}
	p.TBS, p.TBSParts = tbs, *parts
	return &p, nil
}

// ParseTBS takes a version 3 to-be-signed certificate apart. Unique identifiers
// (RFC 5280, 4.1.2.8) and repeated extensions are refused.
func ParseTBS(tbs []byte) (*TBSParts, error) {
	in := cryptobyte.String(tbs)
	var body cryptobyte.String
	if !in.ReadASN1(&body, casn1.SEQUENCE) || !in.Empty() {
		return nil, errors.New("TBS is not one SEQUENCE")
	}
	whole := body
	p := &TBSParts{Serial: new(big.Int)}
	var version cryptobyte.String
	var v int
	if !body.ReadASN1(&version, casn1.Tag(0).ContextSpecific().Constructed()) ||
		!version.ReadASN1Integer(&v) || !version.Empty() || v != 2 {
		return nil, errors.New("TBS is not of version 3")
	}
	if !body.ReadASN1Integer(p.Serial) {
		return nil, errors.New("TBS has no serial number")
	}
	for _, part := range []*[]byte{&p.Algorithm, &p.Issuer, &p.Validity, &p.Subject, &p.PublicKey} {
		var element cryptobyte.String
		if !body.ReadASN1Element(&element, casn1.SEQUENCE) {
			return nil, errors.New("TBS is cut short or out of order")
		}
		*part = element
	}
	p.head = whole[:len(whole)-len(body)]
	var explicit, list cryptobyte.String
	if !body.ReadASN1(&explicit, extensionsTag) || !body.Empty() {
		return nil, errors.New("TBS does not end with its extensions")
	}
	if !explicit.ReadASN1(&list, casn1.SEQUENCE) || !explicit.Empty() || list.Empty() {
		return nil, errors.New("TBS extensions are not one filled SEQUENCE")
	}
	for !list.Empty() {
		e, err := readExtension(&list)
		if err != nil {
			return nil, err
		}
		if p.find(e.ID) >= 0 {
			return nil, fmt.Errorf("extension %v stands twice", e.ID)
		}
		p.Extensions = append(p.Extensions, e)
	}
	return p, nil
}

func readExtension(list *cryptobyte.String) (Extension, error) {
	var e Extension
	var body, value cryptobyte.String
	if !list.ReadASN1(&body, casn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&e.ID) {
		return e, errors.New("extension has no identifier")
	}
	if body.PeekASN1Tag(casn1.BOOLEAN) {
		// DER leaves the default FALSE out, so only TRUE can stand here.
		if !body.ReadASN1Boolean(&e.Critical) || !e.Critical {
			return e, fmt.Errorf("extension %v has a criticality that is not DER", e.ID)
		}
	}
	if !body.ReadASN1(&value, casn1.OCTET_STRING) || !body.Empty() {
		return e, fmt.Errorf("extension %v has no value", e.ID)
	}
	e.Value = value
	return e, nil
}

func (p *TBSParts) find(id asn1.ObjectIdentifier) int {
	for i, e := range p.Extensions {
		if e.ID.Equal(id) {
			return i
		}
	}
	return -1
}

// encode writes the TBS anew.
func (p *TBSParts) encode(extensions []Extension) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(p.head)
		b.AddASN1(extensionsTag, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, e := range extensions {
					addExtension(b, e)
				}
			})
		})
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding TBS: %w", err)
	}
	return out, nil
}

func addExtension(b *cryptobyte.Builder, e Extension) {
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(e.ID)
		if e.Critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(e.Value)
	})
}

// AppendExtension returns tbs with e as its last extension. It refuses an
// extension that is there already.
func AppendExtension(tbs []byte, e Extension) ([]byte, error) {
	p, err := ParseTBS(tbs)
	if err != nil {
		return nil, err
	}
	if p.find(e.ID) >= 0 {
		return nil, fmt.Errorf("extension %v is there already", e.ID)
	}
	return p.encode(append(p.Extensions, e))
}

// RemoveExtension returns tbs without the extension id, which must be there and
// must not be the only one.
func RemoveExtension(tbs []byte, id asn1.ObjectIdentifier) ([]byte, error) {
	p, err := ParseTBS(tbs)
	if err != nil {
		return nil, err
	}
	i := p.find(id)
	if i < 0 {
		return nil, fmt.Errorf("extension %v is not there", id)
	}
	if len(p.Extensions) == 1 {
		return nil, fmt.Errorf("extension %v is the only one", id)
	}
	return p.encode(append(p.Extensions[:i:i], p.Extensions[i+1:]...))
}
