package world

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/statement"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// What follows lets a test do by hand, and wrongly, what the other methods do
// rightly.

// Name returns the name under which the holder signs.
func (h *Holder) Name() string { return string(h.Person) }

// TransportDER returns the certificate that the card came with.
func (h *Holder) TransportDER() []byte { return h.Transport.cert.DER }

// TransportKey returns the key that the card came with.
func (h *Holder) TransportKey() crypto.Signer { return h.Transport.key }

// CurrentKey returns the key of the current eID; nil if there is none.
func (h *Holder) CurrentKey() crypto.Signer {
	if h.Current == nil {
		return nil
	}
	return h.Current.key
}

// NextDER returns the certificate that was written to the card and is not yet
// confirmed; nil if there is none.
func (h *Holder) NextDER() []byte {
	if h.next == nil || h.next.cert == nil {
		return nil
	}
	return h.next.cert.DER
}

// NextKey returns the key of a download under way; nil if there is none.
func (h *Holder) NextKey() crypto.Signer {
	if h.next == nil {
		return nil
	}
	return h.next.key
}

// SetNextKey puts a key in the card for the next request.
func (h *Holder) SetNextKey(key crypto.Signer) { h.next = &identity{key: key} }

// Forget drops what a download under way has left on the card.
func (h *Holder) Forget() { h.next, h.signing = nil, nil }

// Twin returns the same card in the hands of another client: it has the same
// certificates and shares no memory.
func (h *Holder) Twin() *Holder {
	t := *h
	t.next, t.signing = nil, nil
	return &t
}

// Bind makes a CSR for any binding at all.
func (h *Holder) Bind(b card.Binding) ([]byte, error) {
	if h.next == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		h.next = &identity{key: key}
	}
	return card.NewRequest(h.next.key, b)
}

// Officer returns an officer, 0 or 1, as logged in.
func (w *World) Officer(i int) register.Caller { return w.officerCaller(i) }

// OfficerDER returns an officer's certificate.
func (w *World) OfficerDER(i int) []byte { return w.officers[i].cert.DER }

// StateAs signs a statement with the current eID of each holder.
func (w *World) StateAs(st statement.Statement, by ...*Holder) ([]register.Signed, error) {
	var ids []*identity
	for _, h := range by {
		if h.Current == nil {
			return nil, errors.New("a holder without eID states nothing")
		}
		ids = append(ids, h.Current)
	}
	return w.state(st, ids...)
}

// StateAsOfficers signs a statement with the keys of officers.
func (w *World) StateAsOfficers(st statement.Statement, officers ...int) ([]register.Signed, error) {
	var ids []*identity
	for _, i := range officers {
		ids = append(ids, w.officers[i])
	}
	return w.state(st, ids...)
}

// Preview returns the document of an order by the first administrator.
func (w *World) Preview(ctx context.Context, h *Holder, t policy.OrderType) (orders.Document, error) {
	admin, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return orders.Document{}, err
	}
	return w.Orders.Preview(ctx, admin, orders.Request{Type: t, Organisation: w.Org, HSAID: h.HSAID, Card: h.Card, IDKind: policy.ByHSAID, LoA: 3})
}

// Statement returns the statement of an act about an order.
func Statement(act string, d orders.Document) statement.Statement {
	return statement.Statement{Act: act, Subject: string(d.Order), For: string(d.Person), Card: string(d.Card), Content: register.HashOf(d.Bytes())}
}

// Place signs and places a document by administrator i.
func (w *World) Place(ctx context.Context, d orders.Document, i int) (*orders.Order, error) {
	admin, err := w.Login(ctx, w.Admins[i])
	if err != nil {
		return nil, err
	}
	signed, err := w.StateAs(Statement(statement.ActPlace, d), w.Admins[i])
	if err != nil {
		return nil, err
	}
	return w.Orders.Place(ctx, admin, d.Bytes(), signed)
}

// Approve signs and approves a document by administrator i.
func (w *World) Approve(ctx context.Context, d orders.Document, i int) (*orders.Order, error) {
	admin, err := w.Login(ctx, w.Admins[i])
	if err != nil {
		return nil, err
	}
	signed, err := w.StateAs(Statement(statement.ActApprove, d), w.Admins[i])
	if err != nil {
		return nil, err
	}
	return w.Orders.Approve(ctx, admin, d.Order, signed)
}

// Row returns what the directory says of a holder in the first organisation.
func (w *World) Row(ctx context.Context, h *Holder) (register.PersonRow, error) {
	admin, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return register.PersonRow{}, err
	}
	found, err := w.Register.Search(ctx, admin, w.Org, string(h.HSAID), "", 1)
	if err != nil {
		return register.PersonRow{}, err
	}
	if len(found) != 1 {
		return register.PersonRow{}, fmt.Errorf("%s: %d found", h.HSAID, len(found))
	}
	p, a := found[0].Person, found[0].Assignment
	return register.PersonRow{Number: p.Number, Kind: p.NumberKind, GivenName: p.GivenName, Surname: p.Surname,
		HSAID: a.HSAID, Email: a.Email, UPN: a.UPN, SID: a.SID, EndsAt: a.EndsAt, Protected: p.Protected}, nil
}

// Import takes a row of the directory over.
func (w *World) Import(ctx context.Context, row register.PersonRow) error {
	admin, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return err
	}
	results, err := w.Register.ImportPeople(ctx, admin, w.Org, []register.PersonRow{row})
	if err != nil {
		return err
	}
	if results[0].Result == "refused" {
		return fmt.Errorf("importing: %s %s", results[0].Rule, results[0].Detail)
	}
	return nil
}

