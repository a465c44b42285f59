package world

import (
	"context"
	"encoding/json"
	"fmt"

	"sigill/internal/statement"
	"sigill/orders/register"
	"sigill/policy"
)

// newNumber returns an organisation number that nobody has, with its check digit.
func (w *World) newNumber() string {
	base := fmt.Sprintf("55%07d", w.count.Add(1))
	sum := 0
	for i, c := range []byte(base) {
		d := int(c - '0')
		if i%2 == 0 {
			d = d*2/10 + d*2%10
		}
		sum += d
	}
	return fmt.Sprintf("%s%d", base, (10-sum%10)%10)
}

// CreateBranch founds a branch below parent by both administrators.
func (w *World) CreateBranch(ctx context.Context, name string, parent policy.OrganisationID) (*register.Organisation, error) {
	document, err := json.Marshal(register.Branch{Number: w.newNumber(), Name: name, Parent: parent})
	if err != nil {
		return nil, err
	}
	f, err := register.ParseBranch(document)
	if err != nil {
		return nil, err
	}
	c, signed, err := w.both(ctx, statement.Statement{Act: statement.ActBranch, Subject: register.BranchSubject(f.Number), Content: register.HashOf(document)})
	if err != nil {
		return nil, err
	}
	return w.Register.CreateOrganisation(ctx, c, document, signed)
}

// both has the first administrator log in and both state st.
func (w *World) both(ctx context.Context, st statement.Statement) (register.Caller, []register.Signed, error) {
	c, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return c, nil, err
	}
	signed, err := w.StateAs(st, w.Admins[0], w.Admins[1])
	return c, signed, err
}

// AddOrganisation makes a branch of the first organisation, which the same two
// administer, and in which a holder has an assignment too.
func (w *World) AddOrganisation(ctx context.Context, name string, h *Holder) (policy.OrganisationID, error) {
	org, err := w.CreateBranch(ctx, name, w.Org)
	if err != nil {
		return "", err
	}
	return org.ID, w.Employ(ctx, h, org)
}

// Employ gives a holder an assignment in an organisation.
func (w *World) Employ(ctx context.Context, h *Holder, org *register.Organisation) error {
	var p *register.Person
	err := w.config.Stores.Register.View(ctx, func(tx *register.Tx) error {
		var err error
		p, err = tx.Person(h.Person)
		return err
	})
	if err != nil {
		return err
	}
	c, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return err
	}
	results, err := w.Register.ImportPeople(ctx, c, org.ID, []register.PersonRow{{Number: p.Number, Kind: p.NumberKind, GivenName: p.GivenName,
		Surname: p.Surname, Protected: p.Protected, HSAID: policy.HSAID(fmt.Sprintf("SE%s-%d", org.Number, w.count.Add(1)))}})
	if err != nil {
		return err
	}
	if r := results[0]; r.Result == "refused" {
		return fmt.Errorf("importing into %s: %s %s", org.Name, r.Rule, r.Detail)
	}
	return nil
}

// SetSigning turns an organisation's switch for signing certificates, by both
// administrators.
func (w *World) SetSigning(ctx context.Context, org policy.OrganisationID, allowed bool) error {
	// Each time another document: statements of the same second over the same one
	// are the same statement, which is good once.
	document, err := json.Marshal(register.Switch{Salt: policy.NewSalt(), Organisation: org, SigningAllowed: allowed, Reason: fmt.Sprint(w.count.Add(1))})
	if err != nil {
		return err
	}
	c, signed, err := w.both(ctx, statement.Statement{Act: statement.ActSigning, Subject: string(org), Content: register.HashOf(document)})
	if err != nil {
		return err
	}
	_, err = w.Register.SetSigning(ctx, c, org, document, signed)
	return err
}

// GrantRole gives a holder a role in an organisation, by both administrators. The
// same again within a second is the same statement, which is good once.
func (w *World) GrantRole(ctx context.Context, h *Holder, org policy.OrganisationID, role policy.Role) error {
	document, err := json.Marshal(register.RoleGrant{Organisation: org, Person: h.Person, Role: role})
	if err != nil {
		return err
	}
	c, signed, err := w.both(ctx, statement.Statement{Act: statement.ActGrant, Subject: string(org), For: string(h.Person), Content: register.HashOf(document)})
	if err != nil {
		return err
	}
	return w.Register.GrantRole(ctx, c, org, document, signed)
}

// SecondCard gives a holder who is none of the two administrators another card
// with an eID of its own.
func (w *World) SecondCard(ctx context.Context, h *Holder) (*Holder, error) {
	c, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return nil, err
	}
	other := &Holder{Person: h.Person, Number: h.Number, HSAID: h.HSAID}
	if err := w.deliver(ctx, other, c, w.Admins[0].Current); err != nil {
		return nil, err
	}
	id, err := w.Order(ctx, other, policy.OrderOrdinary)
	if err != nil {
		return nil, err
	}
	return other, w.Fetch(ctx, other, id)
}
