package adminclient_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/internal/adminclient"
	"sigill/internal/adminclient/admintest"
	"sigill/internal/statement"
	"sigill/internal/token"
	"sigill/internal/wire"
)

const founding = `{"salt":"00112233445566778899aabbccddeeff","organisation":{"number":"2321000016","name":"Region Österbyggd"},"administrators":[` +
	`{"personnummer":"197511192390","givenName":"Karin","surname":"Bergström","hsaId":"SE2321000016-K7B1"},` +
	`{"personnummer":"196903272398","givenName":"Lars-Åke","surname":"Ängqvist","hsaId":"SE2321000016-L3A9"}]}`

// journey is an installation whose calls are made step by step.
type journey struct {
	*admintest.Installation
	t        *testing.T
	officers [2]*adminclient.Client
	admins   [2]*adminclient.Client
	org      string
	people   [2]string
	holder   token.Card
}

func (j *journey) client(card token.Card) *adminclient.Client {
	return &adminclient.Client{Server: j.Card, Roots: j.Roots, Card: card, Language: "en"}
}

func (j *journey) must(err error) {
	j.t.Helper()
	if err != nil {
		j.t.Fatal(err)
	}
}

// refused asserts that err is a problem with status and rule.
func (j *journey) refused(err error, status int, rule string) {
	j.t.Helper()
	var p *wire.Problem
	if !errors.As(err, &p) || p.Status != status || p.Rule != rule || p.Title == "" {
		j.t.Errorf("got %v, want %d %s", err, status, rule)
	}
}

func (j *journey) signed(st statement.Statement, by ...*adminclient.Client) []wire.Statement {
	j.t.Helper()
	var out []wire.Statement
	for _, c := range by {
		s, err := c.Sign(j.t.Context(), st)
		j.must(err)
		out = append(out, s)
	}
	return out
}

// card has a card delivered and handed out to a person.
func (j *journey) card(number, person string, by ...*adminclient.Client) token.Card {
	j.t.Helper()
	ctx := j.t.Context()
	path, row := j.NewCard(j.t, number)
	file := []byte(admintest.Heading + row)
	d := wire.Delivery{Bureau: admintest.Bureau, File: file, Signature: j.SignDelivery(j.t, file),
		Statements: j.signed(adminclient.DeliveryStatement(file), by...)}
	rows, err := by[0].ImportDelivery(ctx, j.org, d)
	j.must(err)
	if len(rows.Rows) != 1 || rows.Refused != 0 || rows.Rows[0].Certificate == nil {
		j.t.Fatalf("delivery: %+v", rows)
	}
	again, err := by[0].ImportDelivery(ctx, j.org, d) // as if the answer had been lost
	j.must(err)
	if len(again.Rows) != 1 || string(again.Rows[0].Certificate) != string(rows.Rows[0].Certificate) {
		j.t.Errorf("the same delivery again: %+v", again)
	}
	c := admintest.Open(j.t, path, admintest.PIN)
	admintest.Install(j.t, c, rows.Rows[0].Certificate)
	document, st, err := adminclient.HandOverDocument(statement.ActHandOut, number, person, "passport")
	j.must(err)
	signed := j.signed(st, by...)
	k, err := by[0].HandOver(ctx, document, signed)
	j.must(err)
	if again, err := by[0].HandOver(ctx, document, signed); err != nil || again.ArmedUntil == nil || !again.ArmedUntil.Equal(*k.ArmedUntil) {
		j.t.Errorf("the same hand-out again: %+v, %v", again, err)
	}
	if k.State != "active" || k.Holder != person || k.ArmedUntil == nil {
		j.t.Fatalf("handed out: %+v", k)
	}
	return c
}

func (j *journey) order(number, hsaID, kind string, first, second *adminclient.Client) *wire.Order {
	j.t.Helper()
	ctx := j.t.Context()
	document, err := first.PreviewOrder(ctx, wire.OrderRequest{Type: kind, Organisation: j.org, HSAID: hsaID, Card: number, IDKind: "hsa-id", LoA: 3})
	j.must(err)
	o, err := first.PlaceOrder(ctx, document)
	j.must(err)
	if again, err := first.PlaceOrder(ctx, document); err != nil || again.ID != o.ID {
		j.t.Fatalf("placed again: %+v, %v", again, err)
	}
	if o.State == "placed" {
		o, err = second.ApproveOrder(ctx, o.ID)
		j.must(err)
	}
	if o.State != "approved" {
		j.t.Fatalf("order is %s", o.State)
	}
	return o
}

