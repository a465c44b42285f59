package download_test

import (
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

func loggedIn(s *worldtest.Scene, h *world.Holder) register.Caller {
	s.T.Helper()
	c, err := s.Login(s.T.Context(), h)
	if err != nil {
		s.T.Fatal(err)
	}
	return c
}

func allowSigning(s *worldtest.Scene, org policy.OrganisationID, allowed bool) {
	s.T.Helper()
	s.Pass(time.Second) // a statement of the same second is the same statement
	if err := s.SetSigning(s.T.Context(), org, allowed); err != nil {
		s.T.Fatal(err)
	}
}

// A signing certificate is fetched by the holder alone, without an order, and only
// where the organisation has decided so; the switch is off at first.
func TestSigningIsTheOrganisationsDecision(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	_, err := s.BeginSigning(ctx, h)
	s.Refused(err, policy.SigningOff)
	allowSigning(s, s.Org, true)
	st, err := s.BeginSigning(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	allowSigning(s, s.Org, false) // while it is under way
	_, err = s.Submit(ctx, h, st)
	s.Refused(err, policy.SigningOff)
	if n := s.Rows("intents", "download = ?", string(st.Download.ID)); n != 0 {
		t.Errorf("%d intents", n)
	}
	allowSigning(s, s.Org, true)
	if err := s.FetchSigning(ctx, h); err != nil { // goes on with the open one
		t.Fatal(err)
	}
	if got := h.SigningCertificate().Download; got != st.Download.ID {
		t.Errorf("fetched by %s, begun was %s", got, st.Download.ID)
	}
	s.Sound()
	s.Truth()
}

// What is fetched is a key of its own with the content of the eID, ends with it
// at the latest, and does not log in.
func TestSigningCertificateBelongsToItsEID(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	sign := signing(t, s, h)
	eid := h.Certificate()
	if sign.Key == eid.Key || sign.Slot != policy.Signing || sign.Profile != policy.ProfileSigning {
		t.Errorf("profile %s in slot %s", sign.Profile, sign.Slot)
	}
	if sign.NotAfter.After(eid.NotAfter) {
		t.Errorf("ends %s, its eID %s", sign.NotAfter, eid.NotAfter)
	}
	if sign.Order != eid.Order || sign.Person != eid.Person || sign.Organisation != eid.Organisation || sign.LoA != eid.LoA {
		t.Errorf("bound to %+v, its eID to %+v", sign.Binding, eid.Binding)
	}
	_, err := s.Register.Login(ctx, h.SigningDER(), false)
	s.Refused(err, policy.LoginProfile)
	_, err = s.Register.Login(ctx, h.SigningDER(), true) // nor confirms
	s.Refused(err, policy.LoginProfile)
	s.Sound()
}

// At most one for an eID: a second fetch replaces the first, when it is confirmed
// and not before.
func TestSecondSigningCertificateReplacesTheFirst(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	first := signing(t, s, h)
	st, err := s.BeginSigning(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.ParsePlan(st.Download.Plan)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Removes) != 1 || plan.Removes[0].Fingerprint != first.Fingerprint.String() || plan.Removes[0].FetchAnew ||
		len(plan.Adds) != 1 || plan.Adds[0].Slot != policy.Signing || plan.EID != h.Certificate().Fingerprint.String() {
		t.Errorf("plan %+v", plan)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if r := revokedFor(s, first); r != ca.Unspecified {
		t.Errorf("revoked (%s) before the new one is proved", r)
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if r := revokedFor(s, first); r != ca.Superseded {
		t.Errorf("the first is revoked for %s", r)
	}
	if r := revokedFor(s, h.Certificate()); r != ca.Unspecified {
		t.Errorf("the eID is revoked for %s", r)
	}
	if n := s.Rows("standings", "card = ? AND slot = 'signing'", string(h.Card)); n != 1 {
		t.Errorf("%d signing certificates stand", n)
	}
	s.Sound()
	s.Truth()
}

// An update where the organisation allows signing makes both certificates anew,
// and confirms both at once with the new authentication certificate.
func TestUpdateMakesBothAnew(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	old, sign := h.Certificate(), signing(t, s, h)
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.ParsePlan(st.Download.Plan)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Adds) != 2 || len(plan.Removes) != 2 || plan.Removes[0].FetchAnew || plan.Removes[1].FetchAnew || plan.EID != "" {
		t.Fatalf("plan %+v", plan)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	half := download.Evidence{PlanHash: st.Download.PlanHash, ReadBack: map[policy.Slot]ca.Fingerprint{
		policy.Authentication: st.Certificates[policy.Authentication].Fingerprint}}
	c, err := s.Register.Login(ctx, h.NextDER(), true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Downloads.Confirm(ctx, c, st.Download.ID, half)
	s.Refused(err, policy.DownloadEvidence)
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	for _, cert := range []*issue.Certificate{old, sign} {
		if r := revokedFor(s, cert); r != ca.Superseded {
			t.Errorf("the old %s certificate is revoked for %s", cert.Slot, r)
		}
	}
	for _, cert := range []*issue.Certificate{h.Certificate(), h.SigningCertificate()} {
		if r := revokedFor(s, cert); r != ca.Unspecified {
			t.Errorf("the new %s certificate is revoked for %s", cert.Slot, r)
		}
	}
	s.Sound()
	s.Truth()
}

// The signing PIN may be lost while the address must be corrected: the holder may
// leave the signing certificate out, and the plan says that it goes.
func TestUpdateWithoutTheSigningCertificate(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	sign := signing(t, s, h)
	id := s.Ordered(h, policy.OrderRenewal)
	if _, err := s.Begin(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	c := loggedIn(s, h)
	without := download.Cause{Order: id, WithoutSigning: true}
	_, err := s.Downloads.Begin(ctx, c, without) // another plan is open
	s.Refused(err, policy.DownloadOpen)
	st, err := s.Begin(ctx, h, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Downloads.Abandon(ctx, c, st.Download.ID); err != nil {
		t.Fatal(err)
	}
	if st, err = s.Downloads.Begin(ctx, c, without); err != nil {
		t.Fatal(err)
	}
	plan, err := policy.ParsePlan(st.Download.Plan)
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, r := range plan.Removes {
		told = told || r.Fingerprint == sign.Fingerprint.String() && r.FetchAnew
	}
	if len(plan.Adds) != 1 || !told {
		t.Fatalf("plan %+v", plan)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if r := revokedFor(s, sign); r != ca.Superseded {
		t.Errorf("the signing certificate is revoked for %s", r)
	}
	s.Sound()
}

// Who logs in with another eID of the same card, or with what the card came with,
// gets a signing certificate for what logged in, or none: never for another eID.
func TestSigningIsForTheEIDThatLogsIn(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	own := h.Certificate()
	id := orderedExtra(s, h)
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	allowSigning(s, s.Org, true) // the first organisation, not the other
	_, err := s.BeginSigning(ctx, h)
	s.Refused(err, policy.SigningOff)

	c, err := s.Register.Login(ctx, own.DER, false)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Downloads.Begin(ctx, c, download.Cause{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.BeginSigning(ctx, h) // with the other eID, while that one is open
	s.Refused(err, policy.DownloadOpen)
	csr, err := h.RequestFor(st, policy.Signing)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Downloads.Submit(ctx, loggedIn(s, h), st.Download.ID, policy.Signing, csr)
	s.Refused(err, policy.DownloadBinding)
	if st, err = s.Downloads.Submit(ctx, c, st.Download.ID, policy.Signing, csr); err != nil {
		t.Fatal(err)
	}
	ev := download.Evidence{PlanHash: st.Download.PlanHash, ReadBack: map[policy.Slot]ca.Fingerprint{policy.Signing: st.Certificates[policy.Signing].Fingerprint}}
	_, err = s.Downloads.Confirm(ctx, loggedIn(s, h), st.Download.ID, ev)
	s.Refused(err, policy.DownloadEvidence)
	if _, err := s.Downloads.Confirm(ctx, c, st.Download.ID, ev); err != nil {
		t.Fatal(err)
	}
	if got := st.Certificates[policy.Signing].Organisation; got != s.Org {
		t.Errorf("the signing certificate is %s's", got)
	}
	s.Sound()
}

// The transport certificate that a card came with begins no signing certificate,
// armed or not.
func TestTransportFetchesNoSigningCertificate(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	allowSigning(s, s.Org, true)
	if err := s.Arm(ctx, h); err != nil {
		t.Fatal(err)
	}
	c, err := s.Register.Login(ctx, h.TransportDER(), false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Downloads.Begin(ctx, c, download.Cause{})
	s.Refused(err, policy.SigningEID)
}

// A signing certificate on its way dies with its eID, with its card and with the
// assignment, and no confirm brings it back.
func TestSigningOnItsWayEndsWithItsEID(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*worldtest.Scene, *world.Holder) error
		reason ca.Reason
		rule   policy.Rule
	}{
		"eID revoked": {func(s *worldtest.Scene, h *world.Holder) error {
			_, err := s.Downloads.Revoke(s.T.Context(), admin(s.T, s), h.Certificate().Serial, ca.PrivilegeWithdrawn)
			return err
		}, ca.PrivilegeWithdrawn, policy.LoginRevoked},
		"card blocked": {func(s *worldtest.Scene, h *world.Holder) error {
			return s.Downloads.BlockCard(s.T.Context(), admin(s.T, s), h.Card, "lost")
		}, ca.KeyCompromise, policy.LoginRevoked},
		"assignment ended": {func(s *worldtest.Scene, h *world.Holder) error {
			return s.Downloads.EndAssignment(s.T.Context(), admin(s.T, s), h.Person, s.Org)
		}, ca.AffiliationChanged, policy.LoginRevoked},
		"abandoned by an administrator": {func(s *worldtest.Scene, h *world.Holder) error {
			st, err := s.BeginSigning(s.T.Context(), h)
			if err != nil {
				return err
			}
			return s.Downloads.Abandon(s.T.Context(), admin(s.T, s), st.Download.ID)
		}, ca.CessationOfOperation, policy.DownloadStateRule},
		"nobody came": {func(s *worldtest.Scene, _ *world.Holder) error {
			s.Pass(25 * time.Hour)
			_, err := s.Downloads.EndDue(s.T.Context())
			return err
		}, ca.CessationOfOperation, policy.DownloadStateRule},
	} {
		t.Run(name, func(t *testing.T) {
			s := worldtest.New(t)
			ctx := t.Context()
			h := s.Holder()
			allowSigning(s, s.Org, true)
			st, err := s.BeginSigning(ctx, h)
			if err != nil {
				t.Fatal(err)
			}
			if st, err = s.Submit(ctx, h, st); err != nil {
				t.Fatal(err)
			}
			if err := c.end(s, h); err != nil {
				t.Fatal(err)
			}
			if r := revokedFor(s, st.Certificates[policy.Signing]); r != c.reason {
				t.Errorf("revoked for %s, want %s", r, c.reason)
			}
			s.Refused(s.Confirm(ctx, h, st), c.rule)
			if n := s.Rows("standings", "card = ? AND slot = 'signing'", string(h.Card)); n != 0 {
				t.Errorf("%d signing certificates stand", n)
			}
			s.Sound()
			s.Truth()
		})
	}
}

// Administrators come and go: that those who signed the order have left since
// keeps nobody from the signing certificate of the eID that they ordered. One
// whose key was compromised before the statement vouches for nothing.
func TestSigningOutlivesItsAdministrators(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	allowSigning(s, s.Org, true)
	s.Exec("UPDATE grants SET ended_at = granted_at WHERE person = ?", string(s.Admins[0].Person))
	if err := s.FetchSigning(ctx, h); err != nil {
		t.Fatal(err)
	}
	if n := s.Rows("statements", "subject = ?", string(h.Certificate().Order)); n != 2 {
		t.Fatalf("%d statements behind the eID", n)
	}
	s.Exec("DELETE FROM statements WHERE subject = ? AND act = 'order.approve'", string(h.Certificate().Order))
	_, err := s.BeginSigning(ctx, h)
	s.Refused(err, policy.OrderApprovals)
}

// The directory says something else than the eID: what would be signed with it
// would name a person who is no longer called so.
func TestSigningNeedsTheDirectorysContent(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	allowSigning(s, s.Org, true)
	row, err := s.Row(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	row.Surname = "Nygren"
	if err := s.Import(ctx, row); err != nil {
		t.Fatal(err)
	}
	_, err = s.BeginSigning(ctx, h)
	s.Refused(err, policy.OrderContent)
}

// One key for both: a signing key that also logs in would sign whatever a server
// sends it. It is refused although it proves itself.
func TestSigningKeyIsNotTheAuthenticationKey(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	allowSigning(s, s.Org, true)
	st, err := s.BeginSigning(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	h.SetNextSigningKey(h.CurrentKey())
	_, err = s.Submit(ctx, h, st)
	s.Refused(err, policy.KeySeenRule)
}
