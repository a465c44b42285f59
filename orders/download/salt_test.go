package download_test

import (
	"bytes"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/policy"
)

var saltForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// What the log of acts names by its hash alone has something in it that nobody can
// guess: each order's document and each plan, of both kinds, a salt of its own, that
// stands in no event.
func TestDocumentsAndPlansAreSalted(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	allowSigning(s, s.Org, true)
	seen := map[policy.Salt]string{}
	salted := func(what string, salt policy.Salt) {
		t.Helper()
		if !saltForm.MatchString(string(salt)) {
			t.Errorf("%s: salt %q", what, salt)
		}
		if other, ok := seen[salt]; ok {
			t.Errorf("%s has the salt of %s", what, other)
		}
		seen[salt] = what
	}
	begun := func(what string, begin func() (*download.State, error)) *download.State {
		t.Helper()
		st, err := begin()
		if err != nil {
			t.Fatal(err)
		}
		plan, err := policy.ParsePlan(st.Download.Plan)
		if err != nil {
			t.Fatal(err)
		}
		salted(what, plan.Salt)
		again, err := begin()
		if err != nil || !bytes.Equal(again.Download.Plan, st.Download.Plan) {
			t.Errorf("%s: beginning again gives another plan, %v", what, err)
		}
		return st
	}
	order := s.Ordered(h, policy.OrderRenewal)
	salted("the order", documentOf(s, order).Salt)
	st := begun("the plan", func() (*download.State, error) { return s.Begin(ctx, h, order) })
	st, err := s.Submit(ctx, h, st)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	begun("the plan of a signing certificate", func() (*download.State, error) { return s.BeginSigning(ctx, h) })
	hash := hex.EncodeToString(st.Download.PlanHash[:])
	told := false
	for _, b := range s.Told("") {
		for _, f := range b.Public {
			told = told || f.Name == "plan" && f.Value == hash
			for salt, what := range seen {
				if strings.Contains(f.Value, string(salt)) {
					t.Errorf("%s tells the salt of %s", b.Act, what)
				}
			}
		}
	}
	if !told {
		t.Error("no event names the plan")
	}
}

// What was ordered and begun before there were salts is carried out as it was signed:
// the CA reads such an order, the same document again is the same order, and a download
// goes on with its plan.
func TestOrderAndPlanWithoutSalt(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Person()
	d, err := s.Preview(ctx, h, policy.OrderOrdinary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Place(ctx, d, 0); err != nil {
		t.Fatal(err)
	}
	old := unsalted(s, d)
	if o, err := s.Place(ctx, old, 0); err != nil || o.ID != d.Order {
		t.Errorf("the same document again: %v", err)
	}
	if _, err := s.Approve(ctx, old, 1); err != nil {
		t.Fatal(err)
	}
	st, err := s.Begin(ctx, h, d.Order)
	if err != nil {
		t.Fatal(err)
	}
	replan(s, st, func(p *policy.Plan) { p.Salt = "" })
	if bytes.Contains(st.Download.Plan, []byte("salt")) {
		t.Fatalf("plan %s", st.Download.Plan)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if s.Working(h) != 1 {
		t.Error("no eID came of it")
	}
}

// unsalted makes of a placed order one of before: its bytes without a salt, and the
// statement of who placed it over those.
func unsalted(s *worldtest.Scene, d orders.Document) orders.Document {
	s.T.Helper()
	d.Salt = ""
	if bytes.Contains(d.Bytes(), []byte("salt")) {
		s.T.Fatalf("document %s", d.Bytes())
	}
	signed, err := s.StateAs(world.Statement(statement.ActPlace, d), s.Admins[0])
	if err != nil {
		s.T.Fatal(err)
	}
	s.Exec(`UPDATE orders SET bytes = ? WHERE id = ?`, d.Bytes(), string(d.Order))
	s.Exec(`UPDATE statements SET content = ?, signature = ? WHERE subject = ?`, signed[0].Content, signed[0].Signature, string(d.Order))
	return d
}

// documentOf reads the document of an order that was placed.
func documentOf(s *worldtest.Scene, id policy.OrderID) (d orders.Document) {
	s.T.Helper()
	err := s.Views.Orders.View(s.T.Context(), func(tx *orders.Tx) error {
		o, err := tx.Orders.Order(id)
		if err == nil {
			d, err = o.Signed()
		}
		return err
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return d
}
