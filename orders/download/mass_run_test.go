package download_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/service"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/policy"
)

// Whoever can write into the database revokes nothing by a list: it is believed only
// as far as two administrators' cards have signed it.
func TestMassRevocationIsBelievedAsStated(t *testing.T) {
	for name, spoil := range map[string]func(s *worldtest.Scene, o massOrder, victim *world.Holder){
		"another list": func(s *worldtest.Scene, o massOrder, victim *world.Holder) {
			s.Exec("UPDATE mass_lists SET list = ?", []byte(serialOf(victim)+"\n"))
		},
		"another reason": func(s *worldtest.Scene, o massOrder, _ *world.Holder) {
			s.Exec("UPDATE mass_revocations SET reason = 1")
		},
		"another kind": func(s *worldtest.Scene, o massOrder, _ *world.Holder) {
			s.Exec("UPDATE mass_revocations SET kind = 'cards'")
		},
		"another document": func(s *worldtest.Scene, o massOrder, victim *world.Holder) {
			other := listed(s, download.BySerial, ca.PrivilegeWithdrawn, serialOf(victim))
			other.Revocation = o.Revocation
			other = other.written()
			s.Exec("UPDATE mass_revocations SET document = ?", other.document)
			s.Exec("UPDATE mass_lists SET list = ?", other.list)
		},
		"one statement for both": func(s *worldtest.Scene, o massOrder, _ *world.Holder) {
			s.Exec("UPDATE mass_revocations SET approved = ordered")
		},
		"a statement of something else": func(s *worldtest.Scene, o massOrder, _ *world.Holder) {
			s.Exec("UPDATE statements SET content = ? WHERE act = 'certificates.revoke' AND by_person = ?",
				statement.Statement{Act: statement.ActGrant, Subject: string(o.Revocation), By: string(s.Admins[1].Person), For: "-", Card: "-", At: s.Now()}.Bytes(), string(s.Admins[1].Person))
		},
		"a signature of nobody": func(s *worldtest.Scene, o massOrder, _ *world.Holder) {
			s.Exec("UPDATE statements SET signature = ? WHERE act = 'certificates.revoke' AND by_person = ?", []byte("x"), string(s.Admins[1].Person))
		},
		"a statement by another": func(s *worldtest.Scene, o massOrder, victim *world.Holder) {
			s.Exec("UPDATE statements SET by_person = ? WHERE act = 'certificates.revoke' AND by_person = ?", string(victim.Person), string(s.Admins[1].Person))
		},
		"a certificate of another organisation": func(s *worldtest.Scene, o massOrder, victim *world.Holder) {
			s.Exec("INSERT INTO organisations (id, number, name, signing_allowed, created_at) VALUES ('org_other', '2321000099', 'Other', 0, 1)")
			s.Exec("UPDATE certificates SET organisation = 'org_other' WHERE organisation IS NOT NULL AND person NOT IN (?, ?)", string(s.Admins[0].Person), string(s.Admins[1].Person))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := worldtest.New(t)
			h, victim := s.Holder(), s.Holder()
			o := listed(s, download.BySerial, ca.PrivilegeWithdrawn, serialOf(h))
			o.approved(s)
			spoil(s, o, victim)
			if n, err := s.Downloads.RevokeMass(t.Context()); n != 0 || err == nil || !strings.Contains(err.Error(), string(o.Revocation)) {
				t.Errorf("%d revoked, %v", n, err)
			}
			if s.Working(h) != 1 || s.Working(victim) != 1 || s.Rows("revocations", "rule LIKE 'revocation.approved%'") != 0 {
				t.Error("it was believed")
			}
		})
	}
}

