package ca_test

import (
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/profiles"
)

func TestNewProfileRefuses(t *testing.T) {
	all, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	one := 1
	for _, c := range []struct {
		name   string
		base   ca.ProfileName
		change func(*ca.ProfileConfig)
		want   string
	}{
		{"name", "authentication", func(c *ca.ProfileConfig) { c.Name = "Authentication" }, "name"},
		{"kind", "authentication", func(c *ca.ProfileConfig) { c.Kind = "" }, "kind"},
		{"mandate", "authentication", func(c *ca.ProfileConfig) { c.Mandate = "" }, "mandate"},
		{"validity", "authentication", func(c *ca.ProfileConfig) { c.MaxValidity = 0 }, "max_validity"},
		{"no keys", "authentication", func(c *ca.ProfileConfig) { c.Keys = ca.KeyRules{} }, "none is allowed"},
		{"P-224", "authentication", func(c *ca.ProfileConfig) { c.Keys.Curves = []string{"P-224"} }, "P-224"},
		{"RSA 1024", "authentication", func(c *ca.ProfileConfig) { c.Keys.RSAMin = 1024 }, "2048"},
		{"RSA without end", "authentication", func(c *ca.ProfileConfig) { c.Keys.RSAMax = 0 }, "2048"},
		{"no key usage", "authentication", func(c *ca.ProfileConfig) { c.KeyUsage = nil }, "key_usage"},
		{"log-in and signature", "signing", func(c *ca.ProfileConfig) { c.KeyUsage = append(c.KeyUsage, "digitalSignature") }, "one of them"},
		{"certificates by a card", "authentication", func(c *ca.ProfileConfig) { c.KeyUsage = []string{"keyCertSign", "cRLSign"} }, "one of them"},
		{"unknown usage", "authentication", func(c *ca.ProfileConfig) { c.KeyUsage = []string{"keyAgreement"} }, "unknown"},
		{"any purpose", "authentication", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = []string{"2.5.29.37.0"} }, "limits nothing"},
		{"no purpose", "transport", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = nil }, "extended_key_usage"},
		{"smartcardLogon", "authentication", func(c *ca.ProfileConfig) {
			c.ExtendedKeyUsage = append(c.ExtendedKeyUsage, "1.3.6.1.4.1.311.20.2.2")
		}, "smartcardLogon"},
		{"purpose twice", "authentication", func(c *ca.ProfileConfig) {
			c.ExtendedKeyUsage = []string{"clientAuth", "1.3.6.1.5.5.7.3.2"}
		}, "twice"},
		{"no OID", "authentication", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = []string{"clientauth"} }, "dotted"},
		{"OID with leading zero", "authentication", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = []string{"1.3.06"} }, "dotted"},
		{"log-on with a signing key", "signing", func(c *ca.ProfileConfig) { c.Content.UPN = ca.Optional }, "UPN"},
		{"anyPolicy", "authentication", func(c *ca.ProfileConfig) { c.Policies = []string{"2.5.29.32.0"} }, "anyPolicy"},
		{"policy is none", "authentication", func(c *ca.ProfileConfig) { c.Policies = []string{"loa3"} }, "dotted"},
		{"one policy for two levels", "authentication", func(c *ca.ProfileConfig) { c.Assurance["ordinary/2"] = c.Assurance["ordinary/3"] }, "twice"},
		{"routine without level", "authentication", func(c *ca.ProfileConfig) { c.Assurance["ordinary"] = "2.999.1" }, "routine/level"},
		{"path length of a card", "authentication", func(c *ca.ProfileConfig) { c.PathLength = &one }, "path_length"},
		{"no common name", "authentication", func(c *ca.ProfileConfig) { c.Content.CommonName = ca.Optional }, "common_name"},
		{"rule", "authentication", func(c *ca.ProfileConfig) { c.Content.Email = "sometimes" }, "sometimes"},
		{"card number of nothing", "transport", func(c *ca.ProfileConfig) { c.Content.CardNumber = ca.Refused }, "common_name_is_card_number"},
		{"CA without path length", "root-ca", func(c *ca.ProfileConfig) { c.PathLength = nil }, "path_length"},
		{"CA that logs in", "root-ca", func(c *ca.ProfileConfig) { c.KeyUsage = append(c.KeyUsage, "digitalSignature") }, "nothing else"},
		{"CA without CRLs", "root-ca", func(c *ca.ProfileConfig) { c.KeyUsage = []string{"keyCertSign"} }, "nothing else"},
		{"CA with a purpose", "root-ca", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = []string{"clientAuth"} }, "extended_key_usage"},
		{"CA without country", "root-ca", func(c *ca.ProfileConfig) { c.Content.Country = ca.Optional }, "country"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := all[c.base].Config()
			c.change(&config)
			_, err := ca.NewProfile(config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// A profile can't be changed from outside.
func TestProfileIsACopy(t *testing.T) {
	all, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	p := all["authentication"]
	c := p.Config()
	c.Assurance["ordinary/3"] = "2.999.1"
	c.KeyUsage[0] = "keyCertSign"
	p.Assurance()["ordinary/3"] = "2.999.1"
	if oid, _ := p.AssurancePolicy("ordinary/3"); oid != "2.999.752.3.1" || p.Config().KeyUsage[0] != "digitalSignature" {
		t.Errorf("the profile changed: %s", oid)
	}
}

func TestPeriod(t *testing.T) {
	for text, want := range map[string]time.Duration{"31d": 31 * 24 * time.Hour, "12h": 12 * time.Hour, "36h0m0s": 36 * time.Hour} {
		var p ca.Period
		if err := p.UnmarshalText([]byte(text)); err != nil || time.Duration(p) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(p), err)
		}
		again, err := p.MarshalText()
		var q ca.Period
		if err != nil || q.UnmarshalText(again) != nil || q != p {
			t.Errorf("%s is written %s (%v)", text, again, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "5y", "70000d"} {
		if err := new(ca.Period).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a period", text)
		}
	}
}
