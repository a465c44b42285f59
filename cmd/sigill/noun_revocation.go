package main

import (
	"fmt"
	"time"

	"sigill/internal/adminclient"
	"sigill/internal/statement"
	"sigill/internal/wire"
)

type revocationCmd struct {
	Order   revocationOrderCmd   `cmd:"" help:"Order that what is on a list be revoked. Another administrator approves."`
	Approve revocationApproveCmd `cmd:"" help:"Approve what another administrator ordered: from now on it is revoked."`
	Show    revocationShowCmd    `cmd:"" help:"Show a mass revocation and how far it is."`
	List    revocationListCmd    `cmd:"" help:"List an organisation's mass revocations."`
}

// listFlags name a file of what to revoke.
type listFlags struct {
	Serials string `placeholder:"FILE" help:"Certificates: a file with one serial a line; - reads the standard input."`
	Cards   string `placeholder:"FILE" help:"Cards: a file with one card number a line; the eIDs on them are revoked, the cards stay."`
}

// read returns the canonical list of the file that was named; nil: none was.
func (f listFlags) read(g *globals) (kind string, list []byte, entries int, err error) {
	kind, name := "serials", f.Serials
	if f.Serials != "" && f.Cards != "" {
		return "", nil, 0, usageError{"name one list, by --serials or by --cards"}
	}
	if f.Cards != "" {
		kind, name = "cards", f.Cards
	}
	if name == "" {
		return "", nil, 0, nil
	}
	text, err := readInput(g, name)
	if err != nil {
		return "", nil, 0, err
	}
	if list, entries, err = adminclient.MassList(kind, text); err != nil {
		return "", nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	return kind, list, entries, nil
}

// massWaitFlag is for what is revoked later.
type massWaitFlag struct {
	Wait bool `help:"Wait until everything on the list is revoked, and tell how far it is."`
}

type revocationOrderCmd struct {
	ownCard
	orgFlag
	yesFlag
	listFlags
	massWaitFlag
	Reason string `required:"" enum:"keyCompromise,affiliationChanged,superseded,cessationOfOperation,privilegeWithdrawn" help:"Reason of RFC 5280: ${enum}."`
	Second string `placeholder:"CARD" help:"Card of another administrator, at the same desk, who approves at once."`
}

// Help implements kong.HelpProvider.
func (revocationOrderCmd) Help() string {
	return `Everything on the list must be of the organisation or of a branch below it. At
most 200,000 lines; empty lines and what follows a # are left out. An order that
nobody approves within a day comes to nothing.

  sigill revocation order --serials stolen.txt --reason keyCompromise --identity soft:anna.card
  sigill revocation approve mrv_… --identity soft:bo.card --wait`
}

func (c *revocationOrderCmd) Run(g *globals) error {
	if (c.Serials == "") == (c.Cards == "") {
		return usageError{"name one list, by --serials or by --cards"}
	}
	if c.Wait && c.Second == "" {
		return usageError{"nothing is revoked before it is approved: --wait goes with --second, or with sigill revocation approve"}
	}
	return c.run(g, func(s *session, a *adminclient.Client) error {
		kind, list, entries, err := c.read(g)
		if err != nil {
			return err
		}
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		document, st, err := adminclient.MassDocument(org, kind, c.Reason, list)
		if err != nil {
			return err
		}
		if err := s.confirm(c.yesFlag, fmt.Sprintf("Order that %s be revoked as %s. Once it is approved, it can't be undone.", listed(kind, entries), c.Reason)); err != nil {
			return err
		}
		signed, err := s.states(a, "", st)
		if err != nil {
			return err
		}
		m, err := a.OrderMass(g.ctx, org, document, list, signed)
		if err != nil {
			return err
		}
		if c.Second == "" {
			return g.print(m, massText(m))
		}
		second, err := s.client(c.Second)
		if err != nil {
			return err
		}
		return s.approveMass(second, m, list, st, c.massWaitFlag)
	})
}

// listed says what a list has, for people.
func listed(kind string, entries int) string {
	if kind == "cards" {
		return fmt.Sprintf("the eIDs on %d cards", entries)
	}
	return fmt.Sprintf("%d certificates", entries)
}

// approveMass states and approves as a, and waits where that is asked for.
func (s *session) approveMass(a *adminclient.Client, m *wire.Mass, list []byte, st statement.Statement, wait massWaitFlag) error {
	if _, err := adminclient.MassApproval(m, list); err != nil {
		return err
	}
	signed, err := s.states(a, "", st)
	if err != nil {
		return err
	}
	if m, err = a.ApproveMass(s.ctx, m.ID, signed); err != nil {
		return err
	}
	return s.finishMass(a, m, wait)
}

// massEvery is how often is asked how far a mass revocation is.
const massEvery = 500 * time.Millisecond

// finishMass prints a mass revocation, when it is finished if that is waited for.
func (s *session) finishMass(a *adminclient.Client, m *wire.Mass, wait massWaitFlag) error {
	for told := -1; wait.Wait && m.State == "approved"; {
		if m.Done != told {
			told = m.Done
			fmt.Fprintf(s.stderr, "%d of %d\n", m.Done, m.Entries)
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(massEvery):
		}
		var err error
		if m, err = a.Mass(s.ctx, m.ID); err != nil {
			return err
		}
	}
	return s.print(m, massText(m))
}

type revocationApproveCmd struct {
	ownCard
	yesFlag
	listFlags
	massWaitFlag
	ID string `arg:"" help:"The mass revocation, mrv_…"`
}

// Help implements kong.HelpProvider.
func (revocationApproveCmd) Help() string {
	return `What is signed is the list that was ordered, which is fetched and looked at first.
Who has it from elsewhere names it, and approves only if it is the same.

  sigill revocation approve mrv_… --serials stolen.txt --identity soft:bo.card --wait`
}

func (c *revocationApproveCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		kind, own, _, err := c.read(g)
		if err != nil {
			return err
		}
		m, err := a.Mass(g.ctx, c.ID)
		if err != nil {
			return err
		}
		list, err := a.MassList(g.ctx, c.ID)
		if err != nil {
			return err
		}
		st, err := adminclient.MassApproval(m, list)
		if err != nil {
			return err
		}
		if own != nil && (kind != m.Kind || string(own) != string(list)) {
			return fmt.Errorf("the list that was ordered is not the one that you have: nothing was signed")
		}
		if err := s.confirm(c.yesFlag, fmt.Sprintf("Have %s revoked as %s. This can't be undone.\n%s", listed(m.Kind, m.Entries), m.Reason, massText(m))); err != nil {
			return err
		}
		return s.approveMass(a, m, list, st, c.massWaitFlag)
	})
}

