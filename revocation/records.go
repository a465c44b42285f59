package revocation

import (
	"context"
	"errors"
	"strconv"
	"time"

	"sigill/ca"
)

// ErrNotFound is returned by a store for a publication that does not exist.
var ErrNotFound = errors.New("revocation: not found")

// Statuses answers what OCSP needs with one indexed point read.
type Statuses interface {
	// Status reports whether a certificate with this serial was released by
	// issuer, and the entry of the highest version if the serial is revoked. An
	// open intent is not released; an abandoned one is revoked, not released.
	Status(issuer ca.IssuerID, serial ca.Serial) (released bool, entry *Entry, err error)
}

// PublicationState is reserved (the number is taken, nothing may be public yet)
// or published.
type PublicationState string

const (
	Reserved  PublicationState = "reserved"
	Published PublicationState = "published"
)

// Publication is one CRL of a scope ([List.Scope]), which is the CRL's number
// sequence.
type Publication struct {
	Issuer     ca.IssuerID
	Scope      string
	Number     int64
	State      PublicationState
	ThisUpdate time.Time
	NextUpdate time.Time
	Through    int64 // all revocations numbered up to here are contained
	Entries    int
	SHA256     [32]byte // of the DER; zero while reserved
	// KeptFrom: certificates that ended before have no entry in it. Zero while
	// reserved, and in what was published before this was written down.
	KeptFrom time.Time
}

// Publications is the table of CRL numbers.
type Publications interface {
	// NewestPublication returns the one with the highest number in state, or
	// in any state if that is empty; ErrNotFound if there is none.
	NewestPublication(issuer ca.IssuerID, scope string, state PublicationState) (*Publication, error)
	// InsertPublication reserves a number and fails if it is taken.
	InsertPublication(*Publication) error
	// FinishPublication turns a reserved publication into a published one.
	FinishPublication(*Publication) error
}

// Copy names the octets of a published list that are kept beside its row.
type Copy struct {
	Issuer ca.IssuerID
	Scope  string
	Number int64
}

// Copies keeps the octets of the newest list of each scope, in parts, where several
// processes work on one database: one of them publishes, and the others serve the
// very same.
type Copies interface {
	// Copied returns of which lists there are octets, in any order.
	Copied() ([]Copy, error)
	// CopyPart returns a part, counted from 0; ErrNotFound after the last.
	CopyPart(c Copy, part int) ([]byte, error)
	// InsertCopyPart keeps a part of at most 1 MiB; it does not keep the slice.
	InsertCopyPart(c Copy, part int, octets []byte) error
	// DeleteCopy forgets what there is of a scope.
	DeleteCopy(issuer ca.IssuerID, scope string) error
}

// Numbered is an entry with the number that the sequencer gave its event.
type Numbered struct {
	Entry
	Number int64
}

// Whole is the partition of a list of all that an issuer has issued.
const Whole = -1

// List names a CRL by what it covers: a partition of an issuer, or Whole.
type List struct {
	Issuer    ca.IssuerID
	Partition int
}

// Scope is the list's name in the table of publications.
func (l List) Scope() string {
	if l.Partition == Whole {
		return "full"
	}
	return strconv.Itoa(l.Partition)
}

func (l List) String() string { return string(l.Issuer) + "/" + l.Scope() }

// Entries reads the ledger in bulk.
type Entries interface {
	// Lines calls yield with the line of the highest version of each serial of
	// the list whose NotAfter is not before since, by serial. The octets are
	// valid until yield returns.
	Lines(list List, since time.Time, yield func(line []byte) error) error
	// EntriesIn calls yield with the entry of the highest version of each serial
	// of the list whose NotAfter is not before since and, unless until is zero,
	// before until, in any order.
	EntriesIn(list List, since, until time.Time, yield func(Entry) error) error
	// NumberedEntries returns up to limit entries numbered above after, in
	// order and without gaps: a number below one returned never appears later.
	NumberedEntries(after int64, limit int) ([]Numbered, error)
	// UnnumberedEntries calls yield with each entry that is committed and has no number
	// yet, in any order.
	UnnumberedEntries(yield func(Entry) error) error
	// HeadNumber returns the highest number given, 0 if none.
	HeadNumber() (int64, error)
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	Ledger
	Statuses
	Publications
	Entries
	Copies
}

// Store runs transactions over a Tx; the contract of both methods is that of
// orders/download.Store.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}
