package config

import (
	"strings"
	"testing"
	"time"
)

func TestTemplateIsAConfiguration(t *testing.T) {
	s := Defaults()
	s.Organisation = "Region Österbyggd: nr 1" // needs quoting
	s.Bureaus = map[string]string{"bureau": "bureau/public.pem"}
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if c.Organisation != s.Organisation || c.Bureaus["bureau"] != "bureau/public.pem" || c.Listen.Card != s.Card ||
		time.Duration(c.Download.OrderOpen) != 90*24*time.Hour || c.Provenance[3] != "session" {
		t.Errorf("configuration is not what was set: %+v", c)
	}
	if c.Dir = "/d"; c.DatabaseURL() != "sqlite:/d/sigill.db" {
		t.Errorf("DatabaseURL = %s", c.DatabaseURL())
	}
}

func TestParseRefuses(t *testing.T) {
	good, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, from, to, want string }{
		{"unknown key", "environment: test", "enviroment: test", "enviroment"},
		{"unknown environment", "environment: test", "environment: qa", "environment"},
		{"https status", "status_url: http://", "status_url: https://", "status_url"},
		{"passphrase in a file in production", "environment: test", "environment: production", "passphrase"},
		{"unknown provenance", "3: session", "3: hearsay", "hearsay"},
		{"unknown level", "3: session", "4: session", "level 4"},
		{"no time", "pending_ttl: 24h", "pending_ttl: 0s", "pending_ttl"},
		{"no hosts", "  - localhost\n  - 127.0.0.1\n", "", "hosts"},
		{"no partitions", "partitions: 8", "partitions: 0", "partitions"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.Replace(string(good), test.from, test.to, 1)
			if changed == string(good) {
				t.Fatalf("%q is not in the template", test.from)
			}
			_, err := Parse([]byte(changed))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse = %v, want an error that names %q", err, test.want)
			}
		})
	}
}
