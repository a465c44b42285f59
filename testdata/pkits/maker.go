// Package pkits makes certificates and CRLs in the manner of NIST's Public Key
// Interoperability Test Suite (PKITS): one case for each thing that a relying
// party must accept or refuse (RFC 5280, 6). It knows what RFC 5280 says of each
// case, and nothing of who is tested with it; README.md tells how the cases are used.
//
// Under testing/cryptotest's global random source the same cases come out byte
// for byte each time.
package pkits

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Now is when the cases are to be judged.
var Now = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// Policies of the cases, under the arc that NIST keeps for tests.
const (
	Policy1 = "2.16.840.1.101.3.2.1.48.1"
	Policy2 = "2.16.840.1.101.3.2.1.48.2"
)

// Case is one thing to judge.
type Case struct {
	Name    string // section of PKITS, and what it is about
	Anchor  []byte // DER; the only trusted certificate
	Issuers [][]byte
	Leaf    []byte
	CRLs    [][]byte
	// Policies: one of these is demanded, and every certificate must be issued
	// under it (explicit policy). Empty: none is.
	Policies []string
	// Valid is what RFC 5280 says.
	Valid bool
}

// authority is a CA: a name and the keys that go by it.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	at   string // address of its list
}

// maker makes one case.
type maker struct {
	Case
	root, ca *authority
	serial   int64
	named    int
}

// must panics: what is made here is made of constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func name(cn string) pkix.Name {
	return pkix.Name{Country: []string{"US"}, Organization: []string{"Test Certificates"}, CommonName: cn}
}

func (m *maker) template(cn string) *x509.Certificate {
	m.serial++
	return &x509.Certificate{SerialNumber: big.NewInt(m.serial), Subject: name(cn), NotBefore: Now.AddDate(-1, 0, 0), NotAfter: Now.AddDate(5, 0, 0)}
}

type change = func(*x509.Certificate)

// issue signs a template by an authority.
func issue(template *x509.Certificate, by *authority, public crypto.PublicKey) *x509.Certificate {
	if by != nil && template.CRLDistributionPoints == nil {
		template.CRLDistributionPoints = []string{by.at}
	}
	template.AuthorityKeyId = by.cert.SubjectKeyId // the library leaves it out where a CA certifies its own name
	der := must(x509.CreateCertificate(rand.Reader, template, by.cert, public, by.key))
	cert, err := x509.ParseCertificate(der)
	if err != nil { // right all the same: the library does not read all that is
		return &x509.Certificate{Raw: der, SerialNumber: template.SerialNumber}
	}
	return cert
}

// authority makes a CA under another, or a trust anchor under nil.
func (m *maker) authority(cn string, by *authority, changes ...change) *authority {
	t := m.template(cn)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage, t.MaxPathLen = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, -1
	for _, c := range changes {
		c(t)
	}
	m.named++
	a := &authority{key: newKey(), at: fmt.Sprintf("http://pkits.test/%d.crl", m.named)}
	if by == nil {
		a.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, t, t, a.key.Public(), a.key))))
		return a
	}
	a.cert = issue(t, by, a.key.Public())
	m.Issuers = append(m.Issuers, a.cert.Raw)
	return a
}

// leaf makes the certificate that is judged.
func (m *maker) leaf(by *authority, changes ...change) *x509.Certificate {
	t := m.template("EE Certificate")
	t.KeyUsage = x509.KeyUsageDigitalSignature
	for _, c := range changes {
		c(t)
	}
	cert := issue(t, by, newKey().Public())
	m.Leaf = cert.Raw
	return cert
}

// list is what a CRL says and who signs it.
type list = x509.RevocationList

// crl adds a list of an authority that names these certificates.
func (m *maker) crl(by *authority, change func(*list), revoked ...*x509.Certificate) {
	l := &list{Number: big.NewInt(1), ThisUpdate: Now.AddDate(0, 0, -1), NextUpdate: Now.AddDate(0, 0, 6)}
	for _, cert := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: Now.AddDate(0, 0, -2), ReasonCode: 1})
	}
	if change != nil {
		change(l)
	}
	// The library signs lists of CAs only that may; some here may not.
	cert := *by.cert
	cert.KeyUsage |= x509.KeyUsageCRLSign
	m.CRLs = append(m.CRLs, must(x509.CreateRevocationList(rand.Reader, l, &cert, by.key)))
}

// plain makes a trust anchor with its list and a CA; the CA's list is the case's business.
func plain(changes ...change) *maker {
	m := &maker{}
	m.root = m.authority("Trust Anchor", nil)
	m.Anchor = m.root.cert.Raw
	m.crl(m.root, nil)
	m.ca = m.authority("Good CA", m.root, changes...)
	return m
}

// usual is plain with a list of the CA.
func usual(changes ...change) *maker {
	m := plain(changes...)
	m.crl(m.ca, nil)
	return m
}

// spoil breaks the signature at the end of a certificate or list.
func spoil(der []byte) []byte {
	out := append([]byte{}, der...)
	out[len(out)-1] ^= 1
	return out
}

// Parts of TBSCertificate.
const (
	partSerial   = 1
	partIssuer   = 3
	partValidity = 4
)

// rebuild changes parts of a certificate that the library would not write, and signs it anew.
func rebuild(cert *x509.Certificate, key crypto.Signer, edit func(parts [][]byte)) []byte {
	tbs := cryptobyte.String(cert.RawTBSCertificate)
	var body cryptobyte.String
	var parts [][]byte
	tbs.ReadASN1(&body, cbasn1.SEQUENCE)
	for !body.Empty() {
		var part cryptobyte.String
		var tag cbasn1.Tag
		body.ReadAnyASN1Element(&part, &tag)
		parts = append(parts, part)
	}
	algorithm := parts[2]
	edit(parts)
	return seal(parts, algorithm, key)
}

// seal signs SEQUENCE {parts...} by ECDSA with SHA-256.
func seal(parts [][]byte, algorithm []byte, key crypto.Signer) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, part := range parts {
			b.AddBytes(part)
		}
	})
	tbs := b.BytesOrPanic()
	digest := sha256.Sum256(tbs)
	signature := must(key.Sign(rand.Reader, digest[:], crypto.SHA256))
	var out cryptobyte.Builder
	out.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(signature)
	})
	return out.BytesOrPanic()
}

func marshal(v any) []byte { return must(asn1.Marshal(v)) }

func extension(critical bool, value []byte, oid ...int) pkix.Extension {
	return pkix.Extension{Id: oid, Critical: critical, Value: value}
}

// with adds extensions to a certificate.
func with(extensions ...pkix.Extension) change {
	return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, extensions...) }
}

// under has a certificate issued under policies.
func under(policies ...string) change {
	return func(c *x509.Certificate) {
		for _, p := range policies {
			c.Policies = append(c.Policies, must(x509.ParseOID(p)))
		}
	}
}
