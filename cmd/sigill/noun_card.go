package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigill/internal/adminclient"
	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/policy"
)

type cardCmd struct {
	Import  cardImportCmd  `cmd:"" help:"Take in a bureau's delivery file."`
	List    cardListCmd    `cmd:"" help:"List cards of an organisation."`
	Show    cardShowCmd    `cmd:"" help:"Show a card."`
	Handout cardHandoutCmd `cmd:"" help:"Hand a card out: it gets its holder, for ever, and may fetch once."`
	Arm     cardArmCmd     `cmd:"" help:"Let a card fetch once more without an eID, at the desk."`
	Abandon cardAbandonCmd `cmd:"" help:"Give up the download that is open for a card."`
	Block   cardBlockCmd   `cmd:"" help:"Report a card lost or stolen: everything on it is revoked."`
}

// secondFlag names the card of the other one who signs: in the bootstrap both
// officers do, and a card is armed again only by two.
type secondFlag struct {
	Second string `placeholder:"CARD" help:"Card of the second person who signs: officer in the bootstrap, administrator for arming."`
}

type cardImportCmd struct {
	ownCard
	orgFlag
	secondFlag
	Bureau    string `required:"" help:"Name of the bureau, as the server's configuration has it."`
	Signature string `required:"" placeholder:"FILE" help:"The bureau's signature over the file, raw or base64."`
	Out       string `placeholder:"DIR" help:"Write the transport certificates here, one PEM file for each card."`
	File      string `arg:"" help:"The delivery file, CSV."`
}

// Help implements kong.HelpProvider.
func (cardImportCmd) Help() string {
	return `UTF-8, comma-separated, with this heading (csr: PKCS#10 in base64, made in the card):

  number,product,kind,expires,csr

A second run of the same file goes on where the first one stopped.

  sigill card import cards.csv --bureau bureau --signature cards.csv.sig \
    --out transport/ --identity soft:anna.card`
}

func (c *cardImportCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		file, err := readInput(g, c.File)
		if err != nil {
			return err
		}
		signature, err := readSignature(g, c.Signature)
		if err != nil {
			return err
		}
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		statements, err := s.states(a, c.Second, adminclient.DeliveryStatement(file))
		if err != nil {
			return err
		}
		rows, err := a.ImportDelivery(g.ctx, org, wire.Delivery{Bureau: c.Bureau, File: file, Signature: signature, Statements: statements})
		if err != nil {
			return err
		}
		if err := c.write(rows); err != nil {
			return err
		}
		return printRows(g, rows)
	})
}

// readSignature reads a signature, raw or in base64.
func readSignature(g *globals, name string) ([]byte, error) {
	b, err := readInput(g, name)
	if err != nil {
		return nil, err
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(b)), "")); err == nil && len(raw) > 0 {
		return raw, nil
	}
	return b, nil
}

func (c *cardImportCmd) write(rows *wire.Rows) error {
	if c.Out == "" {
		return nil
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	for _, r := range rows.Rows {
		if r.Certificate == nil {
			continue
		}
		number, err := policy.ParseCardNumber(r.Key) // names a file
		if err != nil {
			return err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate})
		if err := os.WriteFile(filepath.Join(c.Out, string(number)+".pem"), text, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

type cardListCmd struct {
	ownCard
	orgFlag
	pageFlags
}

func (c *cardListCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		cards, err := a.Cards(g.ctx, org, c.After, c.Limit)
		if err != nil {
			return err
		}
		lines := [][]string{{"number", "product", "kind", "state", "holder", "expires", "armed until"}}
		last := ""
		for _, k := range cards.Cards {
			lines = append(lines, []string{k.Number, k.Product, k.Kind, k.State, k.Holder, moment(k.ExpiresAt), momentOf(k.ArmedUntil)})
			last = k.Number
		}
		return g.print(cards, table(lines...)+more(len(cards.Cards), c.Limit, last))
	})
}

type cardShowCmd struct {
	ownCard
	Number string `arg:"" help:"Card number, 19 digits."`
}

func (c *cardShowCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		k, err := a.CardInfo(g.ctx, c.Number)
		if err != nil {
			return err
		}
		return g.print(k, cardText(k))
	})
}

func cardText(k *wire.Card) string {
	return facts("card", k.Number, "product", k.Product, "kind", k.Kind, "organisation", k.Organisation, "state", k.State,
		"holder", k.Holder, "identity document", k.Identity, "expires", moment(k.ExpiresAt), "armed until", momentOf(k.ArmedUntil))
}

// handOver is what hand-out and arming share.
type handOver struct {
	ownCard
	secondFlag
	yesFlag
	Person   string `required:"" placeholder:"ID" help:"Who stands at the desk: person id (per_…) or HSA-id."`
	Document string `required:"" enum:"passport,national-id-card,driving-licence,sis-card,tax-agency-id" help:"Identity document that you have seen: ${enum}."`
	Number   string `arg:"" help:"Card number, 19 digits."`
}

