package pkits

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

// signatures is section 4.1.
func signatures() []Case {
	good := usual()
	good.leaf(good.ca)
	badCA := usual()
	badCA.leaf(badCA.ca)
	badCA.Issuers[0] = spoil(badCA.Issuers[0])
	badEE := usual()
	badEE.leaf(badEE.ca)
	badEE.Leaf = spoil(badEE.Leaf)
	return []Case{good.valid("4.1.1 signatures"), badCA.invalid("4.1.2 bad signature of the CA's certificate"), badEE.invalid("4.1.3 bad signature of the certificate")}
}

// between sets the validity.
func between(from, to time.Time) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// validity is section 4.2.
func validity() []Case {
	later, past, long := Now.AddDate(1, 0, 0), Now.AddDate(-2, 0, 0), Now.AddDate(5, 0, 0)
	day := func(year int) time.Time { return time.Date(year, 1, 1, 12, 1, 0, 0, time.UTC) }
	caOf := func(from, to time.Time) *maker {
		m := usual(between(from, to))
		m.leaf(m.ca)
		return m
	}
	leafOf := func(from, to time.Time) *maker {
		m := usual()
		m.leaf(m.ca, between(from, to))
		return m
	}
	// GeneralizedTime for a year that UTCTime could tell: RFC 5280, 4.1.2.5, has
	// who accepts certificates take it, and who makes them not write it.
	general := usual()
	cert := general.leaf(general.ca)
	general.Leaf = rebuild(cert, general.ca.key, func(parts [][]byte) {
		parts[partValidity] = marshal(struct {
			From time.Time `asn1:"generalized"`
			To   time.Time `asn1:"generalized"`
		}{day(2025), day(2030)})
	})
	return []Case{
		caOf(later, long).invalid("4.2.1 the CA's notBefore has not come"),
		leafOf(later, long).invalid("4.2.2 notBefore has not come"),
		leafOf(day(1950), long).valid("4.2.3 notBefore before 2000"),
		general.valid("4.2.4 notBefore as GeneralizedTime before 2050"),
		caOf(past, Now.AddDate(-1, 0, 0)).invalid("4.2.5 the CA's notAfter has passed"),
		leafOf(past, Now.AddDate(-1, 0, 0)).invalid("4.2.6 notAfter has passed"),
		leafOf(day(1950), day(1999)).invalid("4.2.7 notAfter before 2000"),
		leafOf(past, day(2051)).valid("4.2.8 notAfter as GeneralizedTime after 2050"),
	}
}

// issuedAs writes another issuer's name into the certificate.
func (m *maker) issuedAs(dn []byte) {
	cert := m.leaf(m.ca)
	m.Leaf = rebuild(cert, m.ca.key, func(parts [][]byte) { parts[partIssuer] = dn })
}

// rdns encodes a name with the attributes in this order.
func rdns(attributes ...pkix.AttributeTypeAndValue) []byte {
	var seq pkix.RDNSequence
	for _, a := range attributes {
		seq = append(seq, pkix.RelativeDistinguishedNameSET{a})
	}
	return marshal(seq)
}

func attribute(n int, value any) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, n}, Value: value}
}

// names is section 4.3.
func names() []Case {
	as := func(dn []byte) *maker {
		m := usual()
		m.issuedAs(dn)
		return m
	}
	utf8 := func(cn string) asn1.RawValue {
		return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(cn)}
	}
	country, org := attribute(6, "US"), attribute(10, "Test Certificates")
	text := usual(func(c *x509.Certificate) { c.RawSubject = rdns(country, org, attribute(3, utf8("Good CA"))) })
	text.leaf(text.ca)
	return []Case{
		as(rdns(country, org, attribute(3, "Other CA"))).invalid("4.3.1 another issuer's name"),
		as(rdns(org, country, attribute(3, "Good CA"))).invalid("4.3.2 the issuer's name in another order"),
		as(rdns(country, org, attribute(3, "Good  CA"))).valid("4.3.3 the issuer's name with more space inside"),
		as(rdns(country, org, attribute(3, " Good CA "))).valid("4.3.4 the issuer's name with space around"),
		as(rdns(country, org, attribute(3, "good ca"))).valid("4.3.5 the issuer's name in other case"),
		text.valid("4.3.9 the issuer's name as UTF8String"),
		as(rdns(country, org, attribute(3, utf8("Good CA")))).valid("4.3.10 the issuer's name as another string type"),
	}
}

// serials is 4.4.14 to 4.4.18.
func serials() []Case {
	withSerial := func(serial []byte, listed *big.Int) *maker {
		m := plain()
		cert := m.leaf(m.ca)
		m.Leaf = rebuild(cert, m.ca.key, func(parts [][]byte) { parts[partSerial] = append([]byte{2, byte(len(serial))}, serial...) })
		other := *cert
		other.SerialNumber = listed
		m.crl(m.ca, nil, &other)
		return m
	}
	long := append([]byte{0x7f}, bytes.Repeat([]byte{0x5a}, 19)...) // 20 octets
	near := new(big.Int).SetBytes(append(bytes.Clone(long[:19]), 0x5b))
	return []Case{
		withSerial([]byte{0xff}, big.NewInt(1)).valid("4.4.14 a negative serial"),
		withSerial([]byte{0xff}, big.NewInt(-1)).invalid("4.4.15 a negative serial that is revoked"),
		withSerial(long, big.NewInt(0x7f5a)).valid("4.4.16 a serial of 20 octets"),
		withSerial(long, near).valid("4.4.17 a serial of 20 octets beside a revoked one that begins alike"),
		withSerial(long, new(big.Int).SetBytes(long)).invalid("4.4.18 a serial of 20 octets that is revoked"),
	}
}

