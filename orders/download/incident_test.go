package download_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// attempt begins a renewal for h and returns what submits key for it.
func attempt(s *worldtest.Scene, h *world.Holder, key crypto.Signer) (download.Cause, func(context.Context) error) {
	s.T.Helper()
	cause := download.Cause{Order: s.Ordered(h, policy.OrderRenewal)}
	st, err := s.Begin(s.T.Context(), h, cause.Order)
	if err != nil {
		s.T.Fatal(err)
	}
	caller := login(s, h)
	h.SetNextKey(key)
	csr, err := h.Request(st)
	if err != nil {
		s.T.Fatal(err)
	}
	return cause, func(ctx context.Context) error {
		_, err := s.Downloads.Submit(ctx, caller, st.Download.ID, policy.Authentication, csr)
		return err
	}
}

func login(s *worldtest.Scene, h *world.Holder) register.Caller {
	s.T.Helper()
	c, err := s.Login(s.T.Context(), h)
	if err != nil {
		s.T.Fatal(err)
	}
	return c
}

func keyOf(s *worldtest.Scene, key crypto.Signer) ca.KeyFingerprint {
	s.T.Helper()
	fp, err := ca.FingerprintKey(key.Public())
	if err != nil {
		s.T.Fatal(err)
	}
	return fp
}

// compromised reports whether a certificate is revoked as keyCompromise and stands
// nowhere.
func compromised(s *worldtest.Scene, fp ca.Fingerprint) bool {
	s.T.Helper()
	return s.Rows("revocations r JOIN certificates c ON c.serial = r.serial", "c.fingerprint = ? AND r.reason = 1", fp[:]) > 0 &&
		s.Rows("standings", "certificate = ?", fp[:]) == 0
}

// A second card that proves to have a key of another one shows that the key was
// copied. Nobody can tell which of the two has the copy: both lose what they had.
func TestCopiedKeyIsAnIncidentForBoth(t *testing.T) {
	for _, tt := range []struct {
		name string
		// prepare returns the key, and the certificate that carries it.
		prepare func(s *worldtest.Scene, first *world.Holder) (crypto.Signer, ca.Fingerprint)
		card    bool // the key is certified on a card
	}{
		{"of the other's eID", func(s *worldtest.Scene, first *world.Holder) (crypto.Signer, ca.Fingerprint) {
			return first.CurrentKey(), first.Certificate().Fingerprint
		}, true},
		{"of the other's transport certificate", func(s *worldtest.Scene, first *world.Holder) (crypto.Signer, ca.Fingerprint) {
			return first.TransportKey(), ca.FingerprintOf(first.TransportDER())
		}, true},
		{"of a technical certificate", func(s *worldtest.Scene, first *world.Holder) (crypto.Signer, ca.Fingerprint) {
			return technical(s)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := worldtest.New(t)
			first, second := s.Holder(), s.Holder()
			key, carries := tt.prepare(s, first)
			logIn := second.Certificate().Fingerprint
			_, submit := attempt(s, second, key)
			s.Refused(submit(t.Context()), policy.KeySeenRule)
			s.Sound()
			bothEnded(s, carries, logIn, second)
			onCard := "card IS NULL"
			if tt.card {
				onCard = "card = '" + string(first.Card) + "'"
			}
			if n := s.Rows("incidents", onCard+" AND proved_on = ? AND id LIKE 'inc_%'", string(second.Card)); n != 1 {
				t.Errorf("%d incidents", n)
			}
			if n := s.Rows("incident_certificates", "TRUE"); n != 2 {
				t.Errorf("%d certificates in the incident", n)
			}
			if n := s.Rows("events", "act IN ('key.incident', 'key.blocked')"); n != 2 {
				t.Errorf("%d events", n)
			}
			if tt.card && carries == first.Certificate().Fingerprint {
				if _, err := s.Login(t.Context(), first); !refusedBy(err, policy.LoginRevoked) {
					t.Errorf("first logs in: %v", err)
				}
			}
			// A third card with the same key is the next incident of the same key.
			third := s.Holder()
			_, submit = attempt(s, third, key)
			s.Refused(submit(t.Context()), policy.KeyBlocked)
			if !compromised(s, third.Certificate().Fingerprint) || s.Rows("incidents", "TRUE") != 2 {
				t.Error("the third card goes free")
			}
			s.Sound()
			if tt.card {
				s.Truth()
			}
		})
	}
}

