package download_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// refusedByService expects a refusal of the service's state, which is no event.
func refusedByService(t *testing.T, err error, rule policy.Rule) {
	t.Helper()
	if r, ok := errors.AsType[*policy.Refusal](err); !ok || r.Rule != rule {
		t.Fatalf("got %v, want a refusal by %s", err, rule)
	}
}

// While a CA's key does not sign, nobody begins what that CA would have to sign;
// what is open stays, what is out can be revoked, and after a pause whoever comes
// first tries again.
func TestFailingSignerStopsBeginning(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	unlucky, lost, next := s.Holder(), s.Holder(), s.Holder()
	id, waits := s.Ordered(unlucky, policy.OrderRenewal), s.Ordered(next, policy.OrderRenewal)
	if got := s.Downloads.FailingIssuers(); len(got) != 0 {
		t.Fatalf("failing: %v", got)
	}
	for range 3 {
		st, err := s.Begin(ctx, unlucky, id)
		if err != nil {
			t.Fatal(err)
		}
		s.Faults.FailSign(1, fault.NotBegun, nil)
		if _, err := s.Submit(ctx, unlucky, st); !errors.Is(err, fault.ErrInjected) {
			t.Fatal(err)
		}
		s.Faults.Clear()
	}
	if got := s.Downloads.FailingIssuers(); !slices.Equal(got, []ca.IssuerID{world.PersonCA}) {
		t.Errorf("failing: %v", got)
	}
	events := s.Rows("events", "TRUE")
	_, err := s.Begin(ctx, next, waits)
	refusedByService(t, err, policy.ServiceRevokeOnly)
	if n := s.Rows("downloads", "order_id = ?", string(waits)); n != 0 || s.Rows("events", "TRUE") != events {
		t.Errorf("%d downloads were begun, %d events", n, s.Rows("events", "TRUE")-events)
	}
	if _, err := s.Begin(ctx, unlucky, id); err != nil {
		t.Errorf("the open download: %v", err)
	}
	c, err := s.Login(ctx, lost)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Downloads.BlockCard(ctx, c, lost.Card, "lost"); err != nil {
		t.Errorf("blocking: %v", err)
	}
	s.Pass(16 * time.Second)
	if err := s.Fetch(ctx, next, waits); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if got := s.Downloads.FailingIssuers(); len(got) != 0 {
		t.Errorf("failing: %v", got)
	}
	s.Sound()
}

// The gate is the last word before an intent: a request that was under way when
// issuing was stopped leaves nothing.
func TestGateBeforeEachIntent(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, other := s.Holder(), s.Holder()
	id, waits := s.Ordered(h, policy.OrderRenewal), s.Ordered(other, policy.OrderRenewal)
	stopped := false
	var asked []ca.IssuerID
	s.Downloads.Gate = func(id ca.IssuerID) policy.Decision {
		asked = append(asked, id)
		if stopped {
			return policy.Refuse(policy.ServiceOutage, "stopped")
		}
		return policy.Allowed
	}
	st, err := s.Begin(ctx, h, id)
	if err != nil {
		t.Fatal(err)
	}
	stopped = true
	intents := s.Rows("intents", "TRUE")
	_, err = s.Submit(ctx, h, st)
	refusedByService(t, err, policy.ServiceOutage)
	_, err = s.Begin(ctx, other, waits)
	refusedByService(t, err, policy.ServiceOutage)
	if n := s.Rows("intents", "TRUE"); n != intents {
		t.Errorf("%d intents", n-intents)
	}
	if want := []ca.IssuerID{world.PersonCA, world.PersonCA, world.PersonCA}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v", asked)
	}

	// Released before: given out and confirmed while nothing new may be.
	stopped = false
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	stopped = true
	if again, err := s.Begin(ctx, h, id); err != nil || again.Download.ID != st.Download.ID {
		t.Fatalf("the open download: %v", err)
	}
	if _, err := s.Submit(ctx, h, st); err != nil {
		t.Errorf("the released certificate: %v", err)
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Errorf("confirming: %v", err)
	}
	s.Sound()
	s.Truth()
}
