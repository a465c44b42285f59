// Package revocation owns what is revoked, since when and why, and how a relying
// party judges it. How lists and answers are made and given out is for the packages
// below it.
//
// A serial is revoked if and only if an [Entry] for it is in the ledger; entries
// are inserted and never updated. The package knows nothing of orders, cards or
// persons.
package revocation

import (
	"time"

	"sigill/ca"
)

// Entry is the fact that a serial is revoked. A serial may have a certificate or
// only an abandoned intent.
type Entry struct {
	Serial    ca.Serial
	Issuer    ca.IssuerID
	Partition int
	NotAfter  time.Time // of the certificate: when the entry may leave CRLs
	Version   int       // 1 for the first; a graver reason is a further version
	At        time.Time // revocation time; never moves between versions
	Reason    ca.Reason
	Rule      string // the policy rule or act that caused it: "confirm.superseded"
	Event     string // the audit event that tells it, and thereby its number
	// Line is what stands in CRLs, in DER. It is encoded once, by Revoke: a list
	// of a million entries is a header, these octets, and a signature.
	Line []byte
}

// Ledger is the part of a transaction in which revocations are written.
type Ledger interface {
	// InsertRevocation adds an entry. It MUST fail with an error if
	// (serial, version) is taken.
	InsertRevocation(Entry) error
	// Revocation returns the entry of the highest version, false if the
	// serial is not revoked.
	Revocation(ca.Serial) (Entry, bool, error)
}
