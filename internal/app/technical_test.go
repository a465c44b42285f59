package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRenewalIsTriedAgain: after a failure the next try is minutes away, with
// growing pauses, until it succeeds; then half of a life passes again. Another
// renewal is not disturbed.
func TestRenewalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ill, well []time.Duration
		var healthy atomic.Bool
		ctx, stop := context.WithCancel(t.Context())
		all := []renewal{
			{"ill", ocspLife / 2, func(context.Context) error {
				ill = append(ill, time.Since(began))
				if !healthy.Load() {
					return errors.New("no signature")
				}
				return nil
			}},
			{"well", ocspLife / 2, func(context.Context) error {
				well = append(well, time.Since(began))
				return nil
			}},
		}
		var wg sync.WaitGroup
		for _, r := range all {
			wg.Go(func() { r.keep(ctx, slog.New(slog.DiscardHandler)) })
		}
		time.Sleep(ocspLife/2 + time.Hour)
		synctest.Wait()
		healthy.Store(true)
		time.Sleep(ocspLife / 2)
		synctest.Wait()
		stop()
		wg.Wait()

		if want := []time.Duration{ocspLife / 2, ocspLife}; !slices.Equal(well, want[:len(well)]) || len(well) != 2 {
			t.Errorf("the one that works was renewed at %v, want %v", well, want)
		}
		if len(ill) < 5 || ill[0] != ocspLife/2 {
			t.Fatalf("the one that fails was tried at %v", ill)
		}
		healed := slices.IndexFunc(ill, func(at time.Duration) bool { return at > ocspLife/2+time.Hour })
		last := time.Duration(0)
		for i, at := range ill[1 : healed+1] {
			pause := at - ill[i]
			if pause < last || pause > 10*time.Minute || pause <= 0 {
				t.Errorf("pause %v after %v: it grows, to ten minutes", pause, last)
			}
			last = pause
		}
		if last != 10*time.Minute {
			t.Errorf("the longest pause was %v", last)
		}
		if ill[healed] >= ocspLife || len(ill) != healed+1 && ill[healed+1]-ill[healed] != ocspLife/2 {
			t.Errorf("healed at %v, thereafter %v", ill[healed], ill[healed+1:])
		}
	})
}

// TestRenewalGivesUpATry: one that hangs is ended and repeated.
func TestRenewalGivesUpATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		tries := 0
		r := renewal{"hangs", time.Hour, func(ctx context.Context) error {
			tries++
			<-ctx.Done()
			return ctx.Err()
		}}
		var wg sync.WaitGroup
		wg.Go(func() { r.keep(ctx, slog.New(slog.DiscardHandler)) })
		time.Sleep(time.Hour + 10*time.Minute)
		synctest.Wait()
		if tries < 3 {
			t.Errorf("%d tries in ten minutes", tries)
		}
		stop()
		wg.Wait() // and it ends with its context
	})
}

// TestEveryIssuerRenewsAlone: an issuing CA that can't sign keeps no other from
// its new signer.
func TestEveryIssuerRenewsAlone(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s := &server{}
	all := a.renewals(s)
	if len(all) != len(a.Hierarchy.Issuers)+1 {
		t.Fatalf("%d renewals for %d issuing CAs and a server", len(all), len(a.Hierarchy.Issuers))
	}
	ill := a.Hierarchy.Issuers[0]
	issuer := a.Issuers[ill.ID]
	delete(a.Issuers, ill.ID)
	if err := first(t.Context(), all); err == nil {
		t.Error("a start without one of the signers")
	}
	others := a.DB.Stats().Updates
	a.Issuers[ill.ID] = issuer
	if err := all[0].do(t.Context()); err != nil {
		t.Errorf("%s, healed: %v", all[0].name, err)
	}
	one := a.DB.Stats().Updates - others
	if want := one * int64(len(all)-1); others != want || one == 0 || s.cert.Load() == nil {
		t.Errorf("%d updates for all others, want %d for each of %d", others, one, len(all)-1)
	}
}
