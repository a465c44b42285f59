package download_test

import (
	"context"
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
	"sigill/orders/issue"
	"sigill/policy"
)

// Each transaction from record on reads for itself what a holder's own download
// rests on, whoever changed it and without trusting that it would have been ended.
func TestEachTransactionOfSigningLooksForItself(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*worldtest.Scene, *world.Holder)
		rule policy.Rule
	}{
		{"card locked", func(s *worldtest.Scene, h *world.Holder) {
			s.Exec("UPDATE cards SET state = 'locked' WHERE number = ?", string(h.Card))
		}, policy.CardStateRule},
		{"another holder", func(s *worldtest.Scene, h *world.Holder) {
			s.Exec("UPDATE cards SET holder = ? WHERE number = ?", s.Admins[0].Name(), string(h.Card))
		}, policy.OrderHolder},
		{"order undone", func(s *worldtest.Scene, h *world.Holder) {
			s.Exec("UPDATE orders SET state = 'withdrawn' WHERE id = ?", string(h.Certificate().Order))
		}, policy.OrderStateRule},
		{"order changed", func(s *worldtest.Scene, h *world.Holder) { reword(s, h) }, policy.OrderStateRule},
		{"eID no longer current", func(s *worldtest.Scene, h *world.Holder) {
			s.Exec("DELETE FROM standings WHERE certificate = ?", eidPrint(h))
		}, policy.SigningEID},
		{"eID revoked", func(s *worldtest.Scene, h *world.Holder) {
			err := s.Views.Issue.Update(context.Background(), func(tx *issue.Tx) error {
				_, err := issue.Revoke(tx, h.Certificate(), ca.KeyCompromise, "test", "system", s.Now())
				return err
			})
			if err != nil {
				s.T.Error(err)
			}
		}, policy.LoginRevoked},
	} {
		for _, point := range []string{"record", "store", "confirm"} {
			t.Run(c.name+" before "+point, func(t *testing.T) {
				s := worldtest.New(t)
				ctx := t.Context()
				h := s.Holder()
				allowSigning(s, s.Org, true)
				caller := loggedIn(s, h)
				st, err := s.Downloads.Begin(ctx, caller, download.Cause{})
				if err != nil {
					t.Fatal(err)
				}
				csr, err := h.RequestFor(st, policy.Signing)
				if err != nil {
					t.Fatal(err)
				}
				switch point {
				case "record":
					s.Faults.BeforeUpdate(1, func() { c.do(s, h) })
				case "store":
					s.Faults.BeforeSign(1, func() { c.do(s, h) })
				}
				st, err = s.Downloads.Submit(ctx, caller, st.Download.ID, policy.Signing, csr)
				if point == "confirm" {
					if err != nil {
						t.Fatal(err)
					}
					c.do(s, h)
					_, err = s.Downloads.Confirm(ctx, caller, st.Download.ID, download.Evidence{PlanHash: st.Download.PlanHash,
						ReadBack: map[policy.Slot]ca.Fingerprint{policy.Signing: st.Certificates[policy.Signing].Fingerprint}})
				}
				s.Refused(err, c.rule)
				if n := s.Rows("standings", "card = ? AND slot = 'signing' AND (kind = 'current' OR ? <> 'confirm')", string(h.Card), point); n != 0 {
					t.Errorf("%d signing certificates stand", n)
				}
			})
		}
	}
}

