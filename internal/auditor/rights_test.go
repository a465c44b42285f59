package auditor_test

import (
	"errors"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/finding"
	"sigill/internal/statement"
)

// Rights that two who had them gave, in the organisation, above it, and to one who gave
// one on.
func TestRightsThatHold(t *testing.T) {
	s := auditortest.Founded(t)
	p, q := s.Person(), s.Person()
	s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
	s.Branch("org_2", "5560000001", auditortest.Org, s.Admins)
	s.Grant(p.ID, "org_2", "administrator", s.Admins)
	s.Grant(q.ID, "org_2", "reader", [2]*auditortest.Person{p, s.Admins[1]})
	two := s.Two(statement.ActSigning, "org_2", "-", []byte(`{"organisation":"org_2","signingAllowed":true,"reason":"asked for"}`), s.Admins)
	s.Act(audit.OrganisationSigning, "two", append(two, field("organisation", "org_2"), field("allowed", "yes"))...)
	late(s)
	begin(t, s).finds()
}

func TestRightsThatDoNotHold(t *testing.T) {
	org := auditortest.Org
	document := []byte(`{"organisation":"org_1","person":"per_99","role":"administrator"}`)
	granted := func(s *auditortest.Scene, act, subject, benefits string, by [2]*auditortest.Person) {
		s.GrantBy(s.Two(act, subject, benefits, document, by), "per_99", org, "administrator")
	}
	last := func(s *auditortest.Scene) *auditor.Evidence { // of the act's second statement
		two := s.Two(statement.ActGrant, org, "per_99", document, s.Admins)
		s.GrantBy(two, "per_99", org, "administrator")
		return s.Evidence[two[4].Value]
	}
	for _, c := range []struct {
		name string
		tell func(s *auditortest.Scene)
	}{
		{"nobody signed", func(s *auditortest.Scene) {
			two := s.Two(statement.ActGrant, org, "per_99", document, s.Admins)
			delete(s.Evidence, two[1].Value)
			s.GrantBy(two, "per_99", org, "administrator")
		}},
		{"no statement's name", func(s *auditortest.Scene) {
			two := s.Two(statement.ActGrant, org, "per_99", document, s.Admins)
			two[1].Value = "ord_1"
			s.GrantBy(two, "per_99", org, "administrator")
		}},
		{"another statement is shown", func(s *auditortest.Scene) {
			e := last(s)
			s.Tick(-2 * time.Second) // it would hold too
			e.Statements[0] = s.State(s.Admins[1], statement.ActGrant, org, document, &auditortest.Person{ID: "per_99", Card: "-"})
			s.Tick(2 * time.Second)
		}},
		{"a signature that does not verify", func(s *auditortest.Scene) { e := last(s); e.Statements[0].Signature[9] ^= 1 }},
		{"another certificate than is named", func(s *auditortest.Scene) {
			two := s.Two(statement.ActGrant, org, "per_99", document, s.Admins)
			two[6].Value = two[3].Value
			s.GrantBy(two, "per_99", org, "administrator")
		}},
		{"one signed twice", func(s *auditortest.Scene) {
			granted(s, statement.ActGrant, org, "per_99", [2]*auditortest.Person{s.Admins[0], s.Admins[0]})
		}},
		{"one who is no administrator signed", func(s *auditortest.Scene) {
			p := s.Person()
			s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
			granted(s, statement.ActGrant, org, "per_99", [2]*auditortest.Person{s.Admins[0], p})
		}},
		{"one signed for himself", func(s *auditortest.Scene) { s.Grant(s.Admins[1].ID, org, "reader", s.Admins) }},
		{"for somebody else", func(s *auditortest.Scene) { granted(s, statement.ActGrant, org, "per_98", s.Admins) }},
		{"for another organisation", func(s *auditortest.Scene) { granted(s, statement.ActGrant, "org_2", "per_99", s.Admins) }},
		{"another act was signed", func(s *auditortest.Scene) { granted(s, statement.ActSigning, org, "per_99", s.Admins) }},
		{"another role was signed", func(s *auditortest.Scene) {
			s.GrantBy(s.Two(statement.ActGrant, org, "per_99", document, s.Admins), "per_99", org, "auditor")
		}},
		{"a statement from a drawer", func(s *auditortest.Scene) {
			two := s.Two(statement.ActGrant, org, "per_99", document, s.Admins)
			s.Tick(6 * time.Minute)
			s.GrantBy(two, "per_99", org, "administrator")
		}},
		{"after the signer's role had ended", func(s *auditortest.Scene) {
			s.Act(audit.RoleEnded, "per_1", field("person", s.Admins[1].ID), field("organisation", org), field("role", "administrator"), field("rule", "role.ended"))
			s.Grant("per_99", org, "administrator", s.Admins)
		}},
		{"officers, after the ceremony", func(s *auditortest.Scene) { granted(s, statement.ActFound, "ceremony", "-", s.Officers) }},
		{"a branch under another parent", func(s *auditortest.Scene) {
			two := s.Two(statement.ActBranch, "organisation:5560000001", "-", []byte(`{"number":"5560000001","name":"B","parent":"org_2"}`), s.Admins)
			s.Act(audit.OrganisationCreated, "two", append(two, field("organisation", "org_3"), field("number", "5560000001"), field("name", "B"), field("parent", org))...)
		}},
		{"a customer that nobody founded", func(s *auditortest.Scene) { s.Branch("org_3", "5560000001", "", s.Admins) }},
		{"a switch of another organisation", func(s *auditortest.Scene) {
			two := s.Two(statement.ActSigning, "org_2", "-", []byte(`{}`), s.Admins)
			s.Act(audit.OrganisationSigning, "two", append(two, field("organisation", org), field("allowed", "yes"))...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			c.tell(s)
			late(s)
			begin(t, s).finds(finding.RoleUnproven)
		})
	}
}

// While the ceremony is open, officers give what their one document names, once.
func TestFoundingGivesTwo(t *testing.T) {
	give := func(s *auditortest.Scene) (two []audit.Field, role func(person string)) {
		two = s.Two(statement.ActFound, "ceremony", "-", []byte("f"), s.Officers)
		s.Act(audit.OrganisationCreated, "two", append(two[:7:7], field("organisation", "org_1"), field("number", "5560000001"), field("name", "R"))...)
		return two, func(person string) { s.GrantBy(two, person, "org_1", "administrator") }
	}
	founded := func(s *auditortest.Scene, two []audit.Field) {
		s.Act(audit.CeremonyFounded, "two", append(two[:7:7], field("organisation", "org_1"))...)
	}
	for _, c := range []struct {
		name string
		tell func(s *auditortest.Scene)
		want []auditor.Kind
	}{
		{"two", func(s *auditortest.Scene) { two, role := give(s); role("per_1"); role("per_2"); founded(s, two) }, nil},
		{"three", func(s *auditortest.Scene) {
			two, role := give(s)
			role("per_1")
			role("per_2")
			role("per_3")
			founded(s, two)
		}, []auditor.Kind{finding.RoleUnproven}},
		{"one afterwards", func(s *auditortest.Scene) { two, role := give(s); role("per_1"); founded(s, two); role("per_2") }, []auditor.Kind{finding.RoleUnproven}},
		{"founded twice", func(s *auditortest.Scene) {
			two, role := give(s)
			role("per_1")
			founded(s, two)
			role("per_2")
			founded(s, two)
		}, []auditor.Kind{finding.RoleUnproven}},
		{"no founding", func(s *auditortest.Scene) { _, role := give(s); role("per_1") }, []auditor.Kind{finding.RoleUnproven}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.New(t)
			c.tell(s)
			late(s)
			begin(t, s).finds(c.want...)
		})
	}
}

// A statement that could not be asked for is asked for again.
func TestRightsAreAskedAgain(t *testing.T) {
	s := auditortest.Founded(t)
	s.GrantBy(s.Two(statement.ActGrant, auditortest.Org, "per_99", []byte("x"), s.Admins), "per_99", auditortest.Org, "reader")
	late(s)
	a := begin(t, s)
	a.Source = broken{auditortest.Source{Scene: s}}
	if r, err := a.Follow(t.Context()); !errors.Is(err, auditor.ErrNoAnswer) || len(wrong(r)) > 0 {
		t.Errorf("Follow = %v, %v", wrong(r), err)
	}
	a.Source = auditortest.Source{Scene: s}
	a.finds(finding.RoleUnproven)
	a.finds()
}
