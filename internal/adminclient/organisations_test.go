package adminclient_test

import (
	"errors"
	"testing"

	"sigill/internal/adminclient"
	"sigill/policy"
)

// organisations is what two administrators state about their organisation.
func (j *journey) organisations() {
	ctx, a, b := j.t.Context(), j.admins[0], j.admins[1]
	document, st, err := adminclient.BranchDocument("5560001009", "Folktandvården", j.org)
	j.must(err)
	_, err = a.CreateOrganisation(ctx, document, j.signed(st, b, a))
	j.refused(err, 403, "statement.signature") // the second's comes first
	signed := j.signed(st, a, b)
	branch, err := a.CreateOrganisation(ctx, document, signed)
	j.must(err)
	if again, err := a.CreateOrganisation(ctx, document, signed); err != nil || *again != *branch {
		j.t.Errorf("the same branch again: %+v, %v", again, err)
	}
	if got, err := b.Organisation(ctx, branch.ID); err != nil || *got != *branch || got.Parent != j.org {
		j.t.Errorf("the branch: %+v, %v", got, err)
	}
	first, err := a.Organisations(ctx, "", 1)
	j.must(err)
	next, err := a.Organisations(ctx, first.Organisations[0].ID, 10)
	j.must(err)
	if len(first.Organisations) != 1 || len(next.Organisations) != 1 || next.Organisations[0].ID <= first.Organisations[0].ID {
		j.t.Errorf("pages: %+v, %+v", first, next)
	}
	_, err = a.Organisation(ctx, "org_none")
	j.refused(err, 404, "")
	for _, allowed := range []bool{true, false} {
		document, st, err := adminclient.SwitchDocument(branch.ID, allowed, "")
		j.must(err)
		_, err = a.SetSigning(ctx, j.org, document, j.signed(st, a, b))
		j.refused(err, 400, "request.form") // in another's address
		o, err := a.SetSigning(ctx, branch.ID, document, j.signed(st, a, b))
		j.must(err)
		if o.SigningAllowed != allowed {
			j.t.Errorf("switch to %t: %+v", allowed, o)
		}
	}
	j.roles(branch.ID)
}

// roles gives somebody a role in a branch and takes it away.
func (j *journey) roles(branch string) {
	ctx, a, b := j.t.Context(), j.admins[0], j.admins[1]
	list, err := a.People(ctx, j.org, "SE2321000016-A4O2", "", 1)
	j.must(err)
	person := list.People[0].ID
	document, st, err := adminclient.RoleDocument(branch, person, "reader")
	j.must(err)
	_, err = a.GrantRole(ctx, branch, document, j.signed(st, a, a))
	j.refused(err, 400, "statement.form")
	roles, err := a.GrantRole(ctx, branch, document, j.signed(st, a, b))
	j.must(err)
	if len(roles.Roles) != 1 || roles.Roles[0].Person != person || roles.Roles[0].Statement == "" {
		j.t.Errorf("granted: %+v", roles)
	}
	for _, want := range []bool{true, false} {
		if ended, err := b.EndRole(ctx, branch, person, "reader"); err != nil || ended != want {
			j.t.Errorf("ended: %t, %v", ended, err)
		}
	}
	roles, err = b.Roles(ctx, branch)
	j.must(err)
	if len(roles.Roles) != 0 {
		j.t.Errorf("after the end: %+v", roles)
	}
}

// What the server would refuse for its form is not signed.
func TestDocumentsThatAreNotSigned(t *testing.T) {
	for name, err := range map[string]error{
		"check digit":   third(adminclient.BranchDocument("5560001008", "X", "org_1")),
		"no name":       third(adminclient.BranchDocument("5560001009", "", "org_1")),
		"no parent":     third(adminclient.BranchDocument("5560001009", "X", "")),
		"broken reason": third(adminclient.SwitchDocument("org_1", true, "a\nb")),
		"no person":     third(adminclient.RoleDocument("org_1", "", "reader")),
		"unknown role":  third(adminclient.RoleDocument("org_1", "per_1", "king")),
	} {
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.RequestForm {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// third drops what is not the error.
func third[A, B any](_ A, _ B, err error) error { return err }
