package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"sigill/internal/adminclient"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/policy"
)

// stated signs a document by holders, as a request carries it.
func (s *server) stated(document []byte, st statement.Statement, by ...*world.Holder) wire.Stated {
	s.t.Helper()
	signed, err := s.StateAs(st, by...)
	if err != nil {
		s.t.Fatal(err)
	}
	out := wire.Stated{Document: document}
	for _, g := range signed {
		out.Statements = append(out.Statements, wire.Statement{Content: g.Content, Signature: g.Signature, Certificate: g.Certificate.String()})
	}
	return out
}

type document func() ([]byte, statement.Statement, error)

// by signs what is documented.
func (s *server) by(d document, by ...*world.Holder) wire.Stated {
	s.t.Helper()
	b, st, err := d()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.stated(b, st, by...)
}

// Branch, switch and roles over the wire: what two administrators state is done,
// the same bytes again give the same answer, and what is refused has its status.
func TestOrganisationsOverTheWire(t *testing.T) {
	s := serve(t)
	one, two := s.Admins[0], s.Admins[1]
	admin, holder := s.as(one), s.Holder()
	const at = "/api/v1/organisations"
	branch := func() ([]byte, statement.Statement, error) {
		return adminclient.BranchDocument("5560001009", "Folktandvården", string(s.Org))
	}
	s.refused(s.do(admin, "POST", at, s.by(branch, one)), 400, "refused", policy.StatementForm)
	founding := s.by(branch, one, two)
	var org, again wire.Organisation
	first := s.do(admin, "POST", at, founding)
	first.read(t, &org)
	if org.ID == "" || org.Name != "Folktandvården" || org.Number != "5560001009" || org.Parent != string(s.Org) || org.SigningAllowed || org.CreatedAt.IsZero() {
		t.Errorf("%+v", org)
	}
	if a := s.do(admin, "POST", at, founding); string(a.body) != string(first.body) {
		t.Errorf("the same bytes: %s, %s", first.body, a.body)
	}
	s.refused(s.do(admin, "POST", at, s.by(func() ([]byte, statement.Statement, error) {
		return adminclient.BranchDocument("5560001009", "En annan", string(s.Org))
	}, one, two)), 409, "refused", policy.OrganisationKnown)
	s.refused(s.do(s.as(holder), "POST", at, s.by(branch, holder, two)), 404, "not-found", "")

	s.turn(admin, org.ID)
	s.do(admin, "GET", at+"/"+org.ID, nil).read(t, &again)
	if again.SigningAllowed != true || again.ID != org.ID {
		t.Errorf("%+v", again)
	}
	s.refused(s.do(s.as(holder), "GET", at+"/"+org.ID, nil), 404, "not-found", "")
	s.refused(s.do(admin, "GET", at+"/org_none", nil), 404, "not-found", "")
	var all wire.Organisations
	s.do(admin, "GET", at+"?limit=10", nil).read(t, &all)
	if len(all.Organisations) != 2 {
		t.Errorf("%+v", all)
	}
	s.do(s.as(holder), "GET", at, nil).read(t, &all)
	if len(all.Organisations) != 0 {
		t.Errorf("who administers nothing sees %+v", all)
	}
	s.refused(s.do(admin, "GET", at+"?before=x", nil), 400, "refused", policy.RequestForm)
	s.giveAndEnd(admin, holder)
}

// turn turns the switch of a branch on, and fails to as one alone.
func (s *server) turn(admin *http.Client, org string) {
	on := func() ([]byte, statement.Statement, error) { return adminclient.SwitchDocument(org, true, "beslut 14") }
	path := "/api/v1/organisations/" + org + "/signing"
	s.refused(s.do(admin, "POST", path, s.by(on, s.Admins[0])), 400, "refused", policy.StatementForm)
	s.refused(s.do(admin, "POST", "/api/v1/organisations/"+string(s.Org)+"/signing", s.by(on, s.Admins[0], s.Admins[1])), 400, "refused", policy.RequestForm)
	swap := s.by(on, s.Admins[0], s.Admins[1])
	swap.Statements[0].Signature = swap.Statements[1].Signature
	s.refused(s.do(admin, "POST", path, swap), 403, "refused", policy.StatementSignature)
	var o wire.Organisation
	s.do(admin, "POST", path, s.by(on, s.Admins[0], s.Admins[1])).read(s.t, &o)
	if !o.SigningAllowed {
		s.t.Errorf("%+v", o)
	}
}

// giveAndEnd gives a holder a role, who uses it, and takes it away.
func (s *server) giveAndEnd(admin *http.Client, holder *world.Holder) {
	t := s.t
	path := "/api/v1/organisations/" + string(s.Org) + "/roles"
	role := func() ([]byte, statement.Statement, error) {
		return adminclient.RoleDocument(string(s.Org), string(holder.Person), "administrator")
	}
	s.refused(s.do(s.as(holder), "GET", path, nil), 404, "not-found", "")
	var roles wire.Roles
	s.do(admin, "POST", path, s.by(role, s.Admins[0], s.Admins[1])).read(t, &roles)
	given := 0
	for _, r := range roles.Roles {
		if r.Person == string(holder.Person) && r.Role == "administrator" && r.Organisation == string(s.Org) && r.Statement != "" && r.Name != "" {
			given++
		}
	}
	if given != 1 || len(roles.Roles) != 3 {
		t.Errorf("%+v", roles)
	}
	s.do(s.as(holder), "GET", path, nil).read(t, &roles)
	own := func() ([]byte, statement.Statement, error) {
		return adminclient.RoleDocument(string(s.Org), string(holder.Person), "reader")
	}
	s.refused(s.do(admin, "POST", path, s.by(own, s.Admins[0], holder)), 403, "refused", policy.RoleSelf)
	var ended wire.RoleEnded
	for i, want := range []bool{true, false} {
		s.do(admin, "POST", path+"/end", wire.EndRole{Person: string(holder.Person), Role: "administrator"}).read(t, &ended)
		if ended.Ended != want {
			t.Errorf("time %d: ended %t", i+1, ended.Ended)
		}
	}
	s.refused(s.do(s.as(holder), "GET", path, nil), 404, "not-found", "")
	s.do(admin, "POST", path+"/end", wire.EndRole{Person: string(s.Admins[1].Person), Role: "administrator"}).read(t, &ended)
	s.refused(s.do(admin, "POST", path+"/end", wire.EndRole{Person: string(s.Admins[0].Person), Role: "administrator"}), 409, "refused", policy.RoleLast)
	s.refused(s.do(admin, "POST", path+"/end", `{"person":"per_1","role":"administrator","more":1}`), 400, "refused", policy.RequestForm)
	document, err := json.Marshal(map[string]string{"organisation": string(s.Org)})
	if err != nil {
		t.Fatal(err)
	}
	s.refused(s.do(admin, "POST", path, wire.Stated{Document: document}), 400, "refused", policy.RequestForm)
}
