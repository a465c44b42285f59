// Package token is a card as the client sees it: places for keys behind PINs,
// and certificates beside them. There are two kinds, a card reached over
// PKCS #11 and a card made of software in a file (personal test cards only).
//
// A private key is made in the card and never leaves it through this package,
// and nothing here replaces anything: a new key is made beside the old one, and
// only [Card.Delete] removes. It knows nothing of orders, servers or which key
// ought to be used.
package token

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"sigill/policy"
)

var (
	// ErrNotFound is returned for an id that is not on the card.
	ErrNotFound = errors.New("not on the card")
	// ErrOccupied is returned for a certificate that would replace another.
	ErrOccupied = errors.New("another certificate is already there")
	// ErrNoCard is returned, wrapped, if no card or token is found where the
	// name says.
	ErrNoCard = errors.New("no card found")
	// ErrPINLocked is returned, in a [LockedError], when a PIN was wrong too
	// many times.
	ErrPINLocked = errors.New("the PIN is locked")
)

// LockedError says which PIN is locked; it is [ErrPINLocked].
type LockedError struct{ Slot policy.Slot }

func (e LockedError) Error() string { return fmt.Sprintf("PIN for %s: %s", e.Slot, ErrPINLocked) }

// Unwrap returns [ErrPINLocked].
func (e LockedError) Unwrap() error { return ErrPINLocked }

// ErrPIN is the error of a wrong PIN.
type ErrPIN struct {
	Slot policy.Slot
	Left int // tries left; -1: the card does not tell
}

func (e ErrPIN) Error() string {
	if e.Left < 0 {
		return fmt.Sprintf("wrong PIN for %s", e.Slot)
	}
	return fmt.Sprintf("wrong PIN for %s, %d tries left", e.Slot, e.Left)
}

// PIN asks the holder for the PIN of a slot. The card zeroes what it returns
// after use, so it MUST NOT be shared. It is called at most once for each slot
// of an open card, except for keys that demand the PIN for each signature.
type PIN func(ctx context.Context, slot policy.Slot) ([]byte, error)

// Algorithm is a kind of key that a card can make.
type Algorithm string

const (
	P256    Algorithm = "P-256"
	P384    Algorithm = "P-384"
	RSA2048 Algorithm = "RSA-2048"
	RSA3072 Algorithm = "RSA-3072"
)

// Known reports whether cards of this package can make such a key.
func (a Algorithm) Known() bool {
	return a == P256 || a == P384 || a == RSA2048 || a == RSA3072
}

// Info tells which card it is. Every field may be empty: cards differ in what
// they tell, and none of it is proof.
type Info struct {
	Number  string // card number, from certificates (1.2.752.34.2.1) or the label
	Product string
	Label   string
	Serial  string
	// SigningPIN: keys for signing stand behind a PIN of their own. Otherwise
	// one PIN opens all.
	SigningPIN bool
}

// Object is a key pair, a certificate, or both, under one id.
type Object struct {
	ID          []byte
	Slot        policy.Slot
	Label       string
	Certificate []byte // DER; nil: none
	// HasKey: the private key is on the card. Where that can't be seen before
	// the PIN is given, the public key counts until then.
	HasKey bool
	Public crypto.PublicKey // nil: not known
	// Damaged: something under this id can't be read, or is there twice: its
	// writer was killed.
	Damaged bool
}

// Made reports whether this package wrote the object: nothing else is to be
// mended or swept.
func (o Object) Made() bool { return strings.HasPrefix(o.Label, LabelPrefix) }

// Card is an open card. It is safe for concurrent use; what needs the card
// itself is done one thing after the other. An error that a pulled card causes
// leaves the card with what it had before the step or after it.
type Card interface {
	// Info never asks for a PIN.
	Info() Info
	// Objects lists keys and certificates in the order of the card. It never
	// asks for a PIN, and copes with what a killed writer left behind.
	Objects(ctx context.Context) ([]Object, error)
	// GenerateKey makes a key pair beside what is there and returns its id. A
	// key for the signing slot may demand its PIN for each signature.
	GenerateKey(ctx context.Context, slot policy.Slot, algorithm Algorithm) (id []byte, err error)
	// Signer returns the key id. Its Sign is safe for concurrent use and may
	// ask for the PIN under ctx; ECDSA signatures are ASN.1, RSA keys sign
	// PKCS #1 v1.5 and PSS. The error wraps ErrNotFound if the private key is
	// not on the card.
	Signer(ctx context.Context, id []byte) (crypto.Signer, error)
	// WriteCertificate puts a certificate beside its key. The same one again
	// is no error; another one is ErrOccupied.
	WriteCertificate(ctx context.Context, id []byte, der []byte) error
	// ReadCertificate reads a certificate from the card, not from a cache.
	ReadCertificate(ctx context.Context, id []byte) ([]byte, error)
	// Delete removes the key pair and the certificate id, the certificate
	// last: it is what a repeated Delete finds the rest by. Deleting what is
	// not there is ErrNotFound.
	Delete(ctx context.Context, id []byte) error
	// Close forgets PINs and ends the session.
	Close() error
}

// Mender is a card on which what a killed writer left can be mended.
type Mender interface {
	// DropCertificate takes every certificate of an id away and leaves its
	// key. It asks for the PIN.
	DropCertificate(ctx context.Context, id []byte) error
	// Nameless counts the objects that carry this package's label and have no
	// id, by which [Card.Objects] could list and [Card.Delete] find them; drop
	// removes them, and asks for the PIN.
	Nameless(ctx context.Context, drop bool) (int, error)
}

// Open opens the card that name tells: "soft:FILE", "soft:DIRECTORY" with one
// card file in it, or a PKCS #11 URI as [ParseURI] reads it. pin is asked when
// a private key is needed, not before.
func Open(ctx context.Context, name string, pin PIN) (Card, error) {
	scheme, rest, _ := strings.Cut(name, ":")
	switch scheme {
	case "soft":
		return OpenSoft(rest, pin)
	case "pkcs11":
		uri, err := ParseURI(name)
		if err != nil {
			return nil, err
		}
		return openPKCS11(ctx, uri, pin)
	default:
		return nil, fmt.Errorf("card %q: a card is named soft:FILE or pkcs11:URI", name)
	}
}
