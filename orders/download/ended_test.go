package download_test

import (
	"context"
	"testing"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// ending is something that ends a download while it runs.
type ending struct {
	name string
	end  func(*testing.T, *worldtest.Scene, *world.Holder, *download.State)
	// working eIDs and the order's state afterwards; reason of what was pending.
	working int
	order   policy.OrderState
	reason  ca.Reason
}

func admin(t testing.TB, s *worldtest.Scene) register.Caller {
	t.Helper()
	c, err := s.Login(t.Context(), s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func endings() []ending {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	return []ending{
		{"card reported lost", func(t *testing.T, s *worldtest.Scene, h *world.Holder, _ *download.State) {
			must(t, s.Downloads.BlockCard(t.Context(), admin(t, s), h.Card, "lost"))
		}, 0, policy.OrderWithdrawn, ca.KeyCompromise},
		{"assignment ended", func(t *testing.T, s *worldtest.Scene, h *world.Holder, _ *download.State) {
			must(t, s.Downloads.EndAssignment(t.Context(), admin(t, s), h.Person, s.Org))
		}, 0, policy.OrderWithdrawn, ca.AffiliationChanged},
		{"person revoked", func(t *testing.T, s *worldtest.Scene, h *world.Holder, _ *download.State) {
			must(t, s.Downloads.RevokePerson(t.Context(), admin(t, s), h.Person, s.Org, ca.PrivilegeWithdrawn))
		}, 0, policy.OrderWithdrawn, ca.PrivilegeWithdrawn},
		{"order withdrawn", func(t *testing.T, s *worldtest.Scene, _ *world.Holder, st *download.State) {
			_, err := s.Downloads.Withdraw(t.Context(), admin(t, s), st.Download.Order)
			must(t, err)
		}, 1, policy.OrderWithdrawn, ca.CessationOfOperation},
		{"log-in certificate revoked", func(t *testing.T, s *worldtest.Scene, h *world.Holder, _ *download.State) {
			_, err := s.Downloads.Revoke(t.Context(), admin(t, s), h.Certificate().Serial, ca.KeyCompromise)
			must(t, err)
		}, 0, policy.OrderApproved, ca.CessationOfOperation},
		{"abandoned by the administrator", func(t *testing.T, s *worldtest.Scene, _ *world.Holder, st *download.State) {
			must(t, s.Downloads.Abandon(t.Context(), admin(t, s), st.Download.ID))
		}, 1, policy.OrderApproved, ca.CessationOfOperation},
	}
}

// A download that is ended at any moment between plan and confirm comes to
// nothing: the certificate under way never becomes current, whatever is pending
// or may have been signed is revoked, and the orders that hung on it are
// withdrawn.
func TestEndedDownloadNeverComesAlive(t *testing.T) {
	s := worldtest.New(t)
	for _, e := range endings() {
		for _, point := range []string{"plan and record", "record and sign", "sign and store", "store and confirm"} {
			t.Run(e.name+" between "+point, func(t *testing.T) {
				s.T = t
				e.between(s, point)
			})
		}
	}
}

func (e ending) between(s *worldtest.Scene, point string) {
	t := s.T.(*testing.T)
	ctx := t.Context()
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(ctx, h, id)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := h.Request(st)
	if err != nil {
		t.Fatal(err)
	}
	// Logged in before the end: what the log-in would refuse does not help.
	caller, err := s.Login(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	end := func() {
		e.end(t, s, h, st)
		if point == "record and sign" || point == "sign and store" {
			abandonedAtOnce(s, st.Download.ID)
		}
	}
	switch point {
	case "plan and record":
		s.Faults.BeforeUpdate(1, end)
	case "record and sign":
		s.Faults.BeforeSign(1, end)
	case "sign and store":
		s.Faults.BeforeUpdate(2, end)
	}
	released, err := s.Downloads.Submit(ctx, caller, st.Download.ID, policy.Authentication, csr)
	s.Faults.Clear()
	if point != "store and confirm" {
		s.Refused(err, policy.DownloadStateRule)
	} else {
		if err != nil {
			t.Fatal(err)
		}
		e.afterStore(s, h, released, end)
	}
	if n := s.Working(h); n != e.working {
		t.Errorf("%d working eIDs, want %d", n, e.working)
	}
	if n := s.Rows("standings", "card = ? AND kind = 'pending'", string(h.Card)); n != 0 {
		t.Errorf("%d certificates are pending", n)
	}
	if n := s.Rows("orders", "id = ? AND state = ?", string(id), string(e.order)); n != 1 {
		t.Errorf("the order is not %s", e.order)
	}
	if n := s.Rows("downloads", "id = ? AND state = 'abandoned'", string(st.Download.ID)); n != 1 {
		t.Error("the download is not abandoned")
	}
	s.Sound()
	s.Truth()
}

// abandonedAtOnce looks from within the signing request, which may die before it
// clears up anything: the end itself has abandoned the intent and revoked its
// serial, and waits for nobody.
func abandonedAtOnce(s *worldtest.Scene, id policy.DownloadID) {
	s.T.Helper()
	all := s.Rows("intents", "download = ?", string(id))
	ended := s.Rows("intents i JOIN revocations r ON r.serial = i.serial", "i.download = ? AND i.state = 'abandoned'", string(id))
	if all != 1 || ended != 1 {
		s.T.Errorf("of %d intents %d are abandoned and revoked by the end itself", all, ended)
	}
}

// afterStore ends the download when the certificate is out, and confirms with a
// log-in from before.
func (e ending) afterStore(s *worldtest.Scene, h *world.Holder, st *download.State, end func()) {
	s.T.Helper()
	ctx := s.T.Context()
	cert := st.Certificates[policy.Authentication]
	c, err := s.Register.Login(ctx, cert.DER, true)
	if err != nil {
		s.T.Fatal(err)
	}
	end()
	_, err = s.Downloads.Confirm(ctx, c, st.Download.ID, download.Evidence{PlanHash: st.Download.PlanHash,
		ReadBack: map[policy.Slot]ca.Fingerprint{policy.Authentication: cert.Fingerprint}})
	s.Refused(err, policy.DownloadStateRule)
	_, err = s.Register.Login(ctx, cert.DER, true)
	s.Refused(err, policy.LoginRevoked)
	if n := s.Rows("revocations", "serial = ? AND reason = ?", cert.Serial[:], int(e.reason)); n != 1 {
		s.T.Errorf("the pending certificate is not revoked for %s", e.reason)
	}
}

// A blocked card stays dead: no log-in, no order, no arming, and blocking again
// changes nothing.
func TestBlockedCardStaysDead(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	c, err := s.Login(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Downloads.BlockCard(ctx, c, h.Card, "stolen"); err != nil { // by the holder
		t.Fatal(err)
	}
	_, err = s.Login(ctx, h)
	s.Refused(err, policy.LoginRevoked)
	_, err = s.Register.Login(ctx, h.TransportDER(), false)
	s.Refused(err, policy.LoginRevoked)
	_, err = s.Preview(ctx, h, policy.OrderOrdinary)
	s.Refused(err, policy.CardStateRule)
	s.Refused(s.Arm(ctx, h), policy.CardStateRule)
	events, revoked := s.Rows("events", "TRUE"), s.Rows("revocations", "TRUE")
	if err := s.Downloads.BlockCard(ctx, admin(t, s), h.Card, "lost"); err != nil {
		t.Fatal(err)
	}
	if e, r := s.Rows("events", "TRUE"), s.Rows("revocations", "TRUE"); e != events || r != revoked {
		t.Errorf("blocking again made %d events and %d revocations", e-events, r-revoked)
	}
	if n := s.Rows("revocations r JOIN certificates c ON c.serial = r.serial", "c.card = ? AND r.reason <> 1", string(h.Card)); n != 0 {
		t.Errorf("%d certificates of a stolen card are revoked for another reason than keyCompromise", n)
	}
	s.Sound()
}

// Each transaction looks for itself: even if whoever changed card, order or
// log-in forgot the download that hangs on it, nothing comes alive.
func TestEachTransactionLooksForItself(t *testing.T) {
	changes := []struct {
		name string
		do   func(*worldtest.Scene, *world.Holder, policy.OrderID)
		rule policy.Rule
	}{
		{"card locked", func(s *worldtest.Scene, h *world.Holder, _ policy.OrderID) {
			s.Exec("UPDATE cards SET state = 'locked' WHERE number = ?", string(h.Card))
		}, policy.CardStateRule},
		{"card expired", func(s *worldtest.Scene, h *world.Holder, _ policy.OrderID) {
			s.Exec("UPDATE cards SET expires_at = ? WHERE number = ?", s.Now().UnixMicro(), string(h.Card))
		}, policy.CardStateRule},
		{"another holder", func(s *worldtest.Scene, h *world.Holder, _ policy.OrderID) {
			s.Exec("UPDATE cards SET holder = ? WHERE number = ?", s.Admins[0].Name(), string(h.Card))
		}, policy.OrderHolder},
		{"order withdrawn", func(s *worldtest.Scene, _ *world.Holder, id policy.OrderID) {
			s.Exec("UPDATE orders SET state = 'withdrawn' WHERE id = ?", string(id))
		}, policy.OrderStateRule},
		{"order changed", func(s *worldtest.Scene, _ *world.Holder, id policy.OrderID) {
			s.Exec("UPDATE orders SET bytes = unhex(replace(hex(bytes), hex('Region'), hex('Legion'))) WHERE id = ?", string(id))
		}, policy.OrderStateRule},
		{"log-in revoked", func(s *worldtest.Scene, h *world.Holder, _ policy.OrderID) {
			err := s.Views.Issue.Update(context.Background(), func(tx *issue.Tx) error {
				_, err := issue.Revoke(tx, h.Certificate(), ca.KeyCompromise, "test", "system", s.Now())
				return err
			})
			if err != nil {
				s.T.Error(err)
			}
		}, policy.LoginRevoked},
	}
	for _, c := range changes {
		for _, point := range []string{"record", "store", "confirm"} {
			t.Run(c.name+" before "+point, func(t *testing.T) {
				s := worldtest.New(t)
				ctx := t.Context()
				h := s.Holder()
				r := start(s, h, s.Ordered(h, policy.OrderRenewal))
				change := func() { c.do(s, h, r.id) }
				switch point {
				case "record":
					s.Faults.BeforeUpdate(1, change)
				case "store":
					s.Faults.BeforeSign(1, change)
				}
				st, err := r.submit()
				if point == "confirm" {
					if err != nil {
						t.Fatal(err)
					}
					cert := st.Certificates[policy.Authentication]
					caller, err := s.Register.Login(ctx, cert.DER, true)
					if err != nil {
						t.Fatal(err)
					}
					change()
					_, err = s.Downloads.Confirm(ctx, caller, st.Download.ID, download.Evidence{PlanHash: st.Download.PlanHash,
						ReadBack: map[policy.Slot]ca.Fingerprint{policy.Authentication: cert.Fingerprint}})
					s.Refused(err, c.rule)
				} else {
					s.Refused(err, c.rule)
					if n := s.Rows("standings", "card = ? AND kind = 'pending'", string(h.Card)); n != 0 {
						t.Errorf("%d certificates are pending", n)
					}
					s.Truth()
				}
				if n := s.Rows("certificates c JOIN standings s ON s.certificate = c.fingerprint", "c.order_id = ? AND s.kind = 'current'", string(r.id)); n != 0 {
					t.Error("the new certificate is current")
				}
			})
		}
	}
}
