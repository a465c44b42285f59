package api_test

import (
	"net/http"
	"testing"

	"sigill/internal/wire"
	"sigill/policy"
)

// A browser presents the card in its reader to whatever page makes it send a
// request: what another site asks for is not what the holder asks for.
func TestAnotherSiteCannotUseTheCard(t *testing.T) {
	s := serve(t)
	h := s.Holder()
	c := s.as(h)
	block := wire.Block{Reason: "lost"}
	for name, header := range map[string][]string{
		"form of another site":       {"Content-Type", "text/plain", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
		"script of another site":     {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
		"another host of the site":   {"Origin", "https://www.example.com", "Sec-Fetch-Site", "same-site"},
		"browser without metadata":   {"Origin", "https://evil.example"},
		"sandboxed page":             {"Origin", "null"},
		"metadata without an origin": {"Sec-Fetch-Site", "cross-site"},
	} {
		a := s.do(c, "POST", "/card/v1/block", block, header...)
		s.refused(a, http.StatusForbidden, "cross-origin", "")
		if a.problem.Title == "" || s.Rows("cards", "state = 'blocked'") != 0 {
			t.Fatalf("%s blocked the card", name)
		}
	}
	org := "/api/v1/organisations/" + string(s.Org) + "/people"
	s.refused(s.do(s.as(s.Admins[0]), "POST", org, "x", "Sec-Fetch-Site", "cross-site"), 403, "cross-origin", "")
	// Who has no card learns no more from it than that.
	s.refused(s.do(s.client(nil, nil), "POST", "/card/v1/block", block, "Sec-Fetch-Site", "cross-site"), 403, "cross-origin", "")

	s.do(c, "GET", "/card/v1/me", nil, "Sec-Fetch-Site", "cross-site").read(t, new(wire.Me))
	s.do(c, "POST", "/card/v1/block", block, "Sec-Fetch-Site", "same-origin", "Origin", s.http.URL).read(t, new(struct{}))
}

// The types that a form can send without asking first are not taken.
func TestBodiesAreOfTheirType(t *testing.T) {
	s := serve(t)
	c, admin := s.as(s.Holder()), s.as(s.Admins[0])
	people := "/api/v1/organisations/" + string(s.Org) + "/people"
	for _, x := range []struct {
		client     *http.Client
		path, kind string
		status     int
	}{
		{c, "/card/v1/block", "", 415},
		{c, "/card/v1/block", "text/plain", 415},
		{c, "/card/v1/block", "text/plain; application/json", 415},
		{c, "/card/v1/block", "application/x-www-form-urlencoded", 415},
		{c, "/card/v1/block", "multipart/form-data; boundary=application/json", 415},
		{c, "/card/v1/block", "application/json, text/plain", 415},
		{c, "/card/v1/block", "application/json; =", 415},
		{c, "/card/v1/block", "application/jsonp", 415},
		{c, "/card/v1/block", "text/csv", 415},
		{c, "/card/v1/block", "application/json", 400},
		{c, "/card/v1/block", "Application/JSON; charset=UTF-8", 400},
		{admin, people, "", 415},
		{admin, people, "text/plain", 415},
		{admin, people, "application/json", 415},
		{admin, people, "text/csv", 400},
		{admin, people, "text/csv; charset=utf-8; header=present", 400},
	} {
		a := s.do(x.client, "POST", x.path, `{"reason":"bored"}`, "Content-Type", x.kind)
		if x.status == 400 {
			s.refused(a, 400, "refused", policy.RequestForm)
			continue
		}
		s.refused(a, 415, "media-type", "")
		if a.problem.Detail == "" {
			t.Errorf("%q at %s: it is not told what is expected", x.kind, x.path)
		}
	}
}
