package api

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders"
	"sigill/orders/register"
	"sigill/policy"
)

func (h *handler) whoAmI(c *call) (any, error) {
	p, err := h.Register.WhoAmI(c.Context(), c.caller)
	if err != nil {
		return nil, err
	}
	w := &wire.WhoAmI{Name: c.caller.Name(), Card: string(c.caller.Card), LoA: int(c.caller.LoA),
		LoggedInWith: string(c.caller.Profile), Certificate: c.caller.Certificate.String(), Roles: []wire.Grant{}}
	if p.Person != nil {
		w.DisplayName = p.Person.GivenName + " " + p.Person.Surname
	}
	for _, g := range p.Grants {
		w.Roles = append(w.Roles, wire.Grant{Organisation: string(g.Organisation), Role: string(g.Role)})
	}
	return w, nil
}

// signed reads statements from the wire.
func signed(list []wire.Statement) ([]register.Signed, error) {
	var out []register.Signed
	for _, s := range list {
		fp, err := ca.ParseFingerprint(s.Certificate)
		if err != nil {
			return nil, policy.Refuse(policy.StatementForm, "certificate: %s", err).Err()
		}
		out = append(out, register.Signed{Content: s.Content, Signature: s.Signature, Certificate: fp})
	}
	return out, nil
}

func stated(c *call) (document []byte, statements []register.Signed, err error) {
	b, err := decode[wire.Stated](c)
	if err != nil {
		return nil, nil, err
	}
	statements, err = signed(b.Statements)
	return b.Document, statements, err
}

func (h *handler) found(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	cer, err := h.Register.Found(c.Context(), c.caller, document, statements)
	if err != nil {
		return nil, err
	}
	return &wire.Ceremony{Organisation: string(cer.Organisation),
		Administrators: []string{string(cer.Administrators[0]), string(cer.Administrators[1])}}, nil
}

func organisation(c *call) policy.OrganisationID { return policy.OrganisationID(c.PathValue("org")) }

func rows(list []register.RowResult, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := &wire.Rows{Rows: []wire.Row{}}
	for _, r := range list {
		if r.Result == "refused" {
			out.Refused++
		}
		out.Rows = append(out.Rows, wire.Row{Row: r.Row, Key: r.Key, Result: r.Result, Rule: string(r.Rule), Detail: r.Detail, Certificate: r.DER})
	}
	return out, nil
}

func (h *handler) importPeople(c *call) (any, error) {
	in, err := body(c, "text/csv")
	if err != nil {
		return nil, err
	}
	list, err := register.ParsePeople(in)
	if err != nil {
		return nil, err
	}
	return rows(h.Register.ImportPeople(c.Context(), c.caller, organisation(c), list))
}

func (h *handler) importDelivery(c *call) (any, error) {
	b, err := decode[wire.Delivery](c)
	if err != nil {
		return nil, err
	}
	statements, err := signed(b.Statements)
	if err != nil {
		return nil, err
	}
	return rows(h.Register.ImportDelivery(c.Context(), c.caller, register.Delivery{Organisation: organisation(c),
		Bureau: b.Bureau, File: b.File, Signature: b.Signature, Statements: statements}))
}

