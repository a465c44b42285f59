package ca

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"sigill/internal/der"
)

// Object identifiers of what certificates carry.
var (
	oidCountry      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidOrganisation = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSurname      = asn1.ObjectIdentifier{2, 5, 4, 4}
	oidGivenName    = asn1.ObjectIdentifier{2, 5, 4, 42}
	oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}

	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidCardNumber     = asn1.ObjectIdentifier{1, 2, 752, 34, 2, 1}
	oidUPN            = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
	oidSIDExtension   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}
	oidSID            = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2, 1}
)

// template returns what x509.CreateCertificate is to build for a checked
// request.
func (i *Issuer) template(p *Profile, r Request, in Intent) (*x509.Certificate, error) {
	c := p.carried(r.Content)
	t := &x509.Certificate{
		SerialNumber:       in.Serial.Int(),
		NotBefore:          in.NotBefore,
		NotAfter:           in.NotAfter,
		SignatureAlgorithm: i.algorithm,
		KeyUsage:           p.keyUsage,
		UnknownExtKeyUsage: p.extendedKeyUsage(c),
	}
	var err error
	if t.RawSubject, err = subject(c); err != nil {
		return nil, fmt.Errorf("encoding subject: %w", err)
	}
	if t.SubjectKeyId, err = subjectKeyID(r.PublicKey); err != nil {
		return nil, err
	}
	for _, oid := range c.PolicyOIDs {
		t.Policies = append(t.Policies, p.policies[oid])
	}
	if p.config.OCSP {
		t.OCSPServer = []string{i.OCSPURL()}
	}
	if p.config.CAIssuers {
		t.IssuingCertificateURL = []string{i.CertificateURL()}
	}
	t.CRLDistributionPoints = i.points(p, in.Partition)
	if t.ExtraExtensions, err = p.extensions(c); err != nil {
		return nil, fmt.Errorf("encoding extensions: %w", err)
	}
	return t, nil
}

// carried returns c without the fields that the profile omits.
func (p *Profile) carried(c Content) Content {
	r := p.config.Content
	for _, f := range []struct {
		rule  FieldRule
		value *string
	}{
		{r.Country, &c.Country}, {r.Organisation, &c.Organisation}, {r.CommonName, &c.CommonName},
		{r.Surname, &c.Surname}, {r.GivenName, &c.GivenName}, {r.SerialNumber, &c.SerialNumber},
		{r.CardNumber, &c.CardNumber}, {r.Email, &c.Email}, {r.UPN, &c.UPN}, {r.SID, &c.SID},
	} {
		if !carried(f.rule) {
			*f.value = ""
		}
	}
	if !carried(r.DNSNames) {
		c.DNSNames = nil
	}
	return c
}

// extendedKeyUsage adds smartcardLogon if and only if there is a UPN to log on
// with.
func (p *Profile) extendedKeyUsage(c Content) []asn1.ObjectIdentifier {
	usages := slices.Clone(p.extended)
	if c.UPN != "" {
		usages = append(usages, oidSmartcardLogon)
	}
	return usages
}

// subject encodes the subject: C, O, CN, SN, GN, serialNumber, in this order for
// ever, because systems compare subjects as bytes. Country and serialNumber are
// PrintableStrings (RFC 5280, A.1), the others UTF8Strings.
func subject(c Content) ([]byte, error) {
	var attributes []der.Attribute
	for _, a := range []der.Attribute{
		{Type: oidCountry, Value: c.Country, Printable: true},
		{Type: oidOrganisation, Value: c.Organisation},
		{Type: oidCommonName, Value: c.CommonName},
		{Type: oidSurname, Value: c.Surname},
		{Type: oidGivenName, Value: c.GivenName},
		{Type: oidSerialNumber, Value: c.SerialNumber, Printable: true},
	} {
		if a.Value != "" {
			attributes = append(attributes, a)
		}
	}
	return der.Name(attributes)
}

// extensions encodes what encoding/asn1 can't be trusted with and what
// crypto/x509 does not know. None is critical.
func (p *Profile) extensions(c Content) ([]pkix.Extension, error) {
	var list []pkix.Extension
	add := func(id asn1.ObjectIdentifier, value []byte, err error) error {
		list = append(list, pkix.Extension{Id: id, Value: value})
		return err
	}
	if names, err := alternativeNames(c); err != nil {
		return nil, err
	} else if names != nil {
		if err := add(oidSubjectAltName, names, nil); err != nil {
			return nil, err
		}
	}
	if c.CardNumber != "" {
		value, err := der.PrintableString(c.CardNumber)
		if err := add(oidCardNumber, value, err); err != nil {
			return nil, err
		}
	}
	if c.SID != "" {
		value, err := sidExtension(c.SID)
		if err := add(oidSIDExtension, value, err); err != nil {
			return nil, err
		}
	}
	if p.config.OCSPNoCheck {
		list = append(list, pkix.Extension{Id: oidOCSPNoCheck, Value: []byte{0x05, 0x00}}) // NULL
	}
	return list, nil
}

