package api_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"

	"sigill/internal/card"
	"sigill/policy"
)

// tlv is one element of BER with the shortest definite length.
func tlv(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	head := []byte{tag}
	switch n := len(body); {
	case n < 0x80:
		head = append(head, byte(n))
	case n < 0x100:
		head = append(head, 0x81, byte(n))
	default:
		head = append(head, 0x82, byte(n>>8), byte(n))
	}
	return append(head, body...)
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// forgery is a certification request whose every part may be anything. Its
// signature is right for whatever it says, so that only what is said is refused.
type forgery struct {
	t          testing.TB
	key        *ecdsa.PrivateKey
	version    []byte
	subject    []byte
	spki       []byte
	attributes []byte // with tag
	algorithm  []byte
	tail       []byte // of the request info
	signature  []byte // instead of the right one
}

// forge returns the request that the server would take.
func forge(t testing.TB, key *ecdsa.PrivateKey, digest [32]byte) forgery {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	f := forgery{t: t, key: key, version: []byte{2, 1, 0}, subject: []byte{0x30, 0}, spki: spki,
		algorithm: tlv(0x30, marshal(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}))}
	f.attributes = tlv(0xa0, bindingAttribute(t, tlv(4, digest[:])))
	return f
}

func attribute(t testing.TB, oid asn1.ObjectIdentifier, values ...[]byte) []byte {
	t.Helper()
	return tlv(0x30, marshal(t, oid), tlv(0x31, values...))
}

func bindingAttribute(t testing.TB, values ...[]byte) []byte {
	t.Helper()
	return attribute(t, bindingOID(), values...)
}

func bindingOID() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 999, 752, 2, 1} }

func (f forgery) der() []byte {
	f.t.Helper()
	info := tlv(0x30, f.version, f.subject, f.spki, f.attributes, f.tail)
	signature := f.signature
	if signature == nil {
		sum := sha256.Sum256(info)
		var err error
		if signature, err = ecdsa.SignASN1(rand.Reader, f.key, sum[:]); err != nil {
			f.t.Fatal(err)
		}
	}
	return tlv(0x30, info, f.algorithm, tlv(3, []byte{0}, signature))
}

// slipped are extensions that a request asks for, and that no holder may choose.
func slipped(t testing.TB) map[string]pkix.Extension {
	t.Helper()
	return map[string]pkix.Extension{
		"another name (subjectAltName)": {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: tlv(0x30, tlv(0x82, []byte("login.region.example")), tlv(0x81, []byte("chef@region.example")))},
		"CA:TRUE (basicConstraints)":    {Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: tlv(0x30, []byte{1, 1, 0xff})},
		"server authentication (EKU)":   {Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: marshal(t, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}, {2, 5, 29, 37, 0}})},
		"key usage of a CA":             {Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 1, 6}},
		"another level (policies)":      {Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: tlv(0x30, tlv(0x30, marshal(t, asn1.ObjectIdentifier{2, 5, 29, 32, 0})))},
		"another card's number":         {Id: asn1.ObjectIdentifier{1, 2, 752, 34, 2, 1}, Value: tlv(0x13, []byte("9752000000000000001"))},
		"another's account (SID)":       {Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}, Value: tlv(0x30, tlv(0xa0, tlv(4, []byte("S-1-5-21-1-2-3-500"))))},
	}
}

// extensionRequest is the attribute of PKCS #9 that asks for extensions.
func extensionRequest(t testing.TB, e ...pkix.Extension) []byte {
	t.Helper()
	return attribute(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}, marshal(t, e))
}

// contentForgeries ask for what only the order decides.
func contentForgeries(t testing.TB, f forgery, digest [32]byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	add := func(name string, change func(*forgery)) {
		g := f
		change(&g)
		all[name] = g.der()
	}
	binding := bindingAttribute(t, tlv(4, digest[:]))
	for name, e := range slipped(t) {
		add(name+" beside the binding", func(g *forgery) { g.attributes = tlv(0xa0, binding, extensionRequest(t, e)) })
		add(name+" before the binding", func(g *forgery) { g.attributes = tlv(0xa0, extensionRequest(t, e), binding) })
		add(name+" instead of the binding", func(g *forgery) { g.attributes = tlv(0xa0, extensionRequest(t, e)) })
		add(name+" as a second value", func(g *forgery) {
			g.attributes = tlv(0xa0, bindingAttribute(t, tlv(4, digest[:]), marshal(t, []pkix.Extension{e})))
		})
	}
	for name, subject := range map[string]pkix.Name{
		"another name":        {CommonName: "Chef Chefsson"},
		"another serial":      {SerialNumber: "191212121212"},
		"organisation":        {Organization: []string{"Region Annanstans"}, Country: []string{"SE"}},
		"name with a newline": {CommonName: "A\nCN=B"},
	} {
		add("subject: "+name, func(g *forgery) { g.subject = marshal(t, subject.ToRDNSequence()) })
	}
	add("subject: one empty RDN", func(g *forgery) { g.subject = tlv(0x30, tlv(0x31)) })
	add("challengePassword beside the binding", func(g *forgery) {
		g.attributes = tlv(0xa0, binding, attribute(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, tlv(0x13, []byte("secret"))))
	})
	add("attribute after the request info", func(g *forgery) { g.tail = tlv(0xa1, binding) })
	return all
}