// page reads the parameters of a list and refuses unknown ones.
func page(c *call, known ...string) (url.Values, int, error) {
	q := c.URL.Query()
	for name := range q {
		ok := name == "limit"
		for _, k := range known {
			ok = ok || k == name
		}
		if !ok {
			return nil, 0, form(fmt.Errorf("unknown parameter %q", name))
		}
	}
	if q.Get("limit") == "" {
		return q, 0, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > register.MaxPage {
		return nil, 0, form(fmt.Errorf("limit is a number from 1 to %d", register.MaxPage))
	}
	return q, n, nil
}

func (h *handler) people(c *call) (any, error) {
	q, n, err := page(c, "prefix", "after")
	if err != nil {
		return nil, err
	}
	list, err := h.Register.Search(c.Context(), c.caller, organisation(c), q.Get("prefix"), policy.HSAID(q.Get("after")), n)
	if err != nil {
		return nil, err
	}
	out := &wire.People{People: []wire.Person{}}
	for _, e := range list {
		out.People = append(out.People, wire.Person{ID: string(e.ID), Number: e.Number.String(), GivenName: e.GivenName,
			Surname: e.Surname, HSAID: string(e.Assignment.HSAID), Email: e.Assignment.Email, UPN: e.Assignment.UPN,
			SID: e.Assignment.SID, EndsAt: orNil(e.Assignment.EndsAt)})
	}
	return out, nil
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func card(k *register.Card) wire.Card {
	return wire.Card{Number: string(k.Number), Product: k.Product, Kind: string(k.Kind), Organisation: string(k.Organisation),
		State: string(k.State), Holder: string(k.Holder), Identity: k.Identity, ExpiresAt: k.ExpiresAt, ArmedUntil: orNil(k.ArmedUntil)}
}

func (h *handler) cards(c *call) (any, error) {
	q, n, err := page(c, "after")
	if err != nil {
		return nil, err
	}
	list, err := h.Register.ListCards(c.Context(), c.caller, organisation(c), policy.CardNumber(q.Get("after")), n)
	if err != nil {
		return nil, err
	}
	out := &wire.Cards{Cards: []wire.Card{}}
	for _, k := range list {
		out.Cards = append(out.Cards, card(k))
	}
	return out, nil
}

func (h *handler) card(c *call) (any, error) {
	number, err := policy.ParseCardNumber(c.PathValue("number"))
	if err != nil {
		return nil, form(err)
	}
	k, err := h.Register.Card(c.Context(), c.caller, number)
	if err != nil {
		return nil, err
	}
	return card(k), nil
}

func (h *handler) handOver(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	k, err := h.Register.HandOver(c.Context(), c.caller, document, statements)
	if err != nil {
		return nil, err
	}
	out := card(k)
	if d, err := register.ParseHandOver(document); err == nil && d.Act == statement.ActHandOut {
		out.Receipted = h.receipted(c, audit.EventID(audit.CardHandedOut, string(k.Number)))
	}
	return out, nil
}

func (h *handler) preview(c *call) (any, error) {
	b, err := decode[wire.OrderRequest](c)
	if err != nil {
		return nil, err
	}
	r := orders.Request{Type: policy.OrderType(b.Type), Organisation: policy.OrganisationID(b.Organisation),
		Card: policy.CardNumber(b.Card), IDKind: policy.IDKind(b.IDKind), LoA: policy.LoA(b.LoA), HSAID: policy.HSAID(b.HSAID)}
	if (b.HSAID == "") == (b.PersonNumber == "") {
		return nil, form(fmt.Errorf("name the person by one of hsaId and personNumber"))
	}
	if b.PersonNumber != "" {
		if r.Number, _, err = policy.ParsePersonNumber(b.PersonNumber); err != nil {
			return nil, form(err)
		}
	}
	if b.NotAfter != nil {
		r.NotAfter = *b.NotAfter
	}
	d, err := h.Orders.Preview(c.Context(), c.caller, r)
	if err != nil {
		return nil, err
	}
	return &wire.Preview{Document: d.Bytes()}, nil
}

func orderAnswer(o *orders.Order, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return order(o), nil
}

func (h *handler) place(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	o, err := h.Orders.Place(c.Context(), c.caller, document, statements)
	if err != nil {
		return nil, err
	}
	out := order(o)
	out.Receipted = h.receipted(c, audit.EventID(audit.OrderPlaced, string(o.ID)))
	return out, nil
}

func orderID(c *call) policy.OrderID { return policy.OrderID(c.PathValue("id")) }

func (h *handler) order(c *call) (any, error) {
	return orderAnswer(h.Orders.Order(c.Context(), c.caller, orderID(c)))
}

func (h *handler) approve(c *call) (any, error) {
	_, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	o, err := h.Orders.Approve(c.Context(), c.caller, orderID(c), statements)
	if err != nil {
		return nil, err
	}
	out := order(o)
	event, err := h.Orders.ApprovalEvent(c.Context(), c.caller, o.ID, statements)
	if err != nil {
		h.Log.Error("no receipt", "order", o.ID, "err", err)
		return out, nil
	}
	out.Receipted = h.receipted(c, event)
	return out, nil
}

func (h *handler) withdraw(c *call) (any, error) {
	return orderAnswer(h.Downloads.Withdraw(c.Context(), c.caller, orderID(c)))
}

func (h *handler) listOrders(c *call) (any, error) {
	q, n, err := page(c, "state", "before")
	if err != nil {
		return nil, err
	}
	before := time.Now().Add(time.Hour)
	if q.Get("before") != "" {
		if before, err = time.Parse(time.RFC3339Nano, q.Get("before")); err != nil {
			return nil, form(err)
		}
	}
	list, err := h.Orders.List(c.Context(), c.caller, organisation(c), policy.OrderState(q.Get("state")), before, register.Page(n))
	if err != nil {
		return nil, err
	}
	out := &wire.Orders{Orders: []wire.Order{}}
	for _, o := range list {
		out.Orders = append(out.Orders, *order(o))
	}
	return out, nil
}

func (h *handler) certificate(c *call) (any, error) {
	serial, err := ca.ParseSerial(c.PathValue("serial"))
	if err != nil {
		return nil, form(err)
	}
	v, err := h.Downloads.Certificate(c.Context(), c.caller, serial)
	if err != nil {
		return nil, err
	}
	return certificateView(v), nil
}

func (h *handler) revoke(c *call) (any, error) {
	serial, err := ca.ParseSerial(c.PathValue("serial"))
	if err != nil {
		return nil, form(err)
	}
	b, err := decode[wire.Revoke](c)
	if err != nil {
		return nil, err
	}
	reason, err := ca.ParseReason(b.Reason)
	if err != nil {
		return nil, form(err)
	}
	v, err := h.Downloads.Revoke(c.Context(), c.caller, serial, reason)
	if err != nil {
		return nil, err
	}
	out := certificateView(v)
	out.Receipted = h.receipted(c, v.Event)
	return out, nil
}

func (h *handler) endAssignment(c *call) (any, error) {
	b, err := decode[wire.EndAssignment](c)
	if err != nil {
		return nil, err
	}
	person, org := policy.PersonID(c.PathValue("id")), policy.OrganisationID(b.Organisation)
	if err := h.Downloads.EndAssignment(c.Context(), c.caller, person, org); err != nil {
		return nil, err
	}
	ended, err := h.Downloads.EndedAssignment(c.Context(), person, org)
	return h.personEnded(c, ended, err), nil
}

func (h *handler) revokePerson(c *call) (any, error) {
	b, err := decode[wire.RevokePerson](c)
	if err != nil {
		return nil, err
	}
	reason, err := ca.ParseReason(b.Reason)
	if err != nil {
		return nil, form(err)
	}
	person, org := policy.PersonID(c.PathValue("id")), policy.OrganisationID(b.Organisation)
	if err := h.Downloads.RevokePerson(c.Context(), c.caller, person, org, reason); err != nil {
		return nil, err
	}
	ended, err := h.Downloads.RevokedPerson(c.Context(), person, org)
	return h.personEnded(c, ended, err), nil
}