// alternativeNames encodes the SAN, or returns nil if there is nothing in it.
func alternativeNames(c Content) ([]byte, error) {
	var names der.GeneralNames
	if c.Email != "" {
		names.Emails = []string{c.Email}
	}
	for _, host := range c.DNSNames {
		if ip, err := parseIP(host); err == nil {
			names.IPs = append(names.IPs, ip.AsSlice())
		} else {
			names.DNSNames = append(names.DNSNames, host)
		}
	}
	if c.UPN != "" {
		value, err := der.UTF8String(c.UPN)
		if err != nil {
			return nil, err
		}
		names.Others = []der.OtherName{{Type: oidUPN, Value: value}}
	}
	if names.Emails == nil && names.DNSNames == nil && names.IPs == nil && names.Others == nil {
		return nil, nil
	}
	return names.Encode()
}

// sidExtension encodes szOID_NTDS_CA_SECURITY_EXT: an otherName whose value is
// the SID's text in an OCTET STRING.
func sidExtension(sid string) ([]byte, error) {
	value, err := der.OctetString([]byte(sid))
	if err != nil {
		return nil, err
	}
	return der.GeneralNames{Others: []der.OtherName{{Type: oidSID, Value: value}}}.Encode()
}

// CARequest describes a CA that is about to be made in a ceremony.
type CARequest struct {
	// Content has Country, Organisation and CommonName, nothing else.
	Content Content
	// PublicKey gives the subject key identifier. With nil the maker of the
	// certificate computes it (crypto/x509 does, by RFC 7093, method 1).
	PublicKey crypto.PublicKey
	NotBefore time.Time
	// NotAfter, or the zero time for the profile's longest.
	NotAfter time.Time
	// CRLURL and IssuerURL are the parent's CRL and certificate, for profiles
	// that have them; empty for a root.
	CRLURL    string
	IssuerURL string
}

// CATemplate returns a template of a CA certificate under profile p, with a
// serial of its own. Makers of certificates write into the template they are
// given, so each call returns a new one.
func CATemplate(p *Profile, r CARequest) (*x509.Certificate, error) {
	if !p.IsCA() {
		return nil, refuse("profile", fmt.Sprintf("%q is not a CA's", p.Name()))
	}
	if err := p.checkContent(r.Content); err != nil {
		return nil, err
	}
	if r.NotAfter.IsZero() {
		r.NotAfter = r.NotBefore.Add(p.MaxValidity())
	}
	r.NotBefore, r.NotAfter = r.NotBefore.UTC().Truncate(time.Second), r.NotAfter.UTC().Truncate(time.Second)
	if !r.NotAfter.After(r.NotBefore) || r.NotAfter.Sub(r.NotBefore) > p.MaxValidity() {
		return nil, refuse("notAfter", "it is not after notBefore and within the profile")
	}
	if p.config.CRL != (r.CRLURL != "") || p.config.CAIssuers != (r.IssuerURL != "") {
		return nil, refuse("crl", "the parent's addresses are not as the profile has them")
	}
	c := p.carried(r.Content)
	raw, err := subject(c)
	if err != nil {
		return nil, fmt.Errorf("encoding subject: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: NewSerial().Int(), NotBefore: r.NotBefore, NotAfter: r.NotAfter,
		RawSubject:            raw,
		Subject:               pkix.Name{Country: []string{c.Country}, Organization: []string{c.Organisation}, CommonName: c.CommonName},
		KeyUsage:              p.keyUsage,
		BasicConstraintsValid: true, IsCA: true,
		MaxPathLen: *p.config.PathLength, MaxPathLenZero: *p.config.PathLength == 0,
	}
	if r.CRLURL != "" {
		t.CRLDistributionPoints = []string{r.CRLURL}
	}
	if r.IssuerURL != "" {
		t.IssuingCertificateURL = []string{r.IssuerURL}
	}
	for _, oid := range c.PolicyOIDs {
		t.Policies = append(t.Policies, p.policies[oid])
	}
	if r.PublicKey == nil {
		return t, nil
	}
	if err := p.CheckKey(r.PublicKey); err != nil {
		return nil, err
	}
	if t.SubjectKeyId, err = subjectKeyID(r.PublicKey); err != nil {
		return nil, err
	}
	return t, nil
}
