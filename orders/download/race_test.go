package download_test

import (
	"crypto"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
)

// Eight clients with one card, each with a key of its own, all at once through
// the whole download: one of them ends with the one current eID. What the others
// brought about is revoked or was never signed.
func TestEightClientsWithOneCard(t *testing.T) {
	const clients = 8
	s := worldtest.New(t)
	h := s.Holder()
	old := h.Certificate()
	id := s.Ordered(h, policy.OrderRenewal)
	s.Faults.Clear()
	var done sync.WaitGroup
	errs := make([]error, clients)
	twins := make([]*world.Holder, clients)
	for i := range clients {
		twins[i] = h.Twin()
		done.Go(func() { errs[i] = s.Fetch(t.Context(), twins[i], id) })
	}
	done.Wait()
	won := 0
	for i, err := range errs {
		_, refused := errors.AsType[*policy.Refusal](err)
		switch {
		case err == nil:
			won++
			h = twins[i]
		case !refused && !errors.Is(err, download.ErrBusy) && !errors.Is(err, issue.ErrConflict):
			t.Errorf("client %d: %v", i, err)
		}
	}
	if won != 1 {
		t.Fatalf("%d clients think that they have the eID", won)
	}
	if n := s.Working(h); n != 1 {
		t.Errorf("%d working eIDs", n)
	}
	if revokedFor(s, old) != ca.Superseded || revokedFor(s, h.Certificate()) != ca.Unspecified {
		t.Error("the current eID is not the winner's")
	}
	if n := s.Rows("downloads", "card = ?", string(h.Card)); n != 2 {
		t.Errorf("%d downloads of the card", n)
	}
	s.Sound()
	s.Truth()
}

// The same certificate confirmed eight times at once is confirmed once.
func TestEightConfirmationsAtOnce(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	errs := make([]error, 8)
	next := ca.FingerprintOf(h.NextDER())
	for i := range errs {
		done.Go(func() {
			errs[i] = s.ConfirmAs(ctx, h.NextDER(), st.Download.ID, st.Download.PlanHash, next)
		})
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := s.Rows("events", "act = 'download.confirmed' AND instr(body, ?) > 0", string(st.Download.ID)); n != 1 {
		t.Errorf("%d confirmations were written", n)
	}
	if n := s.Working(h); n != 1 {
		t.Errorf("%d working eIDs", n)
	}
	s.Sound()
	s.Truth()
}

// slow is a key in a token that takes its time: it waits before it gives the
// signature away.
type slow struct {
	crypto.Signer
	mu      sync.Mutex
	reached chan struct{} // nil: not slow
	release chan struct{}
}

func (k *slow) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.mu.Lock()
	reached, release := k.reached, k.release
	k.mu.Unlock()
	signature, err := k.Signer.Sign(rand, digest, opts)
	if reached != nil {
		close(reached)
		<-release
	}
	return signature, err
}

func (k *slow) down() (reached, release chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reached, k.release = make(chan struct{}), make(chan struct{})
	return k.reached, k.release
}

func (k *slow) up() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reached, k.release = nil, nil
}

// A signer that is slower than its deadline loses to recovery, and what it
// signed is destroyed: the serial is revoked already. One that has time left is
// let alone, by its own process and by others that know it lives.
func TestRecoveryRacesALivingSigner(t *testing.T) {
	key := &slow{}
	s := worldtest.New(t, func(s *worldtest.Scene, c *world.Config) {
		c.Wrap = func(id ca.IssuerID, k crypto.Signer) crypto.Signer {
			if k = s.Faults.Wrap(id, k); id != world.PersonCA {
				return k
			}
			key.Signer = k
			return key
		}
	})
	ctx := t.Context()
	race := func(h *world.Holder, id policy.OrderID, meanwhile func()) error {
		t.Helper()
		st, err := s.Begin(ctx, h, id)
		if err != nil {
			t.Fatal(err)
		}
		reached, release := key.down()
		var done sync.WaitGroup
		var submitted error
		done.Go(func() { _, submitted = s.Submit(ctx, h, st) })
		<-reached
		key.up()
		meanwhile()
		close(release)
		done.Wait()
		return submitted
	}
	recovered := func() int {
		t.Helper()
		n, err := s.Downloads.Recover(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	err := race(h, id, func() {
		if n := recovered(); n != 0 {
			t.Errorf("recovery took %d intents from a living signer in time", n)
		}
		// Another request for the same item finds it under way.
		r := start(s, h.Twin(), id)
		if _, err := r.submit(); !errors.Is(err, download.ErrBusy) {
			t.Errorf("the same item at the same time: %v", err)
		}
	})
	if err != nil {
		t.Errorf("signer in time: %v", err)
	}
	if err := s.Resume(ctx, h, id); err != nil {
		t.Fatal(err)
	}

	id = s.Ordered(h, policy.OrderRenewal)
	signed := len(s.Faults.Signed(world.PersonCA))
	err = race(h, id, func() {
		s.Pass(time.Minute)
		if n := recovered(); n != 1 {
			t.Errorf("recovery took %d intents whose deadline has passed", n)
		}
	})
	if err == nil {
		t.Error("the loser of the race handed its certificate out")
	}
	if n := len(s.Faults.Signed(world.PersonCA)); n != signed+1 {
		t.Errorf("%d signatures", n-signed)
	}
	if n := s.Working(h); n != 1 {
		t.Errorf("%d working eIDs", n)
	}
	s.Sound()
	s.Truth() // the signature that nobody has is revoked
	h.Forget()
	if err := s.Resume(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	s.Sound()
	s.Truth()
}