// What ends while the signature of a signing certificate is being made is ended:
// the signature comes too late, and its serial is revoked.
func TestSigningEndsDuringItsSignature(t *testing.T) {
	for name, end := range map[string]func(*worldtest.Scene, *world.Holder, policy.DownloadID) error{
		"eID revoked": func(s *worldtest.Scene, h *world.Holder, _ policy.DownloadID) error {
			_, err := s.Downloads.Revoke(context.Background(), admin(s.T, s), h.Certificate().Serial, ca.PrivilegeWithdrawn)
			return err
		},
		"card lost": func(s *worldtest.Scene, h *world.Holder, _ policy.DownloadID) error {
			return s.Downloads.BlockCard(context.Background(), admin(s.T, s), h.Card, "lost")
		},
		"assignment ended": func(s *worldtest.Scene, h *world.Holder, _ policy.DownloadID) error {
			return s.Downloads.EndAssignment(context.Background(), admin(s.T, s), h.Person, s.Org)
		},
		"person revoked": func(s *worldtest.Scene, h *world.Holder, _ policy.DownloadID) error {
			return s.Downloads.RevokePerson(context.Background(), admin(s.T, s), h.Person, s.Org, ca.PrivilegeWithdrawn)
		},
		"abandoned by its holder": func(s *worldtest.Scene, h *world.Holder, id policy.DownloadID) error {
			return s.Downloads.Abandon(context.Background(), loggedIn(s, h), id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := worldtest.New(t)
			ctx := t.Context()
			h := s.Holder()
			allowSigning(s, s.Org, true)
			caller := loggedIn(s, h)
			st, err := s.Downloads.Begin(ctx, caller, download.Cause{})
			if err != nil {
				t.Fatal(err)
			}
			csr, err := h.RequestFor(st, policy.Signing)
			if err != nil {
				t.Fatal(err)
			}
			s.Faults.BeforeSign(1, func() {
				if err := end(s, h, st.Download.ID); err != nil {
					t.Error(err)
				}
			})
			_, err = s.Downloads.Submit(ctx, caller, st.Download.ID, policy.Signing, csr)
			s.Refused(err, policy.DownloadStateRule)
			if n := s.Rows("standings", "card = ? AND slot = 'signing'", string(h.Card)); n != 0 {
				t.Errorf("%d signing certificates stand", n)
			}
			if n := s.Rows("intents", "download = ? AND state <> 'abandoned'", string(st.Download.ID)); n != 0 {
				t.Errorf("%d intents are not abandoned", n)
			}
			s.Sound()
			s.Truth()
		})
	}
}

