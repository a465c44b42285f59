package rederive

import (
	"errors"
	"slices"
	"strings"
	"time"

	"sigill/internal/strictjson"
)

// Document is an order as administrators signed it, read anew: the members that a
// certificate must agree with, in the order's own names.
type Document struct {
	Version      int       `json:"version"`
	Salt         string    `json:"salt"` // not in orders of before
	Order        string    `json:"order"`
	Type         string    `json:"type"`
	Organisation string    `json:"organisation"`
	Person       string    `json:"person"`
	Card         string    `json:"card"`
	IDKind       string    `json:"idKind"`
	LoA          int       `json:"loa"`
	Issuer       string    `json:"issuer"`
	NotAfter     time.Time `json:"notAfter"`
	ExpiresAt    time.Time `json:"expiresAt"`
	Identity     string    `json:"identity"`
	Content      Content   `json:"content"`
}

// Content is what was ordered to stand in the certificate.
type Content struct {
	Country      string   `json:"country"`
	Organisation string   `json:"organisation"`
	CommonName   string   `json:"commonName"`
	Surname      string   `json:"surname"`
	GivenName    string   `json:"givenName"`
	SerialNumber string   `json:"serialNumber"`
	CardNumber   string   `json:"cardNumber"`
	Email        string   `json:"email"`
	UPN          string   `json:"upn"`
	SID          string   `json:"sid"`
	PolicyOIDs   []string `json:"policyOids"`
	DNSNames     []string `json:"dnsNames"`
}

// maxDocument bounds an order.
const maxDocument = 16 << 10

// ParseDocument reads an order. A document that two readers understand differently
// is refused.
func ParseDocument(text []byte) (*Document, error) {
	if len(text) > maxDocument {
		return nil, errors.New("order of more than 16 KiB")
	}
	d := &Document{}
	if err := strictjson.Unmarshal(text, d); err != nil {
		// Without its text: it may quote a value.
		return nil, errors.New("order cannot be read")
	}
	if d.Version != 1 || !strings.HasPrefix(d.Order, "ord_") {
		return nil, errors.New("order is not version 1, with an id")
	}
	return d, nil
}

// checkOrder compares what the certificate says as a whole with its order. Fields of
// the holder are compared where they stand.
func (c *check) checkOrder() {
	d := c.order
	if d == nil {
		return
	}
	for _, f := range []struct{ name, ordered, said string }{
		{"card", d.Card, c.said.Card}, {"issuer", d.Issuer, c.said.Issuer}, {"kind of identifier", d.IDKind, c.said.Kind},
	} {
		if f.said != "" && f.ordered != f.said {
			c.find(Order, "its %s is not the ordered one", f.name)
		}
	}
	if d.Content.CardNumber != d.Card {
		c.find(Order, "the order is for another card than its content")
	}
	if !d.NotAfter.IsZero() && c.tbs.NotAfter.After(d.NotAfter) {
		c.find(Order, "it ends later than was ordered")
	}
	if c.said.LoA != "" && c.said.LoA != string(rune('0'+d.LoA)) {
		c.find(Order, "its level of assurance is not the ordered one")
	}
	is := c.policies()
	want := slices.Clone(d.Content.PolicyOIDs)
	slices.Sort(is)
	slices.Sort(want)
	if !slices.Equal(is, want) {
		c.find(Order, "its policies are not those that were ordered")
	}
}
