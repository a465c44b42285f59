package ca_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
)

func TestNewMandate(t *testing.T) {
	order := orderOf(t, asa())
	other := []byte(strings.Replace(string(order), "ord_1", "ord_2", 1))
	a, b, c := newAdministrator(t, "per_a", "P-256"), newAdministrator(t, "per_b", "RSA-2048"), newAdministrator(t, "per_c", "P-384")
	place, approve := a.state(t, statement.ActPlace, order), b.state(t, statement.ActApprove, order)
	sameCard := administrator{"per_b", a.key, a.cert}
	newCard := newAdministrator(t, "per_a", "P-256") // another card of the same person
	change := func(s ca.SignedStatement, f func(*ca.SignedStatement)) ca.SignedStatement { f(&s); return s }
	for _, test := range []struct {
		name     string
		order    []byte
		required int
		signed   []ca.SignedStatement
		want     string // part of the refusal; empty: granted
	}{
		{"two persons", order, 2, []ca.SignedStatement{place, approve}, ""},
		{"approval first", order, 2, []ca.SignedStatement{approve, place}, ""},
		{"more than needed", order, 2, []ca.SignedStatement{place, approve, c.state(t, statement.ActApprove, order)}, ""},
		{"one is enough", order, 1, []ca.SignedStatement{place}, ""},
		{"officers place both", order, 2, []ca.SignedStatement{place, b.state(t, statement.ActPlace, order)}, ""},
		{"a person twice beside another", order, 2, []ca.SignedStatement{place, a.state(t, statement.ActApprove, order), approve}, ""},

		{"nobody", order, 1, nil, "nobody placed"},
		{"none needed", order, 0, []ca.SignedStatement{place}, "no signature"},
		{"one of two", order, 2, []ca.SignedStatement{place}, "1 different"},
		{"same person twice", order, 2, []ca.SignedStatement{place, a.state(t, statement.ActApprove, order)}, "1 different"},
		{"same person, two cards", order, 2, []ca.SignedStatement{place, newCard.state(t, statement.ActApprove, order)}, "1 different"},
		{"same card, two names", order, 2, []ca.SignedStatement{place, sameCard.state(t, statement.ActApprove, order)}, "another person"},
		{"same statement twice", order, 2, []ca.SignedStatement{place, place}, "1 different"},
		{"nobody placed", order, 2, []ca.SignedStatement{approve, c.state(t, statement.ActApprove, order)}, "nobody placed"},
		{"wrong act", order, 2, []ca.SignedStatement{place, b.state(t, statement.ActHandOut, order)}, "card.handout"},
		{"founding of a branch", order, 2, []ca.SignedStatement{place, b.state(t, statement.ActBranch, order)}, "organisation.create"},
		{"turn of a switch", order, 2, []ca.SignedStatement{place, b.state(t, statement.ActSigning, order)}, "organisation.signing"},
		{"role", order, 2, []ca.SignedStatement{place, b.state(t, statement.ActGrant, order)}, "role.grant"},
		{"other order", order, 2, []ca.SignedStatement{place, b.state(t, statement.ActApprove, other)}, "another order"},
		{"order changed later", other, 2, []ca.SignedStatement{place, approve}, "another order"},
		{"forged signature", order, 2, []ca.SignedStatement{place, change(approve, func(s *ca.SignedStatement) {
			s.Signature = c.state(t, statement.ActApprove, order).Signature
		})}, "does not verify"},
		{"another's certificate", order, 2, []ca.SignedStatement{place, change(approve, func(s *ca.SignedStatement) { s.Certificate = c.cert })}, "does not verify"},
		{"forged signature beside enough", order, 1, []ca.SignedStatement{place, change(approve, func(s *ca.SignedStatement) { s.Signature = nil })}, "does not verify"},
		{"no certificate", order, 2, []ca.SignedStatement{place, change(approve, func(s *ca.SignedStatement) { s.Certificate = nil })}, "no certificate"},
		{"in another's name", order, 2, []ca.SignedStatement{place, change(approve, func(s *ca.SignedStatement) { s.Person = "per_c" })}, "another's name"},
		{"not a statement", order, 2, []ca.SignedStatement{place, change(approve, func(s *ca.SignedStatement) { s.Content = []byte("yes") })}, "sigill-statement"},
		{"other subject", order, 2, []ca.SignedStatement{place, c.stateAbout(t, "ord_2", order)}, "another subject"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := ca.NewMandate(test.order, test.required, test.signed)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if !m.Content().Equal(asa()) {
					t.Errorf("content %+v", m.Content())
				}
				return
			}
			e, ok := errors.AsType[*ca.MandateError](err)
			if !ok || m != nil || !strings.Contains(e.Reason, test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func (a administrator) stateAbout(t testing.TB, subject string, order []byte) ca.SignedStatement {
	t.Helper()
	s := statement.Statement{Act: statement.ActApprove, Subject: subject, By: a.person, For: "-", Card: "-",
		Content: sha256.Sum256(order), At: issueTime}
	signature, err := statement.Sign(a.key, s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return ca.SignedStatement{Content: s.Bytes(), Signature: signature, Certificate: a.cert, Person: a.person}
}

// An order that two readers could read differently carries nothing, whoever
// signed it.
func TestMandateRefusesAmbiguousOrders(t *testing.T) {
	content, err := json.Marshal(asa())
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(content), "Häggström", "Andersson", 2)
	inner := func(from, to string) string { return strings.Replace(string(content), from, to, 1) }
	a := newAdministrator(t, "per_a", "P-256")
	for _, test := range []struct{ name, order string }{
		{"content twice", `{"content":` + forged + `,"content":` + string(content) + `}`},
		{"content in two cases", `{"content":` + forged + `,"Content":` + string(content) + `}`},
		{"content in another case", `{"Content":` + string(content) + `}`},
		{"member twice", `{"content":` + inner(`"commonName"`, `"commonName":"Karl","commonName"`) + `}`},
		{"member in another case", `{"content":` + inner(`"surname"`, `"Surname"`) + `}`},
		{"member folded by Unicode", `{"content":` + inner(`"surname"`, `"ſurname"`) + `}`},
		{"unknown member", `{"content":` + inner(`"surname"`, `"x":1,"surname"`) + `}`},
		{"empty member", `{"content":` + inner(`"surname"`, `"dnsNames":[],"surname"`) + `}`},
		{"null", `{"content":null}`},
		{"no content", `{"id":"ord_1"}`},
		{"something after it", `{"content":` + string(content) + `} {}`},
		{"a list", `[{"content":` + string(content) + `}]`},
		{"nothing", ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			order := []byte(test.order)
			_, err := ca.NewMandate(order, 1, []ca.SignedStatement{a.state(t, statement.ActPlace, order)})
			if e, ok := errors.AsType[*ca.MandateError](err); !ok || !strings.HasPrefix(e.Reason, "the order: ") {
				t.Errorf("error %v, want one about the order", err)
			}
		})
	}
	// The members of an order other than its content are not looked at.
	order := []byte(`{"id":"ord_1","note":{"a":[1,{"b":null}]},"content":` + string(content) + `,"version":2}`)
	if _, err := ca.NewMandate(order, 1, []ca.SignedStatement{a.state(t, statement.ActPlace, order)}); err != nil {
		t.Error(err)
	}
}

// Who holds a mandate can't change what it was given for.
func TestMandateIsACopy(t *testing.T) {
	m := mandateFor(t, asa())
	m.Content().PolicyOIDs[0] = "2.999.752.3.2"
	if !m.Content().Equal(asa()) {
		t.Errorf("content became %+v", m.Content())
	}
}

func TestPrepareNeedsMandate(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	good := mandateFor(t, asa())
	for _, test := range []struct {
		name    string
		profile ca.ProfileName
		mandate *ca.Mandate
		change  func(*ca.Content)
		ok      bool
	}{
		{"the very content", "authentication", good, func(*ca.Content) {}, true},
		{"the other half of the eID", "signing", good, func(*ca.Content) {}, true},
		{"none", "authentication", nil, func(*ca.Content) {}, false},
		{"none, signing", "signing", nil, func(*ca.Content) {}, false},
		{"made out of nothing", "authentication", &ca.Mandate{}, func(*ca.Content) {}, false},
		{"other name", "authentication", good, func(c *ca.Content) { c.CommonName = "Åsa Öström Häggström " }, false},
		{"other UPN", "authentication", good, func(c *ca.Content) { c.UPN = "" }, false},
		{"other level", "authentication", good, func(c *ca.Content) { c.PolicyOIDs = []string{"2.999.752.3.2"} }, false},
		{"the same letters in another form", "authentication", good, func(c *ca.Content) { c.GivenName = "A\u030asa" }, false},
		{"where none is taken", "officer", good, func(c *ca.Content) { *c = ca.Content{CommonName: "Officer 1"} }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, "officer", asa())
			r.Profile, r.Mandate = test.profile, test.mandate
			test.change(&r.Content)
			_, err := i.Prepare(r)
			if _, refused := errors.AsType[*ca.MandateError](err); test.ok != (err == nil) || !test.ok && !refused {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Every field of a content counts.
func TestContentEqual(t *testing.T) {
	full := asa()
	full.DNSNames = []string{"a"}
	raw, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != 12 {
		t.Errorf("content has %d fields: add the new one to Equal, and here", len(members))
	}
	for name, value := range members {
		other := `{"` + name + `":"changed"}`
		if value[0] == '[' {
			other = `{"` + name + `":["changed"]}`
		}
		c := full
		c.PolicyOIDs, c.DNSNames = slices.Clone(full.PolicyOIDs), slices.Clone(full.DNSNames)
		if err := json.Unmarshal([]byte(other), &c); err != nil {
			t.Fatal(err)
		}
		if c.Equal(full) || full.Equal(c) {
			t.Errorf("%s does not count", name)
		}
	}
	if !full.Equal(full) {
		t.Error("a content is not itself")
	}
}

// A mandate names the issuer and the longest time as its order does.
func TestMandateBindsIssuerAndTime(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	a := newAdministrator(t, "per_a", "P-256")
	content, err := json.Marshal(asa())
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, "authentication", asa())
	end := r.NotAfter.UTC().Format(time.RFC3339)
	earlier := r.NotAfter.Add(-time.Second).UTC().Format(time.RFC3339)
	for _, test := range []struct{ name, members, want string }{
		{"both right", `"issuer":"` + string(i.ID()) + `","notAfter":"` + end + `"`, ""},
		{"another issuer", `"issuer":"person-id-9-v1"`, "another issuer"},
		{"ends earlier", `"notAfter":"` + earlier + `"`, "shorter time"},
		{"no issuer's name", `"issuer":""`, "issuer is not a name"},
		{"no time", `"notAfter":"soon"`, "notAfter is not a time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			order := []byte(`{` + test.members + `,"content":` + string(content) + `}`)
			m, err := ca.NewMandate(order, 1, []ca.SignedStatement{a.state(t, statement.ActPlace, order)})
			if err == nil {
				r.Mandate = m
				_, err = i.Prepare(r)
			}
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if e, ok := errors.AsType[*ca.MandateError](err); !ok || !strings.Contains(e.Reason, test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
