package rederive

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/certificate-transparency-go/asn1"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
)

// attribute is a part of a name as it stands.
type attribute struct {
	oid, value string
	printable  bool
}

// field is something that a certificate may say of its holder: by what rule, and what
// was ordered.
type field struct {
	name    string
	rule    ca.FieldRule
	ordered string
}

func (f field) carried() bool { return f.rule == ca.Required || f.rule == ca.Optional }

// compare judges a field that stands in the certificate as is; "" is: it does not.
func (c *check) compare(kind Kind, f field, is string) {
	switch {
	case is != "" && !f.carried():
		c.find(kind, "%s does not belong in this profile", f.name)
	case is == "" && f.rule == ca.Required:
		c.find(kind, "%s is missing", f.name)
	case c.order != nil && f.carried() && is != f.ordered:
		c.find(kind, "%s is not the ordered one", f.name)
	}
}

// content is what was ordered; nothing without an order.
func (c *check) content() Content {
	if c.order == nil {
		return Content{}
	}
	return c.order.Content
}

// checkSubject compares the subject: C, O, CN, SN, GN, serialNumber, in this order,
// one in each, country and serialNumber as PrintableStrings, the others as
// UTF8Strings.
func (c *check) checkSubject() {
	got, ok := readName(c.tbs.RawSubject)
	if !ok {
		c.find(Subject, "its subject cannot be read")
		return
	}
	r, d := c.profile.Content, c.content()
	fields := []struct {
		oid       string
		printable bool
		field
	}{
		{"2.5.4.6", true, field{"country", r.Country, d.Country}},
		{"2.5.4.10", false, field{"organisation", r.Organisation, d.Organisation}},
		{"2.5.4.3", false, field{"common name", r.CommonName, d.CommonName}},
		{"2.5.4.4", false, field{"surname", r.Surname, d.Surname}},
		{"2.5.4.42", false, field{"given name", r.GivenName, d.GivenName}},
		{"2.5.4.5", true, field{"serialNumber", r.SerialNumber, d.SerialNumber}},
	}
	for _, f := range fields {
		is := ""
		if len(got) > 0 && got[0].oid == f.oid {
			if is = got[0].value; got[0].printable != f.printable || is == "" {
				c.find(Subject, "%s is encoded otherwise", f.name)
			}
			got = got[1:]
		}
		c.compare(Subject, f.field, is)
		if f.name == "common name" && c.profile.CommonNameIsCardNumber && is != c.cardNumber() {
			c.find(Subject, "common name is not the card number")
		}
	}
	if len(got) > 0 {
		c.find(Subject, "its subject has further parts, or in another order")
	}
}

// readName reads a Name (RFC 5280, 4.1.2.4) of single attributes.
func readName(raw []byte) ([]attribute, bool) {
	in, list := cryptobyte.String(raw), cryptobyte.String(nil)
	if !in.ReadASN1(&list, casn1.SEQUENCE) || !in.Empty() {
		return nil, false
	}
	var out []attribute
	for !list.Empty() {
		var set, pair, id, value cryptobyte.String
		var tag casn1.Tag
		if !list.ReadASN1(&set, casn1.SET) || !set.ReadASN1(&pair, casn1.SEQUENCE) || !set.Empty() ||
			!pair.ReadASN1Element(&id, casn1.OBJECT_IDENTIFIER) || !pair.ReadAnyASN1(&value, &tag) || !pair.Empty() {
			return nil, false
		}
		oid, ok := dotted(id)
		if !ok || tag != casn1.PrintableString && tag != casn1.UTF8String {
			return nil, false
		}
		out = append(out, attribute{oid, string(value), tag == casn1.PrintableString})
	}
	return out, true
}

func dotted(element []byte) (string, bool) {
	var oid asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(element, &oid)
	return oid.String(), err == nil && len(rest) == 0
}

// cardNumber returns the card number that the certificate carries; "": none.
func (c *check) cardNumber() string {
	in, text := cryptobyte.String(c.extension(extCardNumber)), cryptobyte.String(nil)
	if !in.ReadASN1(&text, casn1.PrintableString) || !in.Empty() {
		return ""
	}
	return string(text)
}