type revocationShowCmd struct {
	ownCard
	massWaitFlag
	Lines bool   `help:"Print the list itself, a line each."`
	ID    string `arg:"" help:"The mass revocation, mrv_…"`
}

func (c *revocationShowCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		if c.Lines {
			list, err := a.MassList(g.ctx, c.ID)
			if err != nil {
				return err
			}
			_, err = g.stdout.Write(list)
			return err
		}
		m, err := a.Mass(g.ctx, c.ID)
		if err != nil {
			return err
		}
		return s.finishMass(a, m, c.massWaitFlag)
	})
}

func massText(m *wire.Mass) string {
	failed := ""
	if m.Failed > 0 {
		failed = fmt.Sprintf("%d, tried again until they succeed", m.Failed)
	}
	return facts("mass revocation", m.ID, "state", m.State, "reason", m.Reason, "list", listed(m.Kind, m.Entries), "done", fmt.Sprintf("%d of %d", m.Done, m.Entries),
		"revoked", fmt.Sprintf("%d certificates", m.Revoked), "failed", failed, "ordered by", m.OrderedBy, "ordered at", moment(m.OrderedAt),
		"approved by", m.ApprovedBy, "approved at", momentOf(m.ApprovedAt), "finished at", momentOf(m.FinishedAt))
}

type revocationListCmd struct {
	ownCard
	orgFlag
	pageFlags
}

func (c *revocationListCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		all, err := a.Masses(g.ctx, org, c.After, c.Limit)
		if err != nil {
			return err
		}
		lines := [][]string{{"mass revocation", "state", "reason", "list", "done", "ordered at"}}
		last := ""
		for _, m := range all.Revocations {
			lines = append(lines, []string{m.ID, m.State, m.Reason, listed(m.Kind, m.Entries), fmt.Sprint(m.Done), moment(m.OrderedAt)})
			last = m.ID
		}
		return g.print(all, table(lines...)+more(len(all.Revocations), c.Limit, last))
	})
}
