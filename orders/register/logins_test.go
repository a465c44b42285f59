package register_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/service"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// A log-in is recorded when the first request of it is let in, by whichever of the
// requests that come side by side, and again after five minutes.
func TestLogInsAreRecordedOnce(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	c, err := s.Login(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.Told(audit.LoginAccepted))
	wants := func(n int, what string) {
		t.Helper()
		if got := len(s.Told(audit.LoginAccepted)) - before; got != n {
			t.Fatalf("%s: %d log-ins are recorded, want %d", what, got, n)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.Register.Accepted(t.Context(), c, "card"); err != nil {
				t.Error(err)
			}
			// Whoever has returned goes on to answer: the record is there.
			if n := s.Rows("events", "act = 'login.accepted' AND instr(body, ?) > 0", c.Certificate.String()); n != 1 {
				t.Errorf("let in, and %d log-ins are recorded", n)
			}
		})
	}
	wg.Wait()
	wants(1, "eight requests side by side")
	b := s.Told(audit.LoginAccepted)[before]
	if b.By != string(h.Person) || worldtest.Value(b, "certificate") != c.Certificate.String() || worldtest.Value(b, "card") != string(h.Card) || worldtest.Value(b, "listener") != "card" {
		t.Errorf("the log-in says %+v", b)
	}
	again := func() {
		t.Helper()
		if err := s.Register.Accepted(t.Context(), c, "card"); err != nil {
			t.Fatal(err)
		}
	}
	s.Pass(4 * time.Minute)
	again()
	wants(1, "after four minutes")
	s.Pass(time.Minute)
	again()
	wants(2, "after five minutes")

	other, err := s.Process(func(*service.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Register.Accepted(t.Context(), c, "card"); err != nil {
		t.Fatal(err)
	}
	wants(3, "at another process")
}

// What is not known to be recorded is not forgotten: the next request finds it, or
// records it.
func TestLogInWhoseRecordFails(t *testing.T) {
	for _, f := range []fault.Fault{fault.NotBegun, fault.RolledBack, fault.Lost} {
		t.Run(f.String(), func(t *testing.T) {
			s := worldtest.New(t)
			c, err := s.Login(t.Context(), s.Admins[0])
			if err != nil {
				t.Fatal(err)
			}
			before := len(s.Told(audit.LoginAccepted))
			s.Faults.FailUpdate(1, f, nil)
			if err := s.Register.Accepted(t.Context(), c, "card"); !errors.Is(err, fault.ErrInjected) {
				t.Fatalf("recording failed and Accepted returned %v", err)
			}
			s.Faults.Clear()
			if err := s.Register.Accepted(t.Context(), c, "card"); err != nil {
				t.Fatal(err)
			}
			if n := len(s.Told(audit.LoginAccepted)) - before; n != 1 {
				t.Errorf("%d log-ins are recorded", n)
			}
		})
	}
}

// Every judged refusal of a certificate that is ours is recorded, with its rule: an
// officer's and one whose row somebody forged too.
func TestRefusedLogInsAreRecorded(t *testing.T) {
	s := worldtest.New(t)
	h, person := s.Holder(), s.Person()
	transport := person.TransportDER()
	refused := func(der []byte, rule policy.Rule, by string) {
		t.Helper()
		before := len(s.Told(audit.LoginRefused))
		_, err := s.Register.Login(t.Context(), der, false)
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != rule {
			t.Fatalf("Login = %v, want a refusal by %s", err, rule)
		}
		all := s.Told(audit.LoginRefused)
		if len(all) != before+1 {
			t.Fatalf("refused by %s: %d events", rule, len(all)-before)
		}
		if b := all[before]; worldtest.Value(b, "rule") != string(rule) || worldtest.Value(b, "certificate") == "" || b.By != by || len(b.Commitments) != 1 {
			t.Errorf("refused by %s: the event says %+v", rule, b)
		}
	}
	officer := s.OfficerDER(1)
	fingerprint := func(der []byte) string { return "certificate:" + ca.FingerprintOf(der).String() }
	refused(officer, policy.CeremonyClosed, fingerprint(officer))
	s.Exec("UPDATE ceremony SET officer_1 = ?, officer_2 = ?", make([]byte, 32), make([]byte, 32))
	refused(officer, policy.LoginUnknown, fingerprint(officer))
	s.Exec("UPDATE cards SET armed_until = NULL WHERE number = ?", string(person.Card))
	refused(transport, policy.LoginUnarmed, "card:"+string(person.Card))
	s.Exec("UPDATE cards SET state = 'blocked' WHERE number = ?", string(h.Card))
	refused(h.CertificateOf(), policy.LoginCard, "card:"+string(h.Card))
	fp := ca.FingerprintOf(transport)
	s.Exec("UPDATE certificates SET profile = 'authentication', loa = 3, person = ?, slot = 'authentication', organisation = ?, id_kind = 'hsa-id' WHERE fingerprint = ?",
		string(person.Person), string(s.Org), fp[:])
	refused(transport, policy.LoginUnknown, fingerprint(transport))
}
