package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/adminclient"
	"sigill/internal/api"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/receipt"
	"sigill/internal/statement"
	"sigill/internal/translog"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// logged is a server with logs. A verifier has nothing of it but the public key.
func logged(t *testing.T, change ...func(*server, *api.Config)) *server {
	t.Helper()
	return serveOver(t, worldtest.New(t, worldtest.Logged), append([]func(*server, *api.Config){
		func(s *server, c *api.Config) { c.Receipts = s.Logs }}, change...)...)
}

// proved verifies the receipt of an answer with the log's public key alone, and that it
// is of this act.
func (s *server) proved(r wire.Receipted, act string, fields ...string) *receipt.Verified {
	s.t.Helper()
	if r.Receipt == nil || r.ReceiptLater != nil {
		s.t.Fatalf("%s: no receipt: %+v", act, r)
	}
	public, err := x509.ParsePKIXPublicKey(s.Logs.Acts.SPKI())
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := checkpoint.NewLog(s.Logs.Acts.Origin(), public)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := receipt.Parse(r.Receipt.Act, r.Receipt.Proof)
	if err != nil {
		s.t.Fatal(err)
	}
	var of []audit.Field
	for i := 0; i < len(fields); i += 2 {
		of = append(of, audit.Field{Name: fields[i], Value: fields[i+1]})
	}
	if err := got.About(act, of...); err != nil {
		s.t.Errorf("%s: %v: %s", act, err, r.Receipt.Act)
	}
	v, err := got.Verify(log, nil)
	if err != nil {
		s.t.Fatalf("%s: %v", act, err)
	}
	return v
}

// twice makes a request twice: the second gives the receipt of the same act.
func twice[T any](s *server, c *http.Client, path string, body any, of func(*T) wire.Receipted, act string, fields ...string) *T {
	s.t.Helper()
	var first, again T
	s.do(c, "POST", path, body).read(s.t, &first)
	v := s.proved(of(&first), act, fields...)
	s.do(c, "POST", path, body).read(s.t, &again)
	if w := s.proved(of(&again), act, fields...); w.Act.ID != v.Act.ID || w.Number != v.Number || w.Checkpoint.Size < v.Checkpoint.Size {
		s.t.Errorf("%s: first act %d, then %d", act, v.Number, w.Number)
	}
	return &first
}

func ofOrder(o *wire.Order) wire.Receipted { return o.Receipted }

// placed places an order for h and returns it with its document.
func (s *server) placed(h *world.Holder, t policy.OrderType) (*wire.Order, []byte, statement.Statement) {
	s.t.Helper()
	d, err := s.Preview(s.t.Context(), h, t)
	if err != nil {
		s.t.Fatal(err)
	}
	o := twice(s, s.as(s.Admins[0]), "/api/v1/orders", s.stated(d.Bytes(), world.Statement(statement.ActPlace, d), s.Admins[0]), ofOrder,
		audit.OrderPlaced, "order", string(d.Order), "card", string(h.Card), "person", string(h.Person))
	return o, d.Bytes(), world.Statement(statement.ActApprove, d)
}

// Whoever orders, approves, hands out and fetches has it in writing, and the paper needs
// nobody's word. The same request again gives the receipt of the same act.
func TestAnswersCarryReceipts(t *testing.T) {
	s := logged(t)
	two, card := s.as(s.Admins[1]), s.sent(s.Person())
	document, err := world.HandOverDocument(statement.ActHandOut, card)
	if err != nil {
		t.Fatal(err)
	}
	st := statement.Statement{Act: statement.ActHandOut, Subject: string(card.Card), For: string(card.Person), Card: string(card.Card), Content: ca.FingerprintOf(document)}
	twice(s, s.as(s.Admins[0]), "/api/v1/cards/handover", s.stated(document, st, s.Admins[0]), func(k *wire.Card) wire.Receipted { return k.Receipted },
		audit.CardHandedOut, "card", string(card.Card), "person", string(card.Person))

	h := s.Holder()
	o, _, approval := s.placed(h, policy.OrderRenewal)
	approved := twice(s, two, "/api/v1/orders/"+o.ID+"/approve", s.stated(nil, approval, s.Admins[1]), ofOrder, audit.OrderApproved, "order", o.ID)
	if approved.State != "approved" {
		t.Errorf("approved: %+v", approved)
	}
	var shown wire.Order
	s.do(two, "GET", "/api/v1/orders/"+o.ID, nil).read(t, &shown)
	if shown.Receipt != nil || shown.ReceiptLater != nil {
		t.Errorf("an order that is looked at has the receipt of %v", shown.Receipted)
	}
	s.fetches(h, o.ID)
	s.Sound()
}

