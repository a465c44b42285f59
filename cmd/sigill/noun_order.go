package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sigill/internal/adminclient"
	"sigill/internal/audit"
	"sigill/internal/wire"
	"sigill/orders"
)

type orderCmd struct {
	Place    orderPlaceCmd    `cmd:"" help:"Order an eID to a card."`
	Approve  orderApproveCmd  `cmd:"" help:"Approve another administrator's order."`
	List     orderListCmd     `cmd:"" help:"List orders of an organisation."`
	Show     orderShowCmd     `cmd:"" help:"Show an order."`
	Withdraw orderWithdrawCmd `cmd:"" help:"Take an order back."`
}

type orderPlaceCmd struct {
	ownCard
	orgFlag
	yesFlag
	receiptFlags
	Type         string `default:"ordinary" enum:"ordinary,reserve-loa3,reserve-loa2,extra,update,renewal" help:"Why it is ordered: ${enum}."`
	HSAID        string `name:"hsa-id" required:"" xor:"person" placeholder:"ID" help:"The person, by HSA-id."`
	PersonNumber string `name:"person-number" required:"" xor:"person" placeholder:"NUMBER" help:"The person, by personnummer or samordningsnummer (12 digits)."`
	To           string `required:"" placeholder:"NUMBER" help:"Card number, 19 digits."`
	IDKind       string `name:"id-kind" default:"hsa-id" enum:"hsa-id,person-id" help:"Identifier in the certificate: ${enum}."`
	LoA          int    `name:"loa" default:"3" help:"Level of assurance, 2 or 3."`
	NotAfter     string `placeholder:"YYYY-MM-DD" help:"End of validity. Default: as late as allowed."`
}

// Help implements kong.HelpProvider.
func (orderPlaceCmd) Help() string {
	return `Shows what would stand in the certificate, asks, and signs it with your card.

  sigill order place --hsa-id SE2321000016-0042 --to 9752000000000000123 \
    --identity soft:anna.card
  sigill order place --type update --hsa-id SE2321000016-0042 --to 9752000000000000123 \
    --identity soft:anna.card`
}

func (c *orderPlaceCmd) Run(g *globals) error {
	r := wire.OrderRequest{Type: c.Type, PersonNumber: c.PersonNumber, HSAID: c.HSAID, Card: c.To, IDKind: c.IDKind, LoA: c.LoA}
	if c.NotAfter != "" {
		end, err := time.Parse(time.DateOnly, c.NotAfter)
		if err != nil {
			return usageError{"--not-after is not a date YYYY-MM-DD"}
		}
		r.NotAfter = &end
	}
	return c.run(g, func(s *session, a *adminclient.Client) error {
		var err error
		if r.Organisation, err = s.organisation(a, c.Org); err != nil {
			return err
		}
		document, err := a.PreviewOrder(g.ctx, r)
		if err != nil {
			return err
		}
		text, err := documentText(document)
		if err != nil {
			return err
		}
		if err := s.confirm(c.yesFlag, "Sign and place this order:\n"+text); err != nil {
			return err
		}
		o, err := a.PlaceOrder(g.ctx, document)
		if err != nil {
			return err
		}
		return errors.Join(g.print(o, stateText(o)), c.keep(s, o.Receipted, ordered(audit.OrderPlaced, document)))
	})
}

// documentText tells an order from the bytes that are signed, not from what the
// server says about them.
func documentText(document []byte) (string, error) {
	d, err := orders.ParseDocument(document)
	if err != nil {
		return "", err
	}
	c := d.Content
	return facts("order", string(d.Order), "type", string(d.Type), "organisation", string(d.Organisation), "person", string(d.Person),
		"card", string(d.Card), "identifier kind", string(d.IDKind), "level of assurance", strconv.Itoa(int(d.LoA)),
		"issuing CA", string(d.Issuer), "valid until", moment(d.NotAfter), "to be fetched before", moment(d.ExpiresAt),
		"identity document", d.Identity, "  C", c.Country, "  O", c.Organisation, "  CN", c.CommonName, "  SN", c.Surname,
		"  GN", c.GivenName, "  serialNumber", c.SerialNumber, "  e-mail", c.Email, "  UPN", c.UPN, "  SID", c.SID,
		"  policies", strings.Join(c.PolicyOIDs, " ")), nil
}

