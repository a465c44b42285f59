package main

import (
	"errors"
	"fmt"
	"slices"

	"sigill/internal/adminclient"
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
)

type roleCmd struct {
	Grant roleGrantCmd `cmd:"" help:"Give a person a role in an organisation. Two administrators sign, neither of them the person."`
	End   roleEndCmd   `cmd:"" help:"End a person's role, at once."`
	List  roleListCmd  `cmd:"" help:"List the roles in an organisation."`
}

// roleFlags say whose role.
type roleFlags struct {
	Person string `required:"" placeholder:"ID" help:"Person id (per_…) or HSA-id."`
	Role   string `required:"" enum:"administrator,reserve-administrator,reader,auditor" help:"${enum}."`
}

type roleGrantCmd struct {
	ownCard
	orgFlag
	bothFlag
	yesFlag
	roleFlags
}

// Help implements kong.HelpProvider.
func (roleGrantCmd) Help() string {
	return `The person needs an assignment in the organisation or in one above it, and an
eID at level 3 of one of these to use the role.

  sigill role grant --person SE2321000016-0042 --role administrator \
    --identity soft:anna.card --second soft:bo.card`
}

func (c *roleGrantCmd) Run(g *globals) error {
	if err := c.check("give a role"); err != nil {
		return err
	}
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		person, who, err := s.personUpwards(a, org, c.Person)
		if err != nil {
			return err
		}
		document, st, err := adminclient.RoleDocument(org, person, c.Role)
		if err != nil {
			return err
		}
		would := fmt.Sprintf("Give %s the role %s of %s and the branches below it.", clean(who), c.Role, clean(org))
		if c.Role == string(policy.RoleAuditor) {
			would = fmt.Sprintf("Give %s the role %s of %s: sight of every order, certificate and act of the installation.", clean(who), c.Role, clean(org))
		}
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		statements, err := s.states(a, c.Second, st)
		if err != nil {
			return err
		}
		roles, err := a.GrantRole(g.ctx, org, document, statements)
		if err != nil {
			return err
		}
		return g.print(roles, rolesText(roles))
	})
}

// personUpwards finds a person by id or HSA-id in an organisation, and else in
// those above it that the caller may look into: who has a role in a branch may be
// employed further up.
func (s *session) personUpwards(a *adminclient.Client, org, named string) (id, who string, err error) {
	id, who, first := s.person(a, org, named)
	err = first
	for range register.MaxBranchDepth {
		if err == nil || !errors.Is(err, errNoPerson) {
			break
		}
		o, up := a.Organisation(s.ctx, org)
		if up != nil || o.Parent == "" {
			break
		}
		org = o.Parent
		id, who, err = s.person(a, org, named)
	}
	if err != nil {
		return "", "", first // told of the organisation that was named
	}
	return id, who, nil
}

func rolesText(roles *wire.Roles) string {
	lines := [][]string{{"person", "name", "role", "organisation", "since"}}
	for _, r := range roles.Roles {
		lines = append(lines, []string{r.Person, r.Name, r.Role, r.Organisation, moment(r.GrantedAt)})
	}
	return table(lines...)
}

type roleEndCmd struct {
	ownCard
	orgFlag
	yesFlag
	roleFlags
}

// Help implements kong.HelpProvider.
func (roleEndCmd) Help() string {
	return `One administrator suffices. To give it back takes two.

  sigill role end --person SE2321000016-0042 --role administrator --identity soft:anna.card`
}

func (c *roleEndCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		person, who, err := s.personUpwards(a, org, c.Person)
		if err != nil {
			return err
		}
		roles, err := a.Roles(g.ctx, org)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(roles.Roles, func(r wire.Role) bool { return r.Person == person && r.Role == c.Role }) {
			return fmt.Errorf("%s does not have the role %s of %s: nothing was done", clean(who), c.Role, clean(org))
		}
		would := fmt.Sprintf("End the role %s of %s that %s has, now.", c.Role, clean(org), clean(who))
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		if _, err := a.EndRole(g.ctx, org, person, c.Role); err != nil {
			return err
		}
		return g.print(map[string]string{"person": person, "organisation": org, "role": c.Role, "state": "ended"}, "The role has ended.\n")
	})
}

type roleListCmd struct {
	ownCard
	orgFlag
}

// Help implements kong.HelpProvider.
func (roleListCmd) Help() string {
	return `Administrators of an organisation above have their role there.

  sigill role list --identity soft:anna.card`
}

func (c *roleListCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		roles, err := a.Roles(g.ctx, org)
		if err != nil {
			return err
		}
		return g.print(roles, rolesText(roles))
	})
}
