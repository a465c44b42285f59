package download_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// A download begins five transactions and makes one signature; each further
// certificate makes two and one more. A new step changes these numbers, and with
// them the table below, which is made from what a clean run counts.
const (
	downloadUpdates = 5 // begin, record, store, confirm, removed
	itemUpdates     = 2 // record, store
	logUpdates      = 2 // a pass of the sequencer, the heads
)

// journey is a download that may be cut off anywhere.
type journey struct {
	name  string
	begin func(*worldtest.Scene) *world.Holder
	order policy.OrderType
	// least is how many working eIDs the holder has all the time.
	least int
	// certificates are what a clean run makes; signs says that one of them is a
	// signing certificate.
	certificates int
	signs        bool
	logged       bool
}

// fetch carries the journey out, resume goes on with it. Without an order the
// holder fetches a signing certificate.
func (j journey) fetch(ctx context.Context, s *worldtest.Scene, h *world.Holder, id policy.OrderID) error {
	if id == "" {
		return s.FetchSigning(ctx, h)
	}
	return s.Fetch(ctx, h, id)
}

func (j journey) resume(ctx context.Context, s *worldtest.Scene, h *world.Holder, id policy.OrderID) error {
	if id == "" {
		return s.ResumeSigning(ctx, h)
	}
	return s.Resume(ctx, h, id)
}

func (j journey) ordered(s *worldtest.Scene, h *world.Holder) policy.OrderID {
	if j.order == "" {
		return ""
	}
	return s.Ordered(h, j.order)
}

// signer has an eID and may fetch a signing certificate; both has one.
func signer(s *worldtest.Scene) *world.Holder {
	h := s.Holder()
	allowSigning(s, s.Org, true)
	return h
}

func both(s *worldtest.Scene) *world.Holder {
	h := signer(s)
	if err := s.FetchSigning(s.T.Context(), h); err != nil {
		s.T.Fatal(err)
	}
	return h
}

func journeys() []journey {
	return []journey{
		{"first", (*worldtest.Scene).Person, policy.OrderOrdinary, 0, 1, false, false},
		{"renewal", (*worldtest.Scene).Holder, policy.OrderRenewal, 1, 1, false, false},
		{"signing", signer, "", 1, 1, true, false},
		{"renewal of both", both, policy.OrderRenewal, 1, 2, true, false},
	}
}

// Wherever the server is cut off, the holder ends with exactly one working eID,
// and all else that was ever signed is revoked; a replacement leaves him without
// one at no moment.
func TestDownloadCutOffAnywhere(t *testing.T) {
	onBoth(t, func(t *testing.T, world func(testing.TB) *worldtest.Scene) {
		for _, j := range journeys() {
			t.Run(j.name, func(t *testing.T) { j.cutOffAnywhere(t, world) })
		}
	})
}

// onBoth runs a test on SQLite and on PostgreSQL, with what makes a world there.
func onBoth(t *testing.T, test func(*testing.T, func(testing.TB) *worldtest.Scene)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB) *worldtest.Scene { return worldtest.On(t, "") })
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, func(t testing.TB) *worldtest.Scene { return worldtest.On(t, postgres.URL(t)) })
	})
}

// The same with a certificate log, whose two transactions a certificate are cut off too:
// numbering the leaf, and storing the head that covers it.
func TestLoggedDownloadCutOffAnywhere(t *testing.T) {
	for _, j := range journeys()[1:2] {
		j.logged = true
		t.Run(j.name, func(t *testing.T) {
			j.cutOffAnywhere(t, func(t testing.TB) *worldtest.Scene { return worldtest.On(t, "", worldtest.LoggedFor(2*time.Second)) })
		})
	}
}

func (j journey) cutOffAnywhere(t *testing.T, world func(testing.TB) *worldtest.Scene) {
	s := world(t)
	h := j.begin(s)
	id := j.ordered(s, h)
	s.Faults.Clear()
	if err := j.fetch(t.Context(), s, h, id); err != nil {
		t.Fatal(err)
	}
	updates, signatures := s.Faults.Counts()
	want := downloadUpdates + itemUpdates*(j.certificates-1)
	if j.logged {
		want += logUpdates * j.certificates
	}
	if updates != want || signatures != j.certificates {
		t.Fatalf("a clean run has %d transactions and %d signatures, want %d and %d", updates, signatures, want, j.certificates)
	}
	s.Sound()
	// A world for each step: what is checked after each case is all of it.
	for i := range updates {
		s := world(t)
		for _, f := range fault.Transactions() {
			j.cases(t, s, fmt.Sprintf("transaction %d %s", i+1, f), func(cancel context.CancelFunc) { s.Faults.FailUpdate(i+1, f, cancel) })
		}
	}
	for i := range signatures {
		s := world(t)
		for _, f := range fault.Signatures() {
			j.cases(t, s, fmt.Sprintf("signature %d %s", i+1, f), func(cancel context.CancelFunc) { s.Faults.FailSign(i+1, f, cancel) })
		}
	}
}

// cases cuts the journey off once with a restart, and once without.
func (j journey) cases(t *testing.T, s *worldtest.Scene, name string, inject func(context.CancelFunc)) {
	for _, restart := range []bool{true, false} {
		end := ", restarted"
		if !restart {
			end = ", same process"
		}
		if !restart && testing.Short() {
			continue
		}
		t.Run(name+end, func(t *testing.T) {
			s.T = t
			j.cutOff(s, inject, restart)
		})
	}
}

func (j journey) cutOff(s *worldtest.Scene, inject func(context.CancelFunc), restart bool) {
	t := s.T
	h := j.begin(s)
	id := j.ordered(s, h)
	step := func(name string) {
		t.Helper()
		s.Sound()
		if n := s.Working(h); n < j.least || n > 1 {
			t.Errorf("%s: %d working eIDs", name, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	inject(cancel)
	err := j.fetch(ctx, s, h, id)
	s.Faults.Clear()
	if err != nil && !errors.Is(err, fault.ErrInjected) && !errors.Is(err, context.Canceled) {
		t.Fatalf("cut off: %v", err)
	}
	step("cut off")
	if restart {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	} else {
		s.Pass(time.Minute) // more than any signature takes
	}
	if _, err := s.Downloads.Recover(t.Context()); err != nil {
		t.Fatalf("recovering: %v", err)
	}
	step("recovered")
	if n := s.Rows("intents", "state = 'open'"); n != 0 {
		t.Errorf("%d intents are open after recovering", n)
	}
	if err := j.resume(t.Context(), s, h, id); err != nil {
		t.Fatalf("resuming: %v", err)
	}
	step("finished")
	if n := s.Working(h); n != 1 {
		t.Errorf("%d working eIDs in the end", n)
	}
	if got := h.Certificate().Order; id != "" && got != id {
		t.Errorf("the eID is of order %q, want %q", got, id)
	}
	if n := s.Rows("standings", "card = ? AND slot = 'signing' AND kind = 'current'", string(h.Card)); (n == 1) != j.signs {
		t.Errorf("%d signing certificates stand in the end", n)
	}
	if n := s.Rows("downloads", "card = ? AND state = 'planned'", string(h.Card)); n != 0 {
		t.Errorf("%d downloads are open in the end", n)
	}
	s.Truth()
}