// ordered is an act about an order's document.
func ordered(act string, document []byte) did {
	out := did{act: act, fields: []audit.Field{{Name: "document", Value: fmt.Sprintf("%x", sha256.Sum256(document))}}}
	if d, err := orders.ParseDocument(document); err == nil {
		out.fields = append(out.fields, audit.Field{Name: "order", Value: string(d.Order)})
	}
	return out
}

func stateText(o *wire.Order) string {
	text := facts("order", o.ID, "state", o.State)
	if o.State == "placed" {
		text += fmt.Sprintf("Another administrator approves it: sigill order approve %s\n", clean(o.ID))
	}
	return text
}

type orderApproveCmd struct {
	ownCard
	yesFlag
	receiptFlags
	ID string `arg:"" help:"Order id (ord_…)."`
}

// orderText fetches an order and reads its document for people.
func orderText(g *globals, a *adminclient.Client, id string) (*wire.Order, string, error) {
	o, err := a.Order(g.ctx, id)
	if err != nil {
		return nil, "", err
	}
	text, err := documentText(o.Document)
	return o, text, err
}

// Help implements kong.HelpProvider.
func (orderApproveCmd) Help() string {
	return `Shows the order, asks, and signs the approval over its very bytes with your card.

  sigill order list --state placed --identity soft:bo.card
  sigill order approve ord_… --identity soft:bo.card`
}

func (c *orderApproveCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		o, text, err := orderText(g, a, c.ID)
		if err != nil {
			return err
		}
		if err := s.confirm(c.yesFlag, "Sign the approval of this order, placed by "+placedBy(o)+":\n"+text); err != nil {
			return err
		}
		// What was shown is what is signed.
		document := o.Document
		if o, err = a.ApproveDocument(g.ctx, c.ID, document); err != nil {
			return err
		}
		return errors.Join(g.print(o, stateText(o)), c.keep(s, o.Receipted, ordered(audit.OrderApproved, document)))
	})
}

type orderListCmd struct {
	ownCard
	orgFlag
	State  string    `enum:",placed,approved,installed,withdrawn,refused,expired" default:"" help:"Only those in this state: placed, approved, installed, withdrawn, refused, expired."`
	Before time.Time `placeholder:"TIME" help:"Only those placed before (RFC 3339)."`
	Limit  int       `default:"100" help:"At most so many, 1 to 200."`
}

func (c *orderListCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		list, err := a.OrdersBefore(g.ctx, org, c.State, c.Before, c.Limit)
		if err != nil {
			return err
		}
		lines := [][]string{{"order", "type", "person", "card", "id kind", "LoA", "state", "placed", "fetch before"}}
		for _, o := range list.Orders {
			lines = append(lines, []string{o.ID, o.Type, o.Person, o.Card, o.IDKind, strconv.Itoa(o.LoA), o.State, moment(o.PlacedAt), moment(o.ExpiresAt)})
		}
		text := table(lines...)
		if n := len(list.Orders); n > 0 && n == c.Limit {
			text += fmt.Sprintf("There may be more: --before %s\n", list.Orders[n-1].PlacedAt.UTC().Format(time.RFC3339Nano))
		}
		return g.print(list, text)
	})
}

type orderShowCmd struct {
	ownCard
	ID string `arg:"" help:"Order id (ord_…)."`
}

func (c *orderShowCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		o, text, err := orderText(g, a, c.ID)
		if err != nil {
			return err
		}
		return g.print(o, text+facts("state", o.State, "placed by", placedBy(o), "placed", moment(o.PlacedAt)))
	})
}

type orderWithdrawCmd struct {
	ownCard
	yesFlag
	waitFlag
	ID string `arg:"" help:"Order id (ord_…)."`
}

func (c *orderWithdrawCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		c.on(g, a)
		o, err := a.Order(g.ctx, c.ID)
		if err != nil {
			return err
		}
		would := fmt.Sprintf("Take back order %s (%s, card %s, %s). A download that is open for it ends.", clean(o.ID), clean(o.Type), clean(o.Card), clean(o.State))
		if err := s.confirm(c.yesFlag, would); err != nil {
			return err
		}
		if o, err = a.WithdrawOrder(g.ctx, c.ID); err != nil {
			return err
		}
		return g.print(o, stateText(o))
	})
}

// placedBy names who placed an order; an officer is no person of the register.
func placedBy(o *wire.Order) string {
	if o.PlacedBy == "" {
		return "an officer"
	}
	return clean(o.PlacedBy)
}