// bothEnded wants both certificates revoked, and the second card out.
func bothEnded(s *worldtest.Scene, carries, logIn ca.Fingerprint, second *world.Holder) {
	s.T.Helper()
	for name, fp := range map[string]ca.Fingerprint{"that carries the key": carries, "of the log-in": logIn} {
		if !compromised(s, fp) {
			s.T.Errorf("the certificate %s is alive", name)
		}
	}
	if _, err := s.Login(s.T.Context(), second); !refusedBy(err, policy.LoginRevoked) {
		s.T.Errorf("second logs in: %v", err)
	}
	if n := s.Rows("downloads", "card = ? AND state = 'planned'", string(second.Card)); n != 0 {
		s.T.Error("the download of the second card is open")
	}
}

func refusedBy(err error, rule policy.Rule) bool {
	refusal, ok := errors.AsType[*policy.Refusal](err)
	return ok && refusal.Rule == rule
}

// technical issues an OCSP signer's certificate.
func technical(s *worldtest.Scene) (crypto.Signer, ca.Fingerprint) {
	s.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.T.Fatal(err)
	}
	c, err := s.Issue.Issue(s.T.Context(), world.CardCA, ca.Request{Profile: policy.ProfileOCSP,
		Content: ca.Content{CommonName: "OCSP"}, PublicKey: key.Public(),
		NotBefore: s.Now().Add(-register.Backdate), NotAfter: s.Now().Add(24 * time.Hour)}, issue.Binding{}, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	return key, c.Fingerprint
}

// The signing certificate goes with the eID that an incident takes.
func TestIncidentTakesTheSigningCertificate(t *testing.T) {
	s := worldtest.New(t)
	first, second := both(s), both(s)
	_, submit := attempt(s, second, first.CurrentKey())
	s.Refused(submit(t.Context()), policy.KeySeenRule)
	for _, h := range []*world.Holder{first, second} {
		if !compromised(s, h.SigningCertificate().Fingerprint) || !compromised(s, h.Certificate().Fingerprint) {
			t.Errorf("something of card %s is alive", h.Card)
		}
	}
	s.Sound()
	s.Truth()
}

