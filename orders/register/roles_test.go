package register_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/orders"
	"sigill/orders/register"
	"sigill/policy"
)

// give states a role by the first two administrators.
func (o *organisation) give(to *world.Holder, org policy.OrganisationID, role policy.Role) error {
	return o.GrantRole(o.T.Context(), to, org, role)
}

// Nobody gives a role to himself, as the first or as the second of two.
func TestNobodyGivesARoleToHimself(t *testing.T) {
	o := newOrganisation(t)
	for _, org := range []policy.OrganisationID{o.Org, o.branch} {
		document, err := json.Marshal(register.RoleGrant{Organisation: org, Person: o.two.Person, Role: policy.RoleReader})
		if err != nil {
			t.Fatal(err)
		}
		st := statement.Statement{Act: statement.ActGrant, Subject: string(org), For: string(o.two.Person), Content: register.HashOf(document)}
		for _, by := range [][]*world.Holder{{o.one, o.two}, {o.two, o.one}} {
			signed, err := o.StateAs(st, by...)
			if err != nil {
				t.Fatal(err)
			}
			before := o.facts()
			o.Refused(o.Register.GrantRole(t.Context(), o.caller(by[0]), org, document, signed), policy.RoleSelf)
			if after := o.facts(); after != before {
				t.Errorf("%s became %s", before, after)
			}
		}
	}
}

// A role is given to who is employed there or above, now: one answer for who
// left, who is employed in a branch only, and who does not exist.
func TestRoleNeedsAnAssignment(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	other, err := o.CreateBranch(ctx, "Syskonet", o.Org)
	if err != nil {
		t.Fatal(err)
	}
	left, below := o.Person(), o.Person()
	if err := o.Employ(ctx, below, other); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*world.Holder{left, below} {
		if err := o.Downloads.EndAssignment(ctx, o.caller(o.one), h.Person, o.Org); err != nil {
			t.Fatal(err)
		}
	}
	before := o.facts()
	for _, x := range []struct {
		who *world.Holder
		org policy.OrganisationID
	}{{left, o.Org}, {left, o.branch}, {below, o.Org}, {below, o.branch}, {&world.Holder{Person: "per_none"}, o.Org}} {
		o.Refused(o.give(x.who, x.org, policy.RoleReader), policy.OrderAssignment)
	}
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if err := o.give(below, other.ID, policy.RoleReader); err != nil {
		t.Errorf("in the own branch: %v", err)
	}
	if err := o.give(o.nobody, other.ID, policy.RoleReader); err != nil {
		t.Errorf("employed above: %v", err)
	}
}

