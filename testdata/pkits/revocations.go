package pkits

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"
)

// basicRevocation is 4.4.1 to 4.4.13.
func basicRevocation() []Case {
	missing := plain()
	missing.leaf(missing.ca)
	ca := plain()
	ca.CRLs = nil
	ca.crl(ca.root, nil, ca.ca.cert)
	ca.crl(ca.ca, nil)
	ca.leaf(ca.ca)
	ee := plain()
	ee.crl(ee.ca, nil, ee.leaf(ee.ca))
	badSignature := usual()
	badSignature.leaf(badSignature.ca)
	badSignature.CRLs[1] = spoil(badSignature.CRLs[1])
	// The key is right, the name in the list another CA's.
	badName := plain()
	renamed := *badName.ca
	cert := *renamed.cert
	cert.RawSubject = marshal(name("Another CA").ToRDNSequence())
	renamed.cert = &cert
	badName.crl(&renamed, nil)
	badName.leaf(badName.ca)
	wrong := plain()
	wrong.leaf(wrong.ca)
	wrong.crl(wrong.root, nil)
	two := plain()
	two.leaf(two.ca)
	two.crl(two.ca, nil)
	two.CRLs = append(two.CRLs, spoil(two.CRLs[1]))
	two.CRLs[1], two.CRLs[2] = two.CRLs[2], two.CRLs[1]
	dated := func(this, next time.Time) *maker {
		m := plain()
		m.leaf(m.ca)
		m.crl(m.ca, func(l *list) { l.ThisUpdate, l.NextUpdate = this, next })
		return m
	}
	return append([]Case{
		missing.invalid("4.4.1 no list of the CA"),
		ca.invalid("4.4.2 the CA is revoked"),
		ee.invalid("4.4.3 the certificate is revoked"),
		badSignature.invalid("4.4.4 the list's signature is bad"),
		badName.invalid("4.4.5 the list bears another issuer's name"),
		wrong.invalid("4.4.6 the list of the CA above in its place"),
		two.valid("4.4.7 two lists, one of them with a bad signature"),
	}, append(unknownExtensions(),
		dated(Now.AddDate(0, -2, 0), Now.AddDate(0, -1, 0)).invalid("4.4.11 nextUpdate has passed"),
		dated(time.Date(1998, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1999, 1, 1, 12, 1, 0, 0, time.UTC)).invalid("4.4.12 nextUpdate before 2000"),
		dated(Now.AddDate(0, 0, -1), time.Date(2050, 1, 1, 12, 1, 0, 0, time.UTC)).valid("4.4.13 nextUpdate as GeneralizedTime"))...)
}

// unknownExtensions is 4.4.8 to 4.4.10.
func unknownExtensions() []Case {
	unknown := extension(true, []byte{5, 0}, 2, 16, 840, 1, 101, 2, 1, 12, 2)
	inEntry := func(revoke bool) *maker {
		m := plain()
		cert := m.leaf(m.ca)
		m.crl(m.ca, func(l *list) {
			serial := big.NewInt(4711)
			if revoke {
				serial = cert.SerialNumber
			}
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: serial, RevocationTime: Now.AddDate(0, 0, -2), ExtraExtensions: []pkix.Extension{unknown}}}
		})
		return m
	}
	inList := func(revoke bool) *maker {
		m := plain()
		cert := m.leaf(m.ca)
		var revoked []*x509.Certificate
		if revoke {
			revoked = append(revoked, cert)
		}
		m.crl(m.ca, func(l *list) { l.ExtraExtensions = []pkix.Extension{unknown} }, revoked...)
		return m
	}
	return []Case{
		inEntry(true).invalid("4.4.8 an unknown critical extension in the certificate's entry"),
		inEntry(false).invalid("4.4.8 an unknown critical extension in another's entry"),
		inList(true).invalid("4.4.9 an unknown critical extension in the list, which names the certificate"),
		inList(false).invalid("4.4.10 an unknown critical extension in the list"),
	}
}