// do hands over, and calls after, if it is not nil, with what was done.
func (c *handOver) do(g *globals, act, would string, after func(*session, *wire.Card, did) error) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		k, err := a.CardInfo(g.ctx, c.Number)
		if err != nil {
			return err
		}
		person, who, err := s.person(a, k.Organisation, c.Person)
		if err != nil {
			return err
		}
		if err := s.confirm(c.yesFlag, fmt.Sprintf(would, clean(k.Number), clean(k.Product), clean(k.State), clean(who), c.Document)); err != nil {
			return err
		}
		document, st, err := adminclient.HandOverDocument(act, k.Number, person, c.Document)
		if err != nil {
			return err
		}
		statements, err := s.states(a, c.Second, st)
		if err != nil {
			return err
		}
		if k, err = a.HandOver(g.ctx, document, statements); err != nil {
			return err
		}
		if err := g.print(k, cardText(k)); err != nil || after == nil {
			return err
		}
		return after(s, k, did{audit.CardHandedOut, []audit.Field{{Name: "card", Value: k.Number}, {Name: "person", Value: person},
			{Name: "document", Value: fmt.Sprintf("%x", sha256.Sum256(document))}}})
	})
}

// errNoPerson: nobody in the organisation has the HSA-id.
var errNoPerson = errors.New("no person with this HSA-id")

// person finds who is meant by a person id or HSA-id, so that the question has a
// name in it where the caller may see names.
func (s *session) person(a *adminclient.Client, org, named string) (id, who string, err error) {
	if strings.HasPrefix(named, "per_") {
		return named, named, nil
	}
	people, err := a.People(s.ctx, org, named, "", 2)
	if err != nil {
		return "", "", err
	}
	for _, p := range people.People {
		if p.HSAID == named {
			return p.ID, fmt.Sprintf("%s %s, %s, %s", p.GivenName, p.Surname, p.HSAID, p.Number), nil
		}
	}
	return "", "", fmt.Errorf("%w: %s in %s", errNoPerson, clean(named), clean(org))
}

type cardHandoutCmd struct {
	handOver
	receiptFlags
}

// Help implements kong.HelpProvider.
func (cardHandoutCmd) Help() string {
	return `  sigill card handout 9752000000000000123 --person SE2321000016-0042 \
    --document passport --identity soft:anna.card`
}

func (c *cardHandoutCmd) Run(g *globals) error {
	return c.do(g, statement.ActHandOut, "Hand out card %s (%s, %s) to %s, whose %s you have seen.\nThe card has this holder for ever.",
		func(s *session, k *wire.Card, what did) error { return c.keep(s, k.Receipted, what) })
}

type cardArmCmd struct{ handOver }

// Help implements kong.HelpProvider.
func (cardArmCmd) Help() string {
	return `For a card whose eID ended or was revoked. Two administrators sign: one alone
could arm a card that lies at the desk and fetch an eID to it.

  sigill card arm 9752000000000000123 --person SE2321000016-0042 \
    --document passport --identity soft:anna.card --second soft:bo.card`
}

func (c *cardArmCmd) Run(g *globals) error {
	if c.Second == "" {
		return usageError{"two administrators arm a card: name the other's card by --second"}
	}
	return c.do(g, statement.ActArm, "Arm card %s (%s, %s) of %s, whose %s you have seen, for one download.", nil)
}

type cardAbandonCmd struct {
	ownCard
	yesFlag
	waitFlag
	Number string `arg:"" help:"Card number, 19 digits."`
}

// Help implements kong.HelpProvider.
func (cardAbandonCmd) Help() string {
	return `For a holder who cannot go on and cannot give up himself. What the download has
released is revoked, the eID that the card had stays, and the order can be
fetched again.

  sigill card abandon 9752278900000000015 --identity soft:anna.card`
}

func (c *cardAbandonCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		c.on(g, a)
		would := fmt.Sprintf("Give up the download that is open for card %s: what it has released is revoked; the order can be fetched again.", clean(c.Number))
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		id, err := a.AbandonDownload(g.ctx, c.Number)
		if err != nil {
			return err
		}
		return g.print(map[string]string{"card": c.Number, "download": id}, fmt.Sprintf("Download %s is given up.\n", clean(id)))
	})
}

type cardBlockCmd struct {
	ownCard
	yesFlag
	receiptFlags
	waitFlag
	Reason string `required:"" enum:"lost,stolen" help:"${enum}."`
	Number string `arg:"" help:"Card number, 19 digits."`
}

// Help implements kong.HelpProvider.
func (cardBlockCmd) Help() string {
	return `  sigill card block 9752000000000000123 --reason lost --identity soft:anna.card`
}

func (c *cardBlockCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		c.on(g, a)
		would := fmt.Sprintf("Block card %s as %s: every eID on it is revoked, every order to it withdrawn. This can't be undone.", clean(c.Number), c.Reason)
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		done, err := a.BlockCard(g.ctx, c.Number, c.Reason)
		if err != nil {
			return err
		}
		out := struct {
			Card  string `json:"card"`
			State string `json:"state"`
			*wire.Done
		}{c.Number, "blocked", done}
		return errors.Join(g.print(out, "The card is blocked.\n"), c.keep(s, done.Receipted, didTo(audit.CardBlocked, "card", c.Number)))
	})
}