// An old key of the same card is refused, and is no incident: a card offers its old
// keys when it was interrupted.
func TestOldKeyOfTheSameCardIsNoIncident(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	old := h.CurrentKey()
	if err := s.Fetch(t.Context(), h, s.Ordered(h, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"replaced": old, "current": h.CurrentKey(), "transport": h.TransportKey()} {
		t.Run(name, func(t *testing.T) {
			cause, submit := attempt(s, h, key)
			s.Refused(submit(t.Context()), policy.KeySeenRule)
			if n := s.Rows("incidents", "TRUE") + s.Rows("blocked_keys", "TRUE") + s.Rows("queued_revocations", "TRUE"); n != 0 {
				t.Errorf("%d rows of incidents", n)
			}
			h.Forget()
			if err := s.Resume(t.Context(), h, cause.Order); err != nil {
				t.Errorf("with a new key: %v", err)
			}
			s.Sound()
		})
	}
}

// A key that a second card proves while the first one's certificate is on its way
// is not certified: the block stops it between record and store.
func TestCopiedKeyWhileItIsBeingCertified(t *testing.T) {
	s := worldtest.New(t)
	first, second := s.Holder(), s.Holder()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, submitFirst := attempt(s, first, key)
	_, submitSecond := attempt(s, second, key)
	s.Faults.BeforeSign(1, func() {
		s.Faults.Clear()
		s.Refused(submitSecond(t.Context()), policy.KeySeenRule)
	})
	s.Refused(submitFirst(t.Context()), policy.KeyBlocked)
	fp := keyOf(s, key)
	if n := s.Rows("certificates", "key_fingerprint = ?", fp[:]); n != 0 {
		t.Errorf("%d certificates of a copied key", n)
	}
	if !compromised(s, second.Certificate().Fingerprint) || s.Working(first) != 1 {
		t.Error("the second card's log-in should end, and the first card's eID, of another key, live")
	}
	if n := s.Rows("incidents", "card = ? AND proved_on = ?", string(first.Card), string(second.Card)); n != 1 {
		t.Errorf("%d incidents", n)
	}
	s.Sound()
	s.Truth()
}

// A key that was refused for its weakness is refused by the same rule whoever
// brings it; that it is certified somewhere (the list grew since) is an incident.
func TestWeakKeyStaysRefusedByItsRule(t *testing.T) {
	s := worldtest.New(t)
	first, second := s.Holder(), s.Holder()
	fp := keyOf(s, first.CurrentKey())
	// As if the gate had learnt of it: the verdict is remembered for the key.
	s.Exec("UPDATE keys_seen SET verdict = 'key.published' WHERE fingerprint = ?", fp[:])
	_, submit := attempt(s, second, first.CurrentKey())
	s.Refused(submit(t.Context()), policy.KeyPublished)
	if !compromised(s, first.Certificate().Fingerprint) || !compromised(s, second.Certificate().Fingerprint) {
		t.Error("a weak key that two cards have is certified still")
	}
	_, submit = attempt(s, s.Holder(), first.CurrentKey())
	s.Refused(submit(t.Context()), policy.KeyBlocked)
	s.Sound()
}

// incidentUpdates are the transactions of a submitted key that is certified on
// another card: record (rolled back), the refusal with its incident, the two
// revocations together, and the record of the refused request.
const incidentUpdates = 4

// Wherever the server is cut off, there is one incident in the end, both sides'
// certificates are revoked, and at no moment is an incident told whose certificates
// are neither revoked nor in the queue.
func TestIncidentCutOffAnywhere(t *testing.T) {
	s := worldtest.New(t)
	first, second := s.Holder(), s.Holder()
	_, submit := attempt(s, second, first.CurrentKey())
	s.Faults.Clear()
	s.Refused(submit(t.Context()), policy.KeySeenRule)
	if n, _ := s.Faults.Counts(); n != incidentUpdates {
		t.Fatalf("a clean run has %d transactions, want %d", n, incidentUpdates)
	}
	for i := range incidentUpdates {
		s := worldtest.New(t)
		for _, f := range fault.Transactions() {
			for _, restart := range []bool{true, false} {
				t.Run(fmt.Sprintf("transaction %d %s, restarted %v", i+1, f, restart), func(t *testing.T) {
					s.T = t
					cutIncidentOff(s, i+1, f, restart)
				})
			}
		}
	}
}

func cutIncidentOff(s *worldtest.Scene, n int, f fault.Fault, restart bool) {
	t := s.T
	first, second := s.Holder(), s.Holder()
	_, submit := attempt(s, second, first.CurrentKey())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Faults.FailUpdate(n, f, cancel)
	err := submit(ctx)
	s.Faults.Clear()
	if err == nil {
		t.Fatal("a copied key was certified")
	}
	s.Sound()
	if restart {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	} else {
		s.Pass(time.Minute)
	}
	// The second card comes again, as who was not told comes, if it still can.
	if _, err := s.Login(t.Context(), second); err == nil {
		if err := submit(t.Context()); err == nil {
			t.Fatal("a copied key was certified")
		}
	}
	for range 2 { // the second time there is nothing to do
		if _, err := s.Downloads.RevokeQueued(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Downloads.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Rows("incidents", "card = ? AND proved_on = ?", string(first.Card), string(second.Card)); n != 1 {
		t.Errorf("%d incidents", n)
	}
	for _, h := range []*world.Holder{first, second} {
		if !compromised(s, h.Certificate().Fingerprint) {
			t.Errorf("the eID on card %s is alive", h.Card)
		}
	}
	if n := s.Rows("queued_revocations", "done_at IS NULL"); n != 0 {
		t.Errorf("%d in the queue", n)
	}
	fp := first.Certificate().Fingerprint
	if n := s.Rows("revocations r JOIN certificates c ON c.serial = r.serial", "c.fingerprint = ?", fp[:]); n != 1 {
		t.Errorf("revoked %d times", n)
	}
	s.Sound()
	s.Truth()
}

// The same incident twice, while the queue was not worked through, is one row.
func TestIncidentTwiceIsOne(t *testing.T) {
	s := worldtest.New(t)
	first, second := s.Holder(), s.Holder()
	_, submit := attempt(s, second, first.CurrentKey())
	s.Faults.FailUpdate(3, fault.NotBegun, nil) // both revocations; then each has a transaction of its own
	s.Refused(submit(t.Context()), policy.KeySeenRule)
	s.Faults.Clear()
	s.Sound()
	if n := s.Rows("queued_revocations", "done_at IS NULL"); n != 0 {
		t.Fatalf("%d in the queue: one that fails holds up the other", n)
	}
	err := submit(t.Context())
	if _, ok := errors.AsType[*policy.Refusal](err); !ok {
		t.Fatal(err)
	}
	if n, err := s.Downloads.RevokeQueued(t.Context()); err != nil || n > 1 {
		t.Errorf("%d revoked, %v", n, err)
	}
	if s.Rows("incidents", "TRUE") != 1 || s.Rows("incident_certificates", "TRUE") != 2 || s.Rows("queued_revocations", "done_at IS NULL") != 0 {
		t.Error("not one incident that is dealt with")
	}
	s.Sound()
}
