package api_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/policy"
)

// What fails inside is told as that, without a word of what it was; it stands in
// the log under the request's name.
func TestInnerErrorsAreNotTold(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	c := s.as(h)
	begin := wire.Begin{Order: string(id)}
	s.Faults.FailUpdate(1, fault.NotBegun, nil)
	a := s.do(c, "POST", "/card/v1/downloads", begin)
	s.refused(a, 500, "internal", "")
	if strings.Contains(string(a.body), "fault") || a.problem.Detail != "" {
		t.Errorf("told: %s", a.body)
	}
	if !strings.Contains(s.log.String(), a.problem.Request) || !strings.Contains(s.log.String(), "fault") {
		t.Error("the log does not tell what happened to the request")
	}
	s.Faults.FailUpdate(1, fault.Lost, nil)
	a = s.do(c, "POST", "/card/v1/downloads", begin)
	s.refused(a, 503, "outcome-unknown", "")
	if a.Header.Get("Retry-After") == "" || strings.Contains(string(a.body), "fault") {
		t.Errorf("told: %s", a.body)
	}
	s.Faults.Clear()
	s.do(c, "POST", "/card/v1/downloads", begin).read(t, new(wire.Download))
	if strings.Contains(s.log.String(), h.Number.Digits()) || strings.Contains(s.log.String(), "Öström") {
		t.Error("the log holds personal data")
	}
}

// At debug level the log tells when a request begins and when it has ended, by its
// name, route and the resource it is about: what began and did not end was cut off.
func TestRequestsAreTraced(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	c := s.as(h)
	var d wire.Download
	s.do(c, "POST", "/card/v1/downloads", wire.Begin{Order: string(s.Ordered(h, policy.OrderRenewal))}).read(t, &d)
	before := len(s.log.String())
	a := s.do(c, "GET", "/card/v1/downloads/"+d.ID, nil)
	a.read(t, &d)
	type line struct{ Level, Msg, Request, Route, ID string }
	var got []line
	for text := range strings.Lines(s.log.String()[before:]) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	begins := line{"DEBUG", "request begins", a.Header.Get("X-Request-Id"), "GET /card/v1/downloads/{id}", d.ID}
	ended := begins
	ended.Msg = "request ended"
	if want := []line{begins, ended}; !slices.Equal(got, want) || begins.Request == "" {
		t.Errorf("the log has\n%+v, want\n%+v", got, want)
	}
}

// What an administrator sees of people does not give their numbers away, and
// whoami tells what statements must name.
func TestAdministratorsSee(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	admin := s.as(s.Admins[0])
	var who wire.WhoAmI
	s.do(admin, "GET", "/api/v1/whoami", nil).read(t, &who)
	if who.Name != s.Admins[0].Name() || who.LoA != 3 || len(who.Roles) != 1 || who.Roles[0].Organisation != string(s.Org) {
		t.Errorf("whoami: %+v", who)
	}
	a := s.do(admin, "GET", "/api/v1/organisations/"+string(s.Org)+"/people?prefix="+string(h.HSAID), nil)
	var people wire.People
	a.read(t, &people)
	if len(people.People) != 1 || people.People[0].ID != h.Name() || strings.Contains(string(a.body), h.Number.Digits()) {
		t.Errorf("people: %s", a.body)
	}
	var cards wire.Cards
	s.do(admin, "GET", "/api/v1/organisations/"+string(s.Org)+"/cards?limit=2", nil).read(t, &cards)
	if len(cards.Cards) != 2 {
		t.Errorf("%d cards", len(cards.Cards))
	}
	d, err := s.Preview(t.Context(), h, policy.OrderRenewal)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.StateAs(world.Statement(statement.ActPlace, d), s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	stated := wire.Stated{Document: d.Bytes(), Statements: []wire.Statement{{Content: signed[0].Content, Signature: signed[0].Signature, Certificate: signed[0].Certificate.String()}}}
	var o wire.Order
	s.do(admin, "POST", "/api/v1/orders", stated).read(t, &o)
	if o.State != "approved" || o.ID != string(d.Order) || !bytes.Equal(o.Document, d.Bytes()) {
		t.Errorf("order %+v", o)
	}
	stated.Statements[0].Signature = []byte("nothing")
	d.Order = policy.OrderID(policy.NewID("ord"))
	stated.Document = d.Bytes()
	s.refused(s.do(admin, "POST", "/api/v1/orders", stated), 409, "refused", policy.OrderDuplicate)
	var orders wire.Orders
	s.do(admin, "GET", "/api/v1/organisations/"+string(s.Org)+"/orders?state=approved", nil).read(t, &orders)
	if len(orders.Orders) != 1 || orders.Orders[0].ID != o.ID {
		t.Errorf("orders: %+v", orders)
	}
}
