package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigill/internal/adminclient"
	"sigill/internal/bureau"
	"sigill/internal/cardclient"
	"sigill/internal/statement"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
	data "sigill/testdata/demo"
)

// person is somebody with a card made of software.
type person struct {
	name   string
	hsaID  string
	id     string // person id, once known
	number string // of the card
	path   string // of the card file
	card   token.Card
}

// PINs of every card of the demo.
const (
	pin1 = "274163"
	pin2 = "918274"
)

var pins = bureau.PINs(pin1, pin2)

const bureauName = "demo-bureau"

// deliver has the bureau make the cards of some holders, imports the delivery by
// the clients' statements and writes the transport certificates to the cards.
func (d *demo) deliver(by []*adminclient.Client, holders ...*person) error {
	rows, err := csv.NewReader(bytes.NewReader(data.Cards)).ReadAll()
	if err != nil {
		return err
	}
	var cards []bureau.Card
	for _, row := range rows[1:] {
		for _, h := range holders {
			if h.hsaID != row[3] {
				continue
			}
			h.number, h.path = row[0], filepath.Join(d.Dir, "cards", row[0]+".json")
			cards = append(cards, bureau.Card{Path: h.path, Number: row[0], Product: row[1], Kind: row[2],
				Expires: d.root.NotBefore.AddDate(5, 0, 0), PIN1: pin1, PIN2: pin2})
		}
	}
	if err := os.MkdirAll(filepath.Join(d.Dir, "cards"), 0o700); err != nil {
		return err
	}
	file, signature, err := d.bureau.Make(d.ctx, cards)
	if err != nil {
		return err
	}
	statements, err := d.state(by, adminclient.DeliveryStatement(file))
	if err != nil {
		return err
	}
	result, err := by[0].ImportDelivery(d.ctx, d.org, wire.Delivery{Bureau: bureauName, File: file, Signature: signature, Statements: statements})
	if err != nil {
		return err
	}
	if err := expect(result.Refused == 0 && len(result.Rows) == len(holders), "%d cards, %d refused", len(result.Rows), result.Refused); err != nil {
		return err
	}
	for _, h := range holders {
		for _, row := range result.Rows {
			if row.Key == h.number {
				if err := bureau.Write(d.ctx, h.path, pins, row.Certificate); err != nil {
					return err
				}
			}
		}
		if h.card, err = token.OpenSoft(h.path, pins); err != nil {
			return err
		}
	}
	return nil
}

