package download_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
)

// For another card an order or a download does not exist: the answer is the same
// as for one that does not.
func TestAnotherCardFetchesNothing(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h, other := s.Holder(), s.Holder()
	r := start(s, h, s.Ordered(h, policy.OrderRenewal))
	c, err := s.Login(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	text := func(err error) string {
		t.Helper()
		s.Refused(err, policy.DownloadCard)
		return err.Error()
	}
	do := func(order policy.OrderID, id policy.DownloadID) []string {
		t.Helper()
		_, begin := s.Downloads.Begin(ctx, c, download.Cause{Order: order})
		_, show := s.Downloads.Show(ctx, c, id)
		_, challenge := s.Downloads.Challenge(ctx, c, id, policy.Authentication)
		_, submit := s.Downloads.Submit(ctx, c, id, policy.Authentication, r.csr)
		_, confirm := s.Downloads.Confirm(ctx, c, id, download.Evidence{PlanHash: r.st.Download.PlanHash})
		abandon := s.Downloads.Abandon(ctx, c, id)
		cleaned := s.Downloads.Cleaned(ctx, c, id, nil)
		return []string{text(begin), text(show), text(challenge), text(submit), text(confirm), text(abandon), text(cleaned)}
	}
	existing, missing := do(r.id, r.st.Download.ID), do("ord_000000000000000000000000", "dl_none")
	for i := range existing {
		if existing[i] != missing[i] {
			t.Errorf("answer %q tells that it exists; without it: %q", existing[i], missing[i])
		}
	}
	r.untouched()
	if _, err := r.submit(); err != nil {
		t.Errorf("the right card after that: %v", err)
	}
}

// A request made for anything else than this very item is refused.
func TestRequestBoundElsewhere(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	r := start(s, h, s.Ordered(h, policy.OrderRenewal))
	it := r.st.Item(policy.Authentication)
	right := card.Binding{Download: string(r.st.Download.ID), Slot: string(it.Slot), Card: string(h.Card),
		Login: r.st.Download.Login, PlanHash: r.st.Download.PlanHash, Challenge: it.Challenge}
	for name, change := range map[string]func(*card.Binding){
		"download":  func(b *card.Binding) { b.Download = "dl_other" },
		"slot":      func(b *card.Binding) { b.Slot = "signing" },
		"card":      func(b *card.Binding) { b.Card = string(s.Admins[0].Card) },
		"log-in":    func(b *card.Binding) { b.Login = ca.FingerprintOf(h.TransportDER()) },
		"plan":      func(b *card.Binding) { b.PlanHash[0] ^= 1 },
		"challenge": func(b *card.Binding) { b.Challenge[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s.T = t
			b := right
			change(&b)
			csr, err := h.Bind(b)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Downloads.Submit(t.Context(), r.caller, r.st.Download.ID, policy.Authentication, csr)
			s.Refused(err, policy.DownloadBinding)
			r.untouched()
		})
	}
	t.Run("proof of possession", func(t *testing.T) {
		s.T = t
		csr := append([]byte(nil), r.csr...)
		csr[len(csr)-1] ^= 1
		_, err := s.Downloads.Submit(t.Context(), r.caller, r.st.Download.ID, policy.Authentication, csr)
		s.Refused(err, policy.KeyProof)
	})
	t.Run("slot that is not planned", func(t *testing.T) {
		s.T = t
		_, err := s.Downloads.Submit(t.Context(), r.caller, r.st.Download.ID, policy.Signing, r.csr)
		s.Refused(err, policy.DownloadPlan)
	})
	s.T = t
	r.untouched()
	if _, err := r.submit(); err != nil {
		t.Errorf("the right request after that: %v", err)
	}
}

// A challenge may be answered for ten minutes, and the one before it no more.
func TestChallengeExpires(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	r := start(s, h, s.Ordered(h, policy.OrderRenewal))
	s.Pass(10 * time.Minute)
	_, err := r.submit()
	s.Refused(err, policy.DownloadChallenge)
	fresh, err := s.Downloads.Challenge(ctx, r.caller, r.st.Download.ID, policy.Authentication)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.submit() // the old one
	s.Refused(err, policy.DownloadBinding)
	r.untouched()
	if r.csr, err = h.Request(fresh); err != nil {
		t.Fatal(err)
	}
	if _, err := r.submit(); err != nil {
		t.Error(err)
	}
}

// A certificate that was written and not confirmed opens one door only.
func TestPendingCertificateOnlyConfirms(t *testing.T) {
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
	_, err = s.Register.Login(ctx, h.NextDER(), false)
	s.Refused(err, policy.LoginPending)
	c, err := s.Register.Login(ctx, h.NextDER(), true)
	if err != nil || !c.Pending {
		t.Fatalf("log-in to confirm: %+v, %v", c, err)
	}
	// Even if it had got in: it gives no rights.
	_, err = s.Register.ListCards(ctx, c, s.Org, "", 1)
	s.Refused(err, policy.RoleLoA)
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Login(ctx, h); err != nil || c.Pending {
		t.Errorf("log-in after confirming: %+v, %v", c, err)
	}
}

// Only the new certificate confirms, over the plan that was approved, with what
// was read back from the card; anything else changes nothing.
func TestConfirmNeedsTheRightEvidence(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	old := h.CertificateOf()
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	id, hash := st.Download.ID, st.Download.PlanHash
	early := func(der []byte) error { return s.ConfirmAs(ctx, der, id, hash, ca.FingerprintOf(der)) }
	s.Refused(early(old), policy.DownloadStateRule) // nothing was issued yet
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	next := ca.FingerprintOf(h.NextDER())
	wrong := hash
	wrong[31] ^= 1
	s.Refused(s.ConfirmAs(ctx, old, id, hash, next), policy.DownloadEvidence)
	s.Refused(s.ConfirmAs(ctx, h.NextDER(), id, hash, ca.FingerprintOf(old)), policy.DownloadEvidence)
	s.Refused(s.ConfirmAs(ctx, h.NextDER(), id, wrong, next), policy.DownloadPlan)
	c, err := s.Register.Login(ctx, h.NextDER(), true)
	if err != nil {
		t.Fatal(err)
	}
	for name, back := range map[string]map[policy.Slot]ca.Fingerprint{
		"nothing read back":  nil,
		"more than planned":  {policy.Authentication: next, policy.Signing: next},
		"another slot's":     {policy.Signing: next},
		"no certificate one": {policy.Authentication: {}},
	} {
		_, err = s.Downloads.Confirm(ctx, c, id, download.Evidence{PlanHash: hash, ReadBack: back})
		t.Log(name)
		s.Refused(err, policy.DownloadEvidence)
	}
	if s.Working(h) != 1 || h.Certificate().Fingerprint != ca.FingerprintOf(old) {
		t.Error("the old eID is gone")
	}
	if _, err := s.Register.Login(ctx, old, false); err != nil {
		t.Errorf("the old eID after wrong confirmations: %v", err)
	}
	s.Sound()
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	_, err = s.Register.Login(ctx, old, false)
	s.Refused(err, policy.LoginRevoked)
	s.Truth()
}

// A confirmation that comes again, because its answer was lost or somebody kept
// it, gives the same answer and writes nothing.
func TestReplayedConfirmChangesNothing(t *testing.T) {
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
	if err := s.Confirm(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	tables := []string{"events", "revocations", "standings", "certificates", "intents", "orders", "downloads"}
	count := func() (n []int) {
		for _, table := range tables {
			n = append(n, s.Rows(table, "TRUE"))
		}
		return append(n, s.Rows("downloads", "version = ?", 1), s.Rows("orders", "state = 'installed'"))
	}
	before := count()
	for range 3 {
		if err := s.ConfirmAs(ctx, h.CertificateOf(), st.Download.ID, st.Download.PlanHash, h.Certificate().Fingerprint); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range count() {
		if n != before[i] {
			t.Errorf("count %d went from %d to %d", i, before[i], n)
		}
	}
}

// A transport certificate is armed for one download and a short time.
func TestTransportIsArmedForOneDownload(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	transport := func(h *world.Holder) error {
		_, err := s.Register.Login(ctx, h.TransportDER(), false)
		return err
	}
	t.Run("until its time is out", func(t *testing.T) {
		s.T = t
		h := s.Person()
		if err := transport(h); err != nil {
			t.Fatal(err)
		}
		s.Pass(3 * time.Hour)
		s.Refused(transport(h), policy.LoginUnarmed)
		if err := s.Arm(ctx, h); err != nil {
			t.Fatal(err)
		}
		if err := transport(h); err != nil {
			t.Errorf("armed again: %v", err)
		}
	})
	t.Run("until the download is confirmed", func(t *testing.T) {
		s.T = t
		h := s.Person()
		stale, err := s.Login(ctx, h) // logged in by transport certificate before
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Fetch(ctx, h, s.Ordered(h, policy.OrderOrdinary)); err != nil {
			t.Fatal(err)
		}
		s.Refused(transport(h), policy.LoginUnarmed)
		// A request that was logged in before, and comes in now, gets nothing.
		st, err := s.Downloads.Begin(ctx, stale, download.Cause{Order: s.Ordered(h, policy.OrderRenewal)})
		if err == nil {
			var csr []byte
			if csr, err = h.Request(st); err == nil {
				_, err = s.Downloads.Submit(ctx, stale, st.Download.ID, policy.Authentication, csr)
			}
		}
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.OrderApprovals && refusal.Rule != policy.DownloadChanged {
			t.Errorf("stale log-in: %v", err)
		}
	})
	t.Run("not across a time that runs out before the record", func(t *testing.T) {
		s.T = t
		h := s.Person()
		s.Pass(2*time.Hour - 5*time.Minute)
		r := start(s, h, s.Ordered(h, policy.OrderOrdinary))
		s.Pass(6 * time.Minute)
		_, err := r.submit()
		s.Refused(err, policy.DownloadChanged)
		r.untouched()
	})
	t.Run("never for a card that was not handed out", func(t *testing.T) {
		s.T = t
		h := s.Person()
		s.Exec("UPDATE cards SET armed_until = NULL WHERE number = ?", string(h.Card))
		s.Refused(transport(h), policy.LoginUnarmed)
	})
}

// A card whose current eID can't log in gets a new one at the desk, with two
// signatures.
func TestArmedAgainRenewsADeadEID(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	if _, err := s.Downloads.Revoke(ctx, admin(t, s), h.Certificate().Serial, ca.PrivilegeWithdrawn); err != nil {
		t.Fatal(err)
	}
	h.Current = nil
	if err := s.Arm(ctx, h); err != nil {
		t.Fatal(err)
	}
	if err := s.Fetch(ctx, h, s.Ordered(h, policy.OrderOrdinary)); err != nil {
		t.Fatal(err)
	}
	if s.Working(h) != 1 {
		t.Error("no working eID")
	}
	s.Sound()
	s.Truth()
}

// Level 3 is not issued to a log-in at no level, unless somebody's identity
// document was seen for this very card.
func TestTransportWithoutIdentityGetsNoLevel3(t *testing.T) {
	s := worldtest.New(t)
	h := s.Person()
	s.Exec("UPDATE cards SET identity = NULL WHERE number = ?", string(h.Card))
	id := s.Ordered(h, policy.OrderOrdinary)
	_, err := s.Begin(t.Context(), h, id)
	s.Refused(err, policy.LoginLoA)
}

// A client that begins without end is stopped: each intent that comes to nothing
// is an entry in a revocation list for years.
func TestIntentsAreLimited(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder() // two intents of the card so far: transport and eID
	id := s.Ordered(h, policy.OrderRenewal)
	burn := func(n int) {
		t.Helper()
		for range n {
			s.Pass(16 * time.Second) // past the circuit breaker
			st, err := s.Begin(ctx, h, id)
			if err != nil {
				t.Fatal(err)
			}
			s.Faults.FailSign(1, fault.Lost, nil)
			if _, err := s.Submit(ctx, h, st); !errors.Is(err, fault.ErrInjected) {
				t.Fatal(err)
			}
			s.Faults.Clear()
		}
	}
	limited := func() {
		t.Helper()
		s.Pass(16 * time.Second)
		st, err := s.Begin(ctx, h, id)
		if err != nil {
			t.Fatal(err)
		}
		signed := len(s.Faults.Signed(world.PersonCA))
		_, err = s.Submit(ctx, h, st)
		s.Refused(err, policy.IntentLimit)
		if len(s.Faults.Signed(world.PersonCA)) != signed {
			t.Error("signed beyond the limit")
		}
		c, err := s.Login(ctx, h)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Downloads.Abandon(ctx, c, st.Download.ID); err != nil {
			t.Fatal(err)
		}
		h.Forget()
	}
	burn(policy.IntentsPerSlot)
	limited()
	burn(policy.IntentsPerCard - policy.IntentsPerSlot - 2)
	limited()
	s.Pass(25 * time.Hour)
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Errorf("the next day: %v", err)
	}
	s.Sound()
	s.Truth()
}

// A key is certified once, on one card. The same item may come again with its
// key; nobody else ever may, and a key that was refused once is refused
// everywhere. What another card's key leads to, is in incident_test.go.
func TestKeySeenBefore(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	first, second := s.Holder(), s.Holder()
	submit := func(h *world.Holder, id policy.OrderID) error {
		t.Helper()
		st, err := s.Begin(ctx, h, id)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Submit(ctx, h, st)
		return err
	}
	ofFirst, ofSecond := s.Ordered(first, policy.OrderRenewal), s.Ordered(second, policy.OrderRenewal)
	for name, key := range map[string]*ecdsa.PrivateKey{
		"of the own eID":            second.CurrentKey().(*ecdsa.PrivateKey),
		"of the own transport cert": second.TransportKey().(*ecdsa.PrivateKey),
	} {
		t.Log(name)
		second.SetNextKey(key)
		s.Refused(submit(second, ofSecond), policy.KeySeenRule)
	}
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fp, err := ca.FingerprintKey(good.Public())
	if err != nil {
		t.Fatal(err)
	}
	err = s.Views.Issue.Update(ctx, func(tx *issue.Tx) error {
		return tx.MarkKey(issue.KeySeen{Fingerprint: fp, Card: first.Card, Slot: policy.Authentication, Verdict: string(policy.KeyPoint), SeenAt: s.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	first.SetNextKey(good)
	s.Refused(submit(first, ofFirst), policy.KeyPoint)
	second.SetNextKey(good)
	s.Refused(submit(second, ofSecond), policy.KeyPoint)
	if n := s.Rows("intents i JOIN downloads d ON d.id = i.download", "d.state = 'planned'"); n != 0 {
		t.Errorf("%d intents of refused keys", n)
	}
	s.Sound()
}

// A bad key is remembered before its holder is told.
func TestRefusedKeyIsRemembered(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	one := make([]byte, 32)
	one[31] = 1 // the public key is the generator: everybody knows the private one
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), one)
	if err != nil {
		t.Fatal(err)
	}
	h.SetNextKey(key)
	st, err := s.Begin(ctx, h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Submit(ctx, h, st)
	s.Refused(err, policy.KeyPoint)
	fp, err := ca.FingerprintKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Rows("keys_seen", "fingerprint = ? AND verdict = ?", fp[:], string(policy.KeyPoint)); n != 1 {
		t.Error("the refused key is not remembered")
	}
	if n := s.Rows("intents", "download = ?", string(st.Download.ID)); n != 0 {
		t.Errorf("%d intents", n)
	}
	h.Forget()
	if _, err = s.Submit(ctx, h, st); err != nil { // a good one, same challenge
		t.Error(err)
	}
}
