package lint

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
	"sigill/internal/der"
	"sigill/internal/profiles"
)

var _ ca.Linter = (*Linter)(nil)

var allProfiles = []ca.ProfileName{authentication, signing, transport, ocspSigner, server, officer, rootCA, issuingCA}

func TestGoodCertificatesPass(t *testing.T) {
	l := newLinter(t)
	for _, profile := range allProfiles {
		if err := l.Lint(good(profile).der(t), profile); err != nil {
			t.Errorf("%s: %v", profile, err)
		}
	}
	for name, change := range map[string]func(*draft){
		"no UPN, no SID": func(d *draft) {
			d.set(oidSubjectAltName, false, sanOf("asa@region.example.se", ""))
			d.UnknownExtKeyUsage = d.UnknownExtKeyUsage[:1]
			d.remove(oidSID)
		},
		"no alternative name": func(d *draft) {
			d.remove(oidSubjectAltName)
			d.UnknownExtKeyUsage = d.UnknownExtKeyUsage[:1]
		},
		"one name":        func(d *draft) { d.subject = slices.Delete(d.subject, 4, 5) },
		"a second policy": func(d *draft) { d.policies(loa3, ncp) },
		"long given name": func(d *draft) { d.subject[4].Value = "Anna-Karin Margareta Elisabeth" },
	} {
		d := good(authentication)
		change(d)
		if err := l.Lint(d.der(t), authentication); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A certificate of one profile never passes as one of another.
func TestProfilesExcludeEachOther(t *testing.T) {
	l := newLinter(t)
	for _, made := range allProfiles {
		raw := good(made).der(t)
		for _, asked := range allProfiles {
			if err := l.Lint(raw, asked); (err == nil) != (made == asked) {
				t.Errorf("a certificate of %s as one of %s: %v", made, asked, err)
			}
		}
	}
	if err := l.Lint(good(authentication).der(t), "unheard-of"); err == nil {
		t.Error("a profile without expectations passes everything")
	}
}

// The built-in profiles and the expectations are about the same things.
func TestEveryBuiltInProfileIsExpected(t *testing.T) {
	built, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	l := newLinter(t)
	for name := range built {
		if l.profiles[name] == nil {
			t.Errorf("the built-in profile %s has no expectation: nothing can be issued under it", name)
		}
	}
	for name := range l.profiles {
		if built[name] == nil {
			t.Errorf("there is no built-in profile %s", name)
		}
	}
}

// explicitUPN writes an otherName whose value stands as given, [0] or not.
func otherName(id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tagOtherName, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(id)
			value(b)
		})
	})
	return b.BytesOrPanic()
}

func text(tag cbasn1.Tag, s string) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) { b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) }) }
}

func explicit(inner func(*cryptobyte.Builder)) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) { b.AddASN1(tagExplicit0, inner) }
}

func printable(s string) []byte { return must(der.PrintableString(s)) }

// pointNames is a GeneralNames with one address.
func pointNames(address string) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, text(tagURI, address))
	return b.Bytes()
}

func accessTo(method asn1.ObjectIdentifier, address string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(method)
			text(tagURI, address)(b)
		})
	})
	return b.BytesOrPanic()
}

// pointWithReasons is a distribution point for keyCompromise only.
func pointWithReasons() []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(tagExplicit0, explicit(text(tagURI, "http://status.example.se/crl/x/0.crl")))
			b.AddASN1(cbasn1.Tag(1).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte{6, 0x40}) })
		})
	})
	return b.BytesOrPanic()
}