// state has every client sign a statement.
func (d *demo) state(by []*adminclient.Client, st statement.Statement) ([]wire.Statement, error) {
	var out []wire.Statement
	for _, c := range by {
		s, err := c.Sign(d.ctx, st)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// handOut makes a sent card active and arms its transport certificate.
func (d *demo) handOut(by []*adminclient.Client, h *person) error {
	document, st, err := adminclient.HandOverDocument(statement.ActHandOut, h.number, h.id, "passport")
	if err != nil {
		return err
	}
	statements, err := d.state(by, st)
	if err != nil {
		return err
	}
	k, err := by[0].HandOver(d.ctx, document, statements)
	if err != nil {
		return err
	}
	return expect(k.State == "active" && k.Holder == h.id, "card %s is %s", h.number, k.State)
}

// order places an order and, where that is needed, approves it.
func (d *demo) order(kind string, h *person, first, second *adminclient.Client) (*wire.Order, error) {
	document, err := first.PreviewOrder(d.ctx, wire.OrderRequest{Type: kind, Organisation: d.org, HSAID: h.hsaID, Card: h.number, IDKind: "hsa-id", LoA: 3})
	if err != nil {
		return nil, err
	}
	o, err := first.PlaceOrder(d.ctx, document)
	if err != nil {
		return nil, err
	}
	if o.State == "approved" || second == nil {
		return o, nil
	}
	return second.ApproveOrder(d.ctx, o.ID)
}

func (d *demo) admin(i int) *adminclient.Client { return d.adminWith(d.admins[i].card) }

func (d *demo) adminWith(c token.Card) *adminclient.Client {
	return &adminclient.Client{Server: d.at.Card, Roots: d.roots, Card: c, Language: "en"}
}

// holder is a person at a computer with the card in the reader.
func (d *demo) holder(h *person) *cardclient.Client {
	return &cardclient.Client{Server: d.at.Card, Roots: d.roots, Card: h.card, Version: "0.1.0", Language: "en"}
}

// bootstrap: two officers found the organisation and its first administrators.
func (d *demo) bootstrap() error {
	d.begin("Two officers found the first organisation; the door closes behind them")
	var founding register.Founding
	if err := json.Unmarshal(data.Founding, &founding); err != nil {
		return err
	}
	founding.Salt = policy.NewSalt()
	officers, err := d.officers()
	if err != nil {
		return err
	}
	document, err := json.Marshal(founding)
	if err != nil {
		return err
	}
	st := statement.Statement{Act: statement.ActFound, Subject: "ceremony", Content: register.HashOf(document)}
	one, err := d.state(officers[:1], st)
	if err != nil {
		return err
	}
	if _, err := officers[0].Found(d.ctx, document, one); err == nil {
		return expect(false, "one officer alone founded the organisation")
	} else if err := d.refusedBy(err, string(policy.StatementForm), "one officer alone"); err != nil {
		return err
	}
	both, err := d.state(officers, st)
	if err != nil {
		return err
	}
	cer, err := officers[0].Found(d.ctx, document, both)
	if err != nil {
		return err
	}
	d.org = cer.Organisation
	d.fact("both officers signed: %s exists (%s)", founding.Organisation.Name, d.org)
	for i, a := range founding.Administrators {
		d.admins[i] = &person{name: a.GivenName + " " + a.Surname, hsaID: a.HSAID, id: cer.Administrators[i]}
	}
	if err := d.deliver(officers, d.admins[0], d.admins[1]); err != nil {
		return err
	}
	for _, admin := range d.admins {
		if err := d.equip(officers, admin); err != nil {
			return fmt.Errorf("%s: %w", admin.name, err)
		}
	}
	_, err = officers[0].WhoAmI(d.ctx)
	return d.refusedBy(err, string(policy.CeremonyClosed), "an officer after that")
}

func (d *demo) officers() ([]*adminclient.Client, error) {
	var out []*adminclient.Client
	for i := 1; i <= 2; i++ {
		base := filepath.Join(d.Dir, "officers", fmt.Sprintf("officer-%d", i))
		pin, err := os.ReadFile(base + ".pin")
		if err != nil {
			return nil, err
		}
		c, err := token.OpenSoft(base+".json", func(context.Context, policy.Slot) ([]byte, error) {
			return bytes.TrimSpace(bytes.Clone(pin)), nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, d.adminWith(c))
	}
	return out, nil
}

// equip gives a first administrator card and eID.
func (d *demo) equip(officers []*adminclient.Client, admin *person) error {
	if err := d.handOut(officers, admin); err != nil {
		return err
	}
	o, err := d.order("ordinary", admin, officers[0], officers[1])
	if err != nil {
		return err
	}
	r, err := d.holder(admin).Fetch(d.ctx, o.ID, quiet{})
	if err != nil {
		return err
	}
	who, err := d.adminWith(admin.card).WhoAmI(d.ctx)
	if err != nil {
		return err
	}
	if err := expect(who.LoA == 3 && len(who.Roles) == 1, "%s logs in at level %d", admin.name, who.LoA); err != nil {
		return err
	}
	d.fact("%s fetched an eID to card %s (serial %s) and administers %s", who.DisplayName, admin.number, r.Installed[0].Serial, who.Roles[0].Organisation)
	return nil
}

// people: persons and cards are imported, cards handed out.
func (d *demo) people() error {
	d.begin("Persons and cards are imported, cards handed out")
	rows, err := d.admin(0).ImportPeople(d.ctx, d.org, data.People)
	if err != nil {
		return err
	}
	if err := expect(rows.Refused == 0, "%d persons refused", rows.Refused); err != nil {
		return err
	}
	for hsaID, p := range map[string]**person{"SE2321000016-A4O2": &d.åsa, "SE2321000016-G8S5": &d.göran, "SE2321000016-M1N6": &d.märta} {
		found, err := d.admin(0).People(d.ctx, d.org, hsaID, "", 2)
		if err != nil {
			return err
		}
		if err := expect(len(found.People) == 1, "%d persons with HSA-id %s", len(found.People), hsaID); err != nil {
			return err
		}
		got := found.People[0]
		*p = &person{name: got.GivenName + " " + got.Surname, hsaID: hsaID, id: got.ID}
	}
	d.fact("%d persons from the directory: %s", len(rows.Rows), strings.Join([]string{d.åsa.name, d.göran.name, d.märta.name}, ", "))
	by := []*adminclient.Client{d.admin(0)}
	if err := d.deliver(by, d.åsa, d.göran, d.märta); err != nil {
		return err
	}
	d.fact("three cards from the bureau, each with a transport certificate of the Card CA")
	for _, p := range []*person{d.åsa, d.göran, d.märta} {
		_, err := d.holder(p).Me(d.ctx, cardclient.Identity{})
		if err := d.stillSent(p, err); err != nil {
			return err
		}
		if err := d.handOut(by, p); err != nil {
			return err
		}
		me, err := d.holder(p).Me(d.ctx, cardclient.Identity{})
		if err != nil {
			return err
		}
		if err := expect(me.LoggedInWith == "transport" && me.LoA == 0, "%s logged in with %s", p.name, me.LoggedInWith); err != nil {
			return err
		}
	}
	d.fact("handed out against a passport: sent → active, holder fixed, transport certificate armed for one download")
	return nil
}

// stillSent: before hand-out a card logs in to nothing.
func (d *demo) stillSent(p *person, err error) error {
	got, err := problem(err)
	if err != nil {
		return fmt.Errorf("card %s before hand-out: %w", p.number, err)
	}
	return expect(got.Rule == string(policy.LoginCard), "card %s before hand-out: refused by %s", p.number, got.Rule)
}

// keyKind tells a certificate's key.
func keyKind(c *x509.Certificate) string {
	if k, ok := c.PublicKey.(*ecdsa.PublicKey); ok {
		return k.Curve.Params().Name
	}
	return c.PublicKeyAlgorithm.String()
}