// sent returns a holder whose card has come from the bureau and was not handed out.
func (s *server) sent(h *world.Holder) *world.Holder {
	s.t.Helper()
	number := s.NewCardNumber()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	row, err := s.DeliveryRow(number, key)
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := s.Delivery(row)
	if err != nil {
		s.t.Fatal(err)
	}
	admin, err := s.Login(s.t.Context(), s.Admins[0])
	if err != nil {
		s.t.Fatal(err)
	}
	rows, err := s.Register.ImportDelivery(s.t.Context(), admin, d)
	if err != nil || rows[0].Result != "created" {
		s.t.Fatalf("%+v, %v", rows, err)
	}
	with := h.Twin()
	with.Card = number
	return with
}

// fetches fetches an order over the wire and wants the receipt of the confirmation.
func (s *server) fetches(h *world.Holder, order string) {
	s.t.Helper()
	old := s.as(h)
	var d wire.Download
	s.do(old, "POST", "/card/v1/downloads", wire.Begin{Order: order}).read(s.t, &d)
	path := "/card/v1/downloads/" + d.ID
	st, err := s.Begin(s.t.Context(), h, policy.OrderID(order))
	if err != nil {
		s.t.Fatal(err)
	}
	csr, err := h.Request(st)
	if err != nil {
		s.t.Fatal(err)
	}
	var item wire.Item
	s.do(old, "POST", path+"/items/authentication", wire.Submit{CSR: csr}).read(s.t, &item)
	next, confirm := s.client(h.NextKey(), item.Certificate), wire.Confirm{PlanHash: d.PlanHash, ReadBack: map[string]string{"authentication": ca.FingerprintOf(item.Certificate).String()}}
	of := func(d *wire.Download) wire.Receipted { return d.Receipted }
	twice(s, next, path+"/confirm", confirm, of, audit.DownloadConfirmed, "download", d.ID, "order", order, "card", string(h.Card), "plan", d.PlanHash)
	var shown wire.Download
	s.do(next, "GET", path, nil).read(s.t, &shown)
	s.proved(shown.Receipted, audit.DownloadConfirmed, "download", d.ID)
}

// Whoever takes back has it in writing too: each certificate that ended, and who said so.
func TestRevocationsCarryReceipts(t *testing.T) {
	s := logged(t)
	admin, done := s.as(s.Admins[0]), func(d *wire.Done) wire.Receipted { return d.Receipted }
	lost, own, revoked, person := s.Holder(), s.Holder(), s.Holder(), s.Holder()
	twice(s, admin, "/api/v1/cards/"+string(lost.Card)+"/block", wire.Block{Reason: "stolen"}, done, audit.CardBlocked, "card", string(lost.Card), "report", "stolen")
	var blocked wire.Done
	s.do(s.as(own), "POST", "/card/v1/block", wire.Block{Reason: "lost"}).read(t, &blocked)
	s.proved(blocked.Receipted, audit.CardBlocked, "card", string(own.Card), "person", string(own.Person))

	serial := revoked.Certificate().Serial.String()
	twice(s, admin, "/api/v1/certificates/"+serial+"/revoke", wire.Revoke{Reason: "cessationOfOperation"},
		func(c *wire.Certificate) wire.Receipted { return c.Receipted }, audit.CertificateRevoked, "serial", serial)

	for path, body := range map[string]any{"revoke": wire.RevokePerson{Organisation: string(s.Org), Reason: "privilegeWithdrawn"},
		"end-assignment": wire.EndAssignment{Organisation: string(s.Org)}} {
		who := person
		if path == "end-assignment" {
			who = s.Holder()
		}
		serial := who.Certificate().Serial.String()
		for range 2 {
			var ended wire.PersonEnded
			s.do(admin, "POST", "/api/v1/people/"+string(who.Person)+"/"+path, body).read(t, &ended)
			if len(ended.Certificates) != 1 || ended.Certificates[0].Serial != serial {
				t.Fatalf("%s: %+v", path, ended)
			}
			s.proved(ended.Certificates[0].Receipted, audit.CertificateRevoked, "serial", serial)
			if path == "end-assignment" {
				s.proved(ended.Receipted, audit.AssignmentChanged, "person", string(who.Person), "ended", "yes")
			}
		}
	}
	s.massReceipts(s.Holder())
	s.Sound()
}

