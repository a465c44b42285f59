package register_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sigill/ca"
	"sigill/orders/register"
	"sigill/policy"
)

func FuzzParsePeople(f *testing.F) {
	f.Add(peopleHead + "191212121212,Åsa,Öström,SE2321000016-A1,asa@region.example,asa@ad.region.example,S-1-5-21-1-2-3-4,2031-12-31,yes\n")
	f.Add(peopleHead)
	f.Add("\ufeff" + peopleHead + "191212121212,Åsa,Öström,SE2321000016-A1,,,,,\r\n")
	f.Fuzz(func(t *testing.T, file string) {
		rows, err := register.ParsePeople(strings.NewReader(file))
		if err != nil {
			return
		}
		for _, r := range rows {
			if _, _, err := policy.ParsePersonNumber(r.Number.Digits()); err != nil {
				t.Error(err)
			}
			// What was read can stand in a certificate.
			if err := ca.CheckContent(policy.ContentOf(policy.ContentFacts{Country: "SE", GivenName: r.GivenName, Surname: r.Surname,
				HSAID: r.HSAID, Email: r.Email, UPN: r.UPN, SID: r.SID}, nil)); err != nil {
				t.Error(err)
			}
			if r.GivenName == "" || strings.ContainsAny(r.GivenName+r.Surname+r.Email, "\n\r\x00") {
				t.Errorf("row %+v", r)
			}
		}
	})
}

func FuzzParseHandOver(f *testing.F) {
	f.Add([]byte(`{"act":"card.handout","card":"9752000000000000001","person":"per_1","identity":"passport"}`))
	f.Fuzz(func(t *testing.T, b []byte) { register.ParseHandOver(b) })
}

func FuzzParseFounding(f *testing.F) {
	f.Add([]byte(`{"salt":"00112233445566778899aabbccddeeff","organisation":{"number":"2321000016","name":"Region"},"administrators":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		founding, rows, err := register.ParseFounding(b)
		if err == nil && (len(rows) != 2 || len(founding.Administrators) != 2) {
			t.Errorf("%d rows", len(rows))
		}
	})
}

func FuzzParseDelivery(f *testing.F) {
	f.Add("number,product,kind,expires,csr\n9752000000000000001,7XX,ordinary,2031-12-31,MAA=\n")
	f.Fuzz(func(t *testing.T, file string) {
		rows, err := register.ParseDelivery(strings.NewReader(file))
		for _, r := range rows {
			if err == nil && r.Key == nil {
				t.Errorf("card %s without key", r.Number)
			}
		}
	})
}

// again fails unless a document that was read is written as it was: two that mean
// the same would be two statements.
func again(t *testing.T, b []byte, v any) {
	t.Helper()
	if out, err := json.Marshal(v); err != nil || string(out) != string(b) {
		t.Errorf("%q is written as %q, %v", b, out, err)
	}
}

func FuzzParseBranch(f *testing.F) {
	f.Add([]byte(`{"number":"5560001009","name":"Folktandvården","parent":"org_1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := register.ParseBranch(b)
		if err != nil {
			return
		}
		again(t, b, d)
		if d.Name == "" || d.Parent == "" || len(d.Number) != 10 || ca.CheckContent(ca.Content{Organisation: d.Name}) != nil {
			t.Errorf("%+v", d)
		}
	})
}

func FuzzParseSwitch(f *testing.F) {
	f.Add([]byte(`{"salt":"00112233445566778899aabbccddeeff","organisation":"org_1","signingAllowed":true,"reason":"beslut 14"}`))
	f.Add([]byte(`{"organisation":"org_1","signingAllowed":false}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := register.ParseSwitch(b)
		if err != nil {
			return
		}
		again(t, b, d)
		if d.Organisation == "" || strings.ContainsAny(d.Reason, "\n\r\x00\u202e") || len(d.Reason) > 800 {
			t.Errorf("%+v", d)
		}
	})
}

func FuzzParseRoleGrant(f *testing.F) {
	f.Add([]byte(`{"organisation":"org_1","person":"per_1","role":"administrator"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := register.ParseRoleGrant(b)
		if err != nil {
			return
		}
		again(t, b, d)
		if d.Organisation == "" || d.Person == "" || d.Role == "" {
			t.Errorf("%+v", d)
		}
	})
}

// The check digit finds every digit that was typed wrongly, and one of ten last
// digits is it.
func TestCheckDigit(t *testing.T) {
	taken := func(number string) bool {
		_, err := register.ParseBranch(fmt.Appendf(nil, `{"number":"%s","name":"X","parent":"org_1"}`, number))
		return err == nil
	}
	for _, number := range []string{"2321000016", "2021000035"} { // of a region and of an authority
		if !taken(number) {
			t.Errorf("%s was refused", number)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.StringMatching(`[0-9]{9}`).Draw(t, "digits")
		var right []string
		for d := range 10 {
			if n := fmt.Sprintf("%s%d", base, d); taken(n) {
				right = append(right, n)
			}
		}
		if len(right) != 1 {
			t.Fatalf("%s: %v", base, right)
		}
		at, by := rapid.IntRange(0, 9).Draw(t, "place"), rapid.IntRange(1, 9).Draw(t, "by")
		wrong := []byte(right[0])
		wrong[at] = '0' + (wrong[at]-'0'+byte(by))%10
		if taken(string(wrong)) {
			t.Fatalf("%s for %s", wrong, right[0])
		}
	})
}