// pathLength sets a CA's pathLenConstraint.
func pathLength(n int) change {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
}

// basicConstraints is 4.6.1 to 4.6.4.
func basicConstraints() []Case {
	one := func(changes ...change) *maker {
		m := usual(changes...)
		m.leaf(m.ca)
		return m
	}
	none := func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA, c.SubjectKeyId = false, false, []byte{1} }
	notCA := func(critical bool) change {
		return func(c *x509.Certificate) {
			none(c)
			with(extension(critical, []byte{0x30, 0}, 2, 5, 29, 19))(c)
		}
	}
	plainly := func(c *x509.Certificate) {
		none(c)
		with(extension(false, []byte{0x30, 3, 1, 1, 0xff}, 2, 5, 29, 19))(c)
	}
	return []Case{
		one(none).invalid("4.6.1 a CA without basicConstraints"),
		one(notCA(true)).invalid("4.6.2 basicConstraints with cA false"),
		one(notCA(false)).invalid("4.6.3 basicConstraints with cA false, not critical"),
		one(plainly).valid("4.6.4 basicConstraints not critical"),
	}
}

// pathLengths is 4.6.5 to 4.6.17.
func pathLengths() []Case {
	// below makes CAs one under the other, the last of them the certificate
	// that is judged, if that is to be a CA.
	below := func(leafIsCA bool, lengths ...int) *maker {
		m := usual(pathLength(lengths[0]))
		at := m.ca
		for i, n := range lengths[1:] {
			at = m.authority("Sub CA "+string(rune('1'+i)), at, pathLength(n))
			m.crl(at, nil)
		}
		if leafIsCA {
			m.Leaf = at.cert.Raw
			m.Issuers = m.Issuers[:len(m.Issuers)-1]
			return m
		}
		m.leaf(at)
		return m
	}
	selfIssued := func(length int, lower ...int) *maker {
		m := usual(pathLength(length))
		again := m.authority("Good CA", m.ca)
		m.crl(again, nil)
		at := again
		for _, n := range lower {
			at = m.authority("Sub CA", at, pathLength(n))
			m.crl(at, nil)
		}
		m.leaf(at)
		return m
	}
	return []Case{
		below(false, 0, -1).invalid("4.6.5 a CA below pathLen 0"),
		below(true, 0, -1, -1).invalid("4.6.6 a CA two below pathLen 0"),
		below(false, 0).valid("4.6.7 a certificate below pathLen 0"),
		below(true, 0, -1).valid("4.6.8 a CA's certificate below pathLen 0"),
		below(false, 6, 0, -1).invalid("4.6.9 pathLen 0 below pathLen 6"),
		below(false, 1, 0, -1).invalid("4.6.11 more CAs than the first allows"),
		below(false, 6, 4, 1, -1).valid("4.6.13 pathLen 6, 4, 1"),
		below(true, 6, 4, 1, -1).valid("4.6.14 pathLen 6, 4, 1 and a CA's certificate"),
		selfIssued(0).valid("4.6.15 a self-issued CA below pathLen 0"),
		selfIssued(0, -1).invalid("4.6.16 a CA below a self-issued one below pathLen 0"),
		selfIssued(1, -1).valid("4.6.17 a self-issued CA and one more below pathLen 1"),
	}
}

// keyUsage is section 4.7.
func keyUsage() []Case {
	uses := func(use x509.KeyUsage) change { return func(c *x509.Certificate) { c.KeyUsage = use } }
	loosely := func(bits byte) change {
		return func(c *x509.Certificate) {
			c.KeyUsage = 0
			with(extension(false, []byte{3, 2, 1, bits}, 2, 5, 29, 15))(c)
		}
	}
	one := func(c change) *maker {
		m := usual(c)
		m.leaf(m.ca)
		return m
	}
	return []Case{
		one(uses(x509.KeyUsageCRLSign)).invalid("4.7.1 a CA without keyCertSign"),
		one(loosely(0x02)).invalid("4.7.2 a CA without keyCertSign, not critical"),
		one(loosely(0x06)).valid("4.7.3 keyUsage not critical"),
		one(uses(x509.KeyUsageCertSign)).invalid("4.7.4 a CA without cRLSign"),
		one(loosely(0x04)).invalid("4.7.5 a CA without cRLSign, not critical"),
	}
}

// privateExtensions is section 4.16.
func privateExtensions() []Case {
	one := func(critical bool) *maker {
		m := usual()
		m.leaf(m.ca, with(extension(critical, []byte{5, 0}, 2, 16, 840, 1, 101, 2, 1, 12, 2)))
		return m
	}
	return []Case{one(false).valid("4.16.1 an unknown extension"), one(true).invalid("4.16.2 an unknown critical extension")}
}