func TestJourney(t *testing.T) {
	j := &journey{Installation: admintest.Start(t), t: t}
	j.bootstrap()
	if t.Failed() {
		return
	}
	j.register()
	j.orders()
	j.organisations()
	j.ends()
}

func (j *journey) bootstrap() {
	ctx := j.t.Context()
	for i := range j.officers {
		path, pin := j.Officer(j.t, i+1)
		j.officers[i] = j.client(admintest.Open(j.t, path, pin))
		me, err := j.officers[i].WhoAmI(ctx)
		j.must(err)
		if me.Name != fmt.Sprintf("officer:%d", i+1) || len(me.Roles) != 0 {
			j.t.Fatalf("officer %d is %+v", i+1, me)
		}
	}
	st := adminclient.FoundStatement([]byte(founding))
	_, err := j.officers[0].Found(ctx, []byte(founding), j.signed(st, j.officers[0], j.officers[0]))
	j.refused(err, 400, "statement.form") // one officer twice is not two
	cer, err := j.officers[0].Found(ctx, []byte(founding), j.signed(st, j.officers[0], j.officers[1]))
	j.must(err)
	j.org, j.people = cer.Organisation, [2]string{cer.Administrators[0], cer.Administrators[1]}
	for i, hsaID := range []string{"SE2321000016-K7B1", "SE2321000016-L3A9"} {
		number := fmt.Sprintf("975200000000000010%d", i)
		c := j.card(number, j.people[i], j.officers[0], j.officers[1])
		j.order(number, hsaID, "ordinary", j.officers[0], j.officers[1])
		j.Fetch(j.t, c)
		j.admins[i] = j.client(c)
	}
	_, err = j.officers[0].Cards(ctx, j.org, "", 10)
	j.refused(err, 403, "ceremony.closed")
	me, err := j.admins[0].WhoAmI(ctx)
	j.must(err)
	if me.Name != j.people[0] || me.LoA != 3 || len(me.Roles) != 1 || me.Roles[0] != (wire.Grant{Organisation: j.org, Role: "administrator"}) {
		j.t.Errorf("administrator is %+v", me)
	}
}

const people = "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n" +
	"198001042384,Åsa,Öström,SE2321000016-A4O2,asa@region.example,,,,\n"

func (j *journey) register() {
	ctx, a := j.t.Context(), j.admins[0]
	for _, want := range []string{"created", "unchanged"} {
		rows, err := a.ImportPeople(ctx, j.org, []byte(people))
		j.must(err)
		if len(rows.Rows) != 1 || rows.Rows[0].Result != want || rows.Rows[0].Key != "SE2321000016-A4O2" {
			j.t.Errorf("import: %+v, want %s", rows, want)
		}
	}
	_, err := a.ImportPeople(ctx, j.org, []byte("name\nx\n"))
	j.refused(err, 400, "request.form")
	_, err = a.ImportPeople(ctx, "org_other", []byte(people))
	j.refused(err, 404, "")
	_, err = a.ImportPeople(ctx, "..", []byte(people))
	if err == nil || !strings.Contains(err.Error(), "no id") {
		j.t.Errorf("an id that leaves its place: %v", err)
	}
	list, err := a.People(ctx, j.org, "SE2321000016-A", "", 10)
	j.must(err)
	if len(list.People) != 1 || list.People[0].GivenName != "Åsa" || strings.Contains(list.People[0].Number, "2384") {
		j.t.Errorf("people: %+v", list)
	}
	first, err := a.People(ctx, j.org, "", "", 1)
	j.must(err)
	next, err := a.People(ctx, j.org, "", first.People[0].HSAID, 200)
	j.must(err)
	if len(first.People) != 1 || len(next.People) != 2 || next.People[0].HSAID <= first.People[0].HSAID {
		j.t.Errorf("pages: %+v, %+v", first, next)
	}
	_, err = a.People(ctx, j.org, "", "", 201)
	j.refused(err, 400, "request.form")
}