// separateKeys is 4.4.19 to 4.4.21: a CA that signs lists by another key, which
// the CA above certified under the same name.
func separateKeys() []Case {
	one := func(revokeLeaf, revokeKey bool) *maker {
		m := &maker{}
		m.root = m.authority("Trust Anchor", nil)
		m.Anchor = m.root.cert.Raw
		m.ca = m.authority("Good CA", m.root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
		lists := m.authority("Good CA", m.root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
		cert := m.leaf(m.ca)
		if revokeKey {
			m.crl(m.root, nil, lists.cert)
		} else {
			m.crl(m.root, nil)
		}
		if revokeLeaf {
			m.crl(lists, nil, cert)
		} else {
			m.crl(lists, nil)
		}
		return m
	}
	return []Case{
		one(false, false).valid("4.4.19 lists by a key of their own"),
		one(true, false).invalid("4.4.20 lists by a key of their own, the certificate is revoked"),
		one(false, true).invalid("4.4.21 lists by a key of their own, which is revoked"),
	}
}

// rollover is section 4.5: a CA changes its key, keeps its name, and signs its
// new key by the old one and its old key by the new one.
func rollover() []Case {
	// old issues the certificate, new signs the lists; certified says which of them
	// the CA above certified.
	oldWithNew := func(revoke bool) *maker {
		m := &maker{}
		m.root = m.authority("Trust Anchor", nil)
		m.Anchor = m.root.cert.Raw
		m.crl(m.root, nil)
		m.ca = m.authority("Good CA", m.root) // the new key
		old := m.authority("Good CA", m.ca)   // the old key, by the new one
		cert := m.leaf(old, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{m.ca.at} })
		if revoke {
			m.crl(m.ca, nil, cert)
		} else {
			m.crl(m.ca, nil)
		}
		return m
	}
	newWithOld := func(revoke bool) *maker {
		m := &maker{}
		m.root = m.authority("Trust Anchor", nil)
		m.Anchor = m.root.cert.Raw
		m.crl(m.root, nil)
		m.ca = m.authority("Good CA", m.root) // the old key
		fresh := m.authority("Good CA", m.ca) // the new key, by the old one
		cert := m.leaf(fresh, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{m.ca.at} })
		if revoke {
			m.crl(m.ca, nil, cert)
		} else {
			m.crl(m.ca, nil)
		}
		return m
	}
	return []Case{
		oldWithNew(false).valid("4.5.1 old key certified by the new one, which signs the lists"),
		oldWithNew(true).invalid("4.5.2 old key certified by the new one, the certificate is revoked"),
		newWithOld(false).valid("4.5.3 new key certified by the old one, which signs the lists"),
		newWithOld(true).invalid("4.5.5 new key certified by the old one, the certificate is revoked"),
	}
}

// distributionPoints is 4.14.1 to 4.14.14.
func distributionPoints() []Case {
	const here, there = "http://pkits.test/here.crl", "http://pkits.test/there.crl"
	dir := name("CRL1 of Good CA")
	one := func(certificate change, revoke bool, scope func(*list)) *maker {
		m := plain()
		cert := m.leaf(m.ca, certificate)
		if revoke {
			m.crl(m.ca, scope, cert)
		} else {
			m.crl(m.ca, scope)
		}
		return m
	}
	at := func(p point) change { return cdp(p) }
	return []Case{
		one(at(point{uri: here}), false, idp(point{uri: here})).valid("4.14.1 one address in certificate and list"),
		one(at(point{uri: here}), true, idp(point{uri: here})).invalid("4.14.2 one address in certificate and list, revoked"),
		one(at(point{uri: here}), false, idp(point{uri: there})).invalid("4.14.3 the list of another address"),
		one(at(point{directory: &dir}), false, idp(point{directory: &dir})).valid("4.14.4 one directory name in certificate and list"),
		one(at(point{relative: "CRL1"}), false, idp(point{relative: "CRL1"})).valid("4.14.5 one relative name in certificate and list"),
		one(at(point{directory: &dir}), false, idp(point{relative: "CRL2"})).invalid("4.14.6 a name in the certificate, another in the list"),
		one(at(point{uri: here}), false, idp(point{uri: here, directory: &dir})).valid("4.14.7 two names in the list, one of them the certificate's"),
		one(noCDP, false, idp(point{uri: here})).invalid("4.14.9 the list of an address, the certificate names none"),
		one(at(point{uri: here}), false, nil).valid("4.14.10 a list of everything, the certificate names an address"),
		one(at(point{uri: here}), false, idp(point{ca: true})).invalid("4.14.12 a list of CAs only"),
		one(at(point{uri: here}), false, idp(point{user: true})).valid("4.14.13 a list of holders only"),
		one(at(point{uri: here}), false, idp(point{attributes: true})).invalid("4.14.14 a list of attribute certificates only"),
		onCAs(true).valid("4.14.13 lists of CAs only and of holders only, each where it belongs"),
		onCAs(false).invalid("4.14.11 a list of holders only for a CA"),
	}
}

