// Package reconcile takes over what a restored database has lost: every leaf of both logs,
// every revocation and number since, from a copy of the logs that somebody else has kept.
//
// It owns what a copy looks like, how it is verified against the heads that were kept
// elsewhere, and what becomes of each entry. A copy has what was told, not what was known:
// the bodies of acts and what was to be signed. So what was issued is revoked and not
// brought back, and what was taken back is taken back again. It must not know where heads
// are kept, or what the service does meanwhile. Its central rule is that nothing is
// written before the whole copy was found to be what the logs signed.
package reconcile

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/revocation"
)

// Acts are rows of events as nobody else writes them.
type Acts interface {
	// EventLeaf returns the leaf of an event and whether it has a number; false: there
	// is none of that id.
	EventLeaf(id string) (leaf [32]byte, numbered, found bool, err error)
	// InsertEvent inserts an event that was told elsewhere, without its personal values
	// and without a number.
	InsertEvent(r audit.Record, b *audit.Body) error
	// RenameEvent gives an event without a number another body, which differs in its id
	// alone; a revocation that names it follows.
	RenameEvent(old string, r audit.Record) error
	// EventBody returns the body of an event.
	EventBody(id string) ([]byte, error)
}

// Leaves are rows of what the CA intended, and of what is revoked, as nobody else writes
// them.
type Leaves interface {
	// HasLeaf reports whether the leaf of a certificate is there, numbered or not.
	HasLeaf(leaf tlog.Hash) (bool, error)
	// InsertAbandoned inserts an intent that was settled when it came here, with its leaf.
	InsertAbandoned(in *issue.Intent, settled time.Time) error
	// DropRevocations takes the rows of a serial away and returns them by version, for
	// them to be written again in the same transaction.
	DropRevocations(ca.Serial) ([]revocation.Entry, error)
}

// Places are the rows of what the places that keep heads are known to have had.
type Places interface {
	// AcceptPlace writes down that a place may have as little as it has.
	AcceptPlace(place string, sizes map[tiles.Name]int64) error
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	download.Tx
	Log    audit.Log
	Trees  audit.Trees
	Heads  translog.Records
	Acts   Acts
	Leaves Leaves
	Places Places
	// Publications are the numbers of lists, for who goes on above them.
	Publications revocation.Publications
}

// Store runs transactions over a Tx; the contract is that of orders/download.Store.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}
