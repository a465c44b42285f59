package lint

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Tags of GeneralName (RFC 5280, 4.2.1.6).
var (
	tagOtherName = cbasn1.Tag(0).ContextSpecific().Constructed()
	tagEmail     = cbasn1.Tag(1).ContextSpecific()
	tagDNS       = cbasn1.Tag(2).ContextSpecific()
	tagURI       = cbasn1.Tag(6).ContextSpecific()
	tagIP        = cbasn1.Tag(7).ContextSpecific()
	tagExplicit0 = cbasn1.Tag(0).ContextSpecific().Constructed()
)

// altNames counts what stands in a subjectAltName.
type altNames struct{ upn, email, host int }

// lintAltNames reads a subjectAltName that has nothing but one UPN, one e-mail
// address, or hosts.
func lintAltNames(f *findings, ext *pkix.Extension) altNames {
	var n altNames
	if ext == nil {
		return n
	}
	in, seq := cryptobyte.String(ext.Value), cryptobyte.String(nil)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || seq.Empty() {
		f.add("sigill_san", "the subjectAltName is malformed or empty")
		return n
	}
	for !seq.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !seq.ReadAnyASN1(&name, &tag) {
			f.add("sigill_san", "the subjectAltName is malformed")
			return n
		}
		switch tag {
		case tagOtherName:
			n.upn++
			lintUPN(f, name)
		case tagEmail:
			n.email++
			if !mailbox(name) {
				f.add("sigill_email_form", "the rfc822Name is not an address of letters, digits and one @")
			}
		case tagDNS:
			n.host++
		case tagIP:
			n.host++
			if len(name) != 4 && len(name) != 16 {
				f.add("sigill_san", "an iPAddress is not 4 or 16 octets")
			}
		default:
			f.add("sigill_san", "a name of another kind stands in subjectAltName")
		}
	}
	if n.upn > 1 || n.email > 1 {
		f.add("sigill_san", "more than one userPrincipalName or rfc822Name")
	}
	return n
}

// lintUPN judges the inside of an otherName: the type, and the value as
// [0] EXPLICIT UTF8String (RFC 5280, 4.2.1.6). Without its [0] the name passes
// crypto/x509 and fails at Windows and OpenSSL.
func lintUPN(f *findings, name cryptobyte.String) {
	var oid asn1.ObjectIdentifier
	var value, text cryptobyte.String
	if !name.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidUPN) {
		f.add("sigill_upn_form", "the otherName is not a userPrincipalName")
		return
	}
	if !name.ReadASN1(&value, tagExplicit0) || !name.Empty() ||
		!value.ReadASN1(&text, cbasn1.UTF8String) || !value.Empty() {
		f.add("sigill_upn_form", "the userPrincipalName is not [0] EXPLICIT UTF8String")
		return
	}
	if user, domain, ok := strings.Cut(string(text), "@"); !ok || user == "" || domain == "" ||
		strings.Contains(domain, "@") || !clean(text) {
		f.add("sigill_upn_form", "the userPrincipalName is not user@domain")
	}
}

// mailbox reports whether name is a plain ASCII address (RFC 5280, 4.2.1.6).
func mailbox(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`<>()[]",:;\`, c) >= 0 {
			return false
		}
	}
	user, domain, ok := bytes.Cut(name, []byte("@"))
	return ok && len(user) > 0 && len(domain) > 0 && !bytes.Contains(domain, []byte("@"))
}

// lintSID judges the extension that ties a certificate to a Windows account
// (KB5014754): a SEQUENCE of one otherName of type ….25.2.1 whose value is the
// SID's text as an OCTET STRING.
func lintSID(f *findings, ext *pkix.Extension) {
	if ext == nil {
		return
	}
	in := cryptobyte.String(ext.Value)
	var seq, name, value, text cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1(&name, tagOtherName) || !seq.Empty() ||
		!name.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidSIDName) ||
		!name.ReadASN1(&value, tagExplicit0) || !name.Empty() ||
		!value.ReadASN1(&text, cbasn1.OCTET_STRING) || !value.Empty() {
		f.add("sigill_sid", "the SID extension does not have Microsoft's form")
		return
	}
	parts := strings.Split(string(text), "-")
	ok := len(parts) >= 4 && parts[0] == "S" && parts[1] == "1"
	for _, p := range parts[1:] {
		ok = ok && p != "" && len(p) <= 10 && strings.Trim(p, "0123456789") == ""
	}
	if !ok {
		f.add("sigill_sid", "the SID is not of the form S-1-…")
	}
}

// lintCRLPoints: each distribution point has only addresses, all of them http. A
// point split by reasons or naming another CRL issuer is not used here.
func lintCRLPoints(f *findings, ext *pkix.Extension) {
	if ext == nil {
		return
	}
	in, seq := cryptobyte.String(ext.Value), cryptobyte.String(nil)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || seq.Empty() {
		f.add("sigill_cdp", "the CRL distribution points are malformed or empty")
		return
	}
	for !seq.Empty() {
		var point, dpName, full cryptobyte.String
		if !seq.ReadASN1(&point, cbasn1.SEQUENCE) || !point.ReadASN1(&dpName, tagExplicit0) || !point.Empty() ||
			!dpName.ReadASN1(&full, tagExplicit0) || !dpName.Empty() || full.Empty() {
			f.add("sigill_cdp", "a CRL distribution point is not just a full name")
			return
		}
		for !full.Empty() {
			var uri cryptobyte.String
			if !full.ReadASN1(&uri, tagURI) || !plainHTTP(string(uri)) {
				f.add("sigill_cdp", "a CRL distribution point is not an http address")
				return
			}
		}
	}
}

// lintAuthorityInfo: addresses of OCSP and of the issuer's certificate, all http.
func lintAuthorityInfo(f *findings, ext *pkix.Extension, want *expectation) {
	var ocsp, issuers bool
	defer func() {
		check(f, "sigill_aia", "the OCSP address", ocsp, want.ocsp)
		check(f, "sigill_aia", "the address of the issuer's certificate", issuers, want.caIssuers)
	}()
	if ext == nil {
		return
	}
	in, seq := cryptobyte.String(ext.Value), cryptobyte.String(nil)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || seq.Empty() {
		f.add("sigill_aia", "the authority information access is malformed or empty")
		return
	}
	for !seq.Empty() {
		var access, uri cryptobyte.String
		var method asn1.ObjectIdentifier
		if !seq.ReadASN1(&access, cbasn1.SEQUENCE) || !access.ReadASN1ObjectIdentifier(&method) ||
			!access.ReadASN1(&uri, tagURI) || !access.Empty() || !plainHTTP(string(uri)) {
			f.add("sigill_aia", "an authority information access is not an http address")
			return
		}
		switch {
		case method.Equal(oidAIAOCSP):
			ocsp = true
		case method.Equal(oidAIACAIssuers):
			issuers = true
		default:
			f.add("sigill_aia", "an access method is not known")
		}
	}
}