// encodingForgeries say the right thing in a way that another reader might take
// for another thing.
func encodingForgeries(t testing.TB, f forgery, digest [32]byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	add := func(name string, change func(*forgery)) {
		g := f
		change(&g)
		all[name] = g.der()
	}
	value := tlv(4, digest[:])
	binding := bindingAttribute(t, value)
	for name, attributes := range map[string][]byte{
		"no attribute":               tlv(0xa0),
		"attributes left out":        nil,
		"binding twice":              tlv(0xa0, binding, binding),
		"two values":                 tlv(0xa0, bindingAttribute(t, value, value)),
		"no value":                   tlv(0xa0, bindingAttribute(t)),
		"value of 31 octets":         tlv(0xa0, bindingAttribute(t, tlv(4, digest[:31]))),
		"value of 33 octets":         tlv(0xa0, bindingAttribute(t, tlv(4, digest[:], []byte{0}))),
		"value as text":              tlv(0xa0, bindingAttribute(t, tlv(0x0c, digest[:]))),
		"value as INTEGER":           tlv(0xa0, bindingAttribute(t, tlv(2, digest[:]))),
		"value as BIT STRING":        tlv(0xa0, bindingAttribute(t, tlv(3, []byte{0}, digest[:]))),
		"value in two parts (BER)":   tlv(0xa0, bindingAttribute(t, tlv(0x24, tlv(4, digest[:16]), tlv(4, digest[16:])))),
		"value in a SEQUENCE":        tlv(0xa0, bindingAttribute(t, tlv(0x30, value))),
		"values as SEQUENCE":         tlv(0xa0, tlv(0x30, marshal(t, bindingOID()), tlv(0x30, value))),
		"another attribute's name":   tlv(0xa0, attribute(t, asn1.ObjectIdentifier{2, 999, 752, 2, 2}, value)),
		"something in the attribute": tlv(0xa0, tlv(0x30, marshal(t, bindingOID()), tlv(0x31, value), []byte{5, 0})),
		"something after it":         tlv(0xa0, binding, []byte{5, 0}),
		"attributes primitive":       append([]byte{0x80}, tlv(0xa0, binding)[1:]...),
		"attributes as [1]":          tlv(0xa1, binding),
		"length in two octets":       append([]byte{0xa0, 0x81, byte(len(binding))}, binding...),
		"indefinite length":          append(append([]byte{0xa0, 0x80}, binding...), 0, 0),
	} {
		add("attributes: "+name, func(g *forgery) { g.attributes = attributes })
	}
	for name, version := range map[string][]byte{
		"1": {2, 1, 1}, "negative": {2, 1, 0xff}, "without octets": {2, 0}, "with a zero in front": {2, 2, 0, 0}, "huge": tlv(2, bytes.Repeat([]byte{0x7f}, 200)),
		"as ENUMERATED": {10, 1, 0}, "left out": nil, "twice": {2, 1, 0, 2, 1, 0},
	} {
		add("version "+name, func(g *forgery) { g.version = version })
	}
	whole := f.der()
	for name, der := range map[string][]byte{
		"nothing": {}, "one octet": {0x30}, "cut off": whole[:len(whole)-1], "NULL": {5, 0},
		"something after it":    append(bytes.Clone(whole), 0),
		"two requests":          append(bytes.Clone(whole), whole...),
		"indefinite length":     append(append([]byte{0x30, 0x80}, body(whole)...), 0, 0),
		"length in four octets": append([]byte{0x30, 0x84, 0, 0, byte(len(body(whole)) >> 8), byte(len(body(whole)))}, body(whole)...),
		"length beyond the end": append([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, body(whole)...),
		"length of nine octets": append([]byte{0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0}, body(whole)...),
		"PEM":                   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: whole}),
		"in a SEQUENCE":         tlv(0x30, whole),
		"of 9000 octets":        append(bytes.Clone(whole), make([]byte, 9000)...),
		"deep nesting":          nested(3000),
		"context tag in front":  tlv(0xa0, whole),
		"long tag in front":     append([]byte{0x3f, 0x10}, whole[1:]...),
	} {
		all["request: "+name] = der
	}
	return all
}

// body is what stands in an element.
func body(der []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		panic(err)
	}
	return v.Bytes
}

func nested(n int) []byte {
	der := []byte{}
	for len(der) < n {
		der = tlv(0x30, der)
	}
	return der
}

// unusedBits tells of bits of the signature that do not count.
func unusedBits(der []byte) []byte {
	out := bytes.Clone(der)
	var outer struct {
		Info, Algorithm asn1.RawValue
		Signature       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		panic(err)
	}
	out[len(out)-len(outer.Signature.Bytes)-1] = 7
	out[len(out)-1] &= 0x80
	return out
}

