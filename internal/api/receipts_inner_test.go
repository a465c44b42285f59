package api

import (
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/orders/register"
)

// Whose an act is, by each thing that can make it somebody's, alone.
func TestConcerns(t *testing.T) {
	caller := register.Caller{Card: "9752000000000000017", Person: "per_one"}
	body := func(by string, fields ...audit.Field) []byte {
		r, err := audit.Seal(audit.Event{ID: "evt_a", At: time.Unix(1, 0), Act: audit.CardBlocked, By: by,
			Public: append(fields, audit.Field{Name: "report", Value: "lost"})})
		if err != nil {
			t.Fatal(err)
		}
		return r.Body
	}
	card := func(v string) audit.Field { return audit.Field{Name: "card", Value: v} }
	person := func(v string) audit.Field { return audit.Field{Name: "person", Value: v} }
	for name, c := range map[string]struct {
		body []byte
		want bool
	}{
		"done by the caller":          {body("per_one", card("9752000000000000025")), true},
		"done by two":                 {body("per_two,per_one", card("9752000000000000025")), true},
		"done by another":             {body("per_two", card("9752000000000000025")), false},
		"done by one of a like name":  {body("per_one2", card("9752000000000000025")), false},
		"the caller's card":           {body("per_two", card("9752000000000000017")), true},
		"another card of the caller":  {body("per_two", card("9752000000000000025"), person("per_one")), true},
		"another person's":            {body("per_two", card("9752000000000000025"), person("per_three")), false},
		"the caller in another field": {body("per_two", card("per_one"), person("9752000000000000017")), false},
		"no act":                      {[]byte("{}"), false},
	} {
		if got := concerns(caller, c.body); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	// An officer has neither card nor person, and is not whoever has none.
	if officer := (register.Caller{Officer: 1}); concerns(officer, body("per_two", card("9752000000000000017"))) || !concerns(officer, body("officer:1", card("9752000000000000017"))) {
		t.Error("an officer is taken for somebody else")
	}
}