// planted are the errors that somebody could make in a profile, in the code, or
// on purpose; each with the lint that must find it.
var planted = []struct {
	name    string
	profile ca.ProfileName
	spoil   func(*draft)
	want    string
}{
	{"key usage with a second bit", authentication, func(d *draft) { d.KeyUsage |= x509.KeyUsageContentCommitment }, "sigill_key_usage"},
	{"key usage of the other half", authentication, func(d *draft) { d.KeyUsage = x509.KeyUsageContentCommitment }, "sigill_key_usage"},
	{"signing with digitalSignature", signing, func(d *draft) { d.KeyUsage = x509.KeyUsageDigitalSignature }, "sigill_key_usage"},
	{"key agreement", authentication, func(d *draft) { d.KeyUsage |= x509.KeyUsageKeyAgreement }, "sigill_key_usage"},
	{"no key usage", authentication, func(d *draft) { d.KeyUsage = 0 }, "sigill_extension: keyUsage is missing"},
	{"key usage not critical", authentication, func(d *draft) { d.set(oidKeyUsage, false, kuDigitalSignature) }, "sigill_critical"},
	{"key usage with trailing zero bits", authentication, func(d *draft) { d.set(oidKeyUsage, true, []byte{3, 2, 0, 0x80}) }, "sigill_key_usage"},

	{"no extended key usage", authentication, func(d *draft) { d.UnknownExtKeyUsage = nil }, "sigill_extension: extKeyUsage is missing"},
	{"another purpose", authentication, func(d *draft) { d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }, "sigill_ext_key_usage"},
	{"any purpose", authentication, func(d *draft) { d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "sigill_ext_key_usage"},
	{"transport that logs in", transport, func(d *draft) { d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "sigill_ext_key_usage"},
	{"transport of another arc", transport, func(d *draft) { d.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{2, 999, 752, 1, 2}} }, "sigill_ext_key_usage"},
	{"signing that logs in", signing, func(d *draft) { d.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "sigill_ext_key_usage"},
	{"UPN without smartcardLogon", authentication, func(d *draft) { d.UnknownExtKeyUsage = d.UnknownExtKeyUsage[:1] }, "sigill_smartcard_logon"},
	{"smartcardLogon without UPN", authentication, func(d *draft) { d.set(oidSubjectAltName, false, sanOf("a@b.se", "")) }, "sigill_smartcard_logon"},
	{"signing with UPN", signing, func(d *draft) { d.set(oidSubjectAltName, false, sanOf("", upn)) }, "sigill_upn"},

	{"UPN without its [0]", authentication, func(d *draft) {
		d.set(oidSubjectAltName, false, otherName(oidUPN, text(cbasn1.UTF8String, upn)))
	}, "sigill_upn_form"},
	{"UPN as IA5String", authentication, func(d *draft) {
		d.set(oidSubjectAltName, false, otherName(oidUPN, explicit(text(cbasn1.IA5String, "asa@b.se"))))
	}, "sigill_upn_form"},
	{"otherName of another type", authentication, func(d *draft) {
		d.set(oidSubjectAltName, false, otherName(oidSIDName, explicit(text(cbasn1.UTF8String, upn))))
	}, "sigill_upn_form"},
	{"UPN without a domain", authentication, func(d *draft) { d.set(oidSubjectAltName, false, sanOf("", "asa")) }, "sigill_upn_form"},
	{"UPN with a character nobody sees", authentication, func(d *draft) { d.set(oidSubjectAltName, false, sanOf("", "as\u202ea@b.se")) }, "sigill_upn_form"},
	{"two UPNs", authentication, func(d *draft) {
		v := der.OtherName{Type: oidUPN, Value: must(der.UTF8String(upn))}
		d.set(oidSubjectAltName, false, must(der.GeneralNames{Others: []der.OtherName{v, v}}.Encode()))
	}, "sigill_san"},
	{"e-mail that is none", authentication, func(d *draft) { d.set(oidSubjectAltName, false, sanOf("asa at b.se", upn)) }, "sigill_email_form"},
	{"e-mail with å", authentication, func(d *draft) { d.set(oidSubjectAltName, false, sanOf("åsa@b.se", upn)) }, "sigill_"},
	{"DNS name in a person's", authentication, func(d *draft) {
		d.set(oidSubjectAltName, false, must(der.GeneralNames{DNSNames: []string{"www.example.se"}}.Encode()))
	}, "sigill_host"},
	{"critical alternative name", authentication, func(d *draft) { d.set(oidSubjectAltName, true, sanOf("a@b.se", upn)) }, "sigill_critical"},
	{"server without a name", server, func(d *draft) { d.remove(oidSubjectAltName) }, "sigill_extension"},

	{"card number critical", authentication, func(d *draft) { d.set(oidCardNumber, true, printable(cardNumber)) }, "sigill_critical"},
	{"card number as UTF8String", authentication, func(d *draft) { d.set(oidCardNumber, false, must(der.UTF8String(cardNumber))) }, "sigill_card_number"},
	{"card number of 18 digits", authentication, func(d *draft) { d.set(oidCardNumber, false, printable(cardNumber[:18])) }, "sigill_card_number"},
	{"card number of another country", transport, func(d *draft) { d.set(oidCardNumber, false, printable("9578"+cardNumber[4:])) }, "sigill_card_number"},
	{"card number with a letter", signing, func(d *draft) { d.set(oidCardNumber, false, printable(cardNumber[:18]+"X")) }, "sigill_card_number"},
	{"card number and more", signing, func(d *draft) { d.set(oidCardNumber, false, append(printable(cardNumber), 5, 0)) }, "sigill_card_number"},
	{"no card number", signing, func(d *draft) { d.remove(oidCardNumber) }, "sigill_extension: card number is missing"},
	{"officer with a card number", officer, func(d *draft) { d.set(oidCardNumber, false, printable(cardNumber)) }, "sigill_extension: card number"},

	{"SID as text", authentication, func(d *draft) { d.set(oidSID, false, must(der.UTF8String(sid))) }, "sigill_sid"},
	{"SID of another type", authentication, func(d *draft) { d.set(oidSID, false, sidOf(oidUPN, sid)) }, "sigill_sid"},
	{"SID that is none", authentication, func(d *draft) { d.set(oidSID, false, sidOf(oidSIDName, "S-1-5-x")) }, "sigill_sid"},
	{"SID as UTF8String", authentication, func(d *draft) { d.set(oidSID, false, otherName(oidSIDName, explicit(text(cbasn1.UTF8String, sid)))) }, "sigill_sid"},
	{"SID in a signing certificate", signing, func(d *draft) { d.set(oidSID, false, sidOf(oidSIDName, sid)) }, "sigill_extension: SID"},

	{"CDP over https", authentication, func(d *draft) { d.CRLDistributionPoints[0] = "https://status.example.se/crl/x/0.crl" }, "sigill_cdp"},
	{"CDP over LDAP beside http", authentication, func(d *draft) {
		d.CRLDistributionPoints = append(d.CRLDistributionPoints, "ldap://dir.example.se/cn=x")
	}, "sigill_cdp"},
	{"CDP without a host", authentication, func(d *draft) { d.CRLDistributionPoints[0] = "http:///crl/x/0.crl" }, "sigill_cdp"},
	{"no CDP", signing, func(d *draft) { d.CRLDistributionPoints = nil }, "sigill_extension: cRLDistributionPoints is missing"},
	{"no CDP in a CA's", issuingCA, func(d *draft) { d.CRLDistributionPoints = nil }, "sigill_extension"},
	{"OCSP over https", authentication, func(d *draft) { d.OCSPServer[0] = "https://status.example.se/ocsp" }, "sigill_aia: an authority information access is not an http"},
	{"caIssuers over https", issuingCA, func(d *draft) { d.IssuingCertificateURL[0] = "https://status.example.se/aia/root.cer" }, "sigill_aia"},
	{"AIA of another method", authentication, func(d *draft) {
		d.set(oidAuthorityInfo, false, accessTo(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 3}, "http://status.example.se/tsa"))
	}, "sigill_aia: an access method is not known"},
	{"CDP split by reasons", authentication, func(d *draft) { d.set(oidCRLPoints, false, pointWithReasons()) }, "sigill_cdp: a CRL distribution point is not just"},
	{"address as alternative name", authentication, func(d *draft) {
		d.set(oidSubjectAltName, false, must(pointNames("http://www.example.se")))
	}, "sigill_san: a name of another kind"},
	{"no OCSP address", authentication, func(d *draft) { d.OCSPServer = nil }, "sigill_aia: the OCSP address is missing"},
	{"no issuer address", authentication, func(d *draft) { d.IssuingCertificateURL = nil }, "sigill_aia: the address"},
	{"no AIA", authentication, func(d *draft) { d.IssuingCertificateURL, d.OCSPServer = nil, nil }, "sigill_extension"},
	{"OCSP address in a CA's", issuingCA, func(d *draft) { d.OCSPServer = []string{"http://status.example.se/ocsp"} }, "sigill_aia"},

	{"two levels of assurance", authentication, func(d *draft) { d.policies(loa3, loa2) }, "sigill_loa"},
	{"no level of assurance", authentication, func(d *draft) { d.policies(ncp) }, "sigill_loa"},
	{"no policies", signing, func(d *draft) { d.policies() }, "sigill_loa"},
	{"transport with a level", transport, func(d *draft) { d.policies(loa3) }, "sigill_loa"},
	{"a policy twice", authentication, func(d *draft) { d.policies(loa3, ncp, ncp) }, "sigill_parse"},

	{"subject out of order", authentication, func(d *draft) { d.subject[1], d.subject[2] = d.subject[2], d.subject[1] }, "sigill_subject_order"},
	{"attribute twice", authentication, func(d *draft) { d.subject = slices.Insert(d.subject, 3, d.subject[2]) }, "sigill_subject_attribute: commonName"},
	{"unknown attribute", authentication, func(d *draft) {
		d.subject = slices.Insert(d.subject, 2, der.Attribute{Type: oidOU, Value: "IT"})
	}, "sigill_subject_attribute"},
	{"CN as PrintableString", authentication, func(d *draft) {
		d.subject[2] = der.Attribute{Type: oidCN, Value: "Asa Oberg", Printable: true}
	}, "sigill_subject_type"},
	{"serialNumber as UTF8String", authentication, func(d *draft) { d.subject[5].Printable = false }, "sigill_subject_type"},
	{"country as UTF8String", authentication, func(d *draft) { d.subject[0].Printable = false }, "sigill_subject_type"},
	{"empty CN", authentication, func(d *draft) { d.subject[2].Value = "" }, "sigill_subject_text"},
	{"CN not UTF-8", authentication, func(d *draft) { d.subject[2].Value = "\xc5sa" }, "sigill_"},
	{"CN that turns around", authentication, func(d *draft) { d.subject[2].Value = "\u202egreb\u00d6 as\u00c5" }, "sigill_subject_text"},
	{"CN with a space at the end", authentication, func(d *draft) { d.subject[2].Value = "Åsa " }, "sigill_subject_text"},
	{"no serialNumber", authentication, func(d *draft) { d.subject = d.subject[:5] }, "sigill_subject_attribute: serialNumber is missing"},
	{"no surname", signing, func(d *draft) { d.subject = slices.Delete(d.subject, 3, 4) }, "sigill_subject_attribute: surname is missing"},
	{"no organisation", issuingCA, func(d *draft) { d.subject = slices.Delete(d.subject, 1, 2) }, "sigill_subject_attribute"},
	{"a person's name on a card", transport, func(d *draft) { d.subject = append(d.subject, der.Attribute{Type: oidSN, Value: "Öberg"}) }, "sigill_subject_attribute"},
	{"two attributes in one RDN", authentication, func(d *draft) { d.subject, d.RawSubject = nil, twoInOne() }, "sigill_subject"},

	{"short serial", authentication, func(d *draft) { d.SerialNumber = bigSerial(0x40, 1, 2, 3, 4, 5, 6, 7) }, "sigill_serial"},
	{"serial beginning with 0x3f", authentication, func(d *draft) { d.SerialNumber = bigSerial(append([]byte{0x3f}, make([]byte, 15)...)...) }, "sigill_serial"},
	{"serial beginning with 0x80", authentication, func(d *draft) { d.SerialNumber = bigSerial(append([]byte{0x80}, make([]byte, 15)...)...) }, "sigill_serial"},
	{"never expires", authentication, func(d *draft) { d.NotAfter = noExpiry }, "sigill_validity"},
	{"ends before it begins", authentication, func(d *draft) { d.NotAfter = d.NotBefore.Add(-time.Second) }, "sigill_validity"},

	{"eID that is a CA", authentication, func(d *draft) {
		d.IsCA, d.BasicConstraintsValid, d.KeyUsage = true, true, d.KeyUsage|x509.KeyUsageCertSign
	}, "sigill_basic_constraints"},
	{"issuing CA without path length", issuingCA, func(d *draft) { d.MaxPathLen, d.MaxPathLenZero = -1, false }, "sigill_basic_constraints"},
	{"issuing CA with room below", issuingCA, func(d *draft) { d.MaxPathLen, d.MaxPathLenZero = 1, false }, "sigill_basic_constraints"},
	{"CA with digitalSignature", issuingCA, func(d *draft) { d.KeyUsage |= x509.KeyUsageDigitalSignature }, "sigill_key_usage"},
	{"no nocheck", ocspSigner, func(d *draft) { d.remove(oidNoCheck) }, "sigill_extension: ocsp-nocheck is missing"},
	{"nocheck with a value", ocspSigner, func(d *draft) { d.set(oidNoCheck, false, []byte{1, 1, 0xff}) }, "sigill_nocheck_form"},
	{"eID without status", authentication, func(d *draft) { d.set(oidNoCheck, false, []byte{5, 0}) }, "sigill_extension: ocsp-nocheck"},
	{"OCSP signer with another purpose", ocspSigner, func(d *draft) { d.ExtKeyUsage = append(d.ExtKeyUsage, x509.ExtKeyUsageClientAuth) }, "sigill_ext_key_usage"},
	{"no subject key identifier", authentication, func(d *draft) { d.SubjectKeyId = nil }, "sigill_extension: subjectKeyIdentifier"},
	{"no authority key identifier", authentication, func(d *draft) { d.parent.SubjectKeyId = nil }, "sigill_extension: authorityKeyIdentifier"},
	{"unknown extension", authentication, func(d *draft) { d.set(asn1.ObjectIdentifier{2, 999, 1}, false, []byte{5, 0}) }, "sigill_extension: extension 2.999.1"},
	{"unknown critical extension", authentication, func(d *draft) { d.set(asn1.ObjectIdentifier{2, 999, 1}, true, []byte{5, 0}) }, "sigill_critical"},
}

func twoInOne() []byte {
	raw, err := asn1.Marshal(pkix.RDNSequence{{
		{Type: oidC, Value: "SE"}, {Type: oidCN, Value: "Asa"},
	}})
	return must(raw, err)
}

func TestPlantedErrorsAreFound(t *testing.T) {
	l := newLinter(t)
	for _, tt := range planted {
		t.Run(tt.name, func(t *testing.T) {
			d := good(tt.profile)
			tt.spoil(d)
			err := l.Lint(d.der(t), tt.profile)
			var found *ca.LintError
			if !errors.As(err, &found) {
				t.Fatalf("passed, or another error: %v", err)
			}
			if !slices.ContainsFunc(found.Findings, func(f string) bool { return strings.HasPrefix(f, tt.want) }) {
				t.Errorf("no finding %s… among %q", tt.want, found.Findings)
			}
			// Findings are logged: they must not tell who it is about.
			for _, value := range []string{"Åsa", "Öberg", "asa", "region", cardNumber, "SE2321", sid, "S-1-5"} {
				if strings.Contains(err.Error(), value) {
					t.Errorf("a finding shows %q: %v", value, err)
				}
			}
		})
	}
}

// An otherName without its [0] passes crypto/x509. If it did not, the second
// parser would have no work; that it does is why there is one.
func TestSecondParserSeesMore(t *testing.T) {
	d := good(authentication)
	d.set(oidSubjectAltName, false, otherName(oidUPN, text(cbasn1.UTF8String, upn)))
	raw := d.der(t)
	if _, err := x509.ParseCertificate(raw); err != nil {
		t.Fatalf("crypto/x509 refuses it by now: %v", err)
	}
	var found *ca.LintError
	if !errors.As(newLinter(t).Lint(raw, authentication), &found) ||
		!slices.ContainsFunc(found.Findings, func(f string) bool { return strings.HasPrefix(f, "sigill_second_parser") }) {
		t.Errorf("the second parser found nothing: %v", found)
	}
}

// Whatever the two parsers read differently is found.
func TestParsersThatDisagree(t *testing.T) {
	raw := good(authentication).der(t)
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*zx509.Certificate){
		"":                   func(*zx509.Certificate) {},
		"bytes to be signed": func(c *zx509.Certificate) { c.RawTBSCertificate = c.RawTBSCertificate[1:] },
		"names":              func(c *zx509.Certificate) { c.RawSubject = c.RawIssuer },
		"serial":             func(c *zx509.Certificate) { c.SerialNumber = bigSerial(1) },
		"validity":           func(c *zx509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) },
		"public key":         func(c *zx509.Certificate) { c.RawSubjectPublicKeyInfo = nil },
		"basic constraints":  func(c *zx509.Certificate) { c.KeyUsage = 0 },
		"number of ext":      func(c *zx509.Certificate) { c.Extensions = c.Extensions[1:] },
		"extension 2.5.29":   func(c *zx509.Certificate) { c.Extensions[0].Critical = !c.Extensions[0].Critical },
	} {
		second, err := zx509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		change(second)
		var f findings
		lintAgreement(&f, cert, second)
		if want == "" && len(f.list) > 0 || want != "" && (len(f.list) != 1 || !strings.Contains(f.list[0], "disagree on the "+want)) {
			t.Errorf("%q: findings %q", want, f.list)
		}
	}
}

