package main

import (
	"fmt"

	"sigill/internal/adminclient"
	"sigill/internal/wire"
)

type organisationCmd struct {
	Create  organisationCreateCmd  `cmd:"" help:"Found a branch below an organisation that you administer. Two administrators sign."`
	List    organisationListCmd    `cmd:"" help:"List the organisations that you administer."`
	Show    organisationShowCmd    `cmd:"" help:"Show an organisation."`
	Signing organisationSigningCmd `cmd:"" help:"Let holders fetch signing certificates, or stop that. Two administrators sign."`
}

// bothFlag names the card of the other administrator, where two must sign.
type bothFlag struct {
	Second string `placeholder:"CARD" help:"Card of the other administrator, who signs too."`
}

// check refuses before a card is asked for a PIN that is of no use.
func (f bothFlag) check(what string) error {
	if f.Second == "" {
		return usageError{"two administrators " + what + ": name the other's card by --second"}
	}
	return nil
}

type organisationCreateCmd struct {
	ownCard
	bothFlag
	yesFlag
	Number string `required:"" help:"Organisation number: ten digits, the last one the check digit."`
	Name   string `required:"" help:"Name, as it will stand in certificates."`
	Parent string `env:"SIGILL_ORG" placeholder:"ID" help:"Organisation above it. Default: the only one you administer."`
}

// Help implements kong.HelpProvider.
func (organisationCreateCmd) Help() string {
	return `Number, name and place are for ever. The administrators of the organisations
above administer the branch; more are named by sigill role grant.

  sigill organisation create --number 5560000001 --name "Folktandvården" \
    --identity soft:anna.card --second soft:bo.card`
}

func (c *organisationCreateCmd) Run(g *globals) error {
	if err := c.check("found a branch"); err != nil {
		return err
	}
	return c.run(g, func(s *session, a *adminclient.Client) error {
		parent, err := s.organisation(a, c.Parent)
		if err != nil {
			return err
		}
		document, st, err := adminclient.BranchDocument(c.Number, c.Name, parent)
		if err != nil {
			return err
		}
		above, err := a.Organisation(g.ctx, parent)
		if err != nil {
			return err
		}
		would := fmt.Sprintf("Found the organisation %s (%s), for ever, below %s (%s, %s).", clean(c.Name), clean(c.Number),
			clean(above.Name), clean(above.Number), clean(above.ID))
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		statements, err := s.states(a, c.Second, st)
		if err != nil {
			return err
		}
		o, err := a.CreateOrganisation(g.ctx, document, statements)
		if err != nil {
			return err
		}
		return g.print(o, organisationText(o))
	})
}

func organisationText(o *wire.Organisation) string {
	return facts("organisation", o.ID, "number", o.Number, "name", o.Name, "below", o.Parent,
		"signing certificates", allowed(o.SigningAllowed), "registered", moment(o.CreatedAt))
}

func allowed(yes bool) string {
	if yes {
		return "allowed"
	}
	return "not allowed"
}

type organisationListCmd struct {
	ownCard
	pageFlags
}

// Help implements kong.HelpProvider.
func (organisationListCmd) Help() string {
	return `  sigill organisation list --identity soft:anna.card`
}

func (c *organisationListCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		list, err := a.Organisations(g.ctx, c.After, c.Limit)
		if err != nil {
			return err
		}
		lines := [][]string{{"id", "number", "name", "below", "signing certificates"}}
		last := ""
		for _, o := range list.Organisations {
			lines = append(lines, []string{o.ID, o.Number, o.Name, o.Parent, allowed(o.SigningAllowed)})
			last = o.ID
		}
		return g.print(list, table(lines...)+more(len(list.Organisations), c.Limit, last))
	})
}

type organisationShowCmd struct {
	ownCard
	ID string `arg:"" optional:"" help:"Organisation id (org_…). Default: the only one you administer."`
}

// Help implements kong.HelpProvider.
func (organisationShowCmd) Help() string {
	return `  sigill organisation show --identity soft:anna.card`
}

func (c *organisationShowCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		id, err := s.organisation(a, c.ID)
		if err != nil {
			return err
		}
		o, err := a.Organisation(g.ctx, id)
		if err != nil {
			return err
		}
		return g.print(o, organisationText(o))
	})
}

type organisationSigningCmd struct {
	ownCard
	bothFlag
	yesFlag
	Allow  bool   `xor:"way" required:"" help:"Holders may fetch signing certificates by this organisation's eIDs."`
	Deny   bool   `xor:"way" required:"" help:"They may not. What was fetched stays valid until it is revoked."`
	Reason string `placeholder:"TEXT" help:"Why, for the log."`
	ID     string `arg:"" optional:"" help:"Organisation id (org_…). Default: the only one you administer."`
}

// Help implements kong.HelpProvider.
func (organisationSigningCmd) Help() string {
	return `The switch is off until two administrators turn it on, and is for this
organisation alone, not for its branches. Turning it off revokes nothing.

  sigill organisation signing --allow --reason "decision 2026-14" \
    --identity soft:anna.card --second soft:bo.card`
}

func (c *organisationSigningCmd) Run(g *globals) error {
	if err := c.check("turn the switch"); err != nil {
		return err
	}
	return c.run(g, func(s *session, a *adminclient.Client) error {
		id, err := s.organisation(a, c.ID)
		if err != nil {
			return err
		}
		document, st, err := adminclient.SwitchDocument(id, c.Allow, c.Reason)
		if err != nil {
			return err
		}
		o, err := a.Organisation(g.ctx, id)
		if err != nil {
			return err
		}
		would := fmt.Sprintf("Let the holders of eIDs of %s (%s) fetch signing certificates.", clean(o.Name), clean(o.ID))
		if c.Deny {
			would = fmt.Sprintf("Stop the holders of eIDs of %s (%s) from fetching signing certificates. Those they have stay valid.", clean(o.Name), clean(o.ID))
		}
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		statements, err := s.states(a, c.Second, st)
		if err != nil {
			return err
		}
		if o, err = a.SetSigning(g.ctx, id, document, statements); err != nil {
			return err
		}
		return g.print(o, organisationText(o))
	})
}