// onCAs has the anchor's list be for CAs only, or for holders only.
func onCAs(right bool) *maker {
	m := &maker{}
	m.root = m.authority("Trust Anchor", nil)
	m.Anchor = m.root.cert.Raw
	m.crl(m.root, idp(point{ca: right, user: !right}))
	m.ca = m.authority("Good CA", m.root)
	m.crl(m.ca, idp(point{user: true}))
	m.leaf(m.ca)
	return m
}

// onlySome is 4.14.15 to 4.14.21: lists of some reasons.
func onlySome() []Case {
	const first, second = "http://pkits.test/first.crl", "http://pkits.test/second.crl"
	one := func(revoke bool, lists ...func(*list)) *maker {
		m := plain()
		cert := m.leaf(m.ca)
		for _, scope := range lists {
			if revoke {
				m.crl(m.ca, scope, cert)
			} else {
				m.crl(m.ca, scope)
			}
		}
		return m
	}
	halves := func() *maker {
		m := plain()
		m.leaf(m.ca, cdp(point{uri: first, reasons: someReasons}, point{uri: second, reasons: otherReasons}))
		m.crl(m.ca, idp(point{uri: first, reasons: someReasons}))
		m.crl(m.ca, idp(point{uri: second, reasons: otherReasons}))
		return m
	}
	// The certificate says that the list is for some reasons; the list does not.
	half := func() *maker {
		m := plain()
		m.leaf(m.ca, cdp(point{uri: first, reasons: someReasons}))
		m.crl(m.ca, idp(point{uri: first}))
		return m
	}
	return []Case{
		one(true, idp(point{reasons: someReasons})).invalid("4.14.15 a list of some reasons, revoked for one of them"),
		one(false, idp(point{reasons: someReasons})).invalid("4.14.17 a list of some reasons alone"),
		one(false, idp(point{reasons: someReasons}), idp(point{reasons: otherReasons})).valid("4.14.18 two lists with all reasons between them"),
		halves().valid("4.14.19 two addresses with all reasons between them"),
		half().invalid("4.14.x an address for some reasons, with a list that does not say so"),
	}
}

// indirect is 4.14.22 to 4.14.33: lists with entries of other issuers.
func indirect() []Case {
	other := name("Indirect CA")
	one := func(scope func(*list), certificate change, who func(*maker) *authority) *maker {
		m := plain()
		m.leaf(m.ca, certificate)
		m.crl(who(m), scope)
		return m
	}
	own := func(m *maker) *authority { return m.ca }
	foreign := func(m *maker) *authority {
		a := m.authority("Indirect CA", m.root)
		return a
	}
	return []Case{
		one(idp(point{indirect: true}), func(*x509.Certificate) {}, own).valid("4.14.22 a list of the CA's that may have other issuers' entries"),
		one(idp(point{indirect: true}), cdp(point{issuer: &other}), foreign).valid("4.14.28 a list of another issuer, which the certificate names"),
		one(nil, func(*x509.Certificate) {}, foreign).invalid("4.14.27 a list of another issuer, which the certificate does not name"),
	}
}

// deltas is section 4.15.
func deltas() []Case {
	delta := func(base int64) func(*list) {
		return func(l *list) {
			l.Number = big.NewInt(5)
			l.ExtraExtensions = append(l.ExtraExtensions, extension(true, marshal(base), 2, 5, 29, 27))
		}
	}
	alone := plain()
	alone.leaf(alone.ca)
	alone.crl(alone.ca, delta(1))
	both := func(revoke bool) *maker {
		m := plain()
		cert := m.leaf(m.ca, with(extension(false, freshest(m.ca.at), 2, 5, 29, 46)))
		m.crl(m.ca, nil)
		if revoke {
			m.crl(m.ca, delta(1), cert)
		} else {
			m.crl(m.ca, delta(1))
		}
		return m
	}
	return []Case{
		alone.invalid("4.15.1 a delta list without its base"),
		both(false).valid("4.15.2 a base and a delta list"),
		both(true).invalid("4.15.3 a base and a delta list, which names the certificate"),
	}
}
