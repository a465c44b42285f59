package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"sigill/internal/adminclient"
	"sigill/internal/wire"
)

type personExportCmd struct {
	ownCard
	orgFlag
	Out    string `type:"path" placeholder:"FILE" help:"Write there, readable by you alone. Default: the standard output."`
	Person string `arg:"" help:"Person id (per_…) or HSA-id."`
}

// Help implements kong.HelpProvider.
func (personExportCmd) Help() string {
	return `Everything that is held about the person, as JSON: register, cards, certificates, orders,
downloads, what was signed, and the events that name the person. That you asked stands in
the log. You administer an organisation at or above every one that employs the person.

  sigill person export SE2321000016-0042 --out asa.json --identity soft:anna.card`
}

func (c *personExportCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		person, _, err := s.person(a, org, c.Person)
		if err != nil {
			return err
		}
		held, err := a.ExportPerson(g.ctx, org, person)
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(held, "", "  ")
		if err != nil {
			return err
		}
		text = append(text, '\n')
		if c.Out == "" {
			_, err = g.stdout.Write(text)
			return err
		}
		// It never replaces a file: one that is there may be readable by others.
		f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if _, err = f.Write(text); err == nil {
			err = f.Sync()
		}
		if closed := f.Close(); err == nil {
			err = closed
		}
		return err
	})
}

type personEraseCmd struct {
	ownCard
	orgFlag
	bothFlag
	yesFlag
	Person string `arg:"" help:"Person id (per_…) or HSA-id."`
}

// Help implements kong.HelpProvider.
func (personEraseCmd) Help() string {
	return `Names, number, addresses, assignments and what log-ins and refusals say of the person go;
certificates, orders and what they rest on stay until ten years after the card has expired,
and it is told what stays. Refused while the person has a role, an active card, an eID or an
open order. Two administrators sign.

  sigill person erase per_… --identity soft:anna.card --second soft:bo.card`
}

func (c *personEraseCmd) Run(g *globals) error {
	if err := c.check("erase a person"); err != nil {
		return err
	}
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		person, who, err := s.person(a, org, c.Person)
		if err != nil {
			return err
		}
		document, st, err := adminclient.ErasureDocument(org, person)
		if err != nil {
			return err
		}
		would := "Erase " + clean(who) + " from the register: name, number, addresses, assignments, and what log-ins and refusals say. This can't be undone."
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		statements, err := s.states(a, c.Second, st)
		if err != nil {
			return err
		}
		erased, err := a.ErasePerson(g.ctx, person, document, statements)
		if err != nil {
			return err
		}
		return g.print(erased, erasedText(erased))
	})
}

// erasedText says in words what became of a person, and what stays until when and why.
func erasedText(e *wire.PersonErased) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is erased since %s.\n", clean(e.Person), moment(e.ErasedAt))
	if e.Assignments > 0 {
		fmt.Fprintf(&b, "Gone: name, number, search keys, %d assignments with HSA-ids and addresses, and the personal values of %d events.\n", e.Assignments, e.Events)
	}
	if len(e.Kept) == 0 {
		b.WriteString("Nothing about certificates or orders is kept.\n")
	}
	for _, k := range e.Kept {
		fmt.Fprintf(&b, "Stays: %d %s%s.\n", k.Count, clean(k.What), keptWhy(k))
	}
	b.WriteString("The log of acts keeps identifiers and hashes, without name and number.\n")
	return b.String()
}

func keptWhy(k wire.Kept) string {
	until := ""
	if !k.Until.IsZero() {
		until = ", until " + k.Until.UTC().Format(time.DateOnly)
	}
	switch k.Why {
	case "duty":
		return until + ", because orders and certificates are kept ten years after the card has expired"
	case "signed":
		return until + " that the person signed for others, each as long as what it is about, and the certificates with them"
	case "course":
		return until + ", because log-ins and refusals end by themselves after eighteen months"
	}
	return until
}