// Public lints run: this error is none of ours.
func TestPublicLintsRun(t *testing.T) {
	d := good(issuingCA)
	d.set(oidBasicConstraints, false, []byte{0x30, 0x06, 1, 1, 0xff, 2, 1, 0})
	var found *ca.LintError
	if !errors.As(newLinter(t).Lint(d.der(t), issuingCA), &found) ||
		!slices.ContainsFunc(found.Findings, func(f string) bool { return strings.HasPrefix(f, "e_basic_constraints_not_critical") }) {
		t.Errorf("zlint found nothing: %v", found)
	}
}

// What crypto/x509 would not make: the bytes are changed afterwards.
func TestChangedBytes(t *testing.T) {
	l := newLinter(t)
	for _, tt := range []struct {
		name, want string
		from, to   []byte
	}{
		{"version 2", "sigill_version", []byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, 1}},
		// ecdsa-with-SHA224 for ecdsa-with-SHA256, inside and outside.
		{"weak signature", "sigill_signature_algorithm",
			[]byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1}},
		{"an extension twice", "sigill_parse", []byte{6, 3, 0x55, 0x1d, 0x0e}, []byte{6, 3, 0x55, 0x1d, 0x1f}},
	} {
		raw := good(authentication).der(t)
		if !bytes.Contains(raw, tt.from) {
			t.Fatalf("%s: nothing to change", tt.name)
		}
		var found *ca.LintError
		if !errors.As(l.Lint(bytes.ReplaceAll(raw, tt.from, tt.to), authentication), &found) ||
			!slices.ContainsFunc(found.Findings, func(f string) bool { return strings.HasPrefix(f, tt.want) }) {
			t.Errorf("%s: no finding %s among %v", tt.name, tt.want, found)
		}
	}
}

