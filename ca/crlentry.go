package ca

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// reasonPrefix is everything of an entry's extensions but the reason: one
// extension, reasonCode, not critical (RFC 5280, 5.3.1). The octet that follows
// it is the reason.
var reasonPrefix = []byte{0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01}

// EncodeRevoked returns one entry of revokedCertificates in DER (RFC 5280, 5.1).
// An entry depends on nothing but its revocation, so that it is encoded once,
// when the serial is revoked, and every later list is made of stored octets.
// [Unspecified] is written by leaving the reason out.
//
// It fails for a serial that this system does not give, for no time, and for a
// reason that [ParseReason] does not know.
func EncodeRevoked(r Revoked) ([]byte, error) {
	if r.Serial[0]&0xc0 != 0x40 {
		return nil, fmt.Errorf("%s is no serial of this system", r.Serial)
	}
	if r.At.IsZero() {
		return nil, fmt.Errorf("serial %s has no time of revocation", r.Serial)
	}
	if _, known := reasonNames[r.Reason]; !known {
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
	if r.Reason != Unspecified {
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
	serial, ours := SerialOf(entry.Serial)
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

// splitDER takes the first element off in, which may be of any tag below 31. It
// reads DER only: definite lengths, in as few octets as they need.
func splitDER(in []byte) (tag byte, content, rest []byte, ok bool) {
	if len(in) < 2 || in[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	header, length := 2, int(in[1])
	if length >= 0x80 {
		octets := length & 0x7f
		if octets == 0 || octets > 4 || len(in) < 2+octets {
			return 0, nil, nil, false
		}
		n := uint32(0)
		for _, b := range in[2 : 2+octets] {
			n = n<<8 | uint32(b)
		}
		if n < 0x80 || n>>(8*(octets-1)) == 0 || n > 1<<30 {
			return 0, nil, nil, false
		}
		header, length = 2+octets, int(n)
	}
	if len(in)-header < length {
		return 0, nil, nil, false
	}
	return in[0], in[header : header+length], in[header+length:], true
}

// entryParts are the parts of an entry whose DER has been checked. They point
// into the entry.
type entryParts struct {
	serial     []byte // content of the INTEGER
	clock      clock
	extensions []byte // content of the SEQUENCE, empty if there is none
}

// splitEntry takes an entry apart and checks all of it, so that what is decoded
// later can't fail. It allocates nothing but for extensions that nobody uses.
func splitEntry(line []byte) (parts entryParts, ok bool) {
	tag, body, rest, ok := splitDER(line)
	if !ok || tag != 0x30 || len(rest) != 0 {
		return parts, false
	}
	tag, parts.serial, body, ok = splitDER(body)
	if !ok || tag != 0x02 || !minimalInteger(parts.serial) {
		return parts, false
	}
	tag, at, body, ok := splitDER(body)
	if !ok {
		return parts, false
	}
	if parts.clock, ok = parseClock(tag, at); !ok {
		return parts, false
	}
	if len(body) == 0 {
		return parts, true
	}
	if len(body) == len(reasonPrefix)+1 && bytes.HasPrefix(body, reasonPrefix) {
		parts.extensions = body[2:]
		return parts, body[len(body)-1] < 0x80
	}
	tag, parts.extensions, rest, ok = splitDER(body)
	if !ok || tag != 0x30 || len(rest) != 0 || len(parts.extensions) == 0 {
		return parts, false
	}
	return parts, checkEntryExtensions(parts.extensions)
}

// minimalInteger reports whether content is an INTEGER's in DER.
func minimalInteger(content []byte) bool {
	switch len(content) {
	case 0:
		return false
	case 1:
		return true
	}
	return !(content[0] == 0 && content[1] < 0x80) && !(content[0] == 0xff && content[1] >= 0x80)
}

// compareIntegers compares two positive INTEGERs in DER by value.
func compareIntegers(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

// clock is a time of day as it stands in a CRL.
type clock struct{ year, month, day, hour, minute, second int }

// parseClock reads a Time as RFC 5280, 4.1.2.5 restricts it: UTC, with seconds,
// without fractions. It does not ask which of the two forms the year wants.
func parseClock(tag byte, text []byte) (c clock, ok bool) {
	switch {
	case tag == 0x17 && len(text) == 13:
		if c.year = twoDigits(text); c.year < 50 {
			c.year += 100
		}
		c.year += 1900
		text = text[2:]
	case tag == 0x18 && len(text) == 15:
		century, year := twoDigits(text), twoDigits(text[2:])
		if century < 0 || year < 0 {
			return c, false
		}
		c.year = 100*century + year
		text = text[4:]
	default:
		return c, false
	}
	c.month, c.day = twoDigits(text), twoDigits(text[2:])
	c.hour, c.minute, c.second = twoDigits(text[4:]), twoDigits(text[6:]), twoDigits(text[8:])
	ok = text[10] == 'Z' && c.year >= 1900 && c.month >= 1 && c.month <= 12 && c.day >= 1 && c.day <= daysIn(c.year, c.month) &&
		c.hour >= 0 && c.hour < 24 && c.minute >= 0 && c.minute < 60 && c.second >= 0 && c.second < 60
	return c, ok
}

// twoDigits returns the number at the beginning of text, or one so negative that
// no sum with it is a year.
func twoDigits(text []byte) int {
	tens, ones := text[0]-'0', text[1]-'0'
	if tens > 9 || ones > 9 {
		return -10000
	}
	return 10*int(tens) + int(ones)
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

func (c clock) time() time.Time {
	return time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second, 0, time.UTC)
}
