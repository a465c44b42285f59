package config

import (
	"strings"
	"testing"
)

const someWitness = "witness.example/w1+43329acf+BDnfOv2+EeAFeNk3ggsL02SVU4qpwy8reMkJfXvjB0Xw"

func withLog(t *testing.T, keep, witnesses string) (*Config, error) {
	t.Helper()
	good, err := Defaults().Text()
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for old, new := range map[string]string{"\n  keep: {}\n": "\n  keep: " + keep + "\n", "\n  witnesses: []\n": "\n  witnesses: " + witnesses + "\n"} {
		if !strings.Contains(text, old) {
			t.Fatalf("the template has no %q", old)
		}
		text = strings.Replace(text, old, new, 1)
	}
	return Parse([]byte(text))
}

func TestPlacesOfHeads(t *testing.T) {
	c, err := withLog(t, "{hall: {directory: /mnt/heads}}", "[]")
	if err != nil || !c.Log.Kept() || c.Log.Keep["hall"].Directory != "/mnt/heads" {
		t.Errorf("%+v, %v", c.Log, err)
	}
	one := "{url: 'https://witness.example/sigill', key: '" + someWitness + "'}"
	if c, err = withLog(t, "{}", "["+one+"]"); err != nil || !c.Log.Kept() || c.Log.Witnesses[0].Key != someWitness {
		t.Errorf("a witness: %+v, %v", c.Log, err)
	}
	if c, err = withLog(t, "{}", "[]"); err != nil || c.Log.Kept() {
		t.Errorf("no place: %+v, %v", c.Log, err)
	}
	for name, bad := range map[string][3]string{
		"a relative directory":  {"{hall: {directory: heads}}", "[]", "absolute"},
		"a name":                {"{'Hall 1': {directory: /mnt/heads}}", "[]", "lower-case"},
		"one place twice":       {"{a: {directory: /mnt/heads}, b: {directory: /mnt/heads/}}", "[]", "same place"},
		"no place at all":       {"{a: {}}", "[]", "either"},
		"a witness with no key": {"{}", "[{url: 'https://w.example', key: w.example}]", "witness"},
		"a witness twice":       {"{}", "[" + one + "," + one + "]", "two places"},
		"a witness nowhere":     {"{}", "[" + strings.Replace(one, "https://", "", 1) + "]", "url is not"},
		"an unknown key":        {"{}", "[{address: x}]", "address"},
	} {
		if c, err := withLog(t, bad[0], bad[1]); err == nil || !strings.Contains(err.Error(), bad[2]) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