// checkNames compares subject alternative names, card number and SID, and reports
// whether there is a UPN.
func (c *check) checkNames() (upn bool) {
	r, d := c.profile.Content, c.content()
	names, ok := readNames(c.extension(extAltName))
	if !ok && c.extension(extAltName) != nil {
		c.find(Names, "its alternative names cannot be read, or are of other kinds")
		return false
	}
	one := func(f field, is []string) {
		if len(is) > 1 {
			c.find(Names, "%s stands %d times", f.name, len(is))
			return
		}
		c.compare(Names, f, strings.Join(is, ""))
	}
	one(field{"e-mail address", r.Email, d.Email}, names.emails)
	one(field{"UPN", r.UPN, d.UPN}, names.upns)
	hosts := slices.Clone(d.DNSNames)
	slices.Sort(hosts)
	slices.Sort(names.hosts)
	c.compare(Names, field{"host names", r.DNSNames, strings.Join(hosts, " ")}, strings.Join(names.hosts, " "))

	card := c.cardNumber()
	if card == "" && c.extension(extCardNumber) != nil {
		c.find(Names, "its card number cannot be read")
	}
	c.compare(Names, field{"card number", r.CardNumber, d.CardNumber}, card)
	if c.said.Card != "" && card != "" && card != c.said.Card {
		c.find(Names, "its card number is not that of the card that it was made for")
	}
	sid, ok := readSID(c.extension(extSID))
	if !ok && c.extension(extSID) != nil {
		c.find(Names, "its SID cannot be read")
	}
	c.compare(Names, field{"SID", r.SID, d.SID}, sid)
	return len(names.upns) > 0
}

type altNames struct{ emails, upns, hosts []string }

const (
	oidUPN = "1.3.6.1.4.1.311.20.2.3"
	oidSID = "1.3.6.1.4.1.311.25.2.1"
)

// readNames reads GeneralNames of the kinds that there may be.
func readNames(raw []byte) (out altNames, ok bool) {
	in, list := cryptobyte.String(raw), cryptobyte.String(nil)
	if !in.ReadASN1(&list, casn1.SEQUENCE) || !in.Empty() || list.Empty() {
		return out, false
	}
	for !list.Empty() {
		var value cryptobyte.String
		var tag casn1.Tag
		if !list.ReadAnyASN1(&value, &tag) {
			return out, false
		}
		switch tag {
		case casn1.Tag(1).ContextSpecific():
			out.emails = append(out.emails, string(value))
		case casn1.Tag(2).ContextSpecific():
			out.hosts = append(out.hosts, string(value))
		case casn1.Tag(7).ContextSpecific():
			ip, ok := netip.AddrFromSlice(value)
			if !ok {
				return out, false
			}
			out.hosts = append(out.hosts, ip.String())
		case casn1.Tag(0).ContextSpecific().Constructed():
			text, ok := otherName(value, oidUPN, casn1.UTF8String)
			if !ok {
				return out, false
			}
			out.upns = append(out.upns, text)
		default:
			return out, false
		}
	}
	return out, true
}

// otherName reads the content of an otherName of type oid, whose value is a string.
func otherName(content cryptobyte.String, oid string, tag casn1.Tag) (string, bool) {
	var id, explicit, text cryptobyte.String
	if !content.ReadASN1Element(&id, casn1.OBJECT_IDENTIFIER) || !content.ReadASN1(&explicit, casn1.Tag(0).ContextSpecific().Constructed()) ||
		!content.Empty() || !explicit.ReadASN1(&text, tag) || !explicit.Empty() {
		return "", false
	}
	is, ok := dotted(id)
	return string(text), ok && is == oid
}

// readSID reads szOID_NTDS_CA_SECURITY_EXT.
func readSID(raw []byte) (string, bool) {
	in, list, other := cryptobyte.String(raw), cryptobyte.String(nil), cryptobyte.String(nil)
	if !in.ReadASN1(&list, casn1.SEQUENCE) || !in.Empty() || !list.ReadASN1(&other, casn1.Tag(0).ContextSpecific().Constructed()) || !list.Empty() {
		return "", false
	}
	return otherName(other, oidSID, casn1.OCTET_STRING)
}
