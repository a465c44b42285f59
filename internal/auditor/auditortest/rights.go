package auditortest

import (
	"fmt"
	"slices"

	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/auditor/rederive"
	"sigill/internal/statement"
	"sigill/policy"
)

// Two lets two people state something that is about no card, now, and returns the fields
// by which an act tells of it.
func (s *Scene) Two(act, subject, benefits string, document []byte, by [2]*Person) []audit.Field {
	out := []audit.Field{field("document", hash(string(document)))}
	for i, suffix := range []string{"", "-2"} {
		st := s.State(by[i], act, subject, document, &Person{ID: benefits, Card: "-"})
		id := policy.NewID("st")
		s.Evidence[id] = &auditor.Evidence{Statements: []rederive.Statement{st}}
		out = append(out, field("statement"+suffix, id), field("signed"+suffix, hash(string(st.Content))), field("certificate"+suffix, hash(string(st.Certificate))))
	}
	return out
}

// Grant gives somebody a role, as it was signed.
func (s *Scene) Grant(person, organisation, role string, by [2]*Person) int64 {
	return s.GrantBy(s.Two(statement.ActGrant, organisation, person, fmt.Appendf(nil, `{"organisation":%q,"person":%q,"role":%q}`, organisation, person, role), by), person, organisation, role)
}

// GrantBy gives a role with what an act tells of statements, whatever they say.
func (s *Scene) GrantBy(two []audit.Field, person, organisation, role string) int64 {
	return s.Act(audit.RoleGranted, "two", append(slices.Clip(two), field("person", person), field("organisation", organisation), field("role", role))...)
}

// Branch makes an organisation below another, as it was signed.
func (s *Scene) Branch(id, number, parent string, by [2]*Person) {
	two := s.Two(statement.ActBranch, "organisation:"+number, "-", fmt.Appendf(nil, `{"number":%q,"name":"B","parent":%q}`, number, parent), by)
	s.Act(audit.OrganisationCreated, "two", append(two, field("organisation", id), field("number", number), field("name", "B"), field("parent", parent))...)
}
