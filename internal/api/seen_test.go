package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"sigill/internal/api"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/policy"
)

// TestWaitVisible: who takes back may wait until it is seen; the answer says so beside
// what it says otherwise. Without the parameter nothing waits and nothing is said, and
// what is not understood is refused before anything is done.
func TestWaitVisible(t *testing.T) {
	waits, missing := 0, ""
	s := serve(t, func(s *server, c *api.Config) {
		c.Seen = func(ctx context.Context, act func() error) (string, error) {
			waits++
			before := s.Rows("revocations", "1 = 1")
			if err := act(); err != nil {
				return "", err
			}
			if s.Rows("revocations", "1 = 1") == before && missing != "nothing" {
				t.Error("the wait began before the act was done")
			}
			return missing, nil
		}
	})
	first, second, third := s.Holder(), s.Holder(), s.Holder()
	block := func(h *world.Holder, query string) *answer {
		return s.do(s.as(h), "POST", "/card/v1/block"+query, wire.Block{Reason: "lost"})
	}
	members := func(a *answer) map[string]any {
		t.Helper()
		if a.StatusCode != http.StatusOK {
			t.Fatalf("status %d: %s", a.StatusCode, a.body)
		}
		var m map[string]any
		if err := json.Unmarshal(a.body, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, query := range []string{"?wait=", "?wait=long", "?wait=visible&wait=visible"} {
		s.refused(block(first, query), 400, "refused", policy.RequestForm)
	}
	if waits != 0 || s.Rows("revocations", "1 = 1") != 0 {
		t.Fatal("something was done")
	}
	if m := members(block(first, "")); len(m) != 0 || waits != 0 {
		t.Errorf("without the parameter: %v after %d waits", m, waits)
	}
	if m := members(block(second, "?wait=visible")); len(m) != 1 || m["visible"] != true || waits != 1 {
		t.Errorf("answer %v after %d waits", m, waits)
	}
	missing = "process x has not seen it"
	if m := members(block(third, "?wait=visible")); len(m) != 2 || m["visible"] != false || m["why"] != missing || waits != 2 {
		t.Errorf("answer %v after %d waits", m, waits)
	}
	// An answer that says something says that too.
	h := s.Holder()
	order := s.Ordered(h, policy.OrderRenewal)
	missing = "nothing"
	if m := members(s.do(s.as(s.Admins[0]), "POST", "/api/v1/orders/"+string(order)+"/withdraw?wait=visible", struct{}{})); m["id"] != string(order) || m["state"] != "withdrawn" || m["visible"] != false {
		t.Errorf("answer %v", m)
	}
	// What fails is told as ever; what does not take back does not wait.
	s.refused(s.do(s.as(h), "POST", "/api/v1/certificates/"+"4000000000000000000000000000000a"+"/revoke?wait=visible", wire.Revoke{Reason: "superseded"}), 404, "not-found", "")
	before := waits
	if m := members(s.do(s.as(h), "GET", "/card/v1/me?wait=visible", nil)); m["visible"] != nil || waits != before {
		t.Errorf("answer %v after a read", m)
	}
}

// TestWaitWhereNobodyCan: a server that can't tell refuses to be asked.
func TestWaitWhereNobodyCan(t *testing.T) {
	s := serve(t)
	s.refused(s.do(s.as(s.Holder()), "POST", "/card/v1/block?wait=visible", wire.Block{Reason: "lost"}), 400, "refused", policy.RequestForm)
	if s.Rows("revocations", "1 = 1") != 0 {
		t.Error("it was done")
	}
}
