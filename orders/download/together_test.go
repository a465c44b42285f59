package download_test

import (
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/download"
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

// What two interrupted downloads left on the card is told one after the other, the
// newest first: a signing certificate that was fetched meanwhile does not hide that
// the eID replaced before it still lies there.
func TestUncleanedDownloadsHideNothing(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	old := h.Certificate()
	allowSigning(s, s.Org, true)
	confirmed := func(begin func() (*download.State, error)) policy.DownloadID {
		t.Helper()
		s.Pass(time.Minute)
		st, err := begin()
		if err != nil {
			t.Fatal(err)
		}
		if st, err = s.Submit(ctx, h, st); err != nil {
			t.Fatal(err)
		}
		if err := s.Confirm(ctx, h, st); err != nil { // and the client is killed before it has tidied up
			t.Fatal(err)
		}
		return st.Download.ID
	}
	update := confirmed(func() (*download.State, error) { return s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal)) })
	first := confirmed(func() (*download.State, error) { return s.BeginSigning(ctx, h) })
	replaced := h.SigningCertificate()
	second := confirmed(func() (*download.State, error) { return s.BeginSigning(ctx, h) })
	for _, want := range []struct {
		id     policy.DownloadID
		remove []ca.Fingerprint
	}{{second, []ca.Fingerprint{replaced.Fingerprint}}, {first, nil}, {update, []ca.Fingerprint{old.Fingerprint}}} {
		v, err := s.Downloads.Overview(ctx, loggedIn(s, h))
		if err != nil {
			t.Fatal(err)
		}
		if v.Open == nil || v.Open.Download.ID != want.id || !slices.Equal(v.Open.Remove, want.remove) {
			t.Fatalf("open is %+v, want %s to remove %v", v.Open, want.id, want.remove)
		}
		if err := s.Downloads.Cleaned(ctx, loggedIn(s, h), want.id, want.remove); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := s.Downloads.Overview(ctx, loggedIn(s, h)); err != nil || v.Open != nil {
		t.Errorf("open is %+v, %v", v.Open, err)
	}
}

// The certificate that began a download stands until the intent is recorded: one
// that stands nowhere any more begins nothing, even if nobody has revoked it.
func TestLoginStandsUpToRecord(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	r := start(s, h, s.Ordered(h, policy.OrderRenewal))
	s.Faults.BeforeUpdate(1, func() { s.Exec("DELETE FROM standings WHERE certificate = ?", eidPrint(h)) })
	_, err := r.submit()
	s.Refused(err, policy.DownloadChanged)
	if n := s.Rows("intents", "download = ?", string(r.st.Download.ID)); n != 0 {
		t.Errorf("%d intents", n)
	}
}

// An order whose time runs out while it is being fetched is left to its download;
// it expires when that has come to nothing.
func TestOrderThatIsBeingFetchedDoesNotExpire(t *testing.T) {
	for _, confirmed := range []bool{true, false} {
		s := worldtest.New(t)
		ctx := t.Context()
		h := s.Holder()
		id := s.Ordered(h, policy.OrderRenewal)
		c := admin(t, s)
		o, err := s.Orders.Order(ctx, c, id)
		if err != nil {
			t.Fatal(err)
		}
		s.Pass(o.ExpiresAt.Sub(s.Now()) - time.Minute)
		st, err := s.Begin(ctx, h, id)
		if err != nil {
			t.Fatal(err)
		}
		if st, err = s.Submit(ctx, h, st); err != nil {
			t.Fatal(err)
		}
		s.Pass(time.Hour)
		if n, err := s.Downloads.EndDue(ctx); err != nil || n != 0 {
			t.Errorf("%d were ended, %v", n, err)
		}
		want := policy.OrderInstalled
		if confirmed {
			err = s.Confirm(ctx, h, st)
		} else {
			want = policy.OrderExpired
			err = s.Downloads.Abandon(ctx, loggedIn(s, h), st.Download.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Downloads.EndDue(ctx); err != nil {
			t.Fatal(err)
		}
		if n := s.Rows("orders", "id = ? AND state = ?", string(id), string(want)); n != 1 {
			t.Errorf("confirmed %t: the order is not %s", confirmed, want)
		}
		s.Sound()
	}
}
