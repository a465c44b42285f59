package ca

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sigill/internal/der"
)

// Equal reports whether two contents are the same byte for byte.
func (c Content) Equal(o Content) bool {
	return c.Country == o.Country && c.Organisation == o.Organisation && c.CommonName == o.CommonName &&
		c.Surname == o.Surname && c.GivenName == o.GivenName && c.SerialNumber == o.SerialNumber &&
		c.CardNumber == o.CardNumber && c.Email == o.Email && c.UPN == o.UPN && c.SID == o.SID &&
		slices.Equal(c.PolicyOIDs, o.PolicyOIDs) && slices.Equal(c.DNSNames, o.DNSNames)
}

// field is one field of a content: its rule in a profile, its value and the
// check of its form.
type field struct {
	name  string
	rule  FieldRule
	value string
	check func(string) string // says what is wrong; empty: nothing
}

// fields pairs each field of c with its rule in r.
func (c Content) fields(r ContentRules) []field {
	return []field{
		{"country", r.Country, c.Country, checkCountry},
		{"organisation", r.Organisation, c.Organisation, checkText},
		{"commonName", r.CommonName, c.CommonName, checkText},
		{"surname", r.Surname, c.Surname, checkText},
		{"givenName", r.GivenName, c.GivenName, checkText},
		{"serialNumber", r.SerialNumber, c.SerialNumber, checkPrintable},
		{"cardNumber", r.CardNumber, c.CardNumber, checkCardNumber},
		{"email", r.Email, c.Email, checkEmail},
		{"upn", r.UPN, c.UPN, checkUPN},
		{"sid", r.SID, c.SID, checkSID},
		{"dnsNames", r.DNSNames, present(c.DNSNames), func(string) string { return checkHosts(c.DNSNames) }},
	}
}

// CheckContent checks the form of the fields that c has, as every profile does,
// and returns a [*RequestError] for the first that no certificate takes. Which
// fields there must be, and policy OIDs, are matters of a profile. A register
// asks it of what it takes in, so that nothing is ordered, downloaded and found
// impossible when the key is in the card already.
func CheckContent(c Content) error {
	for _, f := range c.fields(ContentRules{}) {
		if f.value == "" {
			continue
		}
		if why := f.check(f.value); why != "" {
			return refuse("content."+f.name, why)
		}
	}
	return nil
}

// checkContent returns a [*RequestError] unless c may stand in a certificate of p.
func (p *Profile) checkContent(c Content) error {
	for _, f := range c.fields(p.config.Content) {
		if why := f.wrong(); why != "" {
			return refuse("content."+f.name, why)
		}
	}
	if p.config.CommonNameIsCardNumber && c.CommonName != c.CardNumber {
		return refuse("content.commonName", "it is not the card number")
	}
	return p.checkPolicyOIDs(c.PolicyOIDs)
}

// present is not empty for a list that has elements, if only empty ones.
func present(list []string) string {
	if len(list) > 0 {
		return "."
	}
	return ""
}

func (f field) wrong() string {
	if f.value == "" {
		if f.rule == Required {
			return "it is missing"
		}
		return ""
	}
	// An omitted field is checked too: the order as a whole must be sound.
	if f.rule == Refused || f.rule == "" {
		return "the profile has no such field"
	}
	return f.check(f.value)
}

func (p *Profile) checkPolicyOIDs(oids []string) error {
	levels := 0
	for i, oid := range oids {
		if _, ok := p.policies[oid]; !ok {
			return refuse("content.policyOids", fmt.Sprintf("%q is not in the profile", oid))
		}
		if slices.Contains(oids[:i], oid) {
			return refuse("content.policyOids", fmt.Sprintf("%s stands twice", oid))
		}
		if p.assurance[oid] {
			levels++
		}
	}
	if len(p.assurance) > 0 && levels != 1 {
		return refuse("content.policyOids", fmt.Sprintf("%d of them tell a level of assurance, not one", levels))
	}
	return nil
}

