package crl

import (
	"bytes"
	"errors"
	"fmt"

	"sigill/ca"
)

// reasonPrefix is everything of an entry's extensions but the reason: one
// extension, reasonCode, not critical (RFC 5280, 5.3.1). The octet that follows
// it is the reason.
var reasonPrefix = []byte{0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01}

// EncodeRevoked returns one entry of revokedCertificates in DER (RFC 5280, 5.1).
// An entry depends on nothing but its revocation, so that it is encoded once,
// when the serial is revoked, and every later list is made of stored octets.
// [ca.Unspecified] is written by leaving the reason out.
//
// It fails for a serial that this system does not give, for no time, and for a
// reason that [ca.ParseReason] does not know.
func EncodeRevoked(r Revoked) ([]byte, error) {
	if r.Serial[0]&0xc0 != 0x40 {
		return nil, fmt.Errorf("%s is no serial of this system", r.Serial)
	}
	if r.At.IsZero() {
		return nil, fmt.Errorf("serial %s has no time of revocation", r.Serial)
	}
	if !r.Reason.Known() {
		return nil, fmt.Errorf("serial %s: %s stands in no CRL", r.Serial, r.Reason)
	}
	line := make([]byte, 2, 64)
	line = append(line, 0x02, byte(len(r.Serial)))
	line = append(line, r.Serial[:]...)
	switch at := r.At.UTC(); {
	case at.Year() < 1 || at.Year() > 9999:
		return nil, fmt.Errorf("serial %s: year %d can't be written", r.Serial, at.Year())
	case at.Year() >= 1950 && at.Year() < 2050: // RFC 5280, 5.1.2.6 and 5.1.2.4
		line = at.AppendFormat(append(line, 0x17, 13), "060102150405Z")
	default:
		line = at.AppendFormat(append(line, 0x18, 15), "20060102150405Z")
	}
	if r.Reason != ca.Unspecified {
		line = append(append(line, reasonPrefix...), byte(r.Reason))
	}
	line[0], line[1] = 0x30, byte(len(line)-2)
	return line, nil
}

// ParseRevoked reads what [EncodeRevoked] writes, and nothing else.
func ParseRevoked(line []byte) (Revoked, error) {
	parts, ok := splitEntry(line)
	if !ok {
		return Revoked{}, errors.New("not an entry of a CRL in DER")
	}
	entry := parts.decode()
	serial, ours := ca.SerialOf(entry.Serial)
	if !ours {
		return Revoked{}, fmt.Errorf("%x is no serial of this system", parts.serial)
	}
	r := Revoked{Serial: serial, At: entry.At, Reason: entry.Reason}
	// Decoded and encoded again it is itself, or it was written otherwise: with
	// other extensions, a critical reason, a time in the wrong form.
	if again, err := EncodeRevoked(r); err != nil || !bytes.Equal(again, line) {
		return Revoked{}, fmt.Errorf("the entry of serial %s is not as this system writes it", serial)
	}
	return r, nil
}