func (s *server) massReceipts(victim *world.Holder) {
	s.t.Helper()
	list, _, err := adminclient.MassList("serials", []byte(victim.Certificate().Serial.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	document, st, err := adminclient.MassDocument(string(s.Org), "serials", "keyCompromise", list)
	if err != nil {
		s.t.Fatal(err)
	}
	of := func(m *wire.Mass) wire.Receipted { return m.Receipted }
	m := twice(s, s.as(s.Admins[0]), "/api/v1/organisations/"+string(s.Org)+"/revocations",
		wire.MassOrder{Document: document, List: string(list), Statements: s.stated(nil, st, s.Admins[0]).Statements}, of, audit.RevocationOrdered)
	twice(s, s.as(s.Admins[1]), "/api/v1/revocations/"+m.ID+"/approve", s.stated(nil, st, s.Admins[1]), of, audit.RevocationApproved, "revocation", m.ID)
}

// An act is done whether or not there is a receipt: where nothing is numbered, as after a
// restore, the answer says by what it can be asked for, and later it is there.
func TestReceiptLater(t *testing.T) {
	s := logged(t)
	victim, admin := s.Holder(), s.as(s.Admins[0])
	held := true
	s.Sequencer.Hold = func() bool { return held }
	path := "/api/v1/cards/" + string(victim.Card) + "/block"
	var done wire.Done
	s.do(admin, "POST", path, wire.Block{Reason: "lost"}).read(t, &done)
	if done.Receipt != nil || done.ReceiptLater == nil || s.Working(victim) != 0 {
		t.Fatalf("blocked while nothing is numbered: %+v", done)
	}
	at := "/api/v1/receipts/" + done.ReceiptLater.Event
	a := s.do(admin, "GET", at, nil)
	s.refused(a, http.StatusServiceUnavailable, "not-yet", "")
	if a.Header.Get("Retry-After") == "" {
		t.Error("nobody says when to ask again")
	}
	held = false
	var r wire.Receipt
	s.do(admin, "GET", at, nil).read(t, &r)
	s.proved(wire.Receipted{Receipt: &r}, audit.CardBlocked, "card", string(victim.Card))
	var again wire.Done
	s.do(admin, "POST", path, wire.Block{Reason: "lost"}).read(t, &again)
	s.proved(again.Receipted, audit.CardBlocked, "card", string(victim.Card))
}

// slow gives receipts to nobody in time.
type slow struct{ *translog.Service }

func (slow) Receipt(ctx context.Context, _ string) (*translog.Receipt, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// An answer waits for its receipt, and not for ever.
func TestReceiptIsWaitedForNoLonger(t *testing.T) {
	s := logged(t, func(s *server, c *api.Config) { c.Receipts, c.ReceiptWait = slow{s.Logs}, time.Millisecond })
	victim := s.Holder()
	var done wire.Done
	s.do(s.as(victim), "POST", "/card/v1/block", wire.Block{Reason: "lost"}).read(t, &done)
	if done.Receipt != nil || done.ReceiptLater == nil || s.Working(victim) != 0 {
		t.Errorf("blocked: %+v", done)
	}
}

// Without a log there are no receipts, and nobody misses them.
func TestNoReceiptsWithoutLog(t *testing.T) {
	s := serve(t)
	victim := s.Holder()
	a := s.do(s.as(s.Admins[0]), "POST", "/api/v1/cards/"+string(victim.Card)+"/block", wire.Block{Reason: "lost"})
	if a.StatusCode != http.StatusOK || string(a.body) != "{}\n" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	s.refused(s.do(s.as(s.Admins[0]), "GET", "/api/v1/receipts/evt_any", nil), http.StatusNotFound, "not-found", "")
}

// A receipt is for who did it, whose it is, and auditors. To all others an act that is
// there is the same as one that never was.
func TestWhoGetsReceipts(t *testing.T) {
	s := logged(t)
	victim, bystander, auditor := s.Holder(), s.Holder(), s.Holder()
	if err := s.GrantRole(t.Context(), auditor, s.Org, policy.RoleAuditor); err != nil {
		t.Fatal(err)
	}
	o, _, _ := s.placed(victim, policy.OrderRenewal)
	order := audit.EventID(audit.OrderPlaced, o.ID)
	var done wire.Done
	s.do(s.as(s.Admins[0]), "POST", "/api/v1/cards/"+string(s.Holder().Card)+"/block", wire.Block{Reason: "lost"}).read(t, &done)
	block := s.proved(done.Receipted, audit.CardBlocked).Act.ID
	for _, c := range []struct {
		who   string
		as    *http.Client
		event string
		want  bool
	}{
		{"who placed it", s.as(s.Admins[0]), order, true},
		{"another administrator", s.as(s.Admins[1]), order, false},
		{"whose card and person it is", s.as(victim), order, true},
		{"somebody else", s.as(bystander), order, false},
		{"an auditor", s.as(auditor), order, true},
		{"who blocked", s.as(s.Admins[0]), block, true},
		{"the holder of another card", s.as(victim), block, false},
		{"an auditor", s.as(auditor), block, true},
		{"an auditor, of no act", s.as(auditor), "evt_none", false},
		{"anybody, of no act", s.as(s.Admins[0]), "evt_none", false},
	} {
		for _, side := range []string{"/api", "/card"} {
			a := s.do(c.as, "GET", side+"/v1/receipts/"+c.event, nil)
			var r wire.Receipt
			if got := a.StatusCode == http.StatusOK; got != c.want {
				t.Errorf("%s%s: status %d", c.who, side, a.StatusCode)
			} else if !c.want {
				s.refused(a, http.StatusNotFound, "not-found", "")
			} else if err := json.Unmarshal(a.body, &r); err != nil {
				t.Error(err)
			} else if v := s.proved(wire.Receipted{Receipt: &r}, map[string]string{order: audit.OrderPlaced, block: audit.CardBlocked}[c.event]); v.Act.ID != c.event {
				t.Errorf("%s: the receipt of %s", c.who, v.Act.ID)
			}
		}
	}
}
