package main

import (
	"errors"
	"fmt"
	"strconv"

	"sigill/internal/adminclient"
	"sigill/internal/audit"
	"sigill/internal/wire"
)

type personCmd struct {
	Import personImportCmd `cmd:"" help:"Take in a file of persons."`
	List   personListCmd   `cmd:"" help:"List persons of an organisation."`
	End    personEndCmd    `cmd:"" help:"End a person's assignment now and revoke the eIDs that hang on it."`
	Revoke personRevokeCmd `cmd:"" help:"Revoke every eID of the organisation that a person has; the assignment stays."`
	Export personExportCmd `cmd:"" help:"Everything that is held about a person, as JSON."`
	Erase  personEraseCmd  `cmd:"" help:"Erase a person from the register. Two administrators sign."`
}

type orgFlag struct {
	Org string `env:"SIGILL_ORG" placeholder:"ID" help:"Organisation. Default: the only one you administer."`
}

type personImportCmd struct {
	ownCard
	orgFlag
	File string `arg:"" help:"CSV; - reads the standard input."`
}

// Help implements kong.HelpProvider.
func (personImportCmd) Help() string {
	return `UTF-8, comma-separated, with this heading:

  personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected

One wrong row refuses the whole file. The same file again changes nothing.

  sigill person import people.csv --identity soft:anna.card`
}

func (c *personImportCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		file, err := readInput(g, c.File)
		if err != nil {
			return err
		}
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		rows, err := a.ImportPeople(g.ctx, org, file)
		if err != nil {
			return err
		}
		return printRows(g, rows)
	})
}

// printRows prints what became of a file. It fails if a row was refused.
func printRows(g *globals, rows *wire.Rows) error {
	lines := [][]string{{"row", "key", "result", "rule", "detail"}}
	count := map[string]int{}
	for _, r := range rows.Rows {
		count[r.Result]++
		lines = append(lines, []string{strconv.Itoa(r.Row), r.Key, r.Result, r.Rule, r.Detail})
	}
	text := table(lines...) + fmt.Sprintf("%d created, %d changed, %d unchanged, %d refused\n",
		count["created"], count["changed"], count["unchanged"], rows.Refused)
	if err := g.print(rows, text); err != nil {
		return err
	}
	if rows.Refused > 0 {
		return errTold
	}
	return nil
}

type pageFlags struct {
	After string `placeholder:"KEY" help:"Begin after this one."`
	Limit int    `default:"100" help:"At most so many, 1 to 200."`
}

type personListCmd struct {
	ownCard
	orgFlag
	pageFlags
	Prefix string `arg:"" optional:"" help:"Beginning of name, HSA-id or number."`
}

// Help implements kong.HelpProvider.
func (personListCmd) Help() string {
	return `  sigill person list Öst --identity soft:anna.card

Persons with protected identity are not listed.`
}

func (c *personListCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		people, err := a.People(g.ctx, org, c.Prefix, c.After, c.Limit)
		if err != nil {
			return err
		}
		lines := [][]string{{"id", "number", "name", "HSA-id", "e-mail", "UPN", "ends"}}
		last := ""
		for _, p := range people.People {
			lines = append(lines, []string{p.ID, p.Number, p.GivenName + " " + p.Surname, p.HSAID, p.Email, p.UPN, momentOf(p.EndsAt)})
			last = p.HSAID
		}
		return g.print(people, table(lines...)+more(len(people.People), c.Limit, last))
	})
}

// more tells how to see the next page of a full one.
func more(got, limit int, last string) string {
	if got < limit || got == 0 {
		return ""
	}
	return fmt.Sprintf("There may be more: --after %s\n", clean(last))
}

type personEndCmd struct {
	ownCard
	orgFlag
	yesFlag
	waitFlag
	logKeyFlag
	Person string `arg:"" help:"Person id (per_…)."`
}

func (c *personEndCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		c.on(g, a)
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		err = s.confirm(c.yesFlag, "End the assignment of "+clean(c.Person)+" in "+clean(org)+
			" now, withdraw the orders and revoke every eID that hangs on it. This can't be undone.")
		if err != nil {
			return err
		}
		ended, err := a.EndAssignment(g.ctx, c.Person, org)
		if err != nil {
			return err
		}
		out := struct {
			Person       string `json:"person"`
			Organisation string `json:"organisation"`
			Assignment   string `json:"assignment"`
			*wire.PersonEnded
		}{c.Person, org, "ended", ended}
		return errors.Join(g.print(out, "The assignment has ended.\n"), c.checkEnded(s, ended, didTo(audit.AssignmentChanged, "person", c.Person)))
	})
}

type personRevokeCmd struct {
	ownCard
	orgFlag
	yesFlag
	waitFlag
	logKeyFlag
	Person string `arg:"" help:"Person id (per_…)."`
	Reason string `required:"" help:"Why: keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn."`
}

func (c *personRevokeCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		c.on(g, a)
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		err = s.confirm(c.yesFlag, "Revoke every eID of "+clean(org)+" that "+clean(c.Person)+" has, as "+clean(c.Reason)+
			", and end what is open for them. This can't be undone.")
		if err != nil {
			return err
		}
		ended, err := a.RevokePerson(g.ctx, c.Person, org, c.Reason)
		if err != nil {
			return err
		}
		out := struct {
			Person       string `json:"person"`
			Organisation string `json:"organisation"`
			Reason       string `json:"reason"`
			*wire.PersonEnded
		}{c.Person, org, c.Reason, ended}
		return errors.Join(g.print(out, "Every eID of the organisation is revoked.\n"), c.checkEnded(s, ended, did{}))
	})
}
