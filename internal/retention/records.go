// Package retention ends what has been kept long enough, and says in the log that
// it did: log-ins and refusals after eighteen months, what belongs to a card ten
// years after the card has expired, personal values of acts when no certificate that
// they are about can have expired less than ten years ago.
//
// What is erased leaves its row: empty octets where the personal data stood, and
// every hash, number, fingerprint and reference as they were, so that chain, trees,
// OCSP and lists are the same before and after. Its central rule is that an erasure
// and the act that tells it are one transaction, and that nothing is erased by what
// a column says alone: the body of an event is read, and must be the one that was
// chained.
//
// It must not know how rows are stored, nor why they were written.
package retention

import (
	"context"
	"errors"
	"time"

	"sigill/internal/audit"
)

// ErrConflict is returned by a store where somebody else was first.
var ErrConflict = errors.New("retention: erased by another at the same time")

// Acts are the events and what is erased of them.
type Acts interface {
	// Linked is that of [audit.Log].
	Linked(after int64, limit int) ([]audit.Record, []audit.Link, error)
	// Reached returns the highest number up to which what was erased; 0: nothing.
	Reached(what string) (int64, error)
	// EraseEvents deletes the personal values of the events with these numbers and
	// leaves, and, if bodies says so, empties their bodies and who did them. It MUST
	// return ErrConflict if one of them is not there as it was read.
	EraseEvents(links []audit.Link, bodies bool) error
	// NoteErasure keeps what an act says that it erased.
	NoteErasure(event string, e audit.Erasure) error
}

// Card names a card whose time has come.
type Card struct {
	Number  string
	Expires time.Time
}

// Erased is what was erased with a card.
type Erased struct {
	// Rows that were emptied, of any kind.
	Rows int64
	// Certificates are those of these rows, with their intents. Numbered of them have
	// a number in the log of certificates; From and To are the lowest and the highest.
	Certificates, Numbered int64
	From, To               int64
	// Left are the certificates that must stay, because something that is kept was
	// signed with them: the card is looked at again.
	Left int64
}

// Holdings are the rows that belong to cards.
type Holdings interface {
	// CardsDue returns up to limit cards with a holder that expired before through
	// and of which something is kept, after one in the order of expiry and number.
	CardsDue(through time.Time, after Card, limit int) ([]Card, error)
	// EraseCard empties what belongs to a card: certificates and intents, orders and
	// downloads with their documents, statements about them and about the card. at is
	// when. ErrConflict: the card was erased.
	EraseCard(number string, at time.Time) (Erased, error)
	// EraseStatements empties up to limit statements older than through on which no
	// right rests, and returns how many.
	EraseStatements(through time.Time, limit int) (int64, error)
	// StatementsDue counts what EraseStatements would empty.
	StatementsDue(through time.Time) (int64, error)
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	Acts
	Holdings
	Events audit.Recorder
}

// Store runs transactions over a Tx.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}
