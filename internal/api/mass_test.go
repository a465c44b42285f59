package api_test

import (
	"net/http"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/internal/adminclient"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders/download"
	"sigill/policy"
)

// A list is ordered by one administrator, approved by another, and looked at while it
// is worked through.
func TestMassRevocationOverTheWire(t *testing.T) {
	s := serve(t)
	one, two, victim, bystander := s.Admins[0], s.Admins[1], s.Holder(), s.Holder()
	admin := s.as(one)
	at := "/api/v1/organisations/" + string(s.Org) + "/revocations"
	list, n, err := adminclient.MassList("serials", []byte("# stolen\n"+strings.ToUpper(victim.Certificate().Serial.String())+"\n\n"+victim.Certificate().Serial.String()+" # twice\n"))
	if err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	document, st, err := adminclient.MassDocument(string(s.Org), "serials", "keyCompromise", list)
	if err != nil {
		t.Fatal(err)
	}
	order := wire.MassOrder{Document: document, List: string(list), Statements: s.stated(nil, st, one).Statements}
	s.refused(s.do(s.as(bystander), "POST", at, order), http.StatusNotFound, "not-found", "")
	s.refused(s.do(admin, "POST", at+"?wait=visible", order), http.StatusBadRequest, "refused", policy.RequestForm)
	var ordered, shown wire.Mass
	first := s.do(admin, "POST", at, order)
	first.read(t, &ordered)
	if ordered.State != "ordered" || ordered.Entries != 1 || ordered.Reason != "keyCompromise" || ordered.Kind != "serials" || ordered.OrderedBy != string(one.Person) ||
		ordered.ApprovedAt != nil || ordered.ApprovedBy != "" || string(ordered.Document) != string(document) {
		t.Errorf("ordered: %s", first.body)
	}
	if again := s.do(admin, "POST", at, order); string(again.body) != string(first.body) {
		t.Errorf("the same bytes: %s, %s", first.body, again.body)
	}
	wrong, _, _ := adminclient.MassList("serials", []byte(ca.NewSerial().String()))
	foreign, fst, err := adminclient.MassDocument(string(s.Org), "serials", "keyCompromise", wrong)
	if err != nil {
		t.Fatal(err)
	}
	refused := s.do(admin, "POST", at, wire.MassOrder{Document: foreign, List: string(wrong), Statements: s.stated(nil, fst, one).Statements})
	s.refused(refused, http.StatusBadRequest, "refused", policy.RevokeList)
	if !strings.Contains(string(refused.body), strings.TrimSpace(string(wrong))) {
		t.Errorf("what is wrong is not named: %s", refused.body)
	}

	var got wire.MassList
	here := "/api/v1/revocations/" + ordered.ID
	s.do(s.as(two), "GET", here, nil).read(t, &shown)
	s.do(s.as(two), "GET", here+"/list", nil).read(t, &got)
	s.refused(s.do(s.as(bystander), "GET", here, nil), http.StatusNotFound, "not-found", "")
	s.refused(s.do(s.as(bystander), "GET", here+"/list", nil), http.StatusNotFound, "not-found", "")
	approval, err := adminclient.MassApproval(&shown, []byte(got.List))
	if err != nil {
		t.Fatal(err)
	}
	s.refused(s.do(admin, "POST", here+"/approve", s.stated(nil, approval, one)), http.StatusForbidden, "refused", policy.RevokeApprover)
	s.refused(s.do(s.as(two), "POST", here+"/approve", s.stated(document, approval, two)), http.StatusBadRequest, "refused", policy.RequestForm)
	s.refused(s.do(s.as(two), "POST", here+"/approve?wait=visible", s.stated(nil, approval, two)), http.StatusBadRequest, "refused", policy.RequestForm)
	signed := s.stated(nil, approval, two)
	for range 2 {
		s.do(s.as(two), "POST", here+"/approve", signed).read(t, &shown)
		if shown.State != "approved" || shown.ApprovedBy != string(two.Person) || shown.ApprovedAt == nil || shown.Done != 0 {
			t.Errorf("approved: %+v", shown)
		}
	}
	if _, err := s.Downloads.RevokeMass(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.do(admin, "GET", here, nil).read(t, &shown)
	if shown.State != "finished" || shown.Done != 1 || shown.Revoked != 1 || shown.Failed != 0 || shown.FinishedAt == nil {
		t.Errorf("finished: %+v", shown)
	}
	var all wire.Masses
	s.do(admin, "GET", at+"?limit=5", nil).read(t, &all)
	if len(all.Revocations) != 1 || all.Revocations[0].ID != ordered.ID {
		t.Errorf("all: %+v", all)
	}
	s.do(admin, "GET", at+"?after="+ordered.ID, nil).read(t, &all)
	if len(all.Revocations) != 0 {
		t.Errorf("after it: %+v", all)
	}
	if s.Working(victim) != 0 || s.Working(bystander) != 1 {
		t.Error("not exactly what was listed ended")
	}
	s.Sound()
}

// A list of as many as may be fits into a request.
func TestLongestListFitsIntoARequest(t *testing.T) {
	s := serve(t)
	var text strings.Builder
	for i := range 200_000 {
		serial := ca.Serial{0: 0x40, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		text.WriteString(serial.String() + "\n")
	}
	document, st, err := adminclient.MassDocument(string(s.Org), "serials", "superseded", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	order := wire.MassOrder{Document: document, List: text.String(), Statements: s.stated(nil, st, s.Admins[0]).Statements}
	s.refused(s.do(s.as(s.Admins[0]), "POST", "/api/v1/organisations/"+string(s.Org)+"/revocations", order), http.StatusBadRequest, "refused", policy.RevokeList)
	if _, _, err := adminclient.MassList("serials", []byte(text.String()+ca.NewSerial().String())); err == nil {
		t.Error("one more is a list")
	}
}

// Nobody signs what the server shows of a list that is another's.
func TestApprovalIsOfWhatIsShown(t *testing.T) {
	list := []byte("4a000000000000000000000000000000\n")
	document, _, err := adminclient.MassDocument("org_a", "serials", "superseded", list)
	if err != nil {
		t.Fatal(err)
	}
	st, err := adminclient.MassApproval(shownAs(t, document), list)
	if err != nil || st.Act != statement.ActRevoke {
		t.Fatalf("%+v, %v", st, err)
	}
	for name, spoil := range map[string]func(*wire.Mass, *[]byte){
		"reason":       func(m *wire.Mass, _ *[]byte) { m.Reason = "keyCompromise" },
		"organisation": func(m *wire.Mass, _ *[]byte) { m.Organisation = "org_b" },
		"id":           func(m *wire.Mass, _ *[]byte) { m.ID = policy.NewID("mrv") },
		"count":        func(m *wire.Mass, _ *[]byte) { m.Entries = 2 },
		"kind":         func(m *wire.Mass, _ *[]byte) { m.Kind = "cards" },
		"list":         func(_ *wire.Mass, l *[]byte) { *l = []byte("5a000000000000000000000000000000\n") },
		"no list":      func(_ *wire.Mass, l *[]byte) { *l = nil },
		"document":     func(m *wire.Mass, _ *[]byte) { m.Document = append([]byte(" "), m.Document...) },
	} {
		m, l := shownAs(t, document), list
		spoil(m, &l)
		if _, err := adminclient.MassApproval(m, l); err == nil {
			t.Errorf("another %s is signed", name)
		}
	}
}

func shownAs(t *testing.T, document []byte) *wire.Mass {
	t.Helper()
	o, _, err := download.ParseMassOrder(document)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.Mass{ID: string(o.Revocation), Organisation: string(o.Organisation), Reason: o.Reason, Kind: string(o.Kind), Entries: o.Entries, Document: document}
}
