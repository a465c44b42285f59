package world

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/statement"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Holder is a person with a card. The card's keys are in memory.
type Holder struct {
	Person policy.PersonID
	Number policy.PersonNumber
	HSAID  policy.HSAID
	Card   policy.CardNumber
	Kind   policy.CardKind // empty: ordinary

	Transport *identity // the bureau's
	Current   *identity // the eID, once fetched
	Signing   *identity // its signing certificate, if there is one
	next      *identity // on its way
	signing   *identity // the signing certificate on its way
}

// CertificateOf returns the DER of the current eID, nil if there is none.
func (h *Holder) CertificateOf() []byte {
	if h.Current == nil {
		return nil
	}
	return h.Current.cert.DER
}

// Certificate returns the current certificate.
func (h *Holder) Certificate() *issue.Certificate { return h.Current.cert }

// NewHolder imports a person, delivers a card and hands it out. The holder has
// no eID yet.
func (w *World) NewHolder(ctx context.Context) (*Holder, error) {
	return w.NewHolderOf(ctx, policy.Ordinary)
}

// NewHolderOf is NewHolder with a kind of card.
func (w *World) NewHolderOf(ctx context.Context, kind policy.CardKind) (*Holder, error) {
	row := w.newPerson()
	admin, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return nil, err
	}
	results, err := w.Register.ImportPeople(ctx, admin, w.Org, []register.PersonRow{row})
	if err != nil {
		return nil, err
	}
	if results[0].Result != "created" {
		return nil, fmt.Errorf("importing %s: %s %s", row.HSAID, results[0].Rule, results[0].Detail)
	}
	h := &Holder{Number: row.Number, HSAID: row.HSAID, Kind: kind}
	found, err := w.Register.Search(ctx, admin, w.Org, string(row.HSAID), "", 1)
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("finding %s: %d found, %w", row.HSAID, len(found), err)
	}
	h.Person = found[0].Person.ID
	return h, w.deliver(ctx, h, admin, w.Admins[0].Current)
}

// NewHolderWithEID is a holder who has fetched an ordinary eID.
func (w *World) NewHolderWithEID(ctx context.Context) (*Holder, error) {
	h, err := w.NewHolder(ctx)
	if err != nil {
		return nil, err
	}
	id, err := w.Order(ctx, h, policy.OrderOrdinary)
	if err != nil {
		return nil, err
	}
	return h, w.Fetch(ctx, h, id)
}

// Equip gives a first administrator, 0 or 1, a card and an eID by the officers'
// hands.
func (w *World) Equip(ctx context.Context, i int) error {
	h := w.Admins[i]
	if err := w.deliver(ctx, h, w.officerCaller(0), w.officers[:]...); err != nil {
		return err
	}
	id, err := w.OrderByOfficers(ctx, h)
	if err != nil {
		return err
	}
	return w.Fetch(ctx, h, id)
}

// OrderByOfficers places an ordinary order by the first officer and approves it
// by the second.
func (w *World) OrderByOfficers(ctx context.Context, h *Holder) (policy.OrderID, error) {
	return w.order(ctx, h, policy.OrderOrdinary, w.officerCaller(0), w.officerCaller(1), w.officers[0], w.officers[1])
}

// DeliverByOfficers gives a first administrator a card.
func (w *World) DeliverByOfficers(ctx context.Context, i int) error {
	return w.deliver(ctx, w.Admins[i], w.officerCaller(0), w.officers[:]...)
}

// deliver makes a card at the bureau, imports its delivery and hands it out.
func (w *World) deliver(ctx context.Context, h *Holder, c register.Caller, by ...*identity) error {
	h.Card = policy.CardNumber(fmt.Sprintf("9752%015d", w.count.Add(1)))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := card.NewPlainRequest(key, string(h.Card))
	if err != nil {
		return err
	}
	file := fmt.Appendf(nil, "number,product,kind,expires,csr\n%s,7XX,%s,%s,%s\n", h.Card, cmp.Or(h.Kind, policy.Ordinary),
		w.Now().AddDate(5, 0, 0).Format("2006-01-02"), base64.StdEncoding.EncodeToString(csr))
	signature, err := register.SignDelivery(w.bureau, file)
	if err != nil {
		return err
	}
	hash := register.HashOf(file)
	signed, err := w.state(statement.Statement{Act: statement.ActDelivery, Subject: fmt.Sprintf("delivery:%x", hash[:8]), Content: hash}, by...)
	if err != nil {
		return err
	}
	rows, err := w.Register.ImportDelivery(ctx, c, register.Delivery{Organisation: w.Org, Bureau: "bureau", File: file, Signature: signature, Statements: signed})
	if err != nil {
		return err
	}
	if rows[0].DER == nil {
		return fmt.Errorf("card %s: %s %s", h.Card, rows[0].Rule, rows[0].Detail)
	}
	h.Transport = &identity{key: key, cert: &issue.Certificate{Issued: ca.Issued{DER: rows[0].DER, Fingerprint: ca.FingerprintOf(rows[0].DER)}}}
	return w.handOver(ctx, h, statement.ActHandOut, c, by...)
}

