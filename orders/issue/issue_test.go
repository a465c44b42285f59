package issue_test

import (
	"errors"
	"testing"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders/issue"
	"sigill/policy"
)

// interrupted is an intent that was open while its signature was made; after
// decides what becomes of the signature.
func interrupted(t *testing.T, s *worldtest.Scene, after fault.Fault) *issue.Intent {
	t.Helper()
	ctx := t.Context()
	h := s.Holder()
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	var in *issue.Intent
	s.Faults.BeforeSign(1, func() {
		err := s.Views.Issue.View(ctx, func(tx *issue.Tx) error {
			open, err := tx.OpenIntents(10)
			if err == nil && len(open) == 1 {
				in = open[0]
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if after != fault.None {
			s.Faults.FailUpdate(1, after, nil)
		}
	})
	_, err = s.Submit(ctx, h, st)
	s.Faults.Clear()
	if in == nil || (err == nil) != (after == fault.None) {
		t.Fatalf("intent %v, %v", in, err)
	}
	return in
}

// An intent is settled once. A signer who comes after recovery has given the
// intent up gets nothing stored, and recovery that comes after the signer takes
// nothing back.
func TestIntentIsSettledOnce(t *testing.T) {
	for name, c := range map[string]struct {
		after fault.Fault
		state string
	}{"signed": {fault.None, "signed"}, "abandoned": {fault.NotBegun, "abandoned"}} {
		t.Run(name, func(t *testing.T) {
			s := worldtest.New(t)
			in := interrupted(t, s, c.after)
			if n := s.Rows("intents", "serial = ? AND state = ?", in.Serial[:], c.state); n != 1 {
				t.Fatalf("the intent is not %s", c.state)
			}
			count := func() [4]int {
				return [4]int{s.Rows("certificates", "TRUE"), s.Rows("standings", "TRUE"), s.Rows("revocations", "TRUE"), s.Rows("events", "TRUE")}
			}
			before := count()
			issued := &ca.Issued{Fingerprint: ca.Fingerprint{1}, Serial: in.Serial, Issuer: in.Issuer, Profile: in.Profile,
				NotBefore: in.NotBefore, NotAfter: in.NotAfter, Key: in.Key, DER: []byte{0}}
			for what, act := range map[string]func(*issue.Tx) error{
				"release": func(tx *issue.Tx) error {
					_, err := issue.Release(tx, in, issued, issue.Pending, s.Now())
					return err
				},
				"abandon": func(tx *issue.Tx) error { return issue.Abandon(tx, in, "test", s.Now()) },
			} {
				if err := s.Views.Issue.Update(t.Context(), act); !errors.Is(err, issue.ErrConflict) {
					t.Errorf("%s what is %s: %v", what, c.state, err)
				}
			}
			if after := count(); after != before {
				t.Errorf("rows %v, before %v", after, before)
			}
			s.Sound()
		})
	}
}

// Nobody but the owner settles an intent as signed, and only with the certificate
// that was intended.
func TestReleaseIsTheOwners(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	s.Faults.BeforeSign(1, func() {
		err := s.Views.Issue.Update(ctx, func(tx *issue.Tx) error {
			open, err := tx.OpenIntents(1)
			if err != nil {
				return err
			}
			in := *open[0]
			issued := &ca.Issued{Fingerprint: ca.Fingerprint{1}, Serial: in.Serial, Issuer: in.Issuer, Profile: in.Profile, Key: in.Key, DER: []byte{0}}
			other := *issued
			other.Serial = ca.NewSerial()
			if _, err := issue.Release(tx, &in, &other, issue.Pending, s.Now()); err == nil {
				t.Error("another certificate than the intended one was released")
			}
			other = *issued
			other.Issuer = world.CardCA
			if _, err := issue.Release(tx, &in, &other, issue.Pending, s.Now()); err == nil {
				t.Error("another CA's certificate was released")
			}
			in.Owner = "proc_other"
			_, err = issue.Release(tx, &in, issued, issue.Pending, s.Now())
			return err
		})
		if !errors.Is(err, issue.ErrConflict) {
			t.Errorf("another process: %v", err)
		}
	})
	if _, err := s.Submit(ctx, h, st); err != nil {
		t.Errorf("the owner: %v", err)
	}
	s.Sound()
}
