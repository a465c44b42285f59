package adminclient

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"sigill/internal/cardhttp"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders"
	"sigill/orders/register"
	"sigill/policy"
)

// FoundStatement is what both officers sign to found the first organisation by
// document, the canonical JSON of [register.Founding].
func FoundStatement(document []byte) statement.Statement {
	return statement.Statement{Act: statement.ActFound, Subject: "ceremony", Content: sha256.Sum256(document)}
}

// Found hands in the founding with the statements of both officers. Again with
// the same organisation it returns what was founded.
func (c *Client) Found(ctx context.Context, document []byte, statements []wire.Statement) (*wire.Ceremony, error) {
	return retried(ctx, c, func(l *login) (*wire.Ceremony, error) {
		return post[wire.Ceremony](ctx, l, path("ceremony", "found"), wire.Stated{Document: document, Statements: statements})
	})
}

// ImportPeople hands in a file of persons (see [register.ParsePeople]).
func (c *Client) ImportPeople(ctx context.Context, org string, csv []byte) (*wire.Rows, error) {
	return retried(ctx, c, func(l *login) (*wire.Rows, error) {
		return send[wire.Rows](ctx, l, cardhttp.Request{Method: "POST", Path: path("organisations", org, "people"), File: csv, Kind: "text/csv; charset=utf-8", Timeout: importTimeout})
	})
}

