package lint

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// lintExtensions judges each extension by its raw bytes, with a third reader that
// takes exactly the form that is meant, and their presence by profile.
func (l *Linter) lintExtensions(f *findings, cert *x509.Certificate, want *expectation) {
	byOID := make(map[string]*pkix.Extension, len(cert.Extensions))
	for i := range cert.Extensions {
		ext := &cert.Extensions[i]
		id := ext.Id.String()
		byOID[id] = ext // crypto/x509 has refused an extension that stands twice
		// Critical says: refuse me if you don't know this. Only what every
		// relying party knows may say so.
		critical := ext.Id.Equal(oidKeyUsage) || ext.Id.Equal(oidBasicConstraints)
		if ext.Critical != critical {
			f.add("sigill_critical", "extension %s has the wrong criticality", id)
		}
	}
	get := func(oid asn1.ObjectIdentifier) *pkix.Extension { return byOID[oid.String()] }

	l.lintPresence(f, cert, want)
	if ext := get(oidKeyUsage); ext != nil && !bytes.Equal(ext.Value, want.keyUsage) {
		f.add("sigill_key_usage", "the key usage is not exactly the profile's")
	}
	names := lintAltNames(f, get(oidSubjectAltName))
	check(f, "sigill_upn", "userPrincipalName", names.upn > 0, want.upn)
	check(f, "sigill_email", "rfc822Name", names.email > 0, want.email)
	check(f, "sigill_host", "dNSName or iPAddress", names.host > 0, want.host)
	lintPurposes(f, get(oidExtKeyUsage), want, names.upn > 0)
	lintCardNumber(f, get(oidCardNumber))
	lintSID(f, get(oidSID))
	if ext := get(oidNoCheck); ext != nil && !bytes.Equal(ext.Value, []byte{0x05, 0x00}) {
		f.add("sigill_nocheck_form", "the value of ocsp-nocheck is not NULL")
	}
	lintBasicConstraints(f, cert, want)
	lintCRLPoints(f, get(oidCRLPoints))
	lintAuthorityInfo(f, get(oidAuthorityInfo), want)
	l.lintPolicies(f, cert, want)
}

// check compares presence with what the profile wants.
func check(f *findings, lint, what string, is bool, want presence) {
	switch {
	case is && want == forbidden:
		f.add(lint, "%s does not belong in this profile", what)
	case !is && want == required:
		f.add(lint, "%s is missing", what)
	}
}

// lintPresence refuses every extension that the profile does not name. An
// unknown extension is something that nobody has decided upon.
func (l *Linter) lintPresence(f *findings, cert *x509.Certificate, want *expectation) {
	isRoot := want.isCA && want.pathLen > 0
	aki, purposes, constraints := required, forbidden, optional
	if isRoot {
		aki = optional
	}
	if len(want.extKeyUsage) > 0 {
		purposes = required
	}
	if want.isCA {
		constraints = required
	}
	type extension struct {
		oid  asn1.ObjectIdentifier
		name string
		want presence
	}
	known := []extension{
		{oidKeyUsage, "keyUsage", required},
		{oidSubjectKeyID, "subjectKeyIdentifier", required},
		{oidAuthorityKeyID, "authorityKeyIdentifier", aki},
		{oidBasicConstraints, "basicConstraints", constraints},
		{oidExtKeyUsage, "extKeyUsage", purposes},
		{oidSubjectAltName, "subjectAltName", max(want.upn, want.email, want.host)},
		{oidCRLPoints, "cRLDistributionPoints", want.crl},
		{oidAuthorityInfo, "authorityInfoAccess", max(want.ocsp, want.caIssuers)},
		{oidPolicies, "certificatePolicies", max(want.loa, optional)},
		{oidNoCheck, "ocsp-nocheck", want.noCheck},
		{oidCardNumber, "card number", want.cardNumber},
		{oidSID, "SID", want.sid},
		{oidSCTList, "SCT list", optional},
	}
	for _, k := range known {
		is := slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(k.oid) })
		check(f, "sigill_extension", k.name, is, k.want)
	}
	for _, ext := range cert.Extensions {
		if !slices.ContainsFunc(known, func(k extension) bool { return k.oid.Equal(ext.Id) }) {
			f.add("sigill_extension", "extension %v is not known", ext.Id)
		}
	}
}

