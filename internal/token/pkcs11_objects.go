//go:build cgo

package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	cb "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/policy"
)

// curves by their DER object identifiers, as CKA_EC_PARAMS has them.
func curveOf(params []byte) elliptic.Curve {
	var oid asn1.ObjectIdentifier
	in := cryptobyte.String(params)
	if !in.ReadASN1ObjectIdentifier(&oid) {
		return nil
	}
	switch {
	case oid.Equal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}):
		return elliptic.P256()
	case oid.Equal(asn1.ObjectIdentifier{1, 3, 132, 0, 34}):
		return elliptic.P384()
	}
	return nil
}

// keyTemplate returns mechanism and templates for a new key pair. The private
// key is sensitive and never extractable. A signing key demands its PIN for
// each signature: what is signed with it binds its holder.
func keyTemplate(slot policy.Slot, algorithm Algorithm) (*pkcs11.Mechanism, []*pkcs11.Attribute, []*pkcs11.Attribute, error) {
	public := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
	}
	private := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
	}
	if slot == policy.Signing {
		private = append(private, pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_AUTHENTICATE, true))
	}
	ec := func(oid asn1.ObjectIdentifier) (*pkcs11.Mechanism, []*pkcs11.Attribute, []*pkcs11.Attribute, error) {
		der, err := asn1.Marshal(oid)
		return pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil), append(public, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, der)), private, err
	}
	bits := 2048
	switch algorithm {
	case P256:
		return ec(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	case P384:
		return ec(asn1.ObjectIdentifier{1, 3, 132, 0, 34})
	case RSA2048:
	case RSA3072:
		bits = 3072
	default:
		return nil, nil, nil, fmt.Errorf("the card cannot make a key of kind %q", algorithm)
	}
	public = append(public, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, bits),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil), public, private, nil
}

func certificateTemplate(id []byte, label string, cert *x509.Certificate) []*pkcs11.Attribute {
	var serial cryptobyte.Builder
	serial.AddASN1BigInt(cert.SerialNumber)
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE),
		pkcs11.NewAttribute(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, cert.RawSubject),
		pkcs11.NewAttribute(pkcs11.CKA_ISSUER, cert.RawIssuer),
		pkcs11.NewAttribute(pkcs11.CKA_SERIAL_NUMBER, serial.BytesOrPanic()), // of a parsed certificate
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, cert.Raw),
	}
}