func (j *journey) orders() {
	ctx, a, b := j.t.Context(), j.admins[0], j.admins[1]
	list, err := a.People(ctx, j.org, "SE2321000016-A4O2", "", 1)
	j.must(err)
	const number = "9752000000000000200"
	holder := j.card(number, list.People[0].ID, a)
	document, err := a.PreviewOrder(ctx, wire.OrderRequest{Type: "ordinary", Organisation: j.org, PersonNumber: "198001042384", Card: number, IDKind: "hsa-id", LoA: 3})
	j.must(err)
	o, err := a.PlaceOrder(ctx, document)
	j.must(err)
	_, err = a.ApproveOrder(ctx, o.ID)
	j.refused(err, 403, "order.approver")
	if _, err = b.ApproveDocument(ctx, "ord_other", document); !errors.Is(err, adminclient.ErrDocument) {
		j.t.Errorf("approving another order than was read: %v", err)
	}
	changed := []byte(strings.Replace(string(document), "Öström", "Ostrom", 1))
	_, err = b.ApproveDocument(ctx, o.ID, changed)
	j.refused(err, 400, "statement.form")
	o, err = b.ApproveOrder(ctx, o.ID)
	j.must(err)
	for state, want := range map[string]int{"approved": 1, "placed": 0, "": 3} {
		got, err := a.Orders(ctx, j.org, state, 10)
		j.must(err)
		if len(got.Orders) != want {
			j.t.Errorf("orders in state %q: %d, want %d", state, len(got.Orders), want)
		}
	}
	newest, err := a.Orders(ctx, j.org, "", 1)
	j.must(err)
	older, err := a.OrdersBefore(ctx, j.org, "", newest.Orders[0].PlacedAt, 10)
	j.must(err)
	if newest.Orders[0].ID != o.ID || len(older.Orders) != 2 {
		j.t.Errorf("pages of orders: %+v, %+v", newest, older)
	}
	if o, err = a.WithdrawOrder(ctx, o.ID); err != nil || o.State != "withdrawn" {
		j.t.Fatalf("withdrawn: %+v, %v", o, err)
	}
	j.order(number, "SE2321000016-A4O2", "ordinary", a, b)
	j.Fetch(j.t, holder)
	j.holder = holder
	_, err = j.client(holder).Orders(ctx, j.org, "", 10)
	j.refused(err, 404, "") // no role: nothing is there
}

// ends revokes, blocks and ends; and an administrator's client that was logged in
// goes on after the card was given a new eID.
func (j *journey) ends() {
	ctx, a, b := j.t.Context(), j.admins[0], j.admins[1]
	before, err := a.WhoAmI(ctx)
	j.must(err)
	j.order("9752000000000000100", "SE2321000016-K7B1", "renewal", b, nil)
	j.Fetch(j.t, a.Card)
	after, err := a.WhoAmI(ctx)
	j.must(err)
	if before.Certificate == after.Certificate {
		j.t.Error("still logged in with the certificate that was replaced")
	}
	cards, err := a.Cards(ctx, j.org, "9752000000000000101", 10)
	j.must(err)
	if len(cards.Cards) != 1 {
		j.t.Fatalf("cards: %+v", cards)
	}
	number := cards.Cards[0].Number
	_, err = a.Certificate(ctx, "00000000000000000000000000000000")
	j.refused(err, 404, "")
	_, err = a.Certificate(ctx, "xyz")
	j.refused(err, 400, "request.form")
	holder, err := j.client(j.holder).WhoAmI(ctx)
	j.must(err)
	serial := j.serial(holder.Certificate)
	_, err = a.Revoke(ctx, serial, "unspecified")
	j.refused(err, 400, "request.form")
	for range 2 { // again changes nothing
		cert, err := a.Revoke(ctx, serial, "cessationOfOperation")
		j.must(err)
		if cert.State != "revoked" || cert.Serial != serial {
			j.t.Errorf("revoked: %+v", cert)
		}
	}
	if _, err := a.BlockCard(ctx, number, "mislaid"); err == nil {
		j.t.Error("a card was blocked without a known reason")
	}
	for range 2 {
		_, err := a.BlockCard(ctx, number, "lost")
		j.must(err)
	}
	k, err := a.CardInfo(ctx, number)
	j.must(err)
	if k.State != "blocked" {
		j.t.Errorf("card: %+v", k)
	}
	_, err = a.EndAssignment(ctx, k.Holder, j.org)
	j.must(err)
	list, err := a.People(ctx, j.org, "SE2321000016-A4O2", "", 1)
	j.must(err)
	if len(list.People) != 1 || list.People[0].EndsAt == nil {
		j.t.Errorf("after the end: %+v", list)
	}
}

// serial finds the certificate on the holder's card.
func (j *journey) serial(fingerprint string) string {
	j.t.Helper()
	objects, err := j.holder.Objects(j.t.Context())
	j.must(err)
	for _, o := range objects {
		if ca.FingerprintOf(o.Certificate).String() != fingerprint {
			continue
		}
		cert, err := x509.ParseCertificate(o.Certificate)
		j.must(err)
		return fmt.Sprintf("%032x", cert.SerialNumber)
	}
	j.t.Fatalf("%s is not on the card", fingerprint)
	return ""
}