// lintCardNumber: PrintableString of 19 digits beginning with 9752 (SS 61 43 31,
// 4.3). Relying parties compare it with what is printed on the card.
func lintCardNumber(f *findings, ext *pkix.Extension) {
	if ext == nil {
		return
	}
	in, text := cryptobyte.String(ext.Value), cryptobyte.String(nil)
	if !in.ReadASN1(&text, cbasn1.PrintableString) || !in.Empty() {
		f.add("sigill_card_number", "the card number is not a PrintableString")
		return
	}
	digits := !slices.ContainsFunc(text, func(c byte) bool { return c < '0' || c > '9' })
	if len(text) != 19 || !digits || !bytes.HasPrefix(text, []byte("9752")) {
		f.add("sigill_card_number", "the card number is not 19 digits beginning with 9752")
	}
}

// lintPurposes: the extended key usages are exactly those of the profile, and
// smartcardLogon if and only if there is a UPN. Windows lets in who has both;
// one without the other is either a log-on that fails or one nobody ordered.
func lintPurposes(f *findings, ext *pkix.Extension, want *expectation, upn bool) {
	if ext == nil {
		return // judged by presence
	}
	in, seq := cryptobyte.String(ext.Value), cryptobyte.String(nil)
	var got []string
	ok := in.ReadASN1(&seq, cbasn1.SEQUENCE) && in.Empty()
	for ok && !seq.Empty() {
		var oid asn1.ObjectIdentifier
		if ok = seq.ReadASN1ObjectIdentifier(&oid); ok {
			got = append(got, oid.String())
		}
	}
	if !ok {
		f.add("sigill_ext_key_usage", "the extended key usage is malformed")
		return
	}
	if slices.Contains(got, ekuSmartcardLogon) != upn {
		f.add("sigill_smartcard_logon", "smartcardLogon and userPrincipalName do not come together")
	}
	got = slices.DeleteFunc(got, func(oid string) bool { return upn && oid == ekuSmartcardLogon })
	slices.Sort(got)
	if !slices.Equal(got, slices.Sorted(slices.Values(want.extKeyUsage))) {
		f.add("sigill_ext_key_usage", "the extended key usages are not exactly the profile's")
	}
}

func lintBasicConstraints(f *findings, cert *x509.Certificate, want *expectation) {
	if cert.IsCA != want.isCA {
		f.add("sigill_basic_constraints", "cA is not the profile's")
		return
	}
	if want.isCA && cert.MaxPathLen != want.pathLen {
		f.add("sigill_basic_constraints", "the path length is not the profile's")
	}
}

// lintPolicies: a person's certificate states one level of assurance, every
// other none.
func (l *Linter) lintPolicies(f *findings, cert *x509.Certificate, want *expectation) {
	levels := 0
	for _, oid := range cert.Policies {
		if slices.Contains(l.loa, oid.String()) {
			levels++
		}
	}
	switch {
	case levels > 1:
		f.add("sigill_loa", "more than one level of assurance is stated")
	case levels == 1 && want.loa == forbidden:
		f.add("sigill_loa", "this profile states no level of assurance")
	case levels == 0 && want.loa == required:
		f.add("sigill_loa", "no level of assurance is stated")
	}
}

// plainHTTP reports whether address is one that status can be fetched from:
// http with a host. Not https: to judge that server's certificate a relying party
// would need the status that it is about to fetch (RFC 5280, 8).
func plainHTTP(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "http" && u.Hostname() != "" && u.User == nil && u.Fragment == ""
}
