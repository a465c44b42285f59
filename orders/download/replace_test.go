package download_test

import (
	"testing"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/issue"
	"sigill/policy"
)

func revokedFor(s *worldtest.Scene, cert *issue.Certificate) ca.Reason {
	s.T.Helper()
	var reason ca.Reason
	err := s.Views.Issue.View(s.T.Context(), func(tx *issue.Tx) error {
		e, revoked, err := tx.Revocations.Revocation(cert.Serial)
		if reason = ca.Unspecified; revoked {
			reason = e.Reason
		}
		return err
	})
	if err != nil {
		s.T.Fatal(err)
	}
	return reason
}

func signing(t *testing.T, s *worldtest.Scene, h *world.Holder) *issue.Certificate {
	t.Helper()
	cert, err := s.AddSigning(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Where the organisation does not allow signing any more, an update takes the
// signing certificate of the eID with it, and the plan says so before the holder approves: otherwise a corrected address would leave a
// signature in the old name behind, or take it away silently.
func TestUpdateTakesTheSigningCertificateWithIt(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	old, sign := h.Certificate(), signing(t, s, h)
	allowSigning(s, s.Org, false)
	row, err := s.Row(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	row.Email = "ny@region.example"
	if err := s.Import(ctx, row); err != nil {
		t.Fatal(err)
	}
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderUpdate))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.ParsePlan(st.Download.Plan)
	if err != nil {
		t.Fatal(err)
	}
	anew := map[string]bool{}
	for _, r := range plan.Removes {
		anew[r.Fingerprint] = r.FetchAnew
	}
	// Both go, and of neither it says that a new one could be fetched afterwards.
	if _, goes := anew[sign.Fingerprint.String()]; len(anew) != 2 || !goes || anew[old.Fingerprint.String()] || anew[sign.Fingerprint.String()] {
		t.Errorf("plan removes %v", plan.Removes)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	for _, cert := range []*issue.Certificate{old, sign} {
		if r := revokedFor(s, cert); r != ca.Unspecified {
			t.Errorf("%s is revoked (%s) before the new one is proved", cert.Slot, r)
		}
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	for _, cert := range []*issue.Certificate{old, sign} {
		if r := revokedFor(s, cert); r != ca.Superseded {
			t.Errorf("%s is revoked for %s", cert.Slot, r)
		}
	}
	s.Sound()
	s.Truth()
}

// Two organisations' eIDs lie on one card; what one replaces, revokes or ends
// leaves the other's alone. A lost card ends both.
func TestAnotherOrganisationsEIDIsUntouched(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	own := h.Certificate()
	// The others have not seen her; the log-in with her LoA3 eID carries theirs.
	id := orderedExtra(s, h)
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	extra := h.Certificate()
	if n := s.Working(h); n != 2 || revokedFor(s, own) != ca.Unspecified {
		t.Fatalf("%d working eIDs after an extra one", n)
	}
	renewal := s.Ordered(h, policy.OrderRenewal) // of the first organisation's
	if err := s.Fetch(ctx, h, renewal); err != nil {
		t.Fatal(err)
	}
	if revokedFor(s, own) != ca.Superseded || revokedFor(s, extra) != ca.Unspecified || s.Working(h) != 2 {
		t.Errorf("after renewal: own %s, other's %s", revokedFor(s, own), revokedFor(s, extra))
	}
	if err := s.Downloads.EndAssignment(ctx, admin(t, s), h.Person, s.Org); err != nil {
		t.Fatal(err)
	}
	if revokedFor(s, h.Certificate()) != ca.AffiliationChanged || revokedFor(s, extra) != ca.Unspecified || s.Working(h) != 1 {
		t.Errorf("after the end of the assignment: own %s, other's %s", revokedFor(s, h.Certificate()), revokedFor(s, extra))
	}
	c, err := s.Register.Login(ctx, extra.DER, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Downloads.BlockCard(ctx, c, h.Card, "lost"); err != nil {
		t.Fatal(err)
	}
	if revokedFor(s, extra) != ca.KeyCompromise || s.Working(h) != 0 {
		t.Error("an eID lives on a lost card")
	}
	s.Sound()
	s.Truth()
}

// Revoking the eID revokes its signing certificate; revoking the signing
// certificate leaves the eID; revoking a certificate that is not the current one
// leaves both.
func TestRevokingOneOfTwo(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	revoke := func(t *testing.T, cert *issue.Certificate, reason ca.Reason) {
		t.Helper()
		if _, err := s.Downloads.Revoke(ctx, admin(t, s), cert.Serial, reason); err != nil {
			t.Fatal(err)
		}
	}
	want := func(t *testing.T, cert *issue.Certificate, reason ca.Reason) {
		t.Helper()
		if r := revokedFor(s, cert); r != reason {
			t.Errorf("%s certificate is revoked for %s, want %s", cert.Slot, r, reason)
		}
		s.Sound()
	}
	t.Run("eID", func(t *testing.T) {
		s.T = t
		h := s.Holder()
		sign := signing(t, s, h)
		revoke(t, h.Certificate(), ca.PrivilegeWithdrawn)
		want(t, h.Certificate(), ca.PrivilegeWithdrawn)
		want(t, sign, ca.PrivilegeWithdrawn)
		revoke(t, h.Certificate(), ca.KeyCompromise) // graver
		want(t, h.Certificate(), ca.KeyCompromise)
		revoke(t, h.Certificate(), ca.CessationOfOperation) // not graver
		want(t, h.Certificate(), ca.KeyCompromise)
	})
	t.Run("signing certificate", func(t *testing.T) {
		s.T = t
		h := s.Holder()
		sign := signing(t, s, h)
		revoke(t, sign, ca.KeyCompromise)
		want(t, sign, ca.KeyCompromise)
		want(t, h.Certificate(), ca.Unspecified)
	})
	t.Run("pending one", func(t *testing.T) {
		s.T = t
		h := s.Holder()
		sign := signing(t, s, h)
		st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
		if err != nil {
			t.Fatal(err)
		}
		if st, err = s.Submit(ctx, h, st); err != nil {
			t.Fatal(err)
		}
		revoke(t, st.Certificates[policy.Authentication], ca.KeyCompromise)
		want(t, st.Certificates[policy.Authentication], ca.KeyCompromise)
		want(t, h.Certificate(), ca.Unspecified)
		want(t, sign, ca.Unspecified)
		_, err = s.Register.Login(ctx, h.NextDER(), true)
		s.Refused(err, policy.LoginRevoked)
	})
	t.Run("replaced one", func(t *testing.T) {
		s.T = t
		h := s.Holder()
		old := h.Certificate()
		if err := s.Fetch(ctx, h, s.Ordered(h, policy.OrderRenewal)); err != nil {
			t.Fatal(err)
		}
		sign := signing(t, s, h)
		revoke(t, old, ca.KeyCompromise)
		want(t, old, ca.KeyCompromise)
		want(t, h.Certificate(), ca.Unspecified)
		want(t, sign, ca.Unspecified)
	})
	t.Run("of another organisation", func(t *testing.T) {
		s.T = t
		h, stranger := s.Holder(), s.Holder()
		c, err := s.Login(ctx, stranger)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Downloads.Revoke(ctx, c, h.Certificate().Serial, ca.KeyCompromise)
		s.Refused(err, policy.RevokeScope)
		_, unknown := s.Downloads.Revoke(ctx, c, ca.NewSerial(), ca.KeyCompromise)
		if err.Error() != unknown.Error() {
			t.Errorf("%q tells that it exists; unknown: %q", err, unknown)
		}
		want(t, h.Certificate(), ca.Unspecified)
	})
}
