package config

import (
	"strings"
	"testing"
)

// TestPresignRefuses: what is signed ahead lives between one and twelve hours, and is
// replaced before it ends. Without a directory nothing of it is looked at.
func TestPresignRefuses(t *testing.T) {
	good, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	parse := func(changes ...string) error {
		t.Helper()
		text := string(good)
		for i := 0; i < len(changes); i += 2 {
			if strings.Count(text, changes[i]) != 1 {
				t.Fatalf("%q is not once in the template", changes[i])
			}
			text = strings.Replace(text, changes[i], changes[i+1], 1)
		}
		_, err := Parse([]byte(text))
		return err
	}
	const none, some = "    dir: \"\"\n", "    dir: ahead\n"
	if err := parse(none, some); err != nil {
		t.Error(err)
	}
	for _, test := range []struct{ from, to, want string }{
		{"every: 6h", "every: 7h", "presign.every"},
		{"every: 6h", "every: 59s", "presign.every"},
		{"    validity: 12h", "    validity: 13h", "presign.validity"},
		{"    validity: 12h", "    validity: 59m", "presign.validity"},
		{"per_second: 1000", "per_second: 0", "presign.per_second"},
		{"per_second: 1000", "per_second: 100001", "presign.per_second"},
	} {
		if err := parse(none, some, test.from, test.to); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error that names %q", test.to, err, test.want)
		}
		if err := parse(test.from, test.to); err != nil {
			t.Errorf("%s without a directory: %v", test.to, err)
		}
	}
}