// HandOverDocument returns the document of a hand-over.
func HandOverDocument(act string, h *Holder) ([]byte, error) {
	return json.Marshal(register.HandOver{Act: act, Card: h.Card, Person: h.Person, Identity: "passport"})
}

// ConfirmAs confirms with any certificate and any evidence.
func (w *World) ConfirmAs(ctx context.Context, der []byte, id policy.DownloadID, hash [32]byte, readBack ca.Fingerprint) error {
	c, err := w.Register.Login(ctx, der, true)
	if err != nil {
		return err
	}
	_, err = w.Downloads.Confirm(ctx, c, id, download.Evidence{PlanHash: hash,
		ReadBack: map[policy.Slot]ca.Fingerprint{policy.Authentication: readBack}})
	return err
}

// Resume goes on with an interrupted fetch as a client that was started anew:
// with the new certificate if that logs in already, else from the beginning.
func (w *World) Resume(ctx context.Context, h *Holder, id policy.OrderID) error {
	if h.NextDER() != nil {
		if _, err := w.Register.Login(ctx, h.NextDER(), false); err == nil {
			h.Current, h.next = h.next, nil // it was confirmed; the answer was lost
			h.Signing, h.signing = h.signing, nil
		}
	}
	if h.Current == nil || h.Current.cert.Order != id {
		return w.Fetch(ctx, h, id)
	}
	c, err := w.Login(ctx, h)
	if err != nil {
		return err
	}
	return w.Downloads.Cleaned(ctx, c, h.Current.cert.Download, nil)
}

// AddSigning lets a holder with an eID fetch a signing certificate; the
// organisation allows it from then on.
func (w *World) AddSigning(ctx context.Context, h *Holder) (*issue.Certificate, error) {
	if err := w.SetSigning(ctx, h.Current.cert.Organisation, true); err != nil {
		return nil, err
	}
	if err := w.FetchSigning(ctx, h); err != nil {
		return nil, err
	}
	return h.Signing.cert, nil
}

// ResumeSigning goes on with an interrupted fetch of a holder's first signing
// certificate, as a client that was started anew.
func (w *World) ResumeSigning(ctx context.Context, h *Holder) error {
	c, err := w.Login(ctx, h)
	if err != nil {
		return err
	}
	v, err := w.Downloads.Overview(ctx, c)
	if err != nil {
		return err
	}
	if open := v.Open; open != nil && open.Download.State == policy.DownloadInstalled && open.Item(policy.Signing) != nil {
		if h.signing != nil { // it was confirmed; the answer was lost
			h.installed(open)
		}
		return w.Downloads.Cleaned(ctx, c, open.Download.ID, nil)
	}
	if h.Signing != nil {
		return nil // all was done; the last answer was lost
	}
	return w.FetchSigning(ctx, h)
}

// SigningDER returns the signing certificate of the eID; nil if there is none.
func (h *Holder) SigningDER() []byte {
	if h.Signing == nil {
		return nil
	}
	return h.Signing.cert.DER
}

// SigningCertificate returns it as it is stored; nil if there is none.
func (h *Holder) SigningCertificate() *issue.Certificate {
	if h.Signing == nil {
		return nil
	}
	return h.Signing.cert
}

// OrderFor places and approves an order as requested.
func (w *World) OrderFor(ctx context.Context, r orders.Request) (policy.OrderID, error) {
	admin, err := w.Login(ctx, w.Admins[0])
	if err != nil {
		return "", err
	}
	d, err := w.Orders.Preview(ctx, admin, r)
	if err != nil {
		return "", err
	}
	if _, err := w.Place(ctx, d, 0); err != nil {
		return "", err
	}
	_, err = w.Approve(ctx, d, 1)
	return d.Order, err
}

// NewCardNumber returns a card number that nobody has.
func (w *World) NewCardNumber() policy.CardNumber {
	return policy.CardNumber(fmt.Sprintf("9752%015d", w.count.Add(1)))
}

// DeliveryRow returns the row of a card in a delivery file, whose transport key
// is key.
func (w *World) DeliveryRow(number policy.CardNumber, key crypto.Signer) (string, error) {
	csr, err := card.NewPlainRequest(key, string(number))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s,7XX,ordinary,%s,%s\n", number, w.Now().AddDate(5, 0, 0).Format(time.DateOnly), base64.StdEncoding.EncodeToString(csr)), nil
}

// Delivery returns a delivery file with its heading, signed by the bureau and
// stated by the first administrator.
func (w *World) Delivery(rows string) (register.Delivery, error) {
	d := register.Delivery{Organisation: w.Org, Bureau: "bureau", File: []byte("number,product,kind,expires,csr\n" + rows)}
	var err error
	if d.Signature, err = register.SignDelivery(w.bureau, d.File); err != nil {
		return d, err
	}
	hash := register.HashOf(d.File)
	d.Statements, err = w.StateAs(statement.Statement{Act: statement.ActDelivery, Subject: fmt.Sprintf("delivery:%x", hash[:8]), Content: hash}, w.Admins[0])
	return d, err
}

// SetNextSigningKey puts a key in the card for the next signing certificate.
func (h *Holder) SetNextSigningKey(key crypto.Signer) { h.signing = &identity{key: key} }