func checkCountry(s string) string {
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return "it is not two capital letters"
	}
	return ""
}

// maxName is ub-common-name, ub-organization-name and ub-serial-number of
// RFC 5280, appendix A.1, in characters; the same is taken for the names of a
// person, whose bound there (32768) protects nobody.
const maxName = 64

// checkText checks a name for people: it must look to them as it is stored.
// Control and format characters (among them those that turn the direction of
// writing) and unusual spaces can make one name look like another.
func checkText(s string) string {
	if !utf8.ValidString(s) {
		return "it is not UTF-8"
	}
	if utf8.RuneCountInString(s) > maxName {
		return fmt.Sprintf("it has more than %d characters", maxName)
	}
	for _, c := range s {
		if !unicode.IsPrint(c) || c == utf8.RuneError {
			return fmt.Sprintf("it has a character that is not seen, or not as itself (%U)", c)
		}
	}
	if s != strings.TrimSpace(s) {
		return "it begins or ends with a space"
	}
	return ""
}

func checkPrintable(s string) string {
	if len(s) > maxName || !der.IsPrintable(s) || s != strings.TrimSpace(s) {
		return fmt.Sprintf("it is not a PrintableString of at most %d characters", maxName)
	}
	return ""
}

var cardNumberForm = regexp.MustCompile(`^9752[0-9]{15}$`)

func checkCardNumber(s string) string {
	if !cardNumberForm.MatchString(s) {
		return "it is not 19 digits beginning with 9752"
	}
	return ""
}

var (
	emailLocal = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*$`) // RFC 5321 Dot-string, without the grave accent
	hostLabel  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
)

// checkEmail accepts a Mailbox of RFC 5321, 4.1.2, in ASCII and unquoted:
// rfc822Name is an IA5String.
func checkEmail(s string) string {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(s) > 254 || len(local) > 64 || !emailLocal.MatchString(local) || !isHost(domain) || !strings.Contains(domain, ".") {
		return "it is not an e-mail address in ASCII"
	}
	return ""
}

func isHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !hostLabel.MatchString(label) {
			return false
		}
	}
	return true
}

// maxUPN is the length of a userPrincipalName that the directories we know
// accept, in characters.
const maxUPN = 256

func checkUPN(s string) string {
	user, realm, ok := strings.Cut(s, "@")
	if !ok || user == "" || realm == "" || strings.Contains(realm, "@") {
		return "it is not user@realm"
	}
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxUPN {
		return fmt.Sprintf("it is not UTF-8 of at most %d characters", maxUPN)
	}
	for _, c := range s {
		if c == ' ' || !unicode.IsPrint(c) || c == utf8.RuneError {
			return fmt.Sprintf("it has a space, or a character that is not seen (%U)", c)
		}
	}
	return ""
}

// checkSID checks the text form of a security identifier (MS-DTYP, 2.4.2.1): a
// 48-bit authority and one to fifteen 32-bit parts, in decimal.
func checkSID(s string) string {
	const bad = "it is not a SID (S-1-…)"
	parts := strings.Split(s, "-")
	if len(parts) < 4 || len(parts) > 18 || parts[0] != "S" || parts[1] != "1" {
		return bad
	}
	for i, part := range parts[2:] {
		bits := 32
		if i == 0 {
			bits = 48
		}
		n, err := strconv.ParseUint(part, 10, bits)
		if err != nil || strconv.FormatUint(n, 10) != part {
			return bad
		}
	}
	return ""
}

func checkHosts(names []string) string {
	if len(names) > 32 {
		return "there are more than 32"
	}
	for i, name := range names {
		if _, err := parseIP(name); err != nil && !isHost(name) {
			return fmt.Sprintf("%q is neither a host name nor an address", name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Sprintf("%q stands twice", name)
		}
	}
	return ""
}

func parseIP(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() != "" {
		err = fmt.Errorf("%q has a zone", s)
	}
	return a, err
}
