package download_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// TestRowsDoNotOverruleTheSignedOrder: who can write the database changes what an
// order's row says, so that fewer signatures seem to be enough. Every decision is
// taken on the signed document, and a row that differs is refused.
func TestRowsDoNotOverruleTheSignedOrder(t *testing.T) {
	for _, test := range []struct{ name, change string }{
		{"level", `UPDATE orders SET loa = 2, state = 'approved' WHERE id = ?`},
		{"type", `UPDATE orders SET type = 'update', state = 'approved' WHERE id = ?`},
		{"time", `UPDATE orders SET expires_at = expires_at + 86400000000, state = 'approved' WHERE id = ?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := worldtest.New(t)
			h := s.Person()
			d, err := s.Preview(t.Context(), h, policy.OrderOrdinary)
			if err != nil {
				t.Fatal(err)
			}
			o, err := s.Place(t.Context(), d, 0)
			if err != nil {
				t.Fatal(err)
			}
			s.Exec(test.change, string(o.ID))
			_, err = s.Begin(t.Context(), h, o.ID)
			s.Refused(err, policy.OrderApprovals)
			_, err = s.Approve(t.Context(), d, 1)
			s.Refused(err, policy.OrderApprovals)
			if n := s.Rows("downloads", "card = ?", string(h.Card)); n != 0 {
				t.Errorf("%d downloads", n)
			}
		})
	}
}

// TestStoredPlanIsTheSignedOrders: a plan that was changed in the database, with
// or without its hash, makes no certificate.
func TestStoredPlanIsTheSignedOrders(t *testing.T) {
	for _, test := range []struct {
		name string
		hash bool // changed along
	}{{"plan", false}, {"plan and hash", true}} {
		t.Run(test.name, func(t *testing.T) {
			s := worldtest.New(t)
			h := s.Holder()
			st, err := s.Begin(t.Context(), h, s.Ordered(h, policy.OrderRenewal))
			if err != nil {
				t.Fatal(err)
			}
			plan := strings.Replace(string(st.Download.Plan), `"loa":3`, `"loa":2`, 1)
			if plan == string(st.Download.Plan) {
				t.Fatal("the plan names no level")
			}
			s.Exec(`UPDATE downloads SET plan = CAST(? AS BLOB) WHERE id = ?`, plan, string(st.Download.ID))
			if test.hash {
				sum := sha256.Sum256([]byte(plan))
				s.Exec(`UPDATE downloads SET plan_hash = unhex(?) WHERE id = ?`, hex.EncodeToString(sum[:]), string(st.Download.ID))
				st.Download.Plan, st.Download.PlanHash = []byte(plan), sum
			}
			_, err = s.Submit(t.Context(), h, st)
			s.Refused(err, policy.DownloadPlan)
			if n := s.Rows("intents", "download = ?", string(st.Download.ID)); n != 0 {
				t.Errorf("%d intents", n)
			}
		})
	}
}
