// Package orders owns orders and the signed statements behind them: an order is
// placed by one administrator, approved by another, each with a statement signed
// by the administrator's own card over the very bytes of the order.
//
// It does not know how an order is carried out: that is package download.
package orders

import (
	"time"

	"sigill/orders/register"
	"sigill/policy"
)

// Order is an administrator's decision that a card may receive an eID.
type Order struct {
	ID           policy.OrderID
	Type         policy.OrderType
	Organisation policy.OrganisationID
	Person       policy.PersonID
	Card         policy.CardNumber
	IDKind       policy.IDKind
	LoA          policy.LoA
	State        policy.OrderState
	Rule         policy.Rule // why refused; empty otherwise
	// Bytes is the order as it was signed, canonical JSON of [Document]; its
	// SHA-256 is what statements name. It never changes.
	Bytes     []byte
	PlacedBy  policy.PersonID // empty: an officer in the bootstrap
	PlacedAt  time.Time
	ExpiresAt time.Time
	Version   int64 // compare-and-swap
}

// Table is the table of orders.
type Table interface {
	InsertOrder(*Order) error
	// Order returns issue.ErrNotFound.
	Order(policy.OrderID) (*Order, error)
	// PutOrder writes state and rule of o if its Version is still the stored
	// one and raises it; otherwise issue.ErrConflict.
	PutOrder(o *Order) error
	// OpenOrdersOfCard returns the placed and approved orders of a card.
	OpenOrdersOfCard(policy.CardNumber) ([]*Order, error)
	// ListOrders returns an organisation's orders, newest first, in state or,
	// if that is empty, in any.
	ListOrders(org policy.OrganisationID, state policy.OrderState, before time.Time, limit int) ([]*Order, error)
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	register.Tx
	Orders Table
}
