package ca_test

import (
	"errors"
	"testing"

	"sigill/ca"
)

// What a register may take in is what could stand in a certificate: fields that
// are not there are no matter, those that are have their form.
func TestCheckContent(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	for _, right := range []ca.Content{{}, asa(), {Surname: "Öström"}, {UPN: "asa@ad"}, server()} {
		if err := ca.CheckContent(right); err != nil {
			t.Errorf("%+v: %v", right, err)
		}
	}
	for field, change := range map[string]func(*ca.Content){
		"country":      func(c *ca.Content) { c.Country = "se" },
		"organisation": func(c *ca.Content) { c.Organisation = " Region" },
		"commonName":   func(c *ca.Content) { c.CommonName = "Åsa\u202e" },
		"surname":      func(c *ca.Content) { c.Surname = "von\u00a0Öström" },
		"givenName":    func(c *ca.Content) { c.GivenName = "Åsa\x00" },
		"serialNumber": func(c *ca.Content) { c.SerialNumber = "SE2321000016-Å" },
		"cardNumber":   func(c *ca.Content) { c.CardNumber = "1" },
		"email":        func(c *ca.Content) { c.Email = "asa@localhost" },
		"upn":          func(c *ca.Content) { c.UPN = "@" },
		"sid":          func(c *ca.Content) { c.SID = "S-1-" },
		"dnsNames":     func(c *ca.Content) { c.DNSNames = []string{"*.example.se"} },
	} {
		content := asa()
		change(&content)
		refused, ok := errors.AsType[*ca.RequestError](ca.CheckContent(content))
		if !ok || refused.Field != "content."+field {
			t.Errorf("%s: %v", field, refused)
		}
		// The CA refuses the same, whatever was taken in.
		_, err := i.Prepare(request(t, "authentication", content))
		if refused, ok := errors.AsType[*ca.RequestError](err); !ok || refused.Field != "content."+field {
			t.Errorf("%s: prepared: %v", field, err)
		}
	}
}
