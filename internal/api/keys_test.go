package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	"sigill/ca"
	"sigill/internal/adminclient"
	"sigill/internal/card"
	"sigill/internal/wire"
	"sigill/policy"
)

// A proof, two administrators and an incident, over the wire.
func TestCompromisedKeysOverTheWire(t *testing.T) {
	s := serve(t)
	victim, finder, stated := s.Holder(), s.Holder(), s.Holder()
	admin := s.as(s.Admins[0])

	proof, err := adminclient.ProveKey(victim.CurrentKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false, false} {
		proof.DryRun = dry
		var k wire.Key
		s.do(s.as(finder), "POST", "/api/v1/keys/compromised", proof).read(t, &k)
		if k.Count != 1 || len(k.Certificates) != 0 || (k.Blocked == nil) != dry {
			t.Errorf("dry %v: %+v", dry, k)
		}
		if n := s.Working(victim); (n == 1) != dry {
			t.Errorf("dry %v: %d working eIDs", dry, n)
		}
	}
	s.refused(s.do(s.as(victim), "GET", "/api/v1/whoami", nil), http.StatusUnauthorized, "refused", policy.LoginRevoked)
	proof.Signature[8] ^= 1
	s.refused(s.do(s.as(finder), "POST", "/api/v1/keys/compromised", proof), http.StatusForbidden, "refused", policy.KeyProof)
	proof.PublicKey = nil
	s.refused(s.do(s.as(finder), "POST", "/api/v1/keys/compromised", proof), http.StatusBadRequest, "refused", policy.RequestForm)

	fp, err := adminclient.KeyFingerprint(stated.CurrentKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	var k wire.Key
	s.do(admin, "GET", "/api/v1/keys/"+fp, nil).read(t, &k)
	if k.Count != 1 || len(k.Certificates) != 1 || k.Certificates[0].State != "current" {
		t.Fatalf("shown: %+v", k)
	}
	s.refused(s.do(s.as(finder), "GET", "/api/v1/keys/"+fp, nil), http.StatusNotFound, "not-found", "")
	s.refused(s.do(admin, "GET", "/api/v1/keys/"+fp[1:], nil), http.StatusBadRequest, "refused", policy.RequestForm)
	document, st, err := adminclient.KeyBlockDocument(&k)
	if err != nil {
		t.Fatal(err)
	}
	s.refused(s.do(admin, "POST", "/api/v1/keys/block", s.stated(document, st, s.Admins[0])), http.StatusBadRequest, "refused", policy.StatementForm)
	s.do(admin, "POST", "/api/v1/keys/block", s.stated(document, st, s.Admins[0], s.Admins[1])).read(t, &k)
	if k.Blocked == nil || k.Blocked.Cause != "administrators" || k.Certificates[0].State != "revoked" {
		t.Errorf("blocked: %+v", k)
	}
	s.incidentOverTheWire(admin)
	s.Sound()
	s.Truth()
}

func (s *server) incidentOverTheWire(admin *http.Client) {
	t := s.t
	first, second := s.Holder(), s.Holder()
	cause := s.Ordered(second, policy.OrderRenewal)
	st, err := s.Begin(t.Context(), second, cause)
	if err != nil {
		t.Fatal(err)
	}
	it := st.Items[0]
	csr, err := card.NewRequest(first.CurrentKey(), card.Binding{Download: string(st.Download.ID), Slot: string(it.Slot), Card: string(second.Card),
		Login: st.Download.Login, PlanHash: st.Download.PlanHash, Challenge: it.Challenge})
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]string{"csr": base64.StdEncoding.EncodeToString(csr)}
	path := fmt.Sprintf("/card/v1/downloads/%s/items/%s", st.Download.ID, it.Slot)
	s.refused(s.do(s.as(second), "POST", path, body), http.StatusForbidden, "refused", policy.KeySeenRule)
	s.refused(s.do(s.as(first), "GET", "/card/v1/me", nil), http.StatusUnauthorized, "refused", policy.LoginRevoked)

	var list wire.Incidents
	s.do(admin, "GET", "/api/v1/organisations/"+string(s.Org)+"/incidents?limit=5", nil).read(t, &list)
	if len(list.Incidents) != 1 {
		t.Fatalf("%d incidents", len(list.Incidents))
	}
	var in wire.Incident
	s.do(admin, "GET", "/api/v1/incidents/"+list.Incidents[0].ID, nil).read(t, &in)
	if in.Card != string(first.Card) || in.ProvedOn != string(second.Card) || in.State != "contained" || len(in.Certificates) != 2 || in.Others != 0 {
		t.Errorf("%+v", in)
	}
	roles := map[string]string{}
	for _, c := range in.Certificates {
		roles[c.Role] = c.Fingerprint
		if c.State != "revoked" {
			t.Errorf("%s is %s", c.Role, c.State)
		}
	}
	if roles["carries"] != ca.FingerprintOf(first.CertificateOf()).String() || roles["login"] != ca.FingerprintOf(second.CertificateOf()).String() {
		t.Errorf("%v", roles)
	}
	s.refused(s.do(s.as(s.Holder()), "GET", "/api/v1/incidents/"+in.ID, nil), http.StatusNotFound, "not-found", "")
	s.refused(s.do(admin, "GET", "/api/v1/incidents/inc_none", nil), http.StatusNotFound, "not-found", "")
}