// The switch is turned off between the two certificates of an update: the second
// is refused, what is on its way can be given up, and the same order then brings
// the eID without a signing certificate. The old eID works until then.
func TestSwitchedOffBetweenTheTwo(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	sign := signing(t, s, h)
	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(ctx, h, id)
	if err != nil {
		t.Fatal(err)
	}
	caller := loggedIn(s, h)
	submit := func(slot policy.Slot) error {
		csr, err := h.RequestFor(st, slot)
		if err == nil {
			_, err = s.Downloads.Submit(ctx, caller, st.Download.ID, slot, csr)
		}
		return err
	}
	if err := submit(policy.Authentication); err != nil {
		t.Fatal(err)
	}
	allowSigning(s, s.Org, false)
	s.Refused(submit(policy.Signing), policy.SigningOff)
	s.Sound()
	if s.Working(h) != 1 || revokedFor(s, h.Certificate()) != ca.Unspecified || revokedFor(s, sign) != ca.Unspecified {
		t.Error("the old eID is gone")
	}
	if err := s.Downloads.Abandon(ctx, caller, st.Download.ID); err != nil {
		t.Fatal(err)
	}
	h.Forget()
	if st, err = s.Begin(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	if len(st.Items) != 1 {
		t.Fatalf("%d items", len(st.Items))
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if revokedFor(s, sign) != ca.Superseded || s.Working(h) != 1 {
		t.Errorf("the signing certificate is revoked for %s, %d eIDs work", revokedFor(s, sign), s.Working(h))
	}
	s.Sound()
	s.Truth()
}

// What ends for one eID leaves the signing certificate and the open download of
// another on the same card alone.
func TestEndingLeavesTheOthersAlone(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	sign := signing(t, s, h)
	own := otherEID(s, h)
	others := h.Certificate()
	number, err := ordered(s, h, orders.Request{Type: policy.OrderOrdinary, LoA: 3, IDKind: policy.ByPersonNumber})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Fetch(ctx, h, number); err != nil {
		t.Fatal(err)
	}
	byNumber := h.Certificate()
	// The download of a signing certificate for the first eID is open.
	c, err := s.Register.Login(ctx, own.DER, false)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Downloads.Begin(ctx, c, download.Cause{})
	if err != nil {
		t.Fatal(err)
	}
	open := func(what string) {
		t.Helper()
		if n := s.Rows("downloads", "id = ? AND state = 'planned'", string(st.Download.ID)); n != 1 {
			t.Errorf("%s: the other eID's download is not open any more", what)
		}
		if r := revokedFor(s, sign); r != ca.Unspecified {
			t.Errorf("%s: the other eID's signing certificate is revoked for %s", what, r)
		}
		s.Sound()
	}
	waits, err := ordered(s, h, orders.Request{Type: policy.OrderRenewal, LoA: 3, IDKind: policy.ByPersonNumber})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Downloads.Withdraw(ctx, admin(t, s), waits); err != nil {
		t.Fatal(err)
	}
	open("an order withdrawn")
	if _, err := s.Downloads.Revoke(ctx, admin(t, s), byNumber.Serial, ca.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	open("the eID by personnummer revoked")
	if _, err := s.Downloads.Revoke(ctx, admin(t, s), others.Serial, ca.PrivilegeWithdrawn); err != nil {
		t.Fatal(err)
	}
	open("the other organisation's eID revoked")
	if err := s.Downloads.EndAssignment(ctx, admin(t, s), h.Person, others.Organisation); err != nil {
		t.Fatal(err)
	}
	open("the other organisation's assignment ended")
}

// Eight clients with one card fetch a signing certificate at once: one stands.
func TestEightClientsFetchSigning(t *testing.T) {
	const clients = 8
	s := worldtest.New(t)
	h := s.Holder()
	allowSigning(s, s.Org, true)
	var done sync.WaitGroup
	errs := make([]error, clients)
	for i := range clients {
		twin := h.Twin()
		done.Go(func() { errs[i] = s.FetchSigning(t.Context(), twin) })
	}
	done.Wait()
	won := 0
	for i, err := range errs {
		_, refused := errors.AsType[*policy.Refusal](err)
		if err == nil {
			won++
		} else if !refused && !errors.Is(err, download.ErrBusy) && !errors.Is(err, issue.ErrConflict) {
			t.Errorf("client %d: %v", i, err)
		}
	}
	if won == 0 {
		t.Error("nobody has a signing certificate")
	}
	// One after the other they may each have replaced the one before.
	if n := s.Rows("standings", "card = ? AND slot = 'signing'", string(h.Card)); n != 1 {
		t.Errorf("%d signing certificates stand", n)
	}
	if n := s.Rows("downloads", "card = ? AND order_id IS NULL AND state = 'installed'", string(h.Card)); n != won {
		t.Errorf("%d were installed, %d clients think so", n, won)
	}
	s.Sound()
	s.Truth()
}

// A card that has one intent left today does not begin a download of two: the
// first certificate would wait, good to relying parties, for what cannot come.
func TestBothOrNothingWithinTheLimit(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	signing(t, s, h) // three intents of the card so far
	id := s.Ordered(h, policy.OrderRenewal)
	without := download.Cause{Order: id, WithoutSigning: true}
	for burnt := 3; burnt < policy.IntentsPerCard-1; burnt++ {
		s.Pass(16 * time.Second) // past the circuit breaker
		st, err := s.Downloads.Begin(ctx, loggedIn(s, h), without)
		if err != nil {
			t.Fatal(err)
		}
		s.Faults.FailSign(1, fault.Lost, nil)
		if _, err := s.Submit(ctx, h, st); !errors.Is(err, fault.ErrInjected) {
			t.Fatal(err)
		}
		s.Faults.Clear()
		if err := s.Downloads.Abandon(ctx, loggedIn(s, h), st.Download.ID); err != nil {
			t.Fatal(err)
		}
		h.Forget()
	}
	s.Pass(16 * time.Second)
	_, err := s.Begin(ctx, h, id)
	s.Refused(err, policy.IntentLimit)
	if n := s.Rows("downloads", "card = ? AND state = 'planned'", string(h.Card)); n != 0 {
		t.Errorf("%d downloads are open", n)
	}
	st, err := s.Downloads.Begin(ctx, loggedIn(s, h), without) // one is left
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	s.Sound()
}
