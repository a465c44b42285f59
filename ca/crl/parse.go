package crl

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"sigill/ca"
)

// splitDER takes the first element off in, whose tag is one octet: none of those
// that callers look for is more. It reads DER only: definite lengths, in as few
// octets as they need.
func splitDER(in []byte) (tag byte, content, rest []byte, ok bool) {
	if len(in) < 2 {
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

// decode decodes an entry. What it reads has been checked by splitEntry.
func (p entryParts) decode() Entry {
	e := Entry{Serial: new(big.Int).SetBytes(p.serial), At: p.clock.time()}
	if p.serial[0] >= 0x80 { // negative, in two's complement
		e.Serial.Sub(e.Serial, new(big.Int).Lsh(big.NewInt(1), uint(8*len(p.serial))))
	}
	e.Critical, e.Reason = criticalEntry(p.extensions), p.reason()
	return e
}

// reason is the reason that the entry states, Unspecified if it states none.
func (p entryParts) reason() ca.Reason {
	for rest := p.extensions; len(rest) > 0; {
		var x entryExtension
		x, rest, _ = splitExtension(rest)
		if bytes.Equal(x.id, oidReasonDER) {
			return ca.Reason(x.value[2])
		}
	}
	return ca.Unspecified
}

var (
	oidReasonDER     = []byte{0x55, 0x1d, 0x15} // 2.5.29.21
	oidInvalidityDER = []byte{0x55, 0x1d, 0x18} // 2.5.29.24
)

// entryExtension is one extension of an entry; it points into it.
type entryExtension struct {
	rawID, id, value []byte // the identifier as an element, its content, the value
	critical         bool
}

// splitExtension takes the first extension off list.
func splitExtension(list []byte) (x entryExtension, rest []byte, ok bool) {
	tag, body, rest, ok := splitDER(list)
	if !ok || tag != 0x30 {
		return x, nil, false
	}
	x.rawID = body
	tag, x.id, body, ok = splitDER(body)
	if !ok || tag != 0x06 {
		return x, nil, false
	}
	x.rawID = x.rawID[:len(x.rawID)-len(body)]
	tag, value, body, ok := splitDER(body)
	if ok && tag == 0x01 {
		// DER leaves the default FALSE out, so only TRUE can stand here.
		if len(value) != 1 || value[0] != 0xff {
			return x, nil, false
		}
		x.critical = true
		tag, value, body, ok = splitDER(body)
	}
	x.value = value
	return x, rest, ok && tag == 0x04 && len(body) == 0
}

// checkEntryExtensions checks the form of an entry's extensions, and that none
// stands there twice.
func checkEntryExtensions(list []byte) bool {
	count := 0
	for rest := list; len(rest) > 0; {
		x, after, ok := splitExtension(rest)
		// Each is compared with all before it; RFC 5280 knows four.
		if count++; !ok || count > 16 {
			return false
		}
		switch {
		case bytes.Equal(x.id, oidReasonDER):
			if len(x.value) != 3 || x.value[0] != 0x0a || x.value[1] != 1 || x.value[2] >= 0x80 {
				return false
			}
		case len(x.id) == 3 && x.id[0] == 0x55 && x.id[1] == 0x1d && x.id[2] < 0x80: // 2.5.29.x
		default:
			var id asn1.ObjectIdentifier
			element := cryptobyte.String(x.rawID)
			if !element.ReadASN1ObjectIdentifier(&id) {
				return false
			}
		}
		for other := list[:len(list)-len(rest)]; len(other) > 0; {
			before, next, _ := splitExtension(other)
			if bytes.Equal(before.id, x.id) {
				return false
			}
			other = next
		}
		rest = after
	}
	return true
}

// criticalEntry reports whether a checked list of extensions has a critical one
// that is not understood.
func criticalEntry(list []byte) bool {
	for len(list) > 0 {
		x, rest, _ := splitExtension(list)
		if x.critical && !bytes.Equal(x.id, oidReasonDER) && !bytes.Equal(x.id, oidInvalidityDER) {
			return true
		}
		list = rest
	}
	return false
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
