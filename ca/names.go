package ca

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
)

// IssuerID is the slug under which an issuer is stored and named on the wire,
// "person-hsa-id-3-v1". It stands in CDP, AIA and CRL addresses and therefore
// never changes for a CA generation.
type IssuerID string

// ProfileName names a certificate profile, "authentication".
type ProfileName string

// Serial is a certificate's serial number: 16 octets, the first in 0x40–0x7f,
// so that it is positive, never needs a leading zero octet (RFC 5280, 4.1.2.2)
// and has the same length in every CRL entry. The zero value is no serial.
type Serial [16]byte

// NewSerial draws a serial with 126 random bits.
func NewSerial() Serial {
	var s Serial
	rand.Read(s[:]) // never fails: crypto/rand ends the process instead
	s[0] = s[0]&0x3f | 0x40
	return s
}

// ParseSerial reads the 32 lower-case hexadecimal digits that String writes.
func ParseSerial(text string) (Serial, error) {
	var s Serial
	if len(text) != 2*len(s) {
		return Serial{}, fmt.Errorf("serial has %d characters, want %d hexadecimal digits", len(text), 2*len(s))
	}
	if _, err := hex.Decode(s[:], []byte(text)); err != nil {
		return Serial{}, fmt.Errorf("serial: %w", err)
	}
	if s.String() != text {
		return Serial{}, fmt.Errorf("serial %q is not in lower case", text)
	}
	return s, nil
}

// SerialOf returns the serial with the value n, and false if no certificate of
// this system can have it.
func SerialOf(n *big.Int) (Serial, bool) {
	var s Serial
	if n == nil || n.Sign() <= 0 || n.BitLen() > 127 || n.BitLen() < 127 {
		return s, false
	}
	n.FillBytes(s[:])
	return s, true
}

// String returns the serial as people see it everywhere: 32 hexadecimal digits.
func (s Serial) String() string { return hex.EncodeToString(s[:]) }

// Int returns the serial as the integer that stands in certificates.
func (s Serial) Int() *big.Int { return new(big.Int).SetBytes(s[:]) }

// IsZero reports whether s is no serial.
func (s Serial) IsZero() bool { return s == Serial{} }

// Fingerprint is the SHA-256 of a certificate's DER.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the fingerprint of the certificate der.
func FingerprintOf(der []byte) Fingerprint { return sha256.Sum256(der) }

// ParseFingerprint reads what String writes.
func ParseFingerprint(text string) (Fingerprint, error) {
	var f Fingerprint
	if len(text) != 2*len(f) {
		return Fingerprint{}, fmt.Errorf("fingerprint has %d characters, want %d hexadecimal digits", len(text), 2*len(f))
	}
	if _, err := hex.Decode(f[:], []byte(text)); err != nil {
		return Fingerprint{}, fmt.Errorf("fingerprint: %w", err)
	}
	return f, nil
}

func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// IsZero reports whether f names no certificate.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// Reason is a revocation reason (RFC 5280, 5.3.1). Unspecified is never used
// for a new revocation; it is what an entry without a reason code means.
type Reason int

const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	PrivilegeWithdrawn   Reason = 9
)

var reasonNames = map[Reason]string{
	Unspecified:          "unspecified",
	KeyCompromise:        "keyCompromise",
	CACompromise:         "cACompromise",
	AffiliationChanged:   "affiliationChanged",
	Superseded:           "superseded",
	CessationOfOperation: "cessationOfOperation",
	PrivilegeWithdrawn:   "privilegeWithdrawn",
}

// String returns the reason's name in RFC 5280.
func (r Reason) String() string {
	if name, ok := reasonNames[r]; ok {
		return name
	}
	return fmt.Sprintf("reason(%d)", int(r))
}

// Known reports whether r is one that [ParseReason] knows.
func (r Reason) Known() bool {
	_, known := reasonNames[r]
	return known
}

// ParseReason reads a reason's name. certificateHold and removeFromCRL are not
// known: revocation is final (eIDAS Art. 28(4)).
func ParseReason(name string) (Reason, error) {
	for r, n := range reasonNames {
		if n == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("unknown revocation reason %q", name)
}
