package ca_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"sigill/ca"
	"sigill/internal/catest"
	"sigill/internal/lint"
)

func realLinter(t testing.TB, all ca.Profiles) ca.Linter {
	t.Helper()
	l, err := lint.New(lint.Config{LoAPolicies: slices.Collect(maps.Values(all["authentication"].Assurance()))})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// contents has a content for each end-entity profile.
func contents() map[ca.ProfileName]ca.Content {
	card := "9752263890112233445"
	return map[ca.ProfileName]ca.Content{
		"authentication": asa(), "signing": asa(), "transport": {CommonName: card, CardNumber: card},
		"ocsp": {Country: "SE", CommonName: "OCSP 1"}, "server": server(), "officer": {Country: "SE", Organisation: "Sigill", CommonName: "Officer 1"},
	}
}

// What the built-in profiles make passes the real linter, with and without SCTs,
// on each kind of issuing key.
func TestIssuedPassLint(t *testing.T) {
	for _, kind := range []string{"P-256", "P-384", "RSA-2048"} {
		config := issuerConfig(t, kind)
		config.Linter = realLinter(t, config.Profiles)
		i := newIssuer(t, config)
		for profile, content := range contents() {
			for name, sealer := range map[string]ca.Log{"without SCT": nil, "with SCT": newLog(t)} {
				t.Run(kind+"/"+string(profile)+"/"+name, func(t *testing.T) {
					if _, err := i.Sign(record(t, seal(t, i, request(t, profile, content), sealer))); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// Mistakes in a profile that NewProfile lets pass, because some CA might mean
// them, end at the linter and are not signed.
func TestPlantedProfileErrorsAreNotSigned(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile ca.ProfileName
		plant   func(*ca.ProfileConfig)
	}{
		{"no OCSP address", "authentication", func(c *ca.ProfileConfig) { c.OCSP = false }},
		{"no card number", "authentication", func(c *ca.ProfileConfig) { c.Content.CardNumber = ca.Omitted }},
		{"for servers", "authentication", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = append(c.ExtendedKeyUsage, "serverAuth") }},
		{"signing key that logs in", "signing", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = []string{"clientAuth"} }},
		{"signing certificate for log-in", "signing", func(c *ca.ProfileConfig) { c.KeyUsage = []string{"digitalSignature"} }},
		{"transport card that logs in", "transport", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = []string{"clientAuth"} }},
		{"OCSP signer without nocheck", "ocsp", func(c *ca.ProfileConfig) { c.OCSPNoCheck = false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := issuerConfig(t, "P-256")
			config.Linter = realLinter(t, config.Profiles)
			signer := &catest.CountingSigner{Signer: config.Signer}
			config.Signer = signer
			planted := config.Profiles[c.profile].Config()
			c.plant(&planted)
			p, err := ca.NewProfile(planted)
			if err != nil {
				t.Fatal(err)
			}
			config.Profiles[c.profile] = p
			draft, err := newIssuer(t, config).Prepare(request(t, c.profile, contents()[c.profile]))
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := draft.Seal(t.Context(), nil)
			if _, ok := errors.AsType[*ca.LintError](err); !ok || sealed != nil {
				t.Errorf("Seal = %v, %v", sealed, err)
			}
			if signer.N != 0 {
				t.Errorf("%d signatures", signer.N)
			}
		})
	}
}
