package products_test

import (
	"strings"
	"testing"

	"sigill/internal/products"
	"sigill/policy"
)

// What the program knows: on a 7XX card nobody was ever given a signing code, on
// the older ones with a letter it is in the letter, and of the rest it is not told.
func TestDefault(t *testing.T) {
	all, err := products.Default()
	if err != nil {
		t.Fatal(err)
	}
	for code, pin2 := range map[string]policy.PIN2{"7XX": policy.PIN2Same, "6XX": policy.PIN2Letter, "none": policy.PIN2Letter,
		"473": policy.PIN2Unknown, "573": policy.PIN2Unknown} {
		p, ok := all[code]
		if !ok || p.Code != code || p.PIN2 != pin2 {
			t.Errorf("%s: %+v", code, p)
		}
	}
	for code, p := range all {
		if !p.Deliverable() || p.EIDs() < 2 || p.SigningKeys <= p.EIDs() {
			t.Errorf("%s: %d eIDs, %d places for signing, deliverable %t", code, p.EIDs(), p.SigningKeys, p.Deliverable())
		}
	}
}

// Products are read strictly: what is misspelt or makes no sense is an error at the
// start, and not a card that is full when its holder stands at the reader.
func TestParse(t *testing.T) {
	const right = "X:\n  replaces: beside\n  keys: {authentication: 2, signing: 1}\n  pin2: letter\n"
	all, err := products.Parse([]byte(right))
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	if want := (policy.Product{Code: "X", Replaces: policy.Beside, AuthenticationKeys: 2, SigningKeys: 1, PIN2: policy.PIN2Letter}); all["X"] != want {
		t.Errorf("%+v", all["X"])
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"nothing":            {right, "", "EOF"},
		"no product":         {right, "{}", "there are none"},
		"list":               {right, "[a]", "products"},
		"unknown key":        {"pin2:", "pin3:", "pin3"},
		"unknown place":      {"signing: 1", "sign: 1", "sign"},
		"product twice":      {right, right + right, "already defined"},
		"second document":    {right, right + "---\n" + right, "second document"},
		"replaces what":      {"beside", "instead", "replaces is"},
		"replaces nothing":   {"  replaces: beside\n", "", "replaces is"},
		"pin2 of its own":    {"letter", "own", "pin2 is"},
		"pin2 not told":      {"  pin2: letter\n", "", "pin2 is"},
		"no place":           {"authentication: 2", "authentication: 0", "at least one place"},
		"less than none":     {"signing: 1", "signing: -1", "at least one place"},
		"no room beside":     {"authentication: 2", "authentication: 1", "no room"},
		"more than any card": {"signing: 1", "signing: 33", "more than 32"},
		"places in words":    {"signing: 1", "signing: one", "products"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(right, c.old, c.new, 1)
			if text == right {
				t.Fatal("nothing was changed")
			}
			if _, err := products.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

// A card that makes its new key in place of the old one is known, and is not
// delivered: cut off, it would leave its holder without any eID.
func TestInPlaceIsNotDelivered(t *testing.T) {
	all, err := products.Parse([]byte("PIV:\n  replaces: in-place\n  keys: {authentication: 1, signing: 1}\n  pin2: unknown\n"))
	if err != nil {
		t.Fatal(err)
	}
	if all["PIV"].Deliverable() || (policy.Product{}).Deliverable() {
		t.Error("it may be delivered")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("X:\n  replaces: beside\n  keys: {authentication: 2, signing: 1}\n  pin2: letter\n"))
	f.Add([]byte("X: &a\n  replaces: beside\n  keys: {authentication: 2}\n  pin2: pin1\nY: *a\n"))
	f.Add([]byte("? [1]\n: {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := products.Parse(text)
		if err != nil {
			return
		}
		for code, p := range all {
			if p.Code != code || p.Check() != nil || p.AuthenticationKeys > 32 || p.SigningKeys > 32 || p.Replaces == policy.Beside && p.EIDs() < 1 {
				t.Errorf("%q: %+v", code, p)
			}
		}
	})
}
