package profiles

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"sigill/ca"
)

// Text returns the profiles as people read them, sorted by name.
func Text(profiles ca.Profiles) string {
	var b strings.Builder
	for n, name := range slices.Sorted(maps.Keys(profiles)) {
		if n > 0 {
			b.WriteByte('\n')
		}
		writeProfile(&b, profiles[name].Config())
	}
	return b.String()
}

func writeProfile(b *strings.Builder, c ca.ProfileConfig) {
	fmt.Fprintf(b, "%s: %s\n", c.Name, c.Description)
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", name, value)
		}
	}
	line("kind", kind(c))
	if c.Mandate == ca.MandateOrder {
		line("mandate", "signed statements over the order")
	}
	period, _ := c.MaxValidity.MarshalText() // never fails
	line("validity", "at most "+string(period))
	line("keys", keys(c.Keys))
	line("key usage", strings.Join(c.KeyUsage, ", ")+" (critical)")
	line("extended", strings.Join(extended(c), ", "))
	for _, rule := range []ca.FieldRule{ca.Required, ca.Optional, ca.Omitted} {
		line(string(rule), strings.Join(fields(c.Content, rule), ", "))
	}
	for _, level := range slices.Sorted(maps.Keys(c.Assurance)) {
		line("assurance", c.Assurance[level]+" "+level)
	}
	line("policies", strings.Join(c.Policies, ", "))
	line("addresses", addresses(c))
	w.Flush() // to a strings.Builder, which never fails
}

func kind(c ca.ProfileConfig) string {
	if c.PathLength != nil {
		return fmt.Sprintf("%s, path length %d", c.Kind, *c.PathLength)
	}
	return string(c.Kind)
}

func keys(k ca.KeyRules) string {
	list := slices.Clone(k.Curves)
	if k.RSAMax > 0 {
		list = append(list, "RSA "+strconv.Itoa(k.RSAMin)+"–"+strconv.Itoa(k.RSAMax))
	}
	return strings.Join(list, ", ")
}

func extended(c ca.ProfileConfig) []string {
	list := slices.Clone(c.ExtendedKeyUsage)
	switch c.Content.UPN {
	case ca.Required:
		list = append(list, "smartcardLogon")
	case ca.Optional:
		list = append(list, "smartcardLogon (with a UPN)")
	}
	if c.OCSPNoCheck {
		list = append(list, "ocsp-nocheck")
	}
	return list
}

func fields(r ca.ContentRules, rule ca.FieldRule) []string {
	var list []string
	for _, f := range []struct {
		name string
		rule ca.FieldRule
	}{
		{"C", r.Country}, {"O", r.Organisation}, {"CN", r.CommonName}, {"SN", r.Surname}, {"GN", r.GivenName},
		{"serialNumber", r.SerialNumber}, {"card number", r.CardNumber}, {"e-mail", r.Email}, {"UPN", r.UPN},
		{"SID", r.SID}, {"DNS names and addresses", r.DNSNames},
	} {
		if f.rule == rule {
			list = append(list, f.name)
		}
	}
	return list
}

func addresses(c ca.ProfileConfig) string {
	var list []string
	for _, a := range []struct {
		on   bool
		name string
	}{{c.CRL, "CRL"}, {c.OCSP, "OCSP"}, {c.CAIssuers, "issuer"}} {
		if a.on {
			list = append(list, a.name)
		}
	}
	return strings.Join(list, ", ")
}
