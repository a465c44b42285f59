// Package privacy answers what is held of a person, and erases of it what is kept by
// no duty: names, number, addresses, assignments, search keys, and what log-ins,
// refusals and imports say of the person. Certificates, orders and all that they rest
// on stay until package retention ends them.
//
// It does not know how rows are stored, and nothing of how long what is kept:
// internal/audit says that. Its central rule is that who is told or erased is a matter
// of administrators above every organisation that employs the person, is told in the
// log before anybody is answered, and that a person with protected identity does not
// exist here.
package privacy

import (
	"context"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/register"
	"sigill/policy"
)

// Told is an event about or by a person.
type Told struct {
	audit.Record
	// About: the event names the person as whom it is about; else the person did it.
	About bool
}

// Held are the reads over everything that belongs to a person.
type Held interface {
	// AssignmentsOf returns all assignments of a person, ended ones too.
	AssignmentsOf(policy.PersonID) ([]*register.Assignment, error)
	// AllGrantsOf returns all roles that a person has or had.
	AllGrantsOf(policy.PersonID) ([]register.Grant, error)
	// OrdersOfCard and DownloadsOfCard return all there ever were, oldest first.
	OrdersOfCard(policy.CardNumber) ([]*orders.Order, error)
	DownloadsOfCard(policy.CardNumber) ([]*download.Download, error)
	// StatementsBy returns the statements that a certificate signed, oldest first.
	StatementsBy(ca.Fingerprint) ([]*register.Statement, error)
}

// Log are the events of a person, as far as they have personal values, or tell that he
// logged in or was refused.
type Log interface {
	// EventsOf returns up to limit of them, newest first, with what personal values are
	// left; before an event, or from the newest on if it is empty.
	EventsOf(person policy.PersonID, before string, limit int) ([]Told, error)
	// EraseValues deletes the personal values of events and returns of how many.
	EraseValues(events []string) (int64, error)
}

// Erasing ends what the register says of a person.
type Erasing interface {
	// ErasePerson deletes assignments and search keys, and leaves of the person the row
	// that others refer to, without name, and with its id for a number: the number may
	// be imported again, as somebody who is new. issue.ErrConflict: it was done.
	ErasePerson(person policy.PersonID, at time.Time) error
	// ErasedAt returns when a person was erased; zero: not.
	ErasedAt(policy.PersonID) (time.Time, error)
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	orders.Tx
	Held
	Log
	Erasing
}

func (tx *Tx) register() *register.Tx { return &tx.Tx.Tx }

// Store runs transactions over a Tx; the contract is that of orders/download.Store.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}