func TestNotACertificate(t *testing.T) {
	l := newLinter(t)
	raw := good(authentication).der(t)
	for name, der := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "cut": raw[:len(raw)-1], "more": append(slices.Clone(raw), 0),
	} {
		if err := l.Lint(der, authentication); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestConfigThatIsRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no levels": {}, "level that is no OID": {LoAPolicies: []string{"loa3"}},
		"transport that is no OID": {LoAPolicies: []string{loa3}, TransportEKU: "x"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	l := newLinter(t)
	fine, spoilt := good(authentication).der(t), good(signing)
	spoilt.policies()
	bad := spoilt.der(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if err := l.Lint(fine, authentication); err != nil {
					t.Errorf("good: %v", err)
				}
				if l.Lint(bad, signing) == nil {
					t.Error("bad passes")
				}
			}
		})
	}
	wg.Wait()
}

// Whatever bytes come, the linter answers; and what passes is a certificate whose
// bytes are nothing else.
func FuzzLint(f *testing.F) {
	l := newLinter(f)
	for i, profile := range allProfiles {
		f.Add(good(profile).der(f), uint8(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, which uint8) {
		if l.Lint(raw, allProfiles[int(which)%len(allProfiles)]) != nil {
			return
		}
		cert, err := x509.ParseCertificate(raw)
		if err != nil || !bytes.Equal(cert.Raw, raw) {
			t.Errorf("what passed is not a certificate: %v", err)
		}
	})
}

func BenchmarkLint(b *testing.B) {
	l := newLinter(b)
	raw := good(authentication).der(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Lint(raw, authentication); err != nil {
			b.Fatal(err)
		}
	}
}
