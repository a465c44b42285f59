package download_test

import (
	"testing"

	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// An administrator knows the card and not the download. Of the organisation whose
// eID it brings he gives it up; to others it is not there; and the holder has all
// the time what he had.
func TestAdministratorAbandonsByCard(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, stranger := s.Holder(), s.Holder()
	_, err := s.Downloads.AbandonOfCard(ctx, admin(t, s), h.Card)
	s.Refused(err, policy.DownloadStateRule)
	_, err = s.Downloads.AbandonOfCard(ctx, loggedIn(s, stranger), h.Card)
	s.Refused(err, policy.RoleMissing)
	_, err = s.Downloads.AbandonOfCard(ctx, admin(t, s), s.NewCardNumber())
	s.Refused(err, policy.RoleMissing)

	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(ctx, h, id)
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	_, err = s.Downloads.AbandonOfCard(ctx, loggedIn(s, stranger), h.Card)
	s.Refused(err, policy.RoleMissing)
	got, err := s.Downloads.AbandonOfCard(ctx, admin(t, s), h.Card)
	if err != nil || got != st.Download.ID {
		t.Fatalf("gave up %q, %v", got, err)
	}
	s.Refused(s.Confirm(ctx, h, st), policy.LoginRevoked)
	if n := s.Working(h); n != 1 {
		t.Errorf("%d working eIDs", n)
	}
	h.Forget()
	if err := s.Fetch(ctx, h, id); err != nil { // the order can be fetched again
		t.Fatal(err)
	}
	s.Sound()
	s.Truth()
}