// A role gives its rights on the next request, in its organisation and below, and
// takes them as quickly.
func TestRoleIsUsedAndEnded(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	sees := func(h *world.Holder, org policy.OrganisationID) bool {
		t.Helper()
		_, err := o.Register.ListCards(ctx, o.caller(h), org, "", 1)
		if err != nil {
			o.Refused(err, policy.RoleMissing)
		}
		return err == nil
	}
	if !sees(o.below, o.branch) || sees(o.below, o.Org) {
		t.Error("a branch's administrator sees the branch and no more")
	}
	if !sees(o.third, o.branch) || !sees(o.third, o.Org) {
		t.Error("an administrator sees organisation and branch")
	}
	if n := o.Rows("grants g JOIN statements s ON s.id = g.statement", "g.person = ? AND s.act = 'role.grant' AND s.by_person = ?",
		string(o.below.Person), string(o.one.Person)); n != 1 {
		t.Errorf("%d grants with their statement", n)
	}
	for _, role := range register.Roles() {
		if role != policy.RoleAdministrator {
			if err := o.give(o.nobody, o.Org, role); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sees(o.nobody, o.Org) {
		t.Error("another role than administrator opens what is an administrator's")
	}
	o.ends(sees)
	o.Sound()
}

// ends takes roles away, by those who may and those who may not.
func (o *organisation) ends(sees func(*world.Holder, policy.OrganisationID) bool) {
	t, ctx := o.T, o.T.Context()
	end := func(by *world.Holder, org policy.OrganisationID, h *world.Holder) (bool, error) {
		return o.Register.EndRole(ctx, o.caller(by), org, h.Person, policy.RoleAdministrator)
	}
	before := o.facts()
	for _, x := range []struct {
		by  *world.Holder
		org policy.OrganisationID
		h   *world.Holder
	}{{o.nobody, o.Org, o.third}, {o.below, o.Org, o.third}, {o.nobody, "org_none", o.third}} {
		_, err := end(x.by, x.org, x.h)
		o.Refused(err, policy.RoleMissing)
	}
	_, err := o.Register.EndRole(ctx, o.Officer(0), o.Org, o.third.Person, policy.RoleAdministrator)
	o.Refused(err, policy.CeremonyScope)
	for _, h := range []*world.Holder{o.below, o.nobody} { // whose role is not there
		if ended, err := end(o.one, o.Org, h); err != nil || ended {
			t.Errorf("no such role: %t, %v", ended, err)
		}
	}
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if ended, err := end(o.third, o.branch, o.below); err != nil || !ended || sees(o.below, o.branch) {
		t.Errorf("ended from above: %t, %v", ended, err)
	}
	if ended, err := end(o.one, o.Org, o.third); err != nil || !ended || sees(o.third, o.Org) || sees(o.third, o.branch) {
		t.Errorf("ended: %t, %v", ended, err)
	}
	o.Pass(time.Second) // else it is the statement of before
	if err := o.give(o.third, o.Org, policy.RoleAdministrator); err != nil || !sees(o.third, o.Org) {
		t.Errorf("given again: %v", err)
	}
}

// With an assignment end the roles that rested on it, in branches too; those that
// another assignment carries, and other people's, stay.
func TestRolesEndWithTheirAssignment(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	other, err := o.CreateBranch(ctx, "Syskonet", o.Org)
	if err != nil {
		t.Fatal(err)
	}
	h := o.nobody
	if err := o.Employ(ctx, h, other); err != nil {
		t.Fatal(err)
	}
	roles := map[policy.OrganisationID]bool{o.Org: false, o.branch: false, other.ID: true} // which stay
	for org := range roles {
		if err := o.give(h, org, policy.RoleReader); err != nil {
			t.Fatal(err)
		}
	}
	others := o.Rows("grants", "ended_at IS NULL AND person <> ?", string(h.Person))
	if err := o.Downloads.EndAssignment(ctx, o.caller(o.one), h.Person, o.Org); err != nil {
		t.Fatal(err)
	}
	for org, stays := range roles {
		if n := o.Rows("grants", "ended_at IS NULL AND person = ? AND organisation = ?", string(h.Person), string(org)); (n == 1) != stays {
			t.Errorf("%s: %d roles, stays: %t", org, n, stays)
		}
	}
	if n := o.Rows("events", "act = 'role.ended'"); n != 2 {
		t.Errorf("%d roles ended in the chain", n)
	}
	if err := o.Downloads.EndAssignment(ctx, o.caller(o.one), h.Person, other.ID); err != nil {
		t.Fatal(err)
	}
	if n := o.Rows("grants", "ended_at IS NULL AND person = ?", string(h.Person)); n != 0 {
		t.Errorf("%d roles of one who has left", n)
	}
	if n := o.Rows("grants", "ended_at IS NULL AND person <> ?", string(h.Person)); n != others {
		t.Errorf("others' roles: %d, were %d", n, others)
	}
}

// The last administrator who can act stays: nobody else could ever give a role.
func TestLastAdministratorStays(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	bare := o.Person() // administrator without an eID: administers nothing
	if err := o.give(bare, o.Org, policy.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	end := func(by, h *world.Holder, org policy.OrganisationID) error {
		_, err := o.Register.EndRole(ctx, o.caller(by), org, h.Person, policy.RoleAdministrator)
		return err
	}
	for _, h := range []*world.Holder{o.third, o.two} {
		if err := end(o.one, h, o.Org); err != nil {
			t.Fatal(err)
		}
	}
	before := o.facts()
	o.Refused(end(o.one, o.one, o.Org), policy.RoleLast)
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if err := end(o.one, bare, o.Org); err != nil {
		t.Errorf("who cannot act: %v", err)
	}
	if err := end(o.below, o.below, o.branch); err != nil {
		t.Errorf("a branch is administered from above: %v", err)
	}
	if _, err := o.Register.ListCards(ctx, o.caller(o.one), o.branch, "", 1); err != nil {
		t.Error(err)
	}
}

// An administrator whose only eID was revoked is none to count on.
func TestRevokedAdministratorIsNotTheOtherOne(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	if _, err := o.Register.EndRole(ctx, o.caller(o.one), o.Org, o.third.Person, policy.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Downloads.Revoke(ctx, o.caller(o.one), o.two.Certificate().Serial, ca.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	_, err := o.Register.EndRole(ctx, o.caller(o.one), o.Org, o.one.Person, policy.RoleAdministrator)
	o.Refused(err, policy.RoleLast)
}

// Roles are listed without the names of who is protected, for those who
// administer the very organisation.
func TestListRoles(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	row, err := o.Row(ctx, o.third)
	if err != nil {
		t.Fatal(err)
	}
	row.Protected = true
	if err := o.Import(ctx, row); err != nil {
		t.Fatal(err)
	}
	list, err := o.Register.ListRoles(ctx, o.caller(o.one), o.Org)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, r := range list {
		if r.Role != policy.RoleAdministrator || r.Organisation != o.Org || (r.Name == "") != (r.Person == o.third.Person) {
			t.Errorf("%+v", r)
		}
	}
	if list, err := o.Register.ListRoles(ctx, o.caller(o.below), o.branch); err != nil || len(list) != 1 || list[0].Person != o.below.Person {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = o.Register.ListRoles(ctx, o.caller(o.below), o.Org)
	o.Refused(err, policy.RoleMissing)
}

// Everybody sees the organisations he administers, a page is full unless it is
// the last, and for others there is none.
func TestListOrganisations(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	want := map[policy.OrganisationID]string{o.Org: "", o.branch: string(o.Org)}
	under := o.branch
	for _, name := range []string{"Under", "Underunder"} {
		b, err := o.CreateBranch(ctx, name, under)
		if err != nil {
			t.Fatal(err)
		}
		want[b.ID], under = string(b.Parent), b.ID
	}
	pages := func(h *world.Holder, size int) []policy.OrganisationID {
		t.Helper()
		var all []policy.OrganisationID
		for after := policy.OrganisationID(""); ; after = all[len(all)-1] {
			list, err := o.Register.ListOrganisations(ctx, o.caller(h), after, size)
			if err != nil {
				t.Fatal(err)
			}
			for _, org := range list {
				all = append(all, org.ID)
				if parent, ok := want[org.ID]; !ok || string(org.Parent) != parent {
					t.Errorf("%+v", org)
				}
			}
			if len(list) > size {
				t.Fatalf("%d on a page of %d", len(list), size)
			}
			if len(list) < size {
				return all
			}
		}
	}
	for size := 1; size <= 5; size++ {
		for h, n := range map[*world.Holder]int{o.one: 4, o.below: 3, o.nobody: 0} {
			got := pages(h, size)
			if len(got) != n || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != n || h == o.below && slices.Contains(got, o.Org) {
				t.Errorf("pages of %d: %v, want %d", size, got, n)
			}
		}
	}
	if _, err := o.Register.Organisation(ctx, o.caller(o.below), under); err != nil {
		t.Error(err)
	}
	for h, org := range map[*world.Holder]policy.OrganisationID{o.below: o.Org, o.nobody: o.branch, o.one: "org_none"} {
		_, err := o.Register.Organisation(ctx, o.caller(h), org)
		o.Refused(err, policy.RoleMissing)
	}
	weak := o.caller(o.one)
	weak.LoA = 2
	_, err := o.Register.ListOrganisations(ctx, weak, "", 0)
	o.Refused(err, policy.RoleLoA)
}

// A number has one organisation, a customer's administrators reach every branch,
// and a branch has its own switch.
func TestBranches(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	create := func(b register.Branch) (*register.Organisation, error) {
		document, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := o.StateAs(statement.Statement{Act: statement.ActBranch, Subject: register.BranchSubject(b.Number), Content: register.HashOf(document)}, o.one, o.two)
		if err != nil {
			t.Fatal(err)
		}
		return o.Register.CreateOrganisation(ctx, o.caller(o.one), document, signed)
	}
	right := register.Branch{Number: "5560001009", Name: "Folktandvården", Parent: o.Org}
	first, err := create(right)
	if err != nil || first.SigningAllowed || first.Parent != o.Org || first.Name != right.Name || first.Number != right.Number {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := create(right); err != nil || again.ID != first.ID {
		t.Errorf("again: %+v, %v", again, err)
	}
	before := o.facts()
	for _, b := range []register.Branch{
		{Number: right.Number, Name: "Annat namn", Parent: o.Org},
		{Number: right.Number, Name: right.Name, Parent: o.branch},
		{Number: "2321000016", Name: right.Name, Parent: o.Org}, // the customer's own
	} {
		_, err := create(b)
		o.Refused(err, policy.OrganisationKnown)
	}
	_, err = create(register.Branch{Number: "5560001017", Name: "X", Parent: "org_none"})
	o.Refused(err, policy.RoleMissing)
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if err := o.SetSigning(ctx, o.Org, true); err != nil {
		t.Fatal(err)
	}
	if org, err := o.Register.Organisation(ctx, o.caller(o.one), first.ID); err != nil || org.SigningAllowed {
		t.Errorf("the customer's switch is the branch's: %+v, %v", org, err)
	}
	// As deep as roles reach, and no deeper.
	at := o.Org
	for level := 2; ; level++ {
		b, err := o.CreateBranch(ctx, "Nivå", at)
		if level > register.MaxBranchDepth {
			o.Refused(err, policy.OrganisationDepth)
			break
		}
		if err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
		at = b.ID
		if _, err := o.Register.Organisation(ctx, o.caller(o.one), at); err != nil {
			t.Fatalf("level %d: %v", level, err)
		}
	}
	o.Sound()
}

// A document in the address of another organisation is about nothing.
func TestDocumentIsAboutItsAddress(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	acts := o.acts()
	signing, grant := acts[1], acts[2]
	before := o.facts()
	_, err := o.Register.SetSigning(ctx, o.caller(o.one), o.branch, signing.document, o.sign(signing, o.one, o.two))
	o.Refused(err, policy.RequestForm)
	o.Refused(o.Register.GrantRole(ctx, o.caller(o.one), o.branch, grant.document, o.sign(grant, o.one, o.two)), policy.RequestForm)
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

// A branch's administrator orders for the branch with an eID of the organisation
// above, and not for that.
func TestBranchAdministratorOrders(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	org, err := o.Register.Organisation(ctx, o.caller(o.one), o.branch)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Employ(ctx, o.nobody, org); err != nil {
		t.Fatal(err)
	}
	for of, rule := range map[policy.OrganisationID]policy.Rule{o.branch: "", o.Org: policy.RoleMissing} {
		_, err := o.Orders.Preview(ctx, o.caller(o.below), orders.Request{Type: policy.OrderExtra, Organisation: of, Number: o.nobody.Number,
			Card: o.nobody.Card, IDKind: policy.ByHSAID, LoA: 3})
		if rule == "" && err != nil {
			t.Errorf("in the branch: %v", err)
		} else if rule != "" {
			o.Refused(err, rule)
		}
	}
}

// What these documents may be, and nothing else.
func TestParseOrganisationDocuments(t *testing.T) {
	branch := func(b []byte) error { _, err := register.ParseBranch(b); return err }
	turn := func(b []byte) error { _, err := register.ParseSwitch(b); return err }
	role := func(b []byte) error { _, err := register.ParseRoleGrant(b); return err }
	const (
		rightBranch = `{"number":"5560001009","name":"Folktandvården","parent":"org_1"}`
		rightSwitch = `{"salt":"00112233445566778899aabbccddeeff","organisation":"org_1","signingAllowed":true,"reason":"beslut 14"}`
		rightRole   = `{"organisation":"org_1","person":"per_1","role":"administrator"}`
	)
	for _, d := range []struct {
		name  string
		parse func([]byte) error
		right string
		wrong [][2]string // what is replaced by what
	}{
		{"branch", branch, rightBranch, [][2]string{
			{"5560001009", "5560001008"}, {"5560001009", "556000100"}, {"5560001009", "556000-1009"}, {"5560001009", "05560001009"}, {"5560001009", ""},
			{"Folktandvården", ""}, {"Folktandvården", " F"}, {"Folktandvården", "F\u202e"}, {"Folktandvården", strings.Repeat("å", 65)}, {"org_1", ""},
			{`"number":"5560001009"`, `"number":5560001009`},
		}},
		{"switch", turn, rightSwitch, [][2]string{
			{"org_1", ""}, {"true", `"true"`}, {"true", "1"}, {"beslut 14", ""}, {"beslut 14", strings.Repeat("å", 201)}, {"beslut 14", `a\nb`}, {"beslut 14", "a\u200bb"},
			{`"signingAllowed":true,`, ""},
		}},
		{"role", role, rightRole, [][2]string{
			{"org_1", ""}, {"per_1", ""}, {"administrator", ""}, {"administrator", "Administrator"}, {"administrator", "officer"}, {`"administrator"`, `["administrator"]`},
		}},
	} {
		if err := d.parse([]byte(d.right)); err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		first := d.right[1 : strings.Index(d.right, ",")+1] // a member with its comma
		for _, w := range append(d.wrong, [][2]string{{"{", `{"more":1,`}, {"{", "{" + first}, {"{", "{ "}, {"}", "} "}, {"}", "}{}"}, {"}", ""},
			{`"organisation"`, `"Organisation"`}, {`"name"`, `"Name"`}, {d.right, ""}, {d.right, "null"}, {d.right, "[]"}, {"_1", "_\xff"}}...) {
			text := strings.Replace(d.right, w[0], w[1], 1)
			if text == d.right {
				continue // this document has no such place
			}
			refusal, ok := errors.AsType[*policy.Refusal](d.parse([]byte(text)))
			if !ok || refusal.Rule != policy.RequestForm {
				t.Errorf("%s: %s was taken", d.name, text)
			}
		}
	}
	for _, right := range []string{`{"organisation":"org_1","signingAllowed":false}`, `{"salt":"00112233445566778899aabbccddeeff","organisation":"org_1","signingAllowed":false,"reason":"` + strings.Repeat("å", 200) + `"}`} {
		if err := turn([]byte(right)); err != nil {
			t.Errorf("%s: %v", right, err)
		}
	}
}
