package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/wire"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/policy"
)

// meAs is what a card is told of itself.
func (s *server) meAs(c *http.Client) (me wire.Me) {
	s.t.Helper()
	s.do(c, "GET", "/card/v1/me", nil).read(s.t, &me)
	return me
}

// What a card is told of an eID is what its current certificate is, whatever was
// made after that and came to nothing, or waits; and that a signing certificate can
// be fetched is told of a current eID whose organisation allows it.
func TestMeTellsOfTheCurrentEID(t *testing.T) {
	s := serve(t)
	ctx := t.Context()
	h := s.Holder()
	c := s.as(h)
	state := func(when, want string, signing bool) {
		t.Helper()
		if me := s.meAs(c); len(me.EIDs) != 1 || me.EIDs[0].State != want || me.EIDs[0].SigningAllowed != signing || me.EIDs[0].LoA != 3 ||
			me.EIDs[0].Identifier != string(h.HSAID) {
			t.Errorf("%s: %+v", when, me.EIDs)
		}
	}
	state("at first", "current", false)
	s.Pass(time.Second)
	if err := s.SetSigning(ctx, s.Org, true); err != nil {
		t.Fatal(err)
	}
	state("allowed", "current", true)
	if err := s.FetchSigning(ctx, h); err != nil {
		t.Fatal(err)
	}
	state("with a signing certificate", "current", true)
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	state("while a newer one waits", "current", true)
	if me := s.meAs(c); me.Open == nil || me.Open.ID != string(st.Download.ID) || len(me.Open.Items) != 2 {
		t.Errorf("open is %+v", me.Open)
	}
	caller, err := s.Login(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Downloads.Abandon(ctx, caller, st.Download.ID); err != nil {
		t.Fatal(err)
	}
	state("after the newer one was given up", "current", true)
	if me := s.meAs(c); me.Open != nil || len(me.Offers) != 1 {
		t.Errorf("open is %+v, %d offers", me.Open, len(me.Offers))
	}
}

// Several eIDs on a card are told apart: one that is revoked is not said to be
// allowed to sign, whatever its organisation allows; and of a personnummer no more
// is told than who knows it recognises.
func TestMeTellsEachEIDApart(t *testing.T) {
	s := serve(t)
	ctx := t.Context()
	h := s.Holder()
	own := h.Certificate()
	id, err := s.OrderFor(ctx, orders.Request{Type: policy.OrderOrdinary, Organisation: s.Org, Number: h.Number, Card: h.Card, IDKind: policy.ByPersonNumber, LoA: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	s.Pass(time.Second)
	if err := s.SetSigning(ctx, s.Org, true); err != nil {
		t.Fatal(err)
	}
	admin, err := s.Login(ctx, s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Downloads.Revoke(ctx, admin, own.Serial, ca.PrivilegeWithdrawn); err != nil {
		t.Fatal(err)
	}
	me := s.meAs(s.as(h))
	if len(me.EIDs) != 2 {
		t.Fatalf("%d eIDs", len(me.EIDs))
	}
	byHSA, byNumber := me.EIDs[0], me.EIDs[1]
	if byHSA.State != string(download.StateRevoked) || byHSA.SigningAllowed || byHSA.IDKind != string(policy.ByHSAID) {
		t.Errorf("the revoked one: %+v", byHSA)
	}
	if byNumber.State != string(download.StateCurrent) || !byNumber.SigningAllowed || byNumber.IDKind != string(policy.ByPersonNumber) ||
		byNumber.Identifier != h.Number.String() || strings.Contains(byNumber.Identifier, h.Number.Digits()[8:]) {
		t.Errorf("the other: %+v", byNumber)
	}
	if me.PIN2 != string(policy.PIN2Same) {
		t.Errorf("the signing code of product %s is %s", me.Product, me.PIN2)
	}
	s.Register.Products = nil
	if me := s.meAs(s.as(h)); me.PIN2 != string(policy.PIN2Unknown) {
		t.Errorf("the signing code of a product that nobody knows is %s", me.PIN2)
	}
}
