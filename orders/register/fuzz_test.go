package register_test

import (
	"strings"
	"testing"

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
	f.Add([]byte(`{"organisation":{"number":"2321000016","name":"Region"},"administrators":[]}`))
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
