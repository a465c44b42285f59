package download_test

import (
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/policy"
)

func reserveCard(s *worldtest.Scene) *world.Holder {
	s.T.Helper()
	h, err := s.NewHolderOf(s.T.Context(), policy.Reserve)
	if err != nil {
		s.T.Fatal(err)
	}
	return h
}

// ordered places and approves an order of the first organisation.
func ordered(s *worldtest.Scene, h *world.Holder, r orders.Request) (policy.OrderID, error) {
	s.T.Helper()
	r.Organisation, r.HSAID, r.Card = s.Org, h.HSAID, h.Card
	if r.IDKind == "" {
		r.IDKind = policy.ByHSAID
	}
	admin := admin(s.T, s)
	d, err := s.Orders.Preview(s.T.Context(), admin, r)
	if err != nil {
		return "", err
	}
	o, err := s.Place(s.T.Context(), d, 0)
	if err == nil && o.State == policy.OrderPlaced {
		_, err = s.Approve(s.T.Context(), d, 1)
	}
	return d.Order, err
}

// orderedExtra is an approved order of another organisation, in which the holder
// works too, for an extra eID on the same card. It has not seen the holder: the log-in
// with the eID that is there carries it.
func orderedExtra(s *worldtest.Scene, h *world.Holder) policy.OrderID {
	s.T.Helper()
	other, err := s.AddOrganisation(s.T.Context(), "Kommunen", h)
	if err != nil {
		s.T.Fatal(err)
	}
	id, err := s.OrderFor(s.T.Context(), orders.Request{Type: policy.OrderExtra, Organisation: other, Number: h.Number, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
	if err != nil {
		s.T.Fatal(err)
	}
	return id
}

// A reserve card gets its eIDs like any other: the first with what it came with,
// the next with the eID that it has; the level of what it has bounds what it gets.
func TestReserveCard(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	t.Run("level 3", func(t *testing.T) {
		s.T = t
		h := reserveCard(s)
		id, err := ordered(s, h, orders.Request{Type: policy.OrderReserve3, LoA: 3, NotAfter: s.Now().Add(90 * 24 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Fetch(ctx, h, id); err != nil {
			t.Fatal(err)
		}
		first := h.Certificate()
		if first.NotAfter.After(s.Now().Add(90 * 24 * time.Hour)) {
			t.Errorf("the reserve eID lives until %s", first.NotAfter)
		}
		// Its valid eID logs in and carries the next one, with one signature.
		if id, err = ordered(s, h, orders.Request{Type: policy.OrderRenewal, LoA: 3}); err != nil {
			t.Fatal(err)
		}
		if n := s.Rows("statements", "subject = ?", string(id)); n != 1 {
			t.Errorf("%d statements behind a renewal", n)
		}
		if err := s.Fetch(ctx, h, id); err != nil {
			t.Fatal(err)
		}
		if revokedFor(s, first) != ca.Superseded || s.Working(h) != 1 {
			t.Errorf("the first is revoked for %s; %d work", revokedFor(s, first), s.Working(h))
		}
		s.Sound()
	})
	t.Run("level 2", func(t *testing.T) {
		s.T = t
		h := reserveCard(s)
		id, err := ordered(s, h, orders.Request{Type: policy.OrderReserve2, LoA: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Fetch(ctx, h, id); err != nil {
			t.Fatal(err)
		}
		if got := h.Certificate(); got.LoA != 2 || got.Issuer != world.PersonCA2 {
			t.Errorf("level %d of %s", got.LoA, got.Issuer)
		}
		// Another organisation never saw the person: level 3 on a log-in of level 2
		// rests on nothing.
		extra := orderedExtra(s, h)
		_, err = s.Begin(ctx, h, extra)
		s.Refused(err, policy.LoginLoA)
		s.Sound()
	})
}

// One card carries an eID by HSA-id and one by personnummer, and another
// organisation's. They are fetched one at a time; what one replaces leaves the
// others; each waits until it is fetched.
func TestSeveralEIDsOnOneCard(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	byHSA := h.Certificate()
	other, err := s.AddOrganisation(ctx, "Kommunen", h)
	if err != nil {
		t.Fatal(err)
	}
	personal, err := ordered(s, h, orders.Request{Type: policy.OrderOrdinary, LoA: 3, IDKind: policy.ByPersonNumber})
	if err != nil {
		t.Fatal(err)
	}
	extra, err := s.OrderFor(ctx, orders.Request{Type: policy.OrderExtra, Organisation: other, Number: h.Number, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
	if err != nil {
		t.Fatal(err)
	}
	waiting := func() int {
		v, err := s.Downloads.Overview(ctx, loggedIn(s, h))
		if err != nil {
			t.Fatal(err)
		}
		return len(v.Offers)
	}
	if n := waiting(); n != 2 {
		t.Fatalf("%d orders wait", n)
	}
	st, err := s.Begin(ctx, h, personal)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Begin(ctx, h, extra) // while the other is open
	s.Refused(err, policy.DownloadOpen)
	plan, err := policy.ParsePlan(st.Download.Plan)
	if err != nil || len(plan.Removes) != 0 {
		t.Errorf("an eID of another kind removes %v, %v", plan.Removes, err)
	}
	if err := s.Fetch(ctx, h, personal); err != nil {
		t.Fatal(err)
	}
	byNumber := h.Certificate()
	if n := waiting(); n != 1 {
		t.Errorf("%d orders wait after the first", n)
	}
	if err := s.Fetch(ctx, h, extra); err != nil {
		t.Fatal(err)
	}
	if n := waiting(); n != 0 || s.Working(h) != 3 {
		t.Errorf("%d orders wait, %d eIDs work", n, s.Working(h))
	}
	renewal, err := ordered(s, h, orders.Request{Type: policy.OrderRenewal, LoA: 3, IDKind: policy.ByPersonNumber})
	if err != nil {
		t.Fatal(err)
	}
	kommunens := h.Certificate()
	if err := s.Fetch(ctx, h, renewal); err != nil { // logged in with the other organisation's eID
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		fate ca.Reason
		is   ca.Reason
	}{
		"by HSA-id":             {ca.Unspecified, revokedFor(s, byHSA)},
		"by personnummer":       {ca.Superseded, revokedFor(s, byNumber)},
		"the other's":           {ca.Unspecified, revokedFor(s, kommunens)},
		"by personnummer, anew": {ca.Unspecified, revokedFor(s, h.Certificate())},
	} {
		if c.is != c.fate {
			t.Errorf("%s: revoked for %s, want %s", what, c.is, c.fate)
		}
	}
	s.Sound()
	s.Truth()
}

// A card that has no place for a further eID says so when it is ordered for; an
// update of what it has still goes.
func TestCardIsFull(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	small := policy.Products{"7XX": {Code: "7XX", Replaces: policy.Beside, AuthenticationKeys: 3, SigningKeys: 2, PIN2: policy.PIN2Same}}
	s.Register.Products = small
	if _, err := ordered(s, h, orders.Request{Type: policy.OrderOrdinary, LoA: 3, IDKind: policy.ByPersonNumber}); err != nil {
		t.Fatal(err) // it is only ordered, and takes the second place all the same
	}
	other, err := s.AddOrganisation(ctx, "Kommunen", h)
	if err != nil {
		t.Fatal(err)
	}
	extra := orders.Request{Type: policy.OrderExtra, Organisation: other, Number: h.Number, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3}
	_, err = s.OrderFor(ctx, extra)
	s.Refused(err, policy.OrderCardFull)
	if err := s.Fetch(ctx, h, s.Ordered(h, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	// What is no product any more takes no further eID, and updates what it has.
	s.Register.Products = policy.Products{}
	_, err = s.OrderFor(ctx, extra)
	s.Refused(err, policy.OrderCardFull)
	if err := s.Fetch(ctx, h, s.Ordered(h, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	s.Sound()
}
