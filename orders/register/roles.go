package register

import (
	"context"
	"errors"
	"slices"
	"time"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/policy"
)

// RoleGrant is the document that two administrators sign to give a person a role.
// Its canonical form is encoding/json's.
type RoleGrant struct {
	Organisation policy.OrganisationID `json:"organisation"`
	Person       policy.PersonID       `json:"person"`
	Role         policy.Role           `json:"role"`
}

// Roles returns the roles that can be given.
func Roles() []policy.Role {
	return []policy.Role{policy.RoleAdministrator, policy.RoleReserve, policy.RoleReader, policy.RoleAuditor}
}

// ParseRoleGrant reads a RoleGrant and refuses every form but the canonical one.
func ParseRoleGrant(b []byte) (RoleGrant, error) {
	g, err := canonical[RoleGrant]("role", b)
	switch {
	case err != nil:
		return g, err
	case g.Organisation == "" || g.Person == "":
		return g, policy.Refuse(policy.RequestForm, "role: it needs an organisation and a person").Err()
	case !slices.Contains(Roles(), g.Role):
		return g, policy.Refuse(policy.RequestForm, "role: it is one of %v", Roles()).Err()
	}
	return g, nil
}

// GrantRole gives a person a role as a stated document says, signed by two
// different administrators of the organisation, the caller first, neither of them
// the person. The person needs an assignment in the organisation or one above it,
// and an auditor's organisation has none above it.
// The same document again changes nothing.
func (s *Service) GrantRole(ctx context.Context, c Caller, org policy.OrganisationID, document []byte, signed []Signed) error {
	g, err := ParseRoleGrant(document)
	if err == nil && g.Organisation != org {
		err = policy.Refuse(policy.RequestForm, "the document is about another organisation than the address").Err()
	}
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error { return s.grant(tx, c, g, HashOf(document), signed) })
	}
	return s.Keep(ctx, err, c.Name(), issue.F("organisation", string(org)), issue.F("person", string(g.Person)))
}

func (s *Service) grant(tx *Tx, c Caller, g RoleGrant, hash [32]byte, signed []Signed) error {
	now := s.Now().UTC().Truncate(time.Microsecond)
	// As with a switch, statements are stored even if nothing is to be done.
	by, err := s.two(tx, now, c, Expect{Act: statement.ActGrant, Subject: string(g.Organisation), For: g.Person, Content: hash,
		Organisation: g.Organisation}, signed)
	if err != nil || by.again {
		return err
	}
	if slices.ContainsFunc(by.stated, func(st Stated) bool { return st.By == string(g.Person) }) {
		return policy.Refuse(policy.RoleSelf, "one of the two who sign").Err()
	}
	if err := assigned(tx, g.Person, g.Organisation, now); err != nil {
		return err
	}
	if err := fits(tx, g); err != nil {
		return err
	}
	in, err := inForce(tx, g.Person, g.Organisation, g.Role)
	if err != nil || in {
		return err
	}
	row := Grant{Person: g.Person, Organisation: g.Organisation, Role: g.Role, Statement: by.stated[0].ID, GrantedAt: now}
	if err := tx.InsertGrant(row); err != nil {
		return err
	}
	return tx.Events.Append(issue.NewEvent(audit.RoleGranted, now, by.by(), append(by.told(hash), issue.F("person", string(g.Person)),
		issue.F("organisation", string(g.Organisation)), issue.F("role", string(g.Role)))...))
}

// assigned refuses a person without an assignment now in org or one above it. One
// answer for who is not known and who is employed elsewhere.
func assigned(tx *Tx, person policy.PersonID, org policy.OrganisationID, now time.Time) error {
	for depth := 0; org != "" && depth < MaxBranchDepth; depth++ {
		a, err := tx.Assignment(person, org)
		if err == nil && (a.EndsAt.IsZero() || now.Before(a.EndsAt)) {
			return nil
		} else if err != nil && !errors.Is(err, issue.ErrNotFound) {
			return err
		}
		o, err := tx.Organisation(org)
		if err != nil {
			return err
		}
		org = o.Parent
	}
	return policy.Refuse(policy.OrderAssignment, "no assignment in the organisation or one above it").Err()
}

func inForce(tx *Tx, person policy.PersonID, org policy.OrganisationID, role policy.Role) (bool, error) {
	grants, err := tx.GrantsOf(person)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(grants, func(g Grant) bool { return g.Organisation == org && g.Role == role }), nil
}

