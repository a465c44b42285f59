package download_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/policy"
)

// Who can write the database and has an eID of his own approves in another's name:
// the signature is genuine and the certificate is too, and the name beside them is
// another's. That the certificate's row was made that other's helps no further: the
// card that the certificate names has one holder.
func TestStatementInAnothersName(t *testing.T) {
	for name, further := range map[string]string{
		"statement":                 "",
		"statement and certificate": "UPDATE certificates SET person = ? WHERE fingerprint = ?",
	} {
		t.Run(name, func(t *testing.T) {
			s := worldtest.New(t)
			ctx := t.Context()
			h, thief := s.Person(), s.Holder()
			d, err := s.Preview(ctx, h, policy.OrderOrdinary)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Place(ctx, d, 0); err != nil {
				t.Fatal(err)
			}
			st := world.Statement(statement.ActApprove, d)
			st.By, st.At = s.Admins[1].Name(), s.Now().UTC().Truncate(time.Second)
			content := st.Bytes()
			signature, err := statement.Sign(thief.CurrentKey(), content)
			if err != nil {
				t.Fatal(err)
			}
			fp := ca.FingerprintOf(thief.CertificateOf())
			s.Exec(`INSERT INTO statements (id, act, subject, by_person, certificate, content, signature, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
				policy.NewID("st"), statement.ActApprove, string(d.Order), st.By, fp[:], content, signature, s.Now().UnixMicro())
			s.Exec("UPDATE orders SET state = 'approved' WHERE id = ?", string(d.Order))
			if further != "" {
				s.Exec(further, s.Admins[1].Name(), fp[:])
			}
			signed := len(s.Faults.Signed(world.PersonCA))
			forged, err := s.Begin(ctx, h, d.Order) // sees it, or else the request does
			if err == nil {
				_, err = s.Submit(ctx, h, forged)
			}
			s.Refused(err, policy.OrderApprovals)
			if n := s.Rows("intents", "order_id = ?", string(d.Order)); n != 0 || len(s.Faults.Signed(world.PersonCA)) != signed {
				t.Errorf("%d intents, %d signatures", n, len(s.Faults.Signed(world.PersonCA))-signed)
			}
		})
	}
}

// The holder's own wish makes no certificate that rests on a row: neither on an
// order that made another eID, nor on one that nobody signed so, nor for a longer
// time than the eID has, nor without those who signed for it.
func TestSigningRestsOnNoRow(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *worldtest.Scene, h *world.Holder, st *download.State)
		rule   policy.Rule
	}{
		"eID of another's order": {func(s *worldtest.Scene, h *world.Holder, _ *download.State) {
			s.Exec("UPDATE certificates SET order_id = ? WHERE fingerprint = ?", string(s.Admins[0].Certificate().Order), eidPrint(h))
		}, policy.SigningEID},
		"eID of another organisation": {func(s *worldtest.Scene, h *world.Holder, _ *download.State) {
			other, err := s.AddOrganisation(s.T.Context(), "Kommunen", h)
			if err != nil {
				s.T.Fatal(err)
			}
			s.Exec("UPDATE certificates SET organisation = ? WHERE fingerprint = ?", string(other), eidPrint(h))
		}, policy.SigningEID},
		"eID at another level": {func(s *worldtest.Scene, h *world.Holder, _ *download.State) {
			s.Exec("UPDATE certificates SET loa = 2 WHERE fingerprint = ?", eidPrint(h))
		}, policy.SigningEID},
		"eID that lives longer": {func(s *worldtest.Scene, h *world.Holder, _ *download.State) {
			s.Exec("UPDATE certificates SET not_after = not_after + 86400000000 WHERE fingerprint = ?", eidPrint(h))
		}, policy.SigningEID},
		"order in other words": {func(s *worldtest.Scene, h *world.Holder, _ *download.State) {
			reword(s, h)
		}, policy.DownloadPlan},
		"order and plan in other words": {func(s *worldtest.Scene, h *world.Holder, st *download.State) {
			hash := reword(s, h)
			replan(s, st, func(p *policy.Plan) { p.OrderHash, p.Adds[0].Content.Surname = hash, "von "+p.Adds[0].Content.Surname })
		}, policy.OrderApprovals},
		"plan that lives longer": {func(s *worldtest.Scene, h *world.Holder, st *download.State) {
			replan(s, st, func(p *policy.Plan) { p.Adds[0].NotAfter = p.Adds[0].NotAfter.AddDate(1, 0, 0) })
		}, policy.DownloadPlan},
		"plan in another name": {func(s *worldtest.Scene, h *world.Holder, st *download.State) {
			replan(s, st, func(p *policy.Plan) { p.Adds[0].Content.CommonName = "Någon Annan" })
		}, policy.DownloadPlan},
		"plan without the eID": {func(s *worldtest.Scene, h *world.Holder, st *download.State) {
			replan(s, st, func(p *policy.Plan) { p.EID = "" })
		}, policy.DownloadPlan},
		"one signature fewer": {func(s *worldtest.Scene, h *world.Holder, _ *download.State) {
			s.Exec("DELETE FROM statements WHERE subject = ? AND act = 'order.approve'", string(h.Certificate().Order))
		}, policy.OrderApprovals},
		"a statement's signature": {func(s *worldtest.Scene, h *world.Holder, _ *download.State) {
			s.Exec(`UPDATE statements SET signature = (SELECT signature FROM statements WHERE subject = ? AND act = 'order.approve')
				WHERE subject = ? AND act = 'order.place'`, string(h.Certificate().Order), string(h.Certificate().Order))
		}, policy.OrderApprovals},
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
			c.change(s, h, st)
			csr, err := h.RequestFor(st, policy.Signing)
			if err != nil {
				t.Fatal(err)
			}
			signed := len(s.Faults.Signed(world.PersonCA))
			before := s.Dump()
			_, err = s.Downloads.Submit(ctx, caller, st.Download.ID, policy.Signing, csr)
			s.Refused(err, c.rule)
			unchanged(s, before)
			if n := len(s.Faults.Signed(world.PersonCA)); n != signed {
				t.Errorf("%d signatures", n-signed)
			}
		})
	}
}

// eidPrint is the fingerprint of a holder's eID.
func eidPrint(h *world.Holder) []byte { return h.Certificate().Fingerprint[:] }

// replan changes the stored plan of a download and its hash.
func replan(s *worldtest.Scene, st *download.State, change func(*policy.Plan)) {
	s.T.Helper()
	plan, err := policy.ParsePlan(st.Download.Plan)
	if err != nil {
		s.T.Fatal(err)
	}
	change(&plan)
	st.Download.Plan, st.Download.PlanHash = plan.Bytes()
	s.Exec(`UPDATE downloads SET plan = ?, plan_hash = ? WHERE id = ?`, st.Download.Plan, st.Download.PlanHash[:], string(st.Download.ID))
}

// reword changes the name in the order that made a holder's eID, and returns the
// order's new hash.
func reword(s *worldtest.Scene, h *world.Holder) string {
	s.T.Helper()
	var words []byte
	err := s.Views.Orders.View(s.T.Context(), func(tx *orders.Tx) error {
		o, err := tx.Orders.Order(h.Certificate().Order)
		if err == nil {
			words = bytes.Replace(o.Bytes, []byte(`"surname":"`), []byte(`"surname":"von `), 1)
		}
		return err
	})
	if err != nil {
		s.T.Fatal(err)
	}
	s.Exec("UPDATE orders SET bytes = CAST(? AS BLOB) WHERE id = ?", words, string(h.Certificate().Order))
	return fmt.Sprintf("%x", sha256.Sum256(words))
}