// keyForgeries have keys that no card of ours makes.
func keyForgeries(t testing.TB, f forgery) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	spki := func(name string, der []byte) {
		g := f
		g.spki = der
		all["key: "+name] = g.der()
	}
	public := func(name string, key crypto.PublicKey) {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		spki(name, der)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public("Ed25519", edwards)
	for name, curve := range map[string]elliptic.Curve{"P-224": elliptic.P224(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public(name, key.Public())
	}
	odd := func(bits int) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return n.Add(n, big.NewInt(0x10001))
	}
	for name, bits := range map[string]int{"RSA of 1024 bits": 1024, "RSA of 2047 bits": 2047, "RSA of 16384 bits": 16384} {
		public(name, &rsa.PublicKey{N: odd(bits), E: 65537})
	}
	rsaForgeries(t, spki, marshal(t, odd(2048)))
	spki("DSA", tlv(0x30, tlv(0x30, marshal(t, asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}), tlv(0x30, []byte{2, 1, 23}, []byte{2, 1, 11}, []byte{2, 1, 2})),
		tlv(3, []byte{0}, []byte{2, 1, 4})))
	spki("X25519", tlv(0x30, tlv(0x30, marshal(t, asn1.ObjectIdentifier{1, 3, 101, 110})), tlv(3, []byte{0}, make([]byte, 32))))
	pointForgeries(t, f, spki)
	for name, oid := range map[string]asn1.ObjectIdentifier{"SHA-1": {1, 2, 840, 10045, 4, 1}, "SHA-512": {1, 2, 840, 10045, 4, 3, 4}, "MD5 with RSA": {1, 2, 840, 113549, 1, 1, 4}, "none known": {2, 999, 1}} {
		g := f
		g.algorithm = tlv(0x30, marshal(t, oid))
		all["signed with "+name] = g.der()
	}
	return all
}

func rsaForgeries(t testing.TB, spki func(string, []byte), modulus []byte) {
	t.Helper()
	rsaOID := tlv(0x30, marshal(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}), []byte{5, 0})
	rsaKey := func(name string, n, e []byte) {
		spki(name, tlv(0x30, rsaOID, tlv(3, []byte{0}, tlv(0x30, n, e))))
	}
	exponent := []byte{2, 3, 1, 0, 1}
	rsaKey("RSA without modulus", []byte{2, 0}, exponent)
	rsaKey("RSA with modulus 0", []byte{2, 1, 0}, exponent)
	rsaKey("RSA with a negative modulus", tlv(2, bytes.Repeat([]byte{0xff}, 256)), exponent)
	rsaKey("RSA with exponent 0", modulus, []byte{2, 1, 0})
	rsaKey("RSA without exponent", modulus, []byte{2, 0})
	rsaKey("RSA with a negative exponent", modulus, []byte{2, 1, 0xfd})
	rsaKey("RSA with a huge exponent", modulus, modulus)
}

func pointForgeries(t testing.TB, f forgery, spki func(string, []byte)) {
	t.Helper()
	p256 := tlv(0x30, marshal(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}), marshal(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}))
	point, err := f.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	off := bytes.Clone(point)
	off[len(off)-1] ^= 1
	compressed := append([]byte{2 + point[64]&1}, point[1:33]...)
	for name, point := range map[string][]byte{"off the curve": off, "at infinity": {0}, "compressed": compressed, "zero": append([]byte{4}, make([]byte, 64)...), "cut off": point[:40], "none": {}} {
		spki("point "+name, tlv(0x30, p256, tlv(3, []byte{0}, point)))
	}
	spki("left out", nil)
	spki("without curve", tlv(0x30, tlv(0x30, marshal(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1})), tlv(3, []byte{0}, point)))
	spki("something after it", tlv(0x30, p256, tlv(3, []byte{0}, point), []byte{5, 0}))
}

// bindingForgeries are rightly made for something else than the item. They are
// made by hand and not by the client, which would refuse some.
func bindingForgeries(right card.Binding, other card.Binding) map[string]card.Binding {
	all := map[string]card.Binding{"another's whole": other}
	for name, change := range map[string]func(*card.Binding){
		"another slot":        func(b *card.Binding) { b.Slot = string(policy.Signing) },
		"transport slot":      func(b *card.Binding) { b.Slot = string(policy.Transport) },
		"another card":        func(b *card.Binding) { b.Card = other.Card },
		"another download":    func(b *card.Binding) { b.Download = other.Download },
		"another's challenge": func(b *card.Binding) { b.Challenge = other.Challenge },
		"no challenge":        func(b *card.Binding) { b.Challenge = [32]byte{} },
		"another's log-in":    func(b *card.Binding) { b.Login = other.Login },
		"another's plan":      func(b *card.Binding) { b.PlanHash = other.PlanHash },
		"nothing at all":      func(b *card.Binding) { *b = card.Binding{} },
		"borders moved":       func(b *card.Binding) { b.Download, b.Slot = b.Download+b.Slot[:1], b.Slot[1:] },
	} {
		b := right
		change(&b)
		all[name] = b
	}
	return all
}
