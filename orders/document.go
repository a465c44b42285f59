package orders

import (
	"bytes"
	"encoding/json"
	"regexp"
	"time"

	"sigill/ca"
	"sigill/policy"
)

// Document is an order as it is signed: everything that is decided by ordering.
// Its bytes are encoding/json's; they are stored as they were signed and their
// SHA-256 is what statements name.
type Document struct {
	Version      int                   `json:"version"`        // 1
	Salt         policy.Salt           `json:"salt,omitempty"` // empty in orders of before
	Order        policy.OrderID        `json:"order"`
	Type         policy.OrderType      `json:"type"`
	Organisation policy.OrganisationID `json:"organisation"`
	Person       policy.PersonID       `json:"person"`
	Card         policy.CardNumber     `json:"card"`
	IDKind       policy.IDKind         `json:"idKind"`
	LoA          policy.LoA            `json:"loa"`
	Issuer       ca.IssuerID           `json:"issuer"`
	NotAfter     time.Time             `json:"notAfter"`
	ExpiresAt    time.Time             `json:"expiresAt"` // of the order
	// Identity is the identity document seen when the card was handed out.
	Identity string     `json:"identity,omitempty"`
	Content  ca.Content `json:"content"` // frozen from the directory
}

// Bytes returns the canonical form.
func (d Document) Bytes() []byte {
	b, err := json.Marshal(d)
	if err != nil { // no field can fail
		panic(err)
	}
	return b
}

// orderID is the form of policy.NewID("ord"). An id of another form could be the
// number of a card, and what was stated about the card would count for the order.
var orderID = regexp.MustCompile(`^ord_[0-9a-hjkmnp-tv-z]{24}$`)

// ParseDocument reads a Document and refuses every form but the canonical one.
func ParseDocument(b []byte) (Document, error) {
	form := func(what string, args ...any) (Document, error) {
		return Document{}, policy.Refuse(policy.RequestForm, what, args...).Err()
	}
	var d Document
	if len(b) > 16<<10 {
		return form("order of more than 16 KiB")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return form("order: %s", err)
	}
	if d.Version != 1 || !bytes.Equal(d.Bytes(), b) {
		return form("order is not version 1 in canonical form")
	}
	if !d.Salt.OK() {
		return form("order: its salt is not 32 hexadecimal digits")
	}
	if !orderID.MatchString(string(d.Order)) {
		return form("order: its id is not one that a preview gives")
	}
	return d, nil
}

// Signed returns the order as it was signed, and refuses a row that says otherwise.
// Every decision on an order is taken on what this returns: who can write the
// database could otherwise make an order of level 2, which one signature carries,
// of one of level 3, which needs two.
func (o *Order) Signed() (Document, error) {
	d, err := ParseDocument(o.Bytes)
	if err != nil {
		return d, policy.Refuse(policy.OrderApprovals, "the stored order is none").Err()
	}
	for _, f := range []struct {
		name  string
		equal bool
	}{
		{"order", d.Order == o.ID},
		{"type", d.Type == o.Type},
		{"organisation", d.Organisation == o.Organisation},
		{"person", d.Person == o.Person},
		{"card", d.Card == o.Card},
		{"idKind", d.IDKind == o.IDKind},
		{"loa", d.LoA == o.LoA},
		{"expiresAt", d.ExpiresAt.Equal(o.ExpiresAt)},
	} {
		if !f.equal {
			return d, policy.Refuse(policy.OrderApprovals, "the stored order is not the signed one: %s", f.name).Err()
		}
	}
	return d, nil
}