// page makes the parameters of a list; empty ones are left out.
func page(limit int, pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

// People returns a page of an organisation's persons, by HSA-id: those after
// after whose name, HSA-id or number begins with prefix. limit 0: as many as the
// server gives in a page.
func (c *Client) People(ctx context.Context, org, prefix, after string, limit int) (*wire.People, error) {
	return retried(ctx, c, func(l *login) (*wire.People, error) {
		return get[wire.People](ctx, l, path("organisations", org, "people"), page(limit, "prefix", prefix, "after", after))
	})
}

// DeliveryStatement is what is signed to take in a bureau's delivery file.
func DeliveryStatement(file []byte) statement.Statement {
	hash := sha256.Sum256(file)
	return statement.Statement{Act: statement.ActDelivery, Subject: fmt.Sprintf("delivery:%x", hash[:8]), Content: hash}
}

// ImportDelivery hands in a delivery file with the bureau's signature and the
// statement of an administrator (or of both officers, during the bootstrap).
func (c *Client) ImportDelivery(ctx context.Context, org string, d wire.Delivery) (*wire.Rows, error) {
	return retried(ctx, c, func(l *login) (*wire.Rows, error) {
		return send[wire.Rows](ctx, l, cardhttp.Request{Method: "POST", Path: path("organisations", org, "deliveries"), JSON: d, Timeout: importTimeout})
	})
}

// HandOverDocument returns the document of a hand-over and the statement to sign
// over it. act is [statement.ActHandOut] or [statement.ActArm], person a person
// id, identity the kind of document seen, one of [register.Identities].
func HandOverDocument(act, card, person, identity string) (document []byte, st statement.Statement, err error) {
	document, err = json.Marshal(register.HandOver{Act: act, Card: policy.CardNumber(card), Person: policy.PersonID(person), Identity: identity})
	if err != nil {
		return nil, st, err
	}
	if _, err := register.ParseHandOver(document); err != nil {
		return nil, st, err
	}
	return document, statement.Statement{Act: act, Subject: card, For: person, Card: card, Content: sha256.Sum256(document)}, nil
}

// HandOver hands in a stated hand-over.
func (c *Client) HandOver(ctx context.Context, document []byte, statements []wire.Statement) (*wire.Card, error) {
	return retried(ctx, c, func(l *login) (*wire.Card, error) {
		return post[wire.Card](ctx, l, path("cards", "handover"), wire.Stated{Document: document, Statements: statements})
	})
}

// PreviewOrder returns the document that [Client.PlaceOrder] signs: what was asked
// for, completed from the register. The error is [ErrDocument] if the server
// completed something else.
func (c *Client) PreviewOrder(ctx context.Context, r wire.OrderRequest) (document []byte, err error) {
	p, err := retried(ctx, c, func(l *login) (*wire.Preview, error) {
		return post[wire.Preview](ctx, l, path("orders", "preview"), r)
	})
	if err != nil {
		return nil, err
	}
	d, err := orders.ParseDocument(p.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if field := differs(r, d); field != "" {
		return nil, fmt.Errorf("%w: %s", ErrDocument, field)
	}
	return p.Document, nil
}

// differs names the first field in which a document is not what was asked for.
// Whose person id it is, only the server knows; the identifier in the content
// tells where it is the one that was asked by.
func differs(r wire.OrderRequest, d orders.Document) string {
	for _, f := range []struct{ name, asked, got string }{
		{"type", r.Type, string(d.Type)},
		{"organisation", r.Organisation, string(d.Organisation)},
		{"card", r.Card, string(d.Card)},
		{"card of the content", r.Card, d.Content.CardNumber},
		{"identifier kind", r.IDKind, string(d.IDKind)},
		{"level of assurance", strconv.Itoa(r.LoA), strconv.Itoa(int(d.LoA))},
	} {
		if f.asked != f.got {
			return f.name
		}
	}
	if r.HSAID != "" && d.IDKind == policy.ByHSAID && d.Content.SerialNumber != r.HSAID {
		return "HSA-id"
	}
	if r.NotAfter != nil && d.NotAfter.After(*r.NotAfter) {
		return "end of validity"
	}
	return ""
}

// stateOrder signs act over an order's document.
func (c *Client) stateOrder(l *login, act string, document []byte) (id string, list []wire.Statement, err error) {
	d, err := orders.ParseDocument(document)
	if err != nil {
		return "", nil, err
	}
	st, err := c.sign(l, statement.Statement{Act: act, Subject: string(d.Order), For: string(d.Person), Card: string(d.Card), Content: sha256.Sum256(document)})
	return string(d.Order), []wire.Statement{st}, err
}

// PlaceOrder signs and sends an order that was previewed. The same document again
// returns the order.
func (c *Client) PlaceOrder(ctx context.Context, document []byte) (*wire.Order, error) {
	return retried(ctx, c, func(l *login) (*wire.Order, error) {
		_, list, err := c.stateOrder(l, statement.ActPlace, document)
		if err != nil {
			return nil, err
		}
		return post[wire.Order](ctx, l, path("orders"), wire.Stated{Document: document, Statements: list})
	})
}

// ApproveOrder fetches an order, signs the approval over its document and sends
// it. Who shows the order to a person first uses [Client.ApproveDocument].
func (c *Client) ApproveOrder(ctx context.Context, id string) (*wire.Order, error) {
	o, err := c.Order(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.ApproveDocument(ctx, id, o.Document)
}

// ApproveDocument signs and sends the approval of the order id, whose document was
// read by the one who approves. The server refuses the approval of other bytes
// than its own.
func (c *Client) ApproveDocument(ctx context.Context, id string, document []byte) (*wire.Order, error) {
	return retried(ctx, c, func(l *login) (*wire.Order, error) {
		named, list, err := c.stateOrder(l, statement.ActApprove, document)
		if err != nil {
			return nil, err
		}
		if named != id {
			return nil, fmt.Errorf("%w: it is order %s", ErrDocument, named)
		}
		return post[wire.Order](ctx, l, path("orders", id, "approve"), wire.Stated{Statements: list})
	})
}

// Order returns an order.
func (c *Client) Order(ctx context.Context, id string) (*wire.Order, error) {
	return retried(ctx, c, func(l *login) (*wire.Order, error) {
		return get[wire.Order](ctx, l, path("orders", id), nil)
	})
}

// Orders returns an organisation's orders in a state (empty: in all), the newest
// first.
func (c *Client) Orders(ctx context.Context, org, state string, limit int) (*wire.Orders, error) {
	return c.OrdersBefore(ctx, org, state, time.Time{}, limit)
}

// OrdersBefore returns the page of orders that were placed before a time.
func (c *Client) OrdersBefore(ctx context.Context, org, state string, before time.Time, limit int) (*wire.Orders, error) {
	q := page(limit, "state", state)
	if !before.IsZero() {
		q.Set("before", before.UTC().Format(time.RFC3339Nano))
	}
	return retried(ctx, c, func(l *login) (*wire.Orders, error) {
		return get[wire.Orders](ctx, l, path("organisations", org, "orders"), q)
	})
}

// WithdrawOrder takes an order back; a download of it that is open ends.
func (c *Client) WithdrawOrder(ctx context.Context, id string) (*wire.Order, error) {
	return retried(ctx, c, func(l *login) (*wire.Order, error) {
		return revoke[wire.Order](ctx, l, path("orders", id, "withdraw"), struct{}{})
	})
}

// CardInfo returns a card.
func (c *Client) CardInfo(ctx context.Context, number string) (*wire.Card, error) {
	return retried(ctx, c, func(l *login) (*wire.Card, error) {
		return get[wire.Card](ctx, l, path("cards", number), nil)
	})
}

// Cards returns a page of an organisation's cards, by number.
func (c *Client) Cards(ctx context.Context, org, after string, limit int) (*wire.Cards, error) {
	return retried(ctx, c, func(l *login) (*wire.Cards, error) {
		return get[wire.Cards](ctx, l, path("organisations", org, "cards"), page(limit, "after", after))
	})
}

// BlockCard reports a card as "lost" or "stolen": it is blocked for ever and
// everything on it revoked.
func (c *Client) BlockCard(ctx context.Context, number, reason string) (*wire.Done, error) {
	return retried(ctx, c, func(l *login) (*wire.Done, error) {
		return revoke[wire.Done](ctx, l, path("cards", number, "block"), wire.Block{Reason: reason})
	})
}

// AbandonDownload gives up the download that is open for a card and returns its
// id. What it released is revoked; the order can be fetched again.
func (c *Client) AbandonDownload(ctx context.Context, number string) (string, error) {
	a, err := retried(ctx, c, func(l *login) (*wire.Abandoned, error) {
		return revoke[wire.Abandoned](ctx, l, path("cards", number, "abandon"), struct{}{})
	})
	if err != nil {
		return "", err
	}
	return a.Download, nil
}

// Certificate returns a certificate by serial, 32 hexadecimal digits.
func (c *Client) Certificate(ctx context.Context, serial string) (*wire.Certificate, error) {
	return retried(ctx, c, func(l *login) (*wire.Certificate, error) {
		return get[wire.Certificate](ctx, l, path("certificates", serial), nil)
	})
}

// Revoke revokes a certificate for a reason of RFC 5280, 5.3.1.
func (c *Client) Revoke(ctx context.Context, serial, reason string) (*wire.Certificate, error) {
	return retried(ctx, c, func(l *login) (*wire.Certificate, error) {
		return revoke[wire.Certificate](ctx, l, path("certificates", serial, "revoke"), wire.Revoke{Reason: reason})
	})
}

// EndAssignment ends a person's assignment in an organisation now, and revokes
// what hangs on it.
func (c *Client) EndAssignment(ctx context.Context, person, org string) (*wire.PersonEnded, error) {
	return retried(ctx, c, func(l *login) (*wire.PersonEnded, error) {
		return revoke[wire.PersonEnded](ctx, l, path("people", person, "end-assignment"), wire.EndAssignment{Organisation: org})
	})
}

// RevokePerson revokes every eID of an organisation on every card of a person.
func (c *Client) RevokePerson(ctx context.Context, person, org, reason string) (*wire.PersonEnded, error) {
	return retried(ctx, c, func(l *login) (*wire.PersonEnded, error) {
		return revoke[wire.PersonEnded](ctx, l, path("people", person, "revoke"), wire.RevokePerson{Organisation: org, Reason: reason})
	})
}

// Receipt returns the receipt of an act that did not come with the answer about it.
func (c *Client) Receipt(ctx context.Context, event string) (*wire.Receipt, error) {
	return retried(ctx, c, func(l *login) (*wire.Receipt, error) {
		return get[wire.Receipt](ctx, l, path("receipts", event), nil)
	})
}
