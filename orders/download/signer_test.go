package download_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/policy"
)

// A signer that fails is not asked again at once: each attempt burns a serial
// that stands in a revocation list for years. When it has recovered, so does the
// service, by itself.
func TestFailingSignerOpensTheCircuit(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	try := func(fail bool) error {
		t.Helper()
		st, err := s.Begin(ctx, h, id)
		if err != nil {
			t.Fatal(err)
		}
		if fail {
			s.Faults.FailSign(1, fault.NotBegun, nil)
			defer s.Faults.Clear()
		}
		_, err = s.Submit(ctx, h, st)
		return err
	}
	for range 3 {
		if err := try(true); !errors.Is(err, fault.ErrInjected) {
			t.Fatal(err)
		}
	}
	intents := s.Rows("intents", "TRUE")
	if err := try(false); !errors.Is(err, download.ErrBusy) {
		t.Errorf("with an open circuit: %v", err)
	}
	if n := s.Rows("intents", "TRUE"); n != intents {
		t.Errorf("%d serials burnt with an open circuit", n-intents)
	}
	// The Card CA has a signer of its own, which does not fail.
	if _, err := s.NewHolder(ctx); err != nil {
		t.Errorf("another CA: %v", err)
	}
	s.Pass(16 * time.Second)
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Errorf("later: %v", err)
	}
	s.Sound()
	s.Truth()
}

// A mistake in a profile, or a content that should not have come this far, ends
// at the linter: the whole path refuses by rule and the key is not touched.
func TestPlantedMistakesAreNotSigned(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(*ca.ProfileConfig)
	}{
		{"no address to ask for the status", func(c *ca.ProfileConfig) { c.OCSP = false }},
		{"no revocation list", func(c *ca.ProfileConfig) { c.CRL = false }},
		{"no card number", func(c *ca.ProfileConfig) { c.Content.CardNumber = ca.Omitted }},
		{"for servers too", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = append(c.ExtendedKeyUsage, "serverAuth") }},
		{"key usage of signing", func(c *ca.ProfileConfig) { c.KeyUsage = []string{"contentCommitment"} }},
		{"no surname", func(c *ca.ProfileConfig) { c.Content.Surname = ca.Omitted }},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The administrators got their eIDs before the mistake was made.
			s := worldtest.New(t)
			if err := s.Plant(world.PersonCA, policy.ProfileAuthentication, c.plant); err != nil {
				t.Fatal(err)
			}
			h := s.Person()
			st, err := s.Begin(t.Context(), h, s.Ordered(h, policy.OrderOrdinary))
			if err != nil {
				t.Fatal(err)
			}
			signed := len(s.Faults.Signed(world.PersonCA))
			_, err = s.Submit(t.Context(), h, st)
			s.Refused(err, policy.ProfileLint)
			if n := len(s.Faults.Signed(world.PersonCA)); n != signed {
				t.Errorf("%d signatures", n-signed)
			}
			if n := s.Rows("intents", "download = ?", string(st.Download.ID)); n != 0 {
				t.Errorf("%d intents", n)
			}
			s.Sound()
		})
	}
}

// Content that the directory should never have given is refused before anything
// is drawn, even if it came into the order behind everybody's back.
func TestContentThatNoCertificateMayHave(t *testing.T) {
	s := worldtest.New(t)
	for name, change := range map[string]string{
		"name with a hidden turn of direction": "UPDATE persons SET surname = 'Ö\u202emörts' WHERE id = ?",
		"e-mail that is none":                  "UPDATE assignments SET email = 'asa at region' WHERE person = ?",
		"UPN with a space":                     "UPDATE assignments SET upn = 'a b@ad.region.example' WHERE person = ?",
		"SID that is none":                     "UPDATE assignments SET sid = 'S-1-x' WHERE person = ?",
		"HSA-id that no subject can hold":      "UPDATE assignments SET hsa_id = hsa_id || 'å' WHERE person = ?",
	} {
		t.Run(name, func(t *testing.T) {
			s.T = t
			h := s.Person()
			s.Exec(change, string(h.Person))
			id, err := s.OrderFor(t.Context(), orders.Request{Type: policy.OrderOrdinary, Organisation: s.Org, Number: h.Number, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
			if err != nil {
				t.Fatal(err)
			}
			r := start(s, h, id)
			_, err = r.submit()
			s.Refused(err, policy.ProfileLint)
			r.untouched()
		})
	}
}

// If nobody knows whether an intent was recorded, nobody will sign it: it is given
// up at once, and the card goes on without waiting for its deadline.
func TestUncertainRecordIsGivenUpAtOnce(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(ctx, h, id)
	if err != nil {
		t.Fatal(err)
	}
	signed := len(s.Faults.Signed(world.PersonCA))
	s.Faults.FailUpdate(1, fault.Lost, nil)
	if _, err := s.Submit(ctx, h, st); !errors.Is(err, fault.ErrInjected) {
		t.Fatal(err)
	}
	s.Faults.Clear()
	if n := len(s.Faults.Signed(world.PersonCA)); n != signed {
		t.Error("signed what may not have been recorded")
	}
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Errorf("at once again: %v", err)
	}
	s.Sound()
	s.Truth()
}

// After the pause one is let through: whoever comes while it is not known how that one
// ends burns no serial, however many they are.
func TestOneTriesAFailingSigner(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	var holders []*world.Holder
	var begun []*download.State
	for range 4 {
		h := s.Holder()
		st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
		if err != nil {
			t.Fatal(err)
		}
		holders, begun = append(holders, h), append(begun, st)
	}
	first := begun[0].Download.Order
	for range 3 {
		s.Faults.FailSign(1, fault.NotBegun, nil)
		if _, err := s.Submit(ctx, holders[0], begun[0]); !errors.Is(err, fault.ErrInjected) {
			t.Fatal(err)
		}
		s.Faults.Clear()
		var err error
		if begun[0], err = s.Begin(ctx, holders[0], first); err != nil {
			t.Fatal(err)
		}
	}
	s.Pass(16 * time.Second)
	var intents int
	errs := make([]error, len(holders))
	s.Faults.BeforeSign(1, func() {
		intents = s.Rows("intents", "TRUE")
		var done sync.WaitGroup
		for i := 1; i < len(holders); i++ {
			done.Go(func() { _, errs[i] = s.Submit(ctx, holders[i], begun[i]) })
		}
		done.Wait()
		intents = s.Rows("intents", "TRUE") - intents
	})
	if _, err := s.Submit(ctx, holders[0], begun[0]); err != nil {
		t.Fatalf("the one who tries: %v", err)
	}
	for i, err := range errs[1:] {
		if !errors.Is(err, download.ErrBusy) {
			t.Errorf("holder %d, meanwhile: %v", i, err)
		}
	}
	if intents != 0 {
		t.Errorf("%d serials burnt meanwhile", intents)
	}
	if _, err := s.Submit(ctx, holders[1], begun[1]); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	s.Sound()
}
