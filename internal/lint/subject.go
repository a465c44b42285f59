package lint

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
)

// attribute is a subject attribute in its place. Relying parties and mappings in
// directories compare names byte for byte, so order and string type are part of
// the name.
type attribute struct {
	name   string
	oid    asn1.ObjectIdentifier
	tag    cbasn1.Tag
	person bool // only in the names of persons
}

// subjectOrder is the order of the attributes in every subject: C, O, CN, SN,
// GN, serialNumber. countryName and serialNumber are PrintableString (RFC 5280,
// appendix A); all others are UTF8String.
func subjectOrder() []attribute {
	return []attribute{
		{"countryName", asn1.ObjectIdentifier{2, 5, 4, 6}, cbasn1.PrintableString, false},
		{"organizationName", asn1.ObjectIdentifier{2, 5, 4, 10}, cbasn1.UTF8String, false},
		{"commonName", asn1.ObjectIdentifier{2, 5, 4, 3}, cbasn1.UTF8String, false},
		{"surname", asn1.ObjectIdentifier{2, 5, 4, 4}, cbasn1.UTF8String, true},
		{"givenName", asn1.ObjectIdentifier{2, 5, 4, 42}, cbasn1.UTF8String, true},
		{"serialNumber", asn1.ObjectIdentifier{2, 5, 4, 5}, cbasn1.PrintableString, true},
	}
}

// lintSubject judges the subject: single-valued RDNs of known attributes, each at
// most once, in order, in the right string type, none of them empty.
func lintSubject(f *findings, raw []byte, want *expectation) {
	rdns, ok := readName(raw)
	if !ok {
		f.add("sigill_subject", "the subject is not a sequence of single-valued RDNs")
		return
	}
	order := subjectOrder()
	last, seen := -1, make([]bool, len(order))
	for _, rdn := range rdns {
		i := slices.IndexFunc(order, func(a attribute) bool { return a.oid.Equal(rdn.oid) })
		if i < 0 {
			f.add("sigill_subject_attribute", "attribute %v does not belong in a subject", rdn.oid)
			continue
		}
		attr := order[i]
		if seen[i] {
			f.add("sigill_subject_attribute", "%s stands more than once", attr.name)
		}
		if i < last {
			f.add("sigill_subject_order", "%s does not stand in its place", attr.name)
		}
		seen[i], last = true, max(last, i)
		if rdn.tag != attr.tag {
			f.add("sigill_subject_type", "%s has the wrong string type", attr.name)
		}
		if !clean(rdn.value) {
			f.add("sigill_subject_text", "%s is empty, not UTF-8, or has control characters or outer spaces", attr.name)
		}
		if attr.person && want.person == forbidden {
			f.add("sigill_subject_attribute", "%s belongs only in names of persons", attr.name)
		}
	}
	for i, attr := range order {
		if !seen[i] && attr.needed(want) {
			f.add("sigill_subject_attribute", "%s is missing", attr.name)
		}
	}
}

// needed reports whether a subject of the profile must have the attribute. Some
// people have one name only; it is their surname then.
func (a attribute) needed(want *expectation) bool {
	switch a.name {
	case "commonName":
		return true
	case "countryName", "organizationName":
		return want.place == required
	case "givenName":
		return false
	}
	return want.person == required
}

type rdn struct {
	oid   asn1.ObjectIdentifier
	tag   cbasn1.Tag
	value []byte
}

// readName reads a Name (RFC 5280, 4.1.2.4) whose RDNs have one attribute each.
func readName(raw []byte) ([]rdn, bool) {
	in, seq := cryptobyte.String(raw), cryptobyte.String(nil)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return nil, false
	}
	var rdns []rdn
	for !seq.Empty() {
		var set, pair, value cryptobyte.String
		var r rdn
		if !seq.ReadASN1(&set, cbasn1.SET) || !set.ReadASN1(&pair, cbasn1.SEQUENCE) || !set.Empty() ||
			!pair.ReadASN1ObjectIdentifier(&r.oid) || !pair.ReadAnyASN1(&value, &r.tag) || !pair.Empty() {
			return nil, false
		}
		r.value = value
		rdns = append(rdns, r)
	}
	return rdns, true
}

// clean reports whether text is what a person would read as it stands.
func clean(text []byte) bool {
	if len(text) == 0 || !utf8.Valid(text) || text[0] == ' ' || text[len(text)-1] == ' ' {
		return false
	}
	for _, r := range string(text) {
		// Cf holds the characters that turn text around or are not seen:
		// "nnA" could be shown as "Ann".
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// noExpiry is the notAfter that says "never" (RFC 5280, 4.1.2.5).
var noExpiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// lintFrame judges what all certificates have in common.
func lintFrame(f *findings, cert *x509.Certificate) {
	if cert.Version != 3 {
		f.add("sigill_version", "the certificate is not of version 3")
	}
	if _, ok := ca.SerialOf(cert.SerialNumber); !ok {
		f.add("sigill_serial", "the serial number is not 16 octets whose first is 0x40 to 0x7f")
	}
	if !cert.NotAfter.After(cert.NotBefore) || !cert.NotAfter.Before(noExpiry) {
		f.add("sigill_validity", "notAfter is not after notBefore, or says never")
	}
	switch cert.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
	default:
		f.add("sigill_signature_algorithm", "the signature algorithm is unknown or weak")
	}
}
