package store

import (
	"math"
	"time"

	"sigill/orders"
	"sigill/policy"
)

const orderColumns = `id, type, organisation, person, card, id_kind, loa, state, rule, bytes, placed_by, placed_at, expires_at, version`

func orderDest(o *orders.Order) []any {
	return []any{str(&o.ID), str(&o.Type), str(&o.Organisation), str(&o.Person), str(&o.Card), str(&o.IDKind),
		intoInt{(*int)(&o.LoA)}, str(&o.State), str(&o.Rule), &o.Bytes, str(&o.PlacedBy),
		intoTime{&o.PlacedAt}, intoTime{&o.ExpiresAt}, &o.Version}
}

// InsertOrder implements orders.Table.
func (t *tx) InsertOrder(o *orders.Order) error {
	n, err := t.exec("inserting order", `INSERT INTO orders (`+orderColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING`,
		text(o.ID), text(o.Type), text(o.Organisation), text(o.Person), text(o.Card), text(o.IDKind), number(int(o.LoA)),
		text(o.State), text(o.Rule), o.Bytes, text(o.PlacedBy), at(o.PlacedAt), at(o.ExpiresAt), o.Version)
	return changedOne("inserting order", n, err)
}

// Order implements orders.Table.
func (t *tx) Order(id policy.OrderID) (*orders.Order, error) {
	o := new(orders.Order)
	err := missing(t.one("reading order", `SELECT `+orderColumns+` FROM orders WHERE id = $1`, []any{string(id)}, orderDest(o)...))
	if err != nil {
		return nil, err
	}
	return o, nil
}

// PutOrder implements orders.Table.
func (t *tx) PutOrder(o *orders.Order) error {
	n, err := t.exec("putting order", `UPDATE orders SET state = $1, rule = $2, version = version + 1
		WHERE id = $3 AND version = $4`, string(o.State), text(o.Rule), string(o.ID), o.Version)
	if err := changedOne("putting order", n, err); err != nil {
		return err
	}
	o.Version++
	return nil
}

// OpenOrdersOfCard implements orders.Table.
func (t *tx) OpenOrdersOfCard(card policy.CardNumber) ([]*orders.Order, error) {
	return list(t, "reading open orders of card", `SELECT `+orderColumns+` FROM orders
		WHERE card = $1 AND state IN ('placed', 'approved') ORDER BY placed_at, id`, []any{string(card)}, orderDest)
}

// ListOrders implements orders.Table. A zero before means from the newest on.
func (t *tx) ListOrders(org policy.OrganisationID, state policy.OrderState, before time.Time, limit int) ([]*orders.Order, error) {
	end := int64(math.MaxInt64)
	if !before.IsZero() {
		end = before.UnixMicro()
	}
	if state == "" {
		return list(t, "listing orders", `SELECT `+orderColumns+` FROM orders
			WHERE organisation = $1 AND placed_at < $2 ORDER BY placed_at DESC LIMIT $3`,
			[]any{string(org), end, int64(limit)}, orderDest)
	}
	return list(t, "listing orders", `SELECT `+orderColumns+` FROM orders
		WHERE organisation = $1 AND state = $2 AND placed_at < $3 ORDER BY placed_at DESC LIMIT $4`,
		[]any{string(org), string(state), end, int64(limit)}, orderDest)
}
