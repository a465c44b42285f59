package config

import (
	"strings"
	"testing"
)

func TestSourcesOfTime(t *testing.T) {
	good, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	parse := func(sources string) error {
		t.Helper()
		if strings.Count(string(good), "  sources: []") != 1 {
			t.Fatal("the template has no sources")
		}
		_, err := Parse([]byte(strings.Replace(string(good), "  sources: []", "  sources: "+sources, 1)))
		return err
	}
	for _, s := range []string{`[]`, `[ntp.se]`, `["ntp1.example:1123", "10.0.0.1", "[2001:db8::1]:123", "2001:db8::2"]`} {
		if err := parse(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{`[""]`, `[":123"]`, `["a:0"]`, `["a:66666"]`, `["http://a"]`, `["a b"]`, `[a, A]`, `["[::1"]`, `[a, b, c, d, e, f, g, h, i]`} {
		if err := parse(s); err == nil || !strings.Contains(err.Error(), "time.sources") {
			t.Errorf("%s: %v, want an error that names time.sources", s, err)
		}
	}
}
