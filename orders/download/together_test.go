package download_test

import (
	"testing"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/policy"
)

// otherEID gives a holder an eID of another organisation on the same card; it is
// his current one from then on. It returns the one that he had.
func otherEID(s *worldtest.Scene, h *world.Holder) *issue.Certificate {
	s.T.Helper()
	ctx, own := s.T.Context(), h.Certificate()
	other, err := s.AddOrganisation(ctx, "Kommunen", h)
	if err != nil {
		s.T.Fatal(err)
	}
	id, err := s.OrderFor(ctx, orders.Request{Type: policy.OrderExtra, Organisation: other, Number: h.Number, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
	if err != nil {
		s.T.Fatal(err)
	}
	if err := s.Fetch(ctx, h, id); err != nil {
		s.T.Fatal(err)
	}
	return own
}

// An eID is renewed with another eID's log-in, both certificates of it wait for
// their confirmation, and the old eID is revoked: its signing certificate goes
// with it. The new one belongs to the new eID, whose order stands as it stood, and
// is confirmed with it.
func TestNewSigningCertificateOutlivesTheOldEID(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	sign := signing(t, s, h)
	old := otherEID(s, h)
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Items) != 2 {
		t.Fatalf("%d items", len(st.Items))
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Downloads.Revoke(ctx, admin(t, s), old.Serial, ca.PrivilegeWithdrawn); err != nil {
		t.Fatal(err)
	}
	for _, cert := range []*issue.Certificate{old, sign} {
		if r := revokedFor(s, cert); r != ca.PrivilegeWithdrawn {
			t.Errorf("the old %s certificate is revoked for %s", cert.Slot, r)
		}
	}
	s.Sound()
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	for _, cert := range []*issue.Certificate{h.Certificate(), h.SigningCertificate()} {
		if r := revokedFor(s, cert); r != ca.Unspecified {
			t.Errorf("the new %s certificate is revoked for %s", cert.Slot, r)
		}
	}
	s.Sound()
	s.Truth()
}
