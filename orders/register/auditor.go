package register

import (
	"context"

	"sigill/orders/issue"
	"sigill/policy"
)

// fits refuses a role where it cannot be given. An auditor reads what the whole
// installation did: two administrators of a branch must not be able to show that to
// one of their own.
func fits(tx *Tx, g RoleGrant) error {
	if g.Role != policy.RoleAuditor {
		return nil
	}
	o, err := tx.Organisation(g.Organisation)
	if err != nil {
		return err
	}
	if o.Parent != "" {
		return policy.Refuse(policy.RoleRoot, "%s is given where there is no organisation above", g.Role).Err()
	}
	return nil
}

// Audits decides whether the caller may read the logs: the role of auditor at an
// organisation without parent, used with a current eID at level 3 that this very
// organisation issued. Who has no such role learns only that there is nothing for him.
func (s *Service) Audits(ctx context.Context, c Caller) error {
	err := s.Store.View(ctx, func(tx *Tx) error { return auditor(tx, c) })
	return s.Keep(ctx, err, c.Name(), issue.F("certificate", c.Certificate.String()))
}

func auditor(tx *Tx, c Caller) error {
	missing := policy.Refuse(policy.RoleMissing, "no auditor").Err()
	if c.Person == "" || c.Officer > 0 {
		return missing
	}
	grants, err := tx.GrantsOf(c.Person)
	if err != nil {
		return err
	}
	for _, g := range grants {
		if g.Role != policy.RoleAuditor || g.Organisation != c.Organisation {
			continue
		}
		o, err := tx.Organisation(g.Organisation)
		if err != nil {
			return err
		}
		// A row that somebody wrote at a branch by hand opens nothing.
		if o.Parent != "" {
			continue
		}
		if !administers(c) {
			return notAtLevel()
		}
		return nil
	}
	return missing
}
