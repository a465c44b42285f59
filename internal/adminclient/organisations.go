package adminclient

import (
	"context"
	"crypto/sha256"
	"encoding/json"

	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
)

// stating is a document and the statement to sign over it, or why it can't be.
func stating(v any, st statement.Statement, parse func([]byte) error) ([]byte, statement.Statement, error) {
	document, err := json.Marshal(v)
	if err == nil {
		err = parse(document)
	}
	if err != nil {
		return nil, statement.Statement{}, err
	}
	st.Content = sha256.Sum256(document)
	return document, st, nil
}

// BranchDocument returns the document that founds an organisation below parent
// and the statement that two of parent's administrators sign over it.
func BranchDocument(number, name, parent string) (document []byte, st statement.Statement, err error) {
	return stating(register.Branch{Number: number, Name: name, Parent: policy.OrganisationID(parent)},
		statement.Statement{Act: statement.ActBranch, Subject: register.BranchSubject(number)},
		func(b []byte) error { _, err := register.ParseBranch(b); return err })
}

// CreateOrganisation hands in a stated founding of a branch. The statement of the
// client's own card stands first.
func (c *Client) CreateOrganisation(ctx context.Context, document []byte, statements []wire.Statement) (*wire.Organisation, error) {
	return retried(ctx, c, func(l *login) (*wire.Organisation, error) {
		return post[wire.Organisation](ctx, l, path("organisations"), wire.Stated{Document: document, Statements: statements})
	})
}

// Organisations returns a page of the organisations that the caller administers,
// by id.
func (c *Client) Organisations(ctx context.Context, after string, limit int) (*wire.Organisations, error) {
	return retried(ctx, c, func(l *login) (*wire.Organisations, error) {
		return get[wire.Organisations](ctx, l, path("organisations"), page(limit, "after", after))
	})
}

// Organisation returns an organisation.
func (c *Client) Organisation(ctx context.Context, id string) (*wire.Organisation, error) {
	return retried(ctx, c, func(l *login) (*wire.Organisation, error) {
		return get[wire.Organisation](ctx, l, path("organisations", id), nil)
	})
}

// SwitchDocument returns the document that turns an organisation's switch for
// signing certificates and the statement that two of its administrators sign.
func SwitchDocument(org string, allowed bool, reason string) (document []byte, st statement.Statement, err error) {
	return stating(register.Switch{Salt: policy.NewSalt(), Organisation: policy.OrganisationID(org), SigningAllowed: allowed, Reason: reason},
		statement.Statement{Act: statement.ActSigning, Subject: org},
		func(b []byte) error { _, err := register.ParseSwitch(b); return err })
}

// SetSigning hands in a stated turn of the switch. The statement of the client's
// own card stands first.
func (c *Client) SetSigning(ctx context.Context, org string, document []byte, statements []wire.Statement) (*wire.Organisation, error) {
	return retried(ctx, c, func(l *login) (*wire.Organisation, error) {
		return post[wire.Organisation](ctx, l, path("organisations", org, "signing"), wire.Stated{Document: document, Statements: statements})
	})
}

// RoleDocument returns the document that gives a person a role and the statement
// that two administrators of the organisation sign.
func RoleDocument(org, person, role string) (document []byte, st statement.Statement, err error) {
	return stating(register.RoleGrant{Organisation: policy.OrganisationID(org), Person: policy.PersonID(person), Role: policy.Role(role)},
		statement.Statement{Act: statement.ActGrant, Subject: org, For: person},
		func(b []byte) error { _, err := register.ParseRoleGrant(b); return err })
}

// GrantRole hands in a stated role and returns the roles that are then in force.
// The statement of the client's own card stands first.
func (c *Client) GrantRole(ctx context.Context, org string, document []byte, statements []wire.Statement) (*wire.Roles, error) {
	return retried(ctx, c, func(l *login) (*wire.Roles, error) {
		return post[wire.Roles](ctx, l, path("organisations", org, "roles"), wire.Stated{Document: document, Statements: statements})
	})
}

// Roles returns the roles in force that name an organisation.
func (c *Client) Roles(ctx context.Context, org string) (*wire.Roles, error) {
	return retried(ctx, c, func(l *login) (*wire.Roles, error) {
		return get[wire.Roles](ctx, l, path("organisations", org, "roles"), nil)
	})
}

// EndRole ends a person's role at once. It reports whether one was in force.
func (c *Client) EndRole(ctx context.Context, org, person, role string) (bool, error) {
	r, err := retried(ctx, c, func(l *login) (*wire.RoleEnded, error) {
		return post[wire.RoleEnded](ctx, l, path("organisations", org, "roles", "end"), wire.EndRole{Person: person, Role: role})
	})
	if err != nil {
		return false, err
	}
	return r.Ended, nil
}
