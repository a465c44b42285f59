package register_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/register"
	"sigill/policy"
)

// stated is one of the acts that two administrators of an organisation state.
type stated struct {
	name      string
	statement statement.Statement
	document  []byte
	do        func(c register.Caller, document []byte, signed []register.Signed) error
}

// organisation is a scene with those who try what they may not.
type organisation struct {
	*worldtest.Scene
	one, two *world.Holder // administrators of the customer
	third    *world.Holder // another, with two cards
	thirds   *world.Holder // the second one
	branch   policy.OrganisationID
	below    *world.Holder // administers only the branch
	nobody   *world.Holder // has an eID and no role
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newOrganisation(t *testing.T) *organisation {
	t.Helper()
	s := worldtest.New(t)
	ctx := t.Context()
	o := &organisation{Scene: s, one: s.Admins[0], two: s.Admins[1], third: s.Holder(), below: s.Holder(), nobody: s.Holder()}
	o.thirds = must[*world.Holder](t)(s.SecondCard(ctx, o.third))
	o.branch = must[*register.Organisation](t)(s.CreateBranch(ctx, "Grenen", s.Org)).ID
	for _, g := range []struct {
		h   *world.Holder
		org policy.OrganisationID
	}{{o.third, s.Org}, {o.below, o.branch}} {
		if err := s.GrantRole(ctx, g.h, g.org, policy.RoleAdministrator); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// acts returns the acts about the customer, none of which was done before.
func (o *organisation) acts() []stated {
	ctx := o.T.Context()
	marshal := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			o.T.Fatal(err)
		}
		return b
	}
	return []stated{
		{"create", statement.Statement{Act: statement.ActBranch, Subject: register.BranchSubject("5560001009")},
			marshal(register.Branch{Number: "5560001009", Name: "Folktandvården", Parent: o.Org}),
			func(c register.Caller, document []byte, signed []register.Signed) error {
				_, err := o.Register.CreateOrganisation(ctx, c, document, signed)
				return err
			}},
		{"signing", statement.Statement{Act: statement.ActSigning, Subject: string(o.Org)},
			marshal(register.Switch{Salt: policy.NewSalt(), Organisation: o.Org, SigningAllowed: true, Reason: "beslut 14"}),
			func(c register.Caller, document []byte, signed []register.Signed) error {
				_, err := o.Register.SetSigning(ctx, c, o.Org, document, signed)
				return err
			}},
		{"grant", statement.Statement{Act: statement.ActGrant, Subject: string(o.Org), For: string(o.nobody.Person)},
			marshal(register.RoleGrant{Organisation: o.Org, Person: o.nobody.Person, Role: policy.RoleReader}),
			func(c register.Caller, document []byte, signed []register.Signed) error {
				return o.Register.GrantRole(ctx, c, o.Org, document, signed)
			}},
	}
}

func (o *organisation) caller(h *world.Holder) register.Caller {
	o.T.Helper()
	c, err := o.Login(o.T.Context(), h)
	if err != nil {
		o.T.Fatal(err)
	}
	return c
}

func (o *organisation) sign(a stated, by ...*world.Holder) []register.Signed {
	o.T.Helper()
	st := a.statement
	st.Content = register.HashOf(a.document)
	signed, err := o.StateAs(st, by...)
	if err != nil {
		o.T.Fatal(err)
	}
	return signed
}

// facts is all that these acts can change.
func (o *organisation) facts() string {
	return fmt.Sprint(o.Rows("organisations", "TRUE"), o.Rows("organisations", "signing_allowed = 1"), o.Rows("grants", "TRUE"),
		o.Rows("grants", "ended_at IS NULL"), o.Rows("statements", "TRUE"), o.Rows("events", "act <> 'request.refused'"))
}

// Each act needs two different administrators of that very organisation, who
// state it now with cards that count. Everything else is refused by name, and
// nothing has changed.
func TestTwoAdministratorsState(t *testing.T) {
	o := newOrganisation(t)
	for _, a := range o.acts() {
		t.Run(a.name, func(t *testing.T) {
			o.T = t
			both := func() []register.Signed { return o.sign(a, o.one, o.two) }
			as := func(edit func(*stated)) []register.Signed {
				other := a
				edit(&other)
				return o.sign(other, o.one, o.two)
			}
			for _, x := range []struct {
				what   string
				caller *world.Holder
				signed []register.Signed
				rule   policy.Rule
			}{
				{"no statement", o.one, nil, policy.StatementForm},
				{"one alone", o.one, o.sign(a, o.one), policy.StatementForm},
				{"one twice", o.one, o.sign(a, o.one, o.one), policy.StatementForm},
				{"one with two cards", o.third, o.sign(a, o.third, o.thirds), policy.StatementForm},
				{"three", o.one, o.sign(a, o.one, o.two, o.third), policy.StatementForm},
				{"who has no role", o.nobody, o.sign(a, o.nobody, o.two), policy.RoleMissing},
				{"a second without role", o.one, o.sign(a, o.one, o.nobody), policy.RoleMissing},
				{"who administers a branch", o.below, o.sign(a, o.below, o.two), policy.RoleMissing},
				{"a second of a branch", o.one, o.sign(a, o.one, o.below), policy.RoleMissing},
				{"handed in by a third", o.third, both(), policy.StatementSignature},
				{"handed in by the second", o.two, both(), policy.StatementSignature},
				{"another act", o.one, as(func(s *stated) { s.statement.Act = statement.ActApprove }), policy.StatementForm},
				{"another subject", o.one, as(func(s *stated) { s.statement.Subject = string(o.branch) }), policy.StatementForm},
				{"for another", o.one, as(func(s *stated) { s.statement.For = string(o.third.Person) }), policy.StatementForm},
				{"with a card", o.one, as(func(s *stated) { s.statement.Card = string(o.one.Card) }), policy.StatementForm},
				{"another document", o.one, as(func(s *stated) { s.document = append(s.document[:len(s.document):len(s.document)], ' ') }), policy.StatementForm},
			} {
				before := o.facts()
				t.Log(x.what)
				o.Refused(a.do(o.caller(x.caller), a.document, x.signed), x.rule)
				if after := o.facts(); after != before {
					t.Errorf("%s: %s became %s", x.what, before, after)
				}
			}
			o.otherwiseRefused(a)
		})
	}
}

// otherwiseRefused is what needs another time or another hand.
func (o *organisation) otherwiseRefused(a stated) {
	before := o.facts()
	swapped := o.sign(a, o.one, o.two)
	swapped[1].Signature = swapped[0].Signature
	o.Refused(a.do(o.caller(o.one), a.document, swapped), policy.StatementSignature)
	other := o.sign(a, o.one, o.two)
	other[1].Certificate = o.third.Certificate().Fingerprint
	o.Refused(a.do(o.caller(o.one), a.document, other), policy.StatementSignature)
	old := o.sign(a, o.one, o.two)
	o.Pass(5*time.Minute + 2*time.Second)
	o.Refused(a.do(o.caller(o.one), a.document, old), policy.StatementTime)
	o.Pass(2 * time.Minute)
	ahead := o.sign(a, o.one, o.two) // the service has not looked at its clock, which never goes back
	o.Pass(-2 * time.Minute)
	o.Refused(a.do(o.caller(o.one), a.document, ahead), policy.StatementTime)
	o.Refused(a.do(o.Officer(0), a.document, ahead), policy.CeremonyScope)
	weak := o.caller(o.one)
	weak.LoA = 2
	o.Refused(a.do(weak, a.document, o.sign(a, o.one, o.two)), policy.RoleLoA)
	if after := o.facts(); after != before {
		o.T.Errorf("%s became %s", before, after)
	}
}

// What a signer's card was revoked for does not matter: it signs nothing any more.
// A card that was revoked between signing and handing in states nothing any more.
func TestRevokedCardStatesNothing(t *testing.T) {
	o := newOrganisation(t)
	acts := o.acts()
	signed := make([][]register.Signed, len(acts))
	for i, a := range acts {
		signed[i] = o.sign(a, o.one, o.thirds)
	}
	if _, err := o.Downloads.Revoke(t.Context(), o.caller(o.two), o.thirds.Certificate().Serial, ca.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	before := o.facts()
	for i, a := range acts {
		o.Refused(a.do(o.caller(o.one), a.document, signed[i]), policy.LoginRevoked)
	}
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

// An administrator whose role ended between signing and handing in counts no more.
func TestEndedRoleStatesNothing(t *testing.T) {
	o := newOrganisation(t)
	acts := o.acts()
	signed := make([][]register.Signed, len(acts))
	for i, a := range acts {
		signed[i] = o.sign(a, o.one, o.third)
	}
	if ended, err := o.Register.EndRole(t.Context(), o.caller(o.two), o.Org, o.third.Person, policy.RoleAdministrator); err != nil || !ended {
		t.Fatal(ended, err)
	}
	before := o.facts()
	for i, a := range acts {
		o.Refused(a.do(o.caller(o.one), a.document, signed[i]), policy.RoleMissing)
	}
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

// The same statements again, or the same document stated anew, change nothing
// more: nobody has two branches, or two roles, because an answer was lost.
func TestStatedAgain(t *testing.T) {
	o := newOrganisation(t)
	for _, a := range o.acts() {
		t.Run(a.name, func(t *testing.T) {
			o.T = t
			signed := o.sign(a, o.one, o.two)
			events := o.Rows("events", "TRUE")
			if err := a.do(o.caller(o.one), a.document, signed); err != nil {
				t.Fatal(err)
			}
			if n := o.Rows("events", "TRUE"); n != events+1 {
				t.Errorf("%d events of one act", n-events)
			}
			// Both who signed are named in the chain.
			names := o.one.Name() + "," + o.two.Name()
			if n := o.Rows("events", "instr(body, ?) > 0", names); n == 0 {
				t.Errorf("no event by %s", names)
			}
			after := o.facts()
			o.Pass(time.Hour)
			if err := a.do(o.caller(o.one), a.document, signed); err != nil || o.facts() != after {
				t.Errorf("the same bytes: %v, %s became %s", err, after, o.facts())
			}
			events = o.Rows("events", "TRUE")
			if err := a.do(o.caller(o.third), a.document, o.sign(a, o.third, o.two)); err != nil {
				t.Error(err)
			}
			if n := o.Rows("events", "TRUE"); n != events {
				t.Errorf("%d events where nothing was done", n-events)
			}
		})
	}
	o.Sound()
}

// Who has kept statements turns nothing back: neither a switch that was turned
// off since, nor a role that was ended. That holds too for statements that
// changed nothing when they came.
func TestOldStatementsTurnNothingBack(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	signing, grant := o.acts()[1], o.acts()[2]
	kept := map[string][][]register.Signed{}
	for _, a := range []stated{signing, grant} {
		for range 2 { // the second pair finds all done
			signed := o.sign(a, o.one, o.two)
			kept[a.name] = append(kept[a.name], signed)
			if err := a.do(o.caller(o.one), a.document, signed); err != nil {
				t.Fatal(err)
			}
			o.Pass(time.Second)
		}
	}
	if o.Rows("organisations", "signing_allowed = 1") != 1 || o.Rows("grants", "ended_at IS NULL AND person = ?", string(o.nobody.Person)) != 1 {
		t.Fatal("nothing was done")
	}
	if err := o.SetSigning(ctx, o.Org, false); err != nil {
		t.Fatal(err)
	}
	if ended, err := o.Register.EndRole(ctx, o.caller(o.two), o.Org, o.nobody.Person, policy.RoleReader); err != nil || !ended {
		t.Fatal(ended, err)
	}
	before := o.facts()
	for _, a := range []stated{signing, grant} {
		for _, signed := range kept[a.name] {
			if err := a.do(o.caller(o.one), a.document, signed); err != nil || o.facts() != before {
				t.Errorf("%s: %v, %s became %s", a.name, err, before, o.facts())
			}
		}
	}
}
