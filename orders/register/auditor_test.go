package register_test

import (
	"testing"
	"time"

	"sigill/orders/register"
	"sigill/policy"
)

// An auditor is made where there is no organisation above, by two who may: a branch's
// own administrators cannot show the whole installation to one of their people.
func TestAuditorOnlyAtTheTop(t *testing.T) {
	o := newOrganisation(t)
	before := o.facts()
	o.Refused(o.give(o.nobody, o.branch, policy.RoleAuditor), policy.RoleRoot)
	if after := o.facts(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	o.Refused(o.Register.Audits(t.Context(), o.caller(o.nobody)), policy.RoleMissing)
	if err := o.give(o.nobody, o.Org, policy.RoleAuditor); err != nil {
		t.Fatal(err)
	}
	if err := o.Register.Audits(t.Context(), o.caller(o.nobody)); err != nil {
		t.Errorf("an auditor is refused: %v", err)
	}
	o.Sound()
}

// Who may read the logs: the role alone opens them, used with a current eID at level 3
// of the organisation that gave it, and not a moment longer than it is in force.
func TestWhoAudits(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	if err := o.give(o.nobody, o.Org, policy.RoleAuditor); err != nil {
		t.Fatal(err)
	}
	auditor := o.caller(o.nobody)
	change := func(f func(*register.Caller)) register.Caller {
		c := auditor
		f(&c)
		return c
	}
	for name, x := range map[string]struct {
		caller register.Caller
		rule   policy.Rule
	}{
		"the auditor":                {auditor, ""},
		"an administrator":           {o.caller(o.one), policy.RoleMissing},
		"a branch's administrator":   {o.caller(o.below), policy.RoleMissing},
		"an officer":                 {register.Caller{Profile: policy.ProfileOfficer, Officer: 1}, policy.RoleMissing},
		"a card of nobody":           {register.Caller{Profile: policy.ProfileTransport, Card: auditor.Card}, policy.RoleMissing},
		"with an eID of a branch":    {change(func(c *register.Caller) { c.Organisation = o.branch }), policy.RoleMissing},
		"with an eID at level 2":     {change(func(c *register.Caller) { c.LoA = 2 }), policy.RoleLoA},
		"with what is not confirmed": {change(func(c *register.Caller) { c.Pending = true }), policy.RoleLoA},
		"with a card that was armed": {change(func(c *register.Caller) { c.Profile, c.LoA = policy.ProfileTransport, 0 }), policy.RoleLoA},
	} {
		if err := o.Register.Audits(ctx, x.caller); x.rule == "" && err != nil {
			t.Errorf("%s is refused: %v", name, err)
		} else if x.rule != "" {
			o.Refused(err, x.rule)
		}
	}
	if ended, err := o.Register.EndRole(ctx, o.caller(o.one), o.Org, o.nobody.Person, policy.RoleAuditor); err != nil || !ended {
		t.Fatalf("EndRole = %t, %v", ended, err)
	}
	o.Refused(o.Register.Audits(ctx, auditor), policy.RoleMissing)
}

// A row that somebody wrote at a branch by hand opens nothing.
func TestAuditorOfABranchByHand(t *testing.T) {
	o := newOrganisation(t)
	ctx := t.Context()
	h := o.Person()
	if err := o.Employ(ctx, h, &register.Organisation{ID: o.branch}); err != nil {
		t.Fatal(err)
	}
	err := o.Store.Register().Update(ctx, func(tx *register.Tx) error {
		return tx.InsertGrant(register.Grant{Person: h.Person, Organisation: o.branch, Role: policy.RoleAuditor, GrantedAt: time.UnixMicro(1)})
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Refused(o.Register.Audits(ctx, register.Caller{Person: h.Person, Organisation: o.branch, Profile: policy.ProfileAuthentication, LoA: 3}), policy.RoleMissing)
}
