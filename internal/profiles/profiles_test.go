package profiles_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/internal/profiles"
)

func TestDefault(t *testing.T) {
	p, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	for name, mandate := range map[ca.ProfileName]ca.MandateRule{
		"authentication": ca.MandateOrder, "signing": ca.MandateOrder, "transport": ca.MandateNone,
		"ocsp": ca.MandateNone, "server": ca.MandateNone, "officer": ca.MandateNone,
		"root-ca": ca.MandateNone, "issuing-ca": ca.MandateNone,
	} {
		if p[name] == nil {
			t.Errorf("no profile %s", name)
			continue
		}
		if got := p[name].Mandate(); got != mandate {
			t.Errorf("%s: mandate %s, want %s", name, got, mandate)
		}
		delete(p, name)
	}
	for name := range p {
		t.Errorf("profile %s is not in this test", name)
	}
}

// An order names one level of assurance for both halves of an eID.
func TestSameAssurance(t *testing.T) {
	p, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"ordinary/3", "reserve/3", "ordinary/2", "reserve/2"} {
		a, okA := p["authentication"].AssurancePolicy(level)
		s, okS := p["signing"].AssurancePolicy(level)
		if !okA || !okS || a != s {
			t.Errorf("%s: authentication %q, signing %q", level, a, s)
		}
	}
	if oid, ok := p["transport"].AssurancePolicy("ordinary/3"); ok {
		t.Errorf("transport has assurance %s", oid)
	}
}

func TestWriteDefaultsAndLoad(t *testing.T) {
	dir := t.TempDir()
	if err := profiles.WriteDefaults(dir); err != nil {
		t.Fatal(err)
	}
	got, err := profiles.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	if profiles.Text(got) != profiles.Text(want) {
		t.Errorf("loaded profiles differ from the defaults:\n%s", profiles.Text(got))
	}
	if err := profiles.WriteDefaults(dir); err == nil {
		t.Error("WriteDefaults overwrote files")
	}
}

func TestLoadRefuses(t *testing.T) {
	good, err := os.ReadFile("transport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, text, want string }{
		{"unknown key", "transport.yaml", string(good) + "smartcard: true\n", "smartcard"},
		{"repeated key", "transport.yaml", string(good) + "crl: false\n", "already defined"},
		{"two documents", "transport.yaml", string(good) + "---\nname: x\n", "more than one"},
		{"two documents, the second empty", "transport.yaml", string(good) + "---\n", "more than one"},
		{"other name", "signing.yaml", string(good), "holds the profile"},
		{"bad rule", "transport.yaml", strings.Replace(string(good), "country: optional", "country: maybe", 1), "maybe"},
		{"bad period", "transport.yaml", strings.Replace(string(good), "2192d", "6y", 1), "6y"},
		{"empty", "transport.yaml", "", "EOF"},
		{"no files", "transport.yml", string(good), "no profiles"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := profiles.Load(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	p, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(profiles.Text(p), "\n")
	for _, want := range []string{
		"authentication: Log-in with a card (mutual TLS, Windows log-on); one half of an eID.",
		"  mandate    signed statements over the order",
		"  keys       P-256, P-384, RSA 2048–4096",
		"  extended   clientAuth, smartcardLogon (with a UPN)",
		"  omitted    UPN, SID",
		"  kind       ca, path length 0",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the text has no line %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}
