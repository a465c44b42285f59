package api_test

import (
	"strings"
	"testing"

	"sigill/internal/api"
	"sigill/policy"
)

// The server serves no sigill-card that says that it is too old: both versions are
// named, and nothing is begun. Of other programs it knows no versions.
func TestOldClientIsRefused(t *testing.T) {
	s := serve(t, func(_ *server, c *api.Config) { c.MinClient = "0.4.0" })
	h := s.Holder()
	order := s.Ordered(h, policy.OrderRenewal)
	begin := `{"order":"` + string(order) + `"}`
	for _, agent := range []string{"sigill-card/0.3.9", "sigill-card/0.3.9 (x)", "sigill-card/0.4"} {
		a := s.do(s.as(h), "POST", "/card/v1/downloads", begin, "User-Agent", agent)
		old := agent != "sigill-card/0.4"
		if !old {
			if a.StatusCode != 200 {
				t.Errorf("%s: %d %+v", agent, a.StatusCode, a.problem)
			}
			continue
		}
		if a.StatusCode != 403 || a.problem.Rule != string(policy.ClientVersion) ||
			!strings.Contains(a.problem.Detail, "0.3.9") || !strings.Contains(a.problem.Detail, "0.4.0") || a.problem.Next == "" {
			t.Errorf("%s: %d %+v", agent, a.StatusCode, a.problem)
		}
		if n := s.Rows("downloads", "card = ? AND state = 'planned'", string(h.Card)); n != 0 {
			t.Errorf("%s: %d downloads were begun", agent, n)
		}
	}
	d, err := s.Begin(t.Context(), h, order)
	if err != nil {
		t.Fatal(err)
	}
	a := s.do(s.as(h), "POST", "/card/v1/downloads/"+string(d.Download.ID)+"/items/authentication", `{"csr":"AAAA"}`, "User-Agent", "sigill-card/0.3.9")
	if a.problem.Rule != string(policy.ClientVersion) {
		t.Errorf("submit: %+v", a.problem)
	}
	for _, agent := range []string{"curl/8.0", "", "sigill-card/devel", "sigill-card/1.0.0", "sigill-cards/0.1"} {
		if a := s.do(s.as(h), "POST", "/card/v1/downloads", begin, "User-Agent", agent); a.StatusCode != 200 {
			t.Errorf("%q: %d %+v", agent, a.StatusCode, a.problem)
		}
	}
}
