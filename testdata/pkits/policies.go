package pkits

import (
	"crypto/x509"
	"net/url"
)

const anyPolicy = "2.5.29.32.0"

// issuedUnder makes a chain of a CA and a certificate with these policies each.
func issuedUnder(ca, leaf []string, changes ...change) *maker {
	m := usual(append(changes, under(ca...))...)
	m.leaf(m.ca, under(leaf...))
	return m
}

func list1(policies ...string) []string { return policies }

// policies is section 4.8.
func policies() []Case {
	both, none, any := list1(Policy1, Policy2), list1(), list1(anyPolicy)
	one, two := list1(Policy1), list1(Policy2)
	return []Case{
		issuedUnder(one, one).valid("4.8.1 all under one policy"),
		issuedUnder(one, one).demand(Policy1).valid("4.8.1 all under one policy, which is demanded"),
		issuedUnder(one, one).demand(Policy2).invalid("4.8.1 all under one policy, another is demanded"),
		issuedUnder(one, one).demand(Policy1, Policy2).valid("4.8.1 all under one policy, which is among those demanded"),
		issuedUnder(none, none).valid("4.8.2 no policies"),
		issuedUnder(none, none).demand(Policy1).invalid("4.8.2 no policies, one is demanded"),
		issuedUnder(one, two).valid("4.8.3 different policies"),
		issuedUnder(one, two).demand(Policy1).invalid("4.8.3 different policies, the CA's is demanded"),
		issuedUnder(one, two).demand(Policy2).invalid("4.8.3 different policies, the certificate's is demanded"),
		issuedUnder(none, one).demand(Policy1).invalid("4.8.5 a CA without policies"),
		issuedUnder(both, one).demand(Policy1).valid("4.8.6 a CA with two policies, one of them is used"),
		issuedUnder(both, one).demand(Policy2).invalid("4.8.6 a CA with two policies, the other is demanded"),
		issuedUnder(both, both).demand(Policy2).valid("4.8.10 two policies throughout"),
		issuedUnder(any, one).demand(Policy1).valid("4.8.12 a CA with anyPolicy"),
		issuedUnder(any, any).demand(Policy1).valid("4.8.13 anyPolicy throughout"),
		issuedUnder(one, any).demand(Policy1).valid("4.8.14 a certificate with anyPolicy"),
		issuedUnder(one, any).demand(Policy2).invalid("4.8.14 a certificate with anyPolicy under a CA of another policy"),
	}
}

// explicitAfter, noMappingAfter and noAnyAfter are policyConstraints and
// inhibitAnyPolicy, in force that many certificates below.
func explicitAfter(n byte) change {
	return with(extension(true, []byte{0x30, 3, 0x80, 1, n}, 2, 5, 29, 36))
}

func noMappingAfter(n byte) change {
	return with(extension(true, []byte{0x30, 3, 0x81, 1, n}, 2, 5, 29, 36))
}

func noAnyAfter(n byte) change { return with(extension(true, []byte{2, 1, n}, 2, 5, 29, 54)) }

// policyConstraints is section 4.9 and 4.12.
func policyConstraints() []Case {
	one, none, any := list1(Policy1), list1(), list1(anyPolicy)
	return []Case{
		issuedUnder(one, none, explicitAfter(10)).valid("4.9.1 requireExplicitPolicy beyond the chain"),
		issuedUnder(one, one, explicitAfter(0)).valid("4.9.4 requireExplicitPolicy 0 and a policy"),
		issuedUnder(one, none, explicitAfter(0)).invalid("4.9.3 requireExplicitPolicy 0 and no policy"),
		issuedUnder(any, any, noAnyAfter(0)).demand(Policy1).invalid("4.12.1 a certificate with anyPolicy below inhibitAnyPolicy 0"),
		issuedUnder(list1(anyPolicy, Policy1), one, noAnyAfter(0)).demand(Policy1).valid("4.12.2 a certificate with its policy below inhibitAnyPolicy 0"),
	}
}