// Arm arms the transport certificate again, at the desk.
func (w *World) Arm(ctx context.Context, h *Holder) error {
	admin, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return err
	}
	return w.handOver(ctx, h, statement.ActArm, admin, w.Admins[0].Current, w.Admins[1].Current)
}

func (w *World) handOver(ctx context.Context, h *Holder, act string, c register.Caller, by ...*identity) error {
	document, err := json.Marshal(register.HandOver{Act: act, Card: h.Card, Person: h.Person, Identity: "passport"})
	if err != nil {
		return err
	}
	signed, err := w.state(statement.Statement{Act: act, Subject: string(h.Card), For: string(h.Person), Card: string(h.Card),
		Content: register.HashOf(document)}, by...)
	if err != nil {
		return err
	}
	_, err = w.Register.HandOver(ctx, c, document, signed)
	return err
}

// Login logs in with the best certificate that the card has.
func (w *World) Login(ctx context.Context, h *Holder) (register.Caller, error) {
	if h.Current != nil {
		return w.Register.Login(ctx, h.Current.cert.DER, false)
	}
	return w.Register.Login(ctx, h.Transport.cert.DER, false)
}

// Order is placed by the first administrator and, where that is needed, approved
// by the second.
func (w *World) Order(ctx context.Context, h *Holder, t policy.OrderType) (policy.OrderID, error) {
	first, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return "", err
	}
	second, err := w.Login(ctx, w.Admins[1])
	if err != nil {
		return "", err
	}
	return w.order(ctx, h, t, first, second, w.Admins[0].Current, w.Admins[1].Current)
}

