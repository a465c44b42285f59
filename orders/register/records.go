// Package register owns who and what exists: organisations, their
// administrators, persons with their assignments, cards with their one holder.
// It also judges who logs in ([Service.Login]): a certificate is believed only
// if this store has it and card, holder and state agree.
//
// It does not know orders or downloads; what must end with a card or a person
// is ended by package download, in one transaction.
package register

import (
	"time"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/policy"
)

// Organisation is a customer or a branch of one.
type Organisation struct {
	ID             policy.OrganisationID
	Number         string // ten digits
	Name           string // as it stands in certificates
	Parent         policy.OrganisationID
	SigningAllowed bool // may holders fetch signing certificates
	CreatedAt      time.Time
}

// Person is known by personnummer or samordningsnummer.
type Person struct {
	ID         policy.PersonID
	Number     policy.PersonNumber
	NumberKind policy.NumberKind
	GivenName  string
	Surname    string
	Protected  bool // protected identity: needs KUR
	CreatedAt  time.Time
}

// Assignment is a person's employment in an organisation as the directory tells
// it; the HSA-id, address and account names that certificates carry hang on it.
type Assignment struct {
	Person       policy.PersonID
	Organisation policy.OrganisationID
	HSAID        policy.HSAID
	Email        string    // empty: none
	UPN          string    // empty: no Windows account
	SID          string    // empty: none
	EndsAt       time.Time // zero: no end known
	UpdatedAt    time.Time
}

// Grant is a role of a person in an organisation and the branches below it.
type Grant struct {
	Person       policy.PersonID
	Organisation policy.OrganisationID
	Role         policy.Role
	Statement    policy.StatementID // by which it was given
	GrantedAt    time.Time
	EndedAt      time.Time // zero: in force
}

// Card is a physical card. Holder is set once, at hand-out, for ever.
type Card struct {
	Number       policy.CardNumber
	Product      string // 6XX, 7XX, 473, 573, or "none"
	Kind         policy.CardKind
	Organisation policy.OrganisationID // the owner, which locks and scraps
	State        policy.CardState
	Holder       policy.PersonID // empty before hand-out
	ExpiresAt    time.Time
	// ArmedUntil is until when the transport certificate may log in, for one
	// download: ArmedFor once that has begun. Zero: not armed.
	ArmedUntil time.Time
	ArmedFor   policy.DownloadID
	// Identity is the recorded identity check at hand-out or re-arming:
	// document kind, for policy's rule on LoA3. Empty: none.
	Identity string
	Version  int64 // compare-and-swap
}

// Organisations is the table of organisations.
type Organisations interface {
	// Organisation and OrganisationByNumber return issue.ErrNotFound.
	Organisation(policy.OrganisationID) (*Organisation, error)
	OrganisationByNumber(number string) (*Organisation, error)
	// InsertOrganisation returns issue.ErrConflict if the number is taken.
	InsertOrganisation(*Organisation) error
	// SetSigningAllowed turns the switch of an organisation to what it is not.
	// issue.ErrConflict: it stands so already, or there is no such organisation.
	SetSigningAllowed(id policy.OrganisationID, allowed bool) error
	ListOrganisations(after policy.OrganisationID, limit int) ([]*Organisation, error)
}

// People is the table of persons and their assignments.
type People interface {
	Person(policy.PersonID) (*Person, error)
	PersonByNumber(policy.PersonNumber) (*Person, error)
	InsertPerson(*Person) error
	// PutPerson replaces name and protection of a person that exists.
	PutPerson(*Person) error
	// PutAssignment inserts or replaces the assignment (person, organisation).
	// issue.ErrConflict: HSA-id, UPN (whatever its case) or SID belongs to
	// another person.
	PutAssignment(*Assignment) error
	Assignment(policy.PersonID, policy.OrganisationID) (*Assignment, error)
	AssignmentByHSAID(policy.HSAID) (*Assignment, error)
	// SearchPeople returns assignments of an organisation's persons whose
	// folded name, HSA-id or number begins with prefix, by HSA-id.
	SearchPeople(org policy.OrganisationID, prefix string, after policy.HSAID, limit int) ([]*Assignment, error)
}

// Grants is the table of roles.
type Grants interface {
	InsertGrant(Grant) error
	EndGrant(policy.PersonID, policy.OrganisationID, policy.Role, time.Time) error
	// GrantsOf returns the grants in force of a person.
	GrantsOf(policy.PersonID) ([]Grant, error)
	// GrantsFor returns the grants in force for an organisation.
	GrantsFor(policy.OrganisationID) ([]Grant, error)
}

// Cards is the table of cards.
type Cards interface {
	// Card returns issue.ErrNotFound.
	Card(policy.CardNumber) (*Card, error)
	// InsertCard returns issue.ErrConflict if the number is taken.
	InsertCard(*Card) error
	// PutCard writes c if its Version is still the stored one and raises it;
	// otherwise issue.ErrConflict.
	PutCard(c *Card) error
	CardsOfHolder(policy.PersonID) ([]*Card, error)
	// ListCards returns an organisation's cards by number.
	ListCards(org policy.OrganisationID, after policy.CardNumber, limit int) ([]*Card, error)
}

// Ceremony is the state of the bootstrap: two officers who found the first
// organisation and its first two administrators, once.
type Ceremony struct {
	Officers       [2]ca.Fingerprint // their Function CA certificates
	OfficerNames   [2]string
	Organisation   policy.OrganisationID // empty until founded
	Administrators [2]policy.PersonID
	ClosedAt       time.Time // zero: open
}

// Ceremonies is the table with the one ceremony.
type Ceremonies interface {
	// Ceremony returns issue.ErrNotFound before init.
	Ceremony() (*Ceremony, error)
	PutCeremony(*Ceremony) error
}

// Idempotency remembers which result an Idempotency-Key led to (draft-ietf-
// httpapi-idempotency-key-header). The scope is caller, operation, key.
type Idempotency struct {
	Caller    string
	Operation string
	Key       string
	Request   [32]byte // SHA-256 of the request
	Result    string   // id of the result
	At        time.Time
}

// Idempotencies is the table of idempotency keys.
type Idempotencies interface {
	// Idempotency returns issue.ErrNotFound.
	Idempotency(caller, operation, key string) (*Idempotency, error)
	InsertIdempotency(Idempotency) error
}

// Statement is a signed statement as it is stored.
type Statement struct {
	ID          policy.StatementID
	Act         string
	Subject     string          // what it is about: an order id, a card number
	By          policy.PersonID // empty: an officer
	Certificate ca.Fingerprint  // whose key signed
	Content     []byte          // the tagged bytes
	Signature   []byte
	At          time.Time
}

// Statements is the table of statements.
type Statements interface {
	InsertStatement(*Statement) error
	// StatementsAbout returns the statements about a subject, oldest first.
	StatementsAbout(subject string) ([]*Statement, error)
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	issue.Tx
	Organisations
	People
	Grants
	Cards
	Ceremonies
	Idempotencies
	Statements
}
