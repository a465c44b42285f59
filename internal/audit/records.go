package audit

import (
	"context"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/tiles"
)

// ErrNotFound is returned by a store for what it does not have.
var ErrNotFound = errors.New("audit: not found")

// ErrConflict is returned by AppendLinks when another sequencer was first.
var ErrConflict = errors.New("audit: another sequencer was first")

// ErrTaken is returned by a Recorder when an event with the same id is there: the act
// was recorded before.
var ErrTaken = errors.New("audit: an event with this id is there")

// Record is an event as it is stored: Body is what the chain covers, canonical
// JSON with the public fields and a commitment for each personal one.
type Record struct {
	ID   string
	At   time.Time
	Act  string
	By   string
	Body []byte
	Leaf [32]byte // SHA-256(0x00 ‖ Body)
	// Personal are the erasable fields, each with the salt of its commitment.
	Personal []PersonalField
}

// PersonalField is a personal value beside the chain.
type PersonalField struct {
	Name  string
	Value string
	Salt  [16]byte
}

// Link is an event's place in the chain:
// Hash = SHA-256(0x01 ‖ Number as 8 octets, big-endian ‖ previous Hash ‖ Leaf).
type Link struct {
	Number int64 // 1, 2, 3, … without gaps
	Event  string
	Leaf   [32]byte
	Hash   [32]byte
}

// Log is the table of events and of the chain over them.
type Log interface {
	// Unnumbered returns up to limit committed events without a number, in the
	// order in which they were inserted as far as the database knows it;
	// Personal is left empty.
	Unnumbered(limit int) ([]Record, error)
	// Event returns an event by its id, without Personal, and its number, 0 while it has
	// none; or ErrNotFound.
	Event(id string) (Record, int64, error)
	// HeadLink returns the link with the highest number, or ErrNotFound.
	HeadLink() (*Link, error)
	// AppendLinks writes links and MUST fail with ErrConflict if one of the
	// numbers is taken or one of the events has a number.
	AppendLinks([]Link) error
	// Linked returns up to limit events numbered above after with their links,
	// in order; Personal is filled in where it was not erased.
	Linked(after int64, limit int) ([]Record, []Link, error)
}

// The two Merkle trees. Leaf n of that of the acts is the leaf of event n+1; those of
// the certificate log are leaves that were recorded with intents, in the order of their
// numbers.
const (
	ActTree         tiles.Name = "acts"
	CertificateTree tiles.Name = "certificates"
)

// Trees are the tiles of both trees, and the certificates' leaves before and after they
// have a number.
type Trees interface {
	tiles.Records
	// ActLeaves returns the leaves of up to limit events numbered above after, in order.
	ActLeaves(after int64, limit int) ([]tlog.Hash, error)
	// UnnumberedLeaves returns up to limit committed leaves of certificates without a
	// number, in the order in which they were inserted.
	UnnumberedLeaves(limit int) ([]tlog.Hash, error)
	// NumberLeaves gives leaves the numbers from first on, and MUST fail with
	// ErrConflict if one of them has a number or the number is taken.
	NumberLeaves(first int64, leaves []tlog.Hash) error
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	Log
	Trees Trees
}

// Store runs transactions over a Tx.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}