// EndRole ends a person's role in an organisation at once, by one administrator:
// taking away must be as quick as what it answers. It returns false if there was
// no such role in force, and nothing was changed.
func (s *Service) EndRole(ctx context.Context, c Caller, org policy.OrganisationID, person policy.PersonID, role policy.Role) (bool, error) {
	ended := false
	err := s.Store.Update(ctx, func(tx *Tx) error {
		ended = false
		if c.Officer > 0 {
			return policy.Refuse(policy.CeremonyScope, "officers end no roles").Err()
		}
		if err := Administrator(tx, c, org); err != nil {
			return err
		}
		in, err := inForce(tx, person, org, role)
		if err != nil || !in {
			return err
		}
		if role == policy.RoleAdministrator {
			if err := othersCanAct(tx, person, org); err != nil {
				return err
			}
		}
		now := s.Now().UTC().Truncate(time.Microsecond)
		if err := tx.EndGrant(person, org, role, now); err != nil {
			return err
		}
		ended = true
		return tx.Events.Append(issue.NewEvent(audit.RoleEnded, now, c.Name(), issue.F("person", string(person)),
			issue.F("organisation", string(org)), issue.F("role", string(role)), issue.F("rule", "role.ended")))
	})
	if err = s.Keep(ctx, err, c.Name(), issue.F("organisation", string(org)), issue.F("person", string(person))); err != nil {
		return false, err
	}
	return ended, nil
}

// othersCanAct refuses to end the last administrator of a customer who has an eID
// to act with: the ceremony is closed for ever, nobody could give the role again.
// A branch is administered from above.
func othersCanAct(tx *Tx, person policy.PersonID, org policy.OrganisationID) error {
	o, err := tx.Organisation(org)
	if err != nil || o.Parent != "" {
		return err
	}
	grants, err := tx.GrantsFor(org)
	if err != nil {
		return err
	}
	for _, g := range grants {
		if g.Role != policy.RoleAdministrator || g.Person == person {
			continue
		}
		if can, err := canAdministrate(tx, g.Person); err != nil || can {
			return err
		}
	}
	return policy.Refuse(policy.RoleLast, "no other administrator with an eID at level 3 would be left").Err()
}

// EndRoles ends, in the caller's transaction, the roles that a person had by an
// assignment in org that ended: those in org, and those in branches below it unless
// another assignment carries them. Who has left, and comes back one day, does not
// find the roles that nobody thought of.
func EndRoles(tx *Tx, person policy.PersonID, org policy.OrganisationID, by string, now time.Time) error {
	grants, err := tx.GrantsOf(person)
	if err != nil {
		return err
	}
	for _, g := range grants {
		hangs, err := hangsOn(tx, g, org, now)
		if err != nil {
			return err
		}
		if !hangs {
			continue
		}
		if err := tx.EndGrant(person, g.Organisation, g.Role, now); err != nil {
			return err
		}
		if err := tx.Events.Append(issue.NewEvent(audit.RoleEnded, now, by, issue.F("person", string(person)),
			issue.F("organisation", string(g.Organisation)), issue.F("role", string(g.Role)), issue.F("rule", "assignment.ended"))); err != nil {
			return err
		}
	}
	return nil
}

// hangsOn reports whether a role ends with an assignment in org that has ended.
func hangsOn(tx *Tx, g Grant, org policy.OrganisationID, now time.Time) (bool, error) {
	if g.Organisation == org {
		return true, nil
	}
	below := false
	for at, depth := g.Organisation, 0; at != "" && depth < MaxBranchDepth; depth++ {
		o, err := tx.Organisation(at)
		if err != nil {
			return false, err
		}
		at = o.Parent
		below = below || at == org
	}
	if !below {
		return false, nil
	}
	err := assigned(tx, g.Person, g.Organisation, now)
	if _, refused := errors.AsType[*policy.Refusal](err); refused {
		return true, nil
	}
	return false, err
}

// RoleHolder is a role in force and who has it.
type RoleHolder struct {
	Grant
	Name string // empty: a protected identity
}

// ListRoles returns the roles in force that name an organisation, by person;
// administrators of those above it have theirs there.
func (s *Service) ListRoles(ctx context.Context, c Caller, org policy.OrganisationID) ([]RoleHolder, error) {
	var list []RoleHolder
	err := s.Store.View(ctx, func(tx *Tx) error {
		list = nil
		if err := MayFor(tx, c, org); err != nil {
			return err
		}
		grants, err := tx.GrantsFor(org)
		if err != nil {
			return err
		}
		for _, g := range grants {
			p, err := tx.Person(g.Person)
			if err != nil {
				return err
			}
			h := RoleHolder{Grant: g}
			if !p.Protected {
				h.Name = p.GivenName + " " + p.Surname
			}
			list = append(list, h)
		}
		return nil
	})
	if err = s.Keep(ctx, err, c.Name(), issue.F("organisation", string(org))); err != nil {
		return nil, err
	}
	return list, nil
}
