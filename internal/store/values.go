package store

import (
	"fmt"
	"time"

	"sigill/ca"
)

// What does not apply is the zero value in Go and NULL in the database. The
// functions here go from one to the other; the types with Scan come back.

func text[T ~string](s T) any {
	if s == "" {
		return nil
	}
	return string(s)
}

func at(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func number(n int) any {
	if n == 0 {
		return nil
	}
	return int64(n)
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func bytes(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// hash gives the 32 octets of a fingerprint or hash.
func hash[T ~[32]byte](h T) any {
	if h == (T{}) {
		return nil
	}
	b := [32]byte(h)
	return b[:]
}

func serial(s ca.Serial) any {
	if s.IsZero() {
		return nil
	}
	return s[:]
}

// intoText scans a TEXT column.
type intoText[T ~string] struct{ p *T }

func str[T ~string](p *T) intoText[T] { return intoText[T]{p} }

// Scan implements sql.Scanner.
func (s intoText[T]) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.p = ""
	case string:
		*s.p = T(v)
	case []byte:
		*s.p = T(v)
	default:
		return fmt.Errorf("%T where text should be", v)
	}
	return nil
}

// intoTime scans microseconds.
type intoTime struct{ p *time.Time }

// Scan implements sql.Scanner.
func (s intoTime) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.p = time.Time{}
	case int64:
		*s.p = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("%T where a time should be", v)
	}
	return nil
}

// intoInt scans a number that may be absent, or a flag.
type intoInt struct{ p *int }

// Scan implements sql.Scanner.
func (s intoInt) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.p = 0
	case int64:
		*s.p = int(v)
	default:
		return fmt.Errorf("%T where a number should be", v)
	}
	return nil
}

// intoFlag scans 0 or 1.
type intoFlag struct{ p *bool }

// Scan implements sql.Scanner.
func (s intoFlag) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("%T where 0 or 1 should be", v)
	}
	*s.p = n != 0
	return nil
}

// intoOctets scans octets of a fixed length.
type intoOctets []byte

// Scan implements sql.Scanner.
func (s intoOctets) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		clear(s)
	case []byte:
		if len(v) != len(s) {
			return fmt.Errorf("%d octets where %d should be", len(v), len(s))
		}
		copy(s, v)
	default:
		return fmt.Errorf("%T where octets should be", v)
	}
	return nil
}
