package download_test

import (
	"errors"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/policy"
)

// unchanged fails the test if anything but the record of a refusal was written.
func unchanged(s *worldtest.Scene, before worldtest.Dump) {
	s.T.Helper()
	for _, row := range s.Dump().Since(before) {
		s.T.Errorf("changed: %.300s", row)
	}
}

// Two clients with one card, and the one asks for a fresh challenge while the
// other's request is being judged: the challenge that the request was made for is
// gone when the intent would be recorded, and so is the request.
func TestChallengeReplacedMeanwhile(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	r := start(s, h, s.Ordered(h, policy.OrderRenewal))
	var before worldtest.Dump
	s.Faults.BeforeUpdate(1, func() {
		if _, err := s.Downloads.Challenge(ctx, r.caller, r.st.Download.ID, policy.Authentication); err != nil {
			t.Error(err)
		}
		before = s.Dump()
	})
	if _, err := r.submit(); !errors.Is(err, download.ErrBusy) {
		t.Errorf("a request to a challenge that is gone: %v", err)
	}
	unchanged(s, before)
	_, err := r.submit()
	s.Refused(err, policy.DownloadBinding)
	r.untouched()
}

// Who can write the database and not its hashes changes what a download will
// revoke or how long its certificate may wait, after the holder has approved: at
// confirm as at every step before, the plan is the approved one or nothing.
func TestPlanChangedAfterApproval(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	for name, change := range map[string]func(string) string{
		"nothing is removed": func(plan string) string {
			from, to := strings.Index(plan, `"removes":[`)+len(`"removes":[`), strings.LastIndex(plan, "]")
			return plan[:from] + plan[to:]
		},
		"it waits longer": func(plan string) string { return strings.Replace(plan, `"pendingUntil":"2`, `"pendingUntil":"3`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			s.T = t
			h := s.Holder()
			st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
			if err != nil {
				t.Fatal(err)
			}
			if st, err = s.Submit(ctx, h, st); err != nil {
				t.Fatal(err)
			}
			plan := change(string(st.Download.Plan))
			if plan == string(st.Download.Plan) {
				t.Fatal("the plan was not changed")
			}
			if _, err := policy.ParsePlan([]byte(plan)); err != nil {
				t.Fatalf("what is planted must read as a plan: %v", err)
			}
			s.Exec(`UPDATE downloads SET plan = CAST(? AS BLOB) WHERE id = ?`, plan, string(st.Download.ID))
			before := s.Dump()
			s.Refused(s.Confirm(ctx, h, st), policy.DownloadPlan)
			unchanged(s, before)
			if s.Working(h) != 1 {
				t.Error("the old eID is gone")
			}
		})
	}
}

// A request that was answered once is kept by somebody and comes again: to the
// item that it made, to the next download of the same order, and with the right
// binding to the next download but by the same key. Nothing comes of any.
func TestReplayedRequest(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	r := start(s, h, id)
	if _, err := r.submit(); err != nil {
		t.Fatal(err)
	}
	before := s.Dump()
	again, err := r.submit()
	if err != nil || again.Certificates[policy.Authentication] == nil {
		t.Fatalf("the same request again: %v", err)
	}
	unchanged(s, before) // the same certificate, and no signature
	signed := len(s.Faults.Signed(again.Certificates[policy.Authentication].Issuer))

	kept, key := r.csr, h.NextKey()
	if err := s.Downloads.Abandon(ctx, r.caller, r.st.Download.ID); err != nil {
		t.Fatal(err)
	}
	before = s.Dump()
	_, err = r.submit()
	s.Refused(err, policy.DownloadStateRule)
	unchanged(s, before)

	h.Forget()
	next := start(s, h, id)
	it := next.st.Item(policy.Authentication)
	before = s.Dump()
	next.csr = kept
	_, err = next.submit()
	s.Refused(err, policy.DownloadBinding)
	if next.csr, err = card.NewRequest(key, card.Binding{Download: string(next.st.Download.ID), Slot: string(it.Slot), Card: string(h.Card),
		Login: next.st.Download.Login, PlanHash: next.st.Download.PlanHash, Challenge: it.Challenge}); err != nil {
		t.Fatal(err)
	}
	_, err = next.submit()
	s.Refused(err, policy.KeySeenRule)
	unchanged(s, before)
	if n := len(s.Faults.Signed(again.Certificates[policy.Authentication].Issuer)); n != signed {
		t.Errorf("%d signatures", n-signed)
	}
}

// Evidence is of this download's certificate and of none that is like it: not of
// another holder's, whose download is as far, and not in another slot's name.
func TestEvidenceOfAnother(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, other := s.Holder(), s.Holder()
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	of, err := s.Begin(ctx, other, s.Ordered(other, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	if of, err = s.Submit(ctx, other, of); err != nil {
		t.Fatal(err)
	}
	own, foreign := ca.FingerprintOf(h.NextDER()), ca.FingerprintOf(other.NextDER())
	before := s.Dump()
	s.Refused(s.ConfirmAs(ctx, h.NextDER(), st.Download.ID, st.Download.PlanHash, foreign), policy.DownloadEvidence)
	s.Refused(s.ConfirmAs(ctx, h.NextDER(), st.Download.ID, of.Download.PlanHash, own), policy.DownloadPlan)
	s.Refused(s.ConfirmAs(ctx, other.NextDER(), st.Download.ID, st.Download.PlanHash, own), policy.DownloadCard)
	s.Refused(s.ConfirmAs(ctx, h.NextDER(), of.Download.ID, of.Download.PlanHash, foreign), policy.DownloadCard)
	s.Refused(s.ConfirmAs(ctx, other.CertificateOf(), st.Download.ID, st.Download.PlanHash, own), policy.DownloadCard)
	unchanged(s, before)
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Errorf("the right evidence after that: %v", err)
	}
}

// Who can write the database turns a download of a signing certificate for one eID
// of a card into one for another, with the plan's hash and all: what it rests on
// is read from the certificate that logged in, and not from the plan.
func TestSigningPlanOfAnotherEID(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	own := h.Certificate()
	id := orderedExtra(s, h)
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	allowSigning(s, s.Org, true)
	c, err := s.Register.Login(ctx, own.DER, false)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Downloads.Begin(ctx, c, download.Cause{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := policy.ParsePlan(st.Download.Plan)
	if err != nil {
		t.Fatal(err)
	}
	plan.Order = id // of the other eID
	st.Download.Plan, st.Download.PlanHash = plan.Bytes()
	s.Exec(`UPDATE downloads SET plan = ?, plan_hash = ? WHERE id = ?`, st.Download.Plan, st.Download.PlanHash[:], string(st.Download.ID))
	csr, err := h.RequestFor(st, policy.Signing)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Dump()
	_, err = s.Downloads.Submit(ctx, c, st.Download.ID, policy.Signing, csr)
	s.Refused(err, policy.DownloadPlan)
	unchanged(s, before)
}