// One that cannot be revoked holds up neither the others on the list nor another
// list, is told, and is revoked when it can be.
func TestMassRevocationGoesAroundWhatFails(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	var entries []string
	holders := []*world.Holder{s.Holder(), s.Holder(), s.Holder(), s.Holder(), s.Holder()}
	for _, h := range holders {
		entries = append(entries, serialOf(h))
	}
	broken := holders[1]
	if _, err := s.Begin(ctx, broken, s.Ordered(broken, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	o := listed(s, download.BySerial, ca.KeyCompromise, entries[:4]...)
	o.approved(s)
	later := listed(s, download.BySerial, ca.KeyCompromise, entries[4])
	later.approved(s)
	// Its download cannot be ended: its item claims a certificate that is not there.
	s.Exec("UPDATE items SET state = 'signed', serial = ?, certificate = ? WHERE download IN (SELECT id FROM downloads WHERE card = ? AND state = 'planned')", make([]byte, 16), make([]byte, 32), string(broken.Card))
	for range 2 {
		_, err := s.Downloads.RevokeMass(ctx)
		if err == nil || !strings.Contains(err.Error(), entries[1]) || strings.Contains(err.Error(), entries[0]) {
			t.Fatalf("told: %v", err)
		}
		if m := o.now(s); m.State != download.MassApproved || m.Done != 4 || m.Revoked != 3 || len(m.Failed) != 1 {
			t.Errorf("meanwhile: %+v", m)
		}
	}
	for _, h := range holders {
		if (s.Working(h) == 1) != (h == broken) {
			t.Errorf("card %s: %d working eIDs", h.Card, s.Working(h))
		}
	}
	if m := later.now(s); m.State != download.MassFinished {
		t.Errorf("the list behind it: %+v", m)
	}
	s.Exec("UPDATE items SET state = 'planned', serial = NULL, certificate = NULL WHERE download IN (SELECT id FROM downloads WHERE card = ? AND state = 'planned')", string(broken.Card))
	if n, err := s.Downloads.RevokeMass(ctx); n != 1 || err != nil {
		t.Errorf("repaired: %d revoked, %v", n, err)
	}
	if m := o.now(s); m.State != download.MassFinished || m.Revoked != 4 || len(m.Failed) != 0 {
		t.Errorf("in the end: %+v", m)
	}
	s.Sound()
	s.Truth()
}

// Several processes may work one list through at once.
func TestMassRevocationBySeveralProcesses(t *testing.T) {
	onBoth(t, func(t *testing.T, scene func(testing.TB) *worldtest.Scene) {
		s := scene(t)
		var entries []string
		for range 7 {
			entries = append(entries, serialOf(s.Holder()))
		}
		o := listed(s, download.BySerial, ca.KeyCompromise, entries...)
		o.approved(s)
		total, failed := make([]int, 3), make([]error, 3)
		var wg sync.WaitGroup
		for i := range total {
			p, err := s.Process(func(*service.Config) {})
			if err != nil {
				t.Fatal(err)
			}
			p.Downloads.Together = 2
			wg.Go(func() { total[i], failed[i] = p.Downloads.RevokeMass(t.Context()) })
		}
		wg.Wait()
		if err := errors.Join(failed...); err != nil || total[0]+total[1]+total[2] != len(entries) {
			t.Errorf("%v revoked, %v", total, err)
		}
		if m := o.now(s); m.State != download.MassFinished || m.Done != len(entries) || m.Revoked != len(entries) {
			t.Errorf("%+v", m)
		}
		if n := s.Rows("revocations", "rule LIKE 'revocation.approved%'"); n != len(entries) {
			t.Errorf("%d entries", n)
		}
		if n := s.Rows("events", "act = 'revocation.finished'"); n != 1 {
			t.Errorf("finished %d times", n)
		}
		s.Sound()
		s.Truth()
	})
}

// The process that approves begins at once, and what fails is reported.
func TestRunMassIsWoken(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	ctx, cancel := context.WithCancel(t.Context())
	reported := make(chan error, 100)
	var wg sync.WaitGroup
	wg.Go(func() { s.Downloads.RunMass(ctx, time.Hour, func(err error) { reported <- err }) })
	defer func() { cancel(); wg.Wait() }()
	o := listed(s, download.BySerial, ca.KeyCompromise, serialOf(h))
	o.approved(s)
	for o.now(s).State != download.MassFinished {
		select {
		case err := <-reported:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	bad := s.Holder()
	o = listed(s, download.BySerial, ca.KeyCompromise, serialOf(bad))
	if err := o.order(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Exec("UPDATE statements SET signature = ? WHERE id = ?", []byte("x"), string(o.now(s).Ordered))
	if err := o.approve(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := <-reported; !strings.Contains(err.Error(), string(o.Revocation)) {
		t.Errorf("reported: %v", err)
	}
}

func TestParseMassList(t *testing.T) {
	a, b := "4a"+strings.Repeat("0", 30), "5a"+strings.Repeat("0", 30)
	for list, want := range map[string]policy.Rule{
		a + "\n": "", a + "\n" + b + "\n": "",
		"": policy.RequestForm, "\n": policy.RequestForm, a: policy.RequestForm, a + "\n\n": policy.RequestForm, b + "\n" + a + "\n": policy.RequestForm,
		a + "\n" + a + "\n": policy.RequestForm, strings.ToUpper(a) + "\n": policy.RequestForm, a[1:] + "\n": policy.RequestForm, a + "\r\n": policy.RequestForm,
		"9752000000000000001\n": policy.RequestForm, strings.Repeat(a+"\n", download.MaxMass+1): policy.RevokeList,
	} {
		_, err := download.ParseMassList(download.BySerial, []byte(list))
		if refusal, _ := errors.AsType[*policy.Refusal](err); (want == "") != (err == nil) || refusal != nil && refusal.Rule != want {
			t.Errorf("%.80q: %v, want %q", list, err, want)
		}
	}
	if got, err := download.ParseMassList(download.ByCard, []byte("9752000000000000001\n9752000000000000002\n")); err != nil || len(got) != 2 {
		t.Errorf("cards: %v, %v", got, err)
	}
}

// What is read of a list is all of it: written again it is the same octets.
func FuzzParseMassList(f *testing.F) {
	f.Add(true, []byte("4a000000000000000000000000000000\n5a000000000000000000000000000000\n"))
	f.Add(false, []byte("9752000000000000001\n9752000000000000002\n"))
	f.Fuzz(func(t *testing.T, serials bool, list []byte) {
		kind := download.ByCard
		if serials {
			kind = download.BySerial
		}
		entries, err := download.ParseMassList(kind, list)
		if err != nil {
			return
		}
		if strings.Join(entries, "\n")+"\n" != string(list) || len(entries) == 0 {
			t.Errorf("%q is read as %q", list, entries)
		}
	})
}

// A document is read only as it is written.
func FuzzParseMassOrder(f *testing.F) {
	f.Add([]byte(`{"act":"certificates.revoke","revocation":"mrv_abcdefghijklmnopqrstuvwx","organisation":"org_a","reason":"keyCompromise","kind":"serials","entries":1,"list":"00"}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		o, reason, err := download.ParseMassOrder(document)
		if err != nil {
			return
		}
		if again := (massOrder{MassOrder: o}).written().document; string(again) != string(document) || reason == ca.Unspecified || strings.ContainsAny(string(o.Revocation), "\n ") {
			t.Errorf("%q is read as %+v", document, o)
		}
	})
}