// mapsTo has a CA map one policy to another.
func mapsTo(from, to string) change {
	value := marshal([]struct{ Issuer, Subject asn1OID }{{oid(from), oid(to)}})
	return with(extension(true, value, 2, 5, 29, 33))
}

// mappings is section 4.10 and 4.11.
func mappings() []Case {
	one, two := list1(Policy1), list1(Policy2)
	inhibited := func() *maker {
		m := usual(under(Policy1), noMappingAfter(0))
		sub := m.authority("Sub CA", m.ca, under(Policy1), mapsTo(Policy1, Policy2))
		m.crl(sub, nil)
		m.leaf(sub, under(Policy2))
		return m
	}
	return []Case{
		issuedUnder(one, two, mapsTo(Policy1, Policy2)).demand(Policy1).valid("4.10.1 a policy mapped to another"),
		issuedUnder(one, two, mapsTo(Policy1, Policy2)).demand(Policy2).invalid("4.10.1 a policy mapped to another, which is demanded"),
		issuedUnder(one, one, mapsTo(Policy1, Policy2)).demand(Policy1).invalid("4.10.2 a policy mapped away"),
		inhibited().demand(Policy1).invalid("4.11.1 a mapping below inhibitPolicyMapping 0"),
	}
}

// nameConstraints is section 4.13.
func nameConstraints() []Case {
	one := func(ca, leaf change) *maker {
		m := usual(func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = true }, ca)
		m.leaf(m.ca, leaf)
		return m
	}
	directory := func(org string) change { // permittedSubtrees with one directoryName
		dn := rdns(attribute(6, "US"), attribute(10, org))
		inner := append([]byte{0xa4, byte(len(dn))}, dn...)
		base := append([]byte{0x30, byte(len(inner))}, inner...)
		trees := append([]byte{0xa0, byte(len(base))}, base...)
		return with(extension(true, append([]byte{0x30, byte(len(trees))}, trees...), 2, 5, 29, 30))
	}
	nothing := func(*x509.Certificate) {}
	mail := func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{".testcertificates.gov"} }
	noMail := func(c *x509.Certificate) { c.ExcludedEmailAddresses = []string{"testcertificates.gov"} }
	dns := func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"testcertificates.gov"} }
	uri := func(c *x509.Certificate) { c.PermittedURIDomains = []string{".testcertificates.gov"} }
	hasMail := func(a string) change { return func(c *x509.Certificate) { c.EmailAddresses = []string{a} } }
	hasDNS := func(a string) change { return func(c *x509.Certificate) { c.DNSNames = []string{a} } }
	hasURI := func(a string) change {
		return func(c *x509.Certificate) { c.URIs = []*url.URL{must(url.Parse(a))} }
	}
	return []Case{
		one(directory("Test Certificates"), nothing).valid("4.13.1 a subject in the permitted directory"),
		one(directory("Others"), nothing).invalid("4.13.2 a subject outside of the permitted directory"),
		one(mail, hasMail("a@mail.testcertificates.gov")).valid("4.13.21 an e-mail address that is permitted"),
		one(mail, hasMail("a@testcertificates.gov")).invalid("4.13.22 an e-mail address that is not permitted"),
		one(noMail, hasMail("a@testcertificates.gov")).invalid("4.13.26 an e-mail address that is excluded"),
		one(dns, hasDNS("server.testcertificates.gov")).valid("4.13.30 a host that is permitted"),
		one(dns, hasDNS("testcertificates.gov.example")).invalid("4.13.31 a host that is not permitted"),
		one(dns, hasDNS("mytestcertificates.gov")).invalid("4.13.38 a host that only ends alike"),
		one(uri, hasURI("http://server.testcertificates.gov/x")).valid("4.13.34 a URI that is permitted"),
		one(uri, hasURI("http://testcertificates.example/x")).invalid("4.13.35 a URI that is not permitted"),
	}
}