func (w *World) order(ctx context.Context, h *Holder, t policy.OrderType, first, second register.Caller, one, two *identity) (policy.OrderID, error) {
	d, err := w.Orders.Preview(ctx, first, orders.Request{Type: t, Organisation: w.Org, HSAID: h.HSAID, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
	if err != nil {
		return "", fmt.Errorf("preview: %w", err)
	}
	st := statement.Statement{Act: statement.ActPlace, Subject: string(d.Order), For: string(h.Person), Card: string(h.Card), Content: register.HashOf(d.Bytes())}
	signed, err := w.state(st, one)
	if err != nil {
		return "", err
	}
	o, err := w.Orders.Place(ctx, first, d.Bytes(), signed)
	if err != nil {
		return "", fmt.Errorf("placing: %w", err)
	}
	if o.State == policy.OrderApproved {
		return o.ID, nil
	}
	st.Act = statement.ActApprove
	if signed, err = w.state(st, two); err != nil {
		return "", err
	}
	if _, err := w.Orders.Approve(ctx, second, o.ID, signed); err != nil {
		return "", fmt.Errorf("approving: %w", err)
	}
	return o.ID, nil
}

// Fetch carries an order out: begin, submit, confirm, cleaned. It goes on from
// where an interrupted fetch of the same order stopped.
func (w *World) Fetch(ctx context.Context, h *Holder, id policy.OrderID) error {
	st, err := w.Begin(ctx, h, id)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return w.carryOut(ctx, h, st)
}

// Begin logs in and opens the download.
func (w *World) Begin(ctx context.Context, h *Holder, id policy.OrderID) (*download.State, error) {
	c, err := w.Login(ctx, h)
	if err != nil {
		return nil, err
	}
	return w.Downloads.Begin(ctx, c, download.Cause{Order: id})
}

// Request makes a key in the card (once a download) and its CSR.
func (h *Holder) Request(st *download.State) ([]byte, error) {
	return h.RequestFor(st, policy.Authentication)
}

// RequestFor is Request for a slot.
func (h *Holder) RequestFor(st *download.State, slot policy.Slot) ([]byte, error) {
	place := h.place(slot)
	if *place == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		*place = &identity{key: key}
	}
	return card.NewRequest((*place).key, card.Binding{Download: string(st.Download.ID), Slot: string(slot), Card: string(h.Card),
		Login: st.Download.Login, PlanHash: st.Download.PlanHash, Challenge: st.Item(slot).Challenge})
}

// place is where the card keeps the key on its way to a slot.
func (h *Holder) place(slot policy.Slot) **identity {
	if slot == policy.Signing {
		return &h.signing
	}
	return &h.next
}

// Submit sends the CSR of each item and writes the certificates to the card.
func (w *World) Submit(ctx context.Context, h *Holder, st *download.State) (*download.State, error) {
	c, err := w.Login(ctx, h)
	if err != nil {
		return nil, err
	}
	for _, it := range st.Items {
		if st, err = w.submit(ctx, c, h, st, it.Slot); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (w *World) submit(ctx context.Context, c register.Caller, h *Holder, st *download.State, slot policy.Slot) (*download.State, error) {
	csr, err := h.RequestFor(st, slot)
	if err != nil {
		return nil, err
	}
	if st, err = w.Downloads.Submit(ctx, c, st.Download.ID, slot, csr); err != nil {
		return nil, err
	}
	cert, place := st.Certificates[slot], *h.place(slot)
	if cert == nil {
		return nil, errors.New("submit gave no certificate")
	}
	if err := samePublic(place.key, cert.DER); err != nil {
		return nil, err
	}
	place.cert, place.name = cert, string(h.Person)
	return st, nil
}

func samePublic(key crypto.Signer, der []byte) error {
	public, err := publicKeyOf(der)
	if err != nil {
		return err
	}
	mine, err := key.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		return err
	}
	if !bytes.Equal(public, mine) {
		return errors.New("the certificate has another key than the card")
	}
	return nil
}

// Confirm logs in with the new certificate, or where only a signing certificate
// is new with that of its eID, and confirms.
func (w *World) Confirm(ctx context.Context, h *Holder, st *download.State) error {
	as := h.Current
	ev := download.Evidence{PlanHash: st.Download.PlanHash, ReadBack: map[policy.Slot]ca.Fingerprint{}}
	for _, it := range st.Items {
		place := *h.place(it.Slot)
		ev.ReadBack[it.Slot] = place.cert.Fingerprint
		if it.Slot == policy.Authentication {
			as = place
		}
	}
	c, err := w.Register.Login(ctx, as.cert.DER, true)
	if err != nil {
		return err
	}
	if _, err = w.Downloads.Confirm(ctx, c, st.Download.ID, ev); err != nil {
		return err
	}
	h.installed(st)
	return nil
}

// installed makes what was on its way the card's own.
func (h *Holder) installed(st *download.State) {
	if st.Item(policy.Authentication) != nil {
		h.Current, h.next = h.next, nil
		h.Signing = nil // it went with the eID
	}
	if st.Item(policy.Signing) != nil {
		h.Signing, h.signing = h.signing, nil
	}
}

// BeginSigning logs in and opens the download of a signing certificate.
func (w *World) BeginSigning(ctx context.Context, h *Holder) (*download.State, error) {
	c, err := w.Login(ctx, h)
	if err != nil {
		return nil, err
	}
	return w.Downloads.Begin(ctx, c, download.Cause{})
}

// FetchSigning is the holder's own fetch of a signing certificate. It goes on
// from where an interrupted one stopped.
func (w *World) FetchSigning(ctx context.Context, h *Holder) error {
	st, err := w.BeginSigning(ctx, h)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return w.carryOut(ctx, h, st)
}

// carryOut is what follows begin: submit, confirm, cleaned.
func (w *World) carryOut(ctx context.Context, h *Holder, st *download.State) error {
	st, err := w.Submit(ctx, h, st)
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	if err := w.Confirm(ctx, h, st); err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	c, err := w.Login(ctx, h)
	if err != nil {
		return err
	}
	return w.Downloads.Cleaned(ctx, c, st.Download.ID, nil)
}
