// Package issue owns what the CA has intended, signed and released: intents,
// certificates, which of them stand for an eID, and every key ever seen. Its
// central rule is docs/ISSUANCE.md: write down and commit, sign, write down and
// commit; an outcome that was not recorded is presumed to have happened.
//
// It does not know why a certificate is issued: that is its callers' guard,
// which they run in the same transactions.
package issue

import (
	"errors"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/policy"
	"sigill/revocation"
)

// Errors that cross package borders in orders and below. Everything else is
// text, or a [*policy.Refusal].
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("changed by another request at the same time")
	ErrState    = errors.New("not possible in this state")
)

// Binding ties a certificate to what it is for. Fields that do not apply are
// empty: a transport certificate has no person, an OCSP signer only a profile.
type Binding struct {
	Slot         policy.Slot
	Card         policy.CardNumber
	Person       policy.PersonID
	Organisation policy.OrganisationID
	IDKind       policy.IDKind
	LoA          policy.LoA
	Order        policy.OrderID
	Download     policy.DownloadID
	Provenance   policy.Provenance
}

// IntentState is the life of an intent: open, then signed or abandoned.
type IntentState string

const (
	IntentOpen      IntentState = "open"
	IntentSigned    IntentState = "signed"
	IntentAbandoned IntentState = "abandoned"
)

// Intent is a committed decision to sign: from its commit on the serial is
// known whatever happens.
type Intent struct {
	ca.Intent
	Binding
	State      IntentState
	Owner      string    // the serving process ("proc_…") that will sign
	Deadline   time.Time // after it, Recover may take the intent from a living owner
	RecordedAt time.Time
}

// Certificate is a signed and released certificate.
type Certificate struct {
	ca.Issued
	Binding
	StoredAt time.Time
}

// Place is where a certificate can stand: one pending and one current a place.
type Place struct {
	Card         policy.CardNumber
	Organisation policy.OrganisationID
	IDKind       policy.IDKind
	Slot         policy.Slot
}

// StandingKind is pending (released, not yet proved on the card) or current.
type StandingKind string

const (
	Pending StandingKind = "pending"
	Current StandingKind = "current"
)

// Standing says that a certificate stands at a place. A certificate that is
// replaced or revoked stands nowhere.
type Standing struct {
	Place
	Kind        StandingKind
	Certificate ca.Fingerprint
	Since       time.Time
}

// KeySeen is the memory of a public key that proved possession, refused ones too.
type KeySeen struct {
	Fingerprint ca.KeyFingerprint
	Card        policy.CardNumber // empty for technical keys
	Download    policy.DownloadID // the only download that may come again with it
	Slot        policy.Slot
	Verdict     string // "admitted" or the rule that refused it
	SeenAt      time.Time
}

// Intents is the table of intents.
type Intents interface {
	InsertIntent(*Intent) error
	// Intent returns ErrNotFound for an unknown serial.
	Intent(ca.Serial) (*Intent, error)
	// SettleIntent moves an open intent of owner to state and returns
	// ErrConflict if it is no longer open or owned by another.
	SettleIntent(serial ca.Serial, owner string, state IntentState, at time.Time) error
	// OpenIntents returns up to limit open intents, oldest first.
	OpenIntents(limit int) ([]*Intent, error)
	// CountIntents counts the intents recorded at or after since for a card
	// and, if download is not empty, for that download's slot alone.
	CountIntents(card policy.CardNumber, download policy.DownloadID, slot policy.Slot, since time.Time) (int, error)
}

// Certificates is the table of released certificates.
type Certificates interface {
	InsertCertificate(*Certificate) error
	// Certificate and CertificateBySerial return ErrNotFound.
	Certificate(ca.Fingerprint) (*Certificate, error)
	CertificateBySerial(ca.Serial) (*Certificate, error)
	// CertificatesOfCard returns all certificates ever released for a card,
	// oldest first.
	CertificatesOfCard(policy.CardNumber) ([]*Certificate, error)
}

// Standings is the table of what stands where.
type Standings interface {
	// PutStanding returns ErrConflict if the place already has one of its kind.
	PutStanding(Standing) error
	// DropStanding returns ErrConflict if the certificate does not stand.
	DropStanding(ca.Fingerprint) error
	// Standing returns ErrNotFound if the certificate stands nowhere.
	Standing(ca.Fingerprint) (*Standing, error)
	StandingsOfCard(policy.CardNumber) ([]Standing, error)
}

// Keys is the table of keys ever seen.
type Keys interface {
	// KeySeen returns ErrNotFound if the key was never seen.
	KeySeen(ca.KeyFingerprint) (*KeySeen, error)
	// MarkKey inserts k and returns ErrConflict if the key is there already.
	MarkKey(KeySeen) error
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	Intents
	Certificates
	Standings
	Keys
	Compromises
	RevocationQueue
	Population
	Revocations revocation.Ledger
	Events      audit.Recorder
}