// find returns the objects of a class, of one id if id is not nil.
func (p *place) find(class uint, id []byte) ([]pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if id != nil {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	if err := p.ctx.FindObjectsInit(p.session, template); err != nil {
		return nil, fmt.Errorf("searching the card: %w", err)
	}
	var all []pkcs11.ObjectHandle
	for len(all) < maxObjects {
		some, _, err := p.ctx.FindObjects(p.session, 64)
		if err != nil {
			p.ctx.FindObjectsFinal(p.session) // the first error counts
			return nil, fmt.Errorf("searching the card: %w", err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	if err := p.ctx.FindObjectsFinal(p.session); err != nil {
		return nil, fmt.Errorf("searching the card: %w", err)
	}
	return all, nil
}

// value returns an attribute, or nil: a writer that was killed leaves objects
// without any, and one unreadable object must not hide the others.
func (p *place) value(h pkcs11.ObjectHandle, attribute uint) []byte {
	got, err := p.ctx.GetAttributeValue(p.session, h, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil || len(got) != 1 || len(got[0].Value) == 0 {
		return nil
	}
	return got[0].Value
}

// text returns an attribute of the first object of a class with an id, or "".
func (p *place) text(id []byte, class, attribute uint) string {
	handles, err := p.find(class, id)
	if err != nil || len(handles) == 0 {
		return ""
	}
	return string(p.value(handles[0], attribute))
}

// has reports whether anything has the id; it takes p.mu.
func (p *place) has(id []byte) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, class := range []uint{pkcs11.CKO_CERTIFICATE, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
		handles, err := p.find(class, id)
		if err != nil || len(handles) > 0 {
			return len(handles) > 0, err
		}
	}
	return false, nil
}

// objects lists what the token holds; it takes p.mu. Objects without an id are
// left out: nothing can be done with them by id, and an empty id would name all
// of them.
func (p *place) objects() ([]Object, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Object
	at := func(id []byte) *Object {
		if i := slices.IndexFunc(all, func(o Object) bool { return bytes.Equal(o.ID, id) }); i >= 0 {
			return &all[i]
		}
		all = append(all, Object{ID: id})
		return &all[len(all)-1]
	}
	for _, class := range []uint{pkcs11.CKO_CERTIFICATE, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
		handles, err := p.find(class, nil)
		if err != nil {
			return nil, err
		}
		for _, h := range handles {
			id := p.value(h, pkcs11.CKA_ID)
			if id == nil {
				continue
			}
			o := at(id)
			if label := string(p.value(h, pkcs11.CKA_LABEL)); o.Label == "" {
				o.Label = label
			}
			p.note(o, class, h)
		}
	}
	for i := range all {
		all[i].Slot = slotOf(all[i].Label, all[i].Certificate)
	}
	return all, nil
}

// note adds to o what one of its objects tells.
func (p *place) note(o *Object, class uint, h pkcs11.ObjectHandle) {
	switch class {
	case pkcs11.CKO_CERTIFICATE:
		der := p.value(h, pkcs11.CKA_VALUE)
		cert, err := x509.ParseCertificate(der)
		if err != nil || o.Certificate != nil {
			o.Damaged = true
		}
		if err == nil {
			o.Certificate, o.Public = der, cert.PublicKey
		}
	case pkcs11.CKO_PUBLIC_KEY:
		public := p.publicOf(h)
		if public == nil {
			o.Damaged = true
		} else {
			o.Public = public
		}
		// Private keys are not seen before log-in: the public key stands for
		// its private one until then.
		o.HasKey = !p.loggedIn
	case pkcs11.CKO_PRIVATE_KEY:
		o.HasKey = true
	}
}

// destroy removes every object of a class and id.
func (p *place) destroy(class uint, id []byte) error {
	handles, err := p.find(class, id)
	if err != nil {
		return err
	}
	for _, h := range handles {
		if err := p.ctx.DestroyObject(p.session, h); err != nil {
			return fmt.Errorf("deleting %x from the card: %w", id, err)
		}
	}
	return nil
}

// nameless counts, and with drop removes, what has this package's label and no
// id; it takes p.mu. Private keys among them are seen after log-in only.
func (p *place) nameless(ctx context.Context, drop bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, class := range []uint{pkcs11.CKO_CERTIFICATE, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
		handles, err := p.find(class, nil)
		if err != nil {
			return n, err
		}
		for _, h := range handles {
			if p.value(h, pkcs11.CKA_ID) != nil || !strings.HasPrefix(string(p.value(h, pkcs11.CKA_LABEL)), LabelPrefix) {
				continue
			}
			n++
			if !drop {
				continue
			}
			if err := p.login(ctx); err != nil {
				return n, err
			}
			if err := p.ctx.DestroyObject(p.session, h); err != nil {
				return n, fmt.Errorf("deleting an object without id: %w", err)
			}
		}
	}
	return n, nil
}

// certificate reads the certificate id from the token.
func (p *place) certificate(id []byte) ([]byte, error) {
	handles, err := p.find(pkcs11.CKO_CERTIFICATE, id)
	if err != nil {
		return nil, err
	}
	if len(handles) > 1 {
		return nil, fmt.Errorf("the card has %d certificates %x", len(handles), id)
	}
	if len(handles) == 1 {
		if der := p.value(handles[0], pkcs11.CKA_VALUE); der != nil {
			return der, nil
		}
	}
	return nil, fmt.Errorf("certificate %x: %w", id, ErrNotFound)
}

// publicKey returns the public key id, from its object or its certificate.
func (p *place) publicKey(id []byte) (crypto.PublicKey, error) {
	handles, err := p.find(pkcs11.CKO_PUBLIC_KEY, id)
	if err != nil {
		return nil, err
	}
	for _, h := range handles {
		if public := p.publicOf(h); public != nil {
			return public, nil
		}
	}
	if der, err := p.certificate(id); err == nil {
		if cert, err := x509.ParseCertificate(der); err == nil {
			return cert.PublicKey, nil
		}
	}
	return nil, fmt.Errorf("public key %x: %w", id, ErrNotFound)
}

// publicOf decodes a public key object; nil if it is incomplete or of a kind
// that is not used here.
func (p *place) publicOf(h pkcs11.ObjectHandle) crypto.PublicKey {
	if n := p.value(h, pkcs11.CKA_MODULUS); n != nil {
		e := new(big.Int).SetBytes(p.value(h, pkcs11.CKA_PUBLIC_EXPONENT))
		if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(e.Int64())}
	}
	curve, point := curveOf(p.value(h, pkcs11.CKA_EC_PARAMS)), p.value(h, pkcs11.CKA_EC_POINT)
	if curve == nil || point == nil {
		return nil
	}
	// The standard wants an OCTET STRING around the point; some modules give
	// it bare.
	in, inner := cryptobyte.String(point), cryptobyte.String(nil)
	if in.ReadASN1(&inner, cb.OCTET_STRING) && in.Empty() {
		point = inner
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil
	}
	return key
}
