package read

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
	"sigill/ca/crl"
)

// ErrUnsupported is a list or a place that is right and of a kind that is not
// read here.
var ErrUnsupported = errors.New("which is not supported here")

func unsupported(what string) error { return fmt.Errorf("%s, %w", what, ErrUnsupported) }

// List is a list that was verified under its issuer's key: what it says of
// itself, and its entries, to be looked up without the list.
type List struct {
	Head   *crl.Head
	Issuer string // common name of who signed

	lines []line
	long  map[string]line // serials that RFC 5280 would not allow
}

// maxShort is the length in octets of the content of a serial's INTEGER that
// RFC 5280, 4.1.2.2, allows, and one for a zero that many write before 20 octets.
const maxShort = 21

// line is one entry in 32 octets: lists of other issuers can have a million.
type line struct {
	serial [maxShort]byte // content of the INTEGER in DER, zeros after it
	length uint8
	reason uint8
	at     int64 // Unix seconds
}

func compareLines(a, b line) int {
	if a.length != b.length {
		return int(a.length) - int(b.length)
	}
	return bytes.Compare(a.serial[:], b.serial[:])
}

// CRL reads a list and verifies its signature under issuer.
func CRL(der []byte, issuer *x509.Certificate) (*List, error) {
	r, err := crl.NewReader(bytes.NewReader(der), issuer)
	if err != nil {
		return nil, err
	}
	x := &List{Issuer: issuer.Subject.CommonName, long: map[string]line{}}
	for r.Next() {
		e := r.Entry()
		l := line{reason: uint8(e.Reason), at: e.At.Unix()}
		if serial := r.Serial(); len(serial) > maxShort {
			x.long[string(serial)] = l
		} else {
			l.length = uint8(copy(l.serial[:], serial))
			x.lines = append(x.lines, l)
		}
	}
	if x.Head, err = r.Finish(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(x.lines, compareLines)
	return x, x.usable()
}

// usable says why a list that its issuer signed cannot be used (RFC 5280, 5.2,
// 5.3, 6.3.3).
func (x *List) usable() error {
	h := x.Head
	switch {
	case h.Number == nil:
		return errors.New("the list has no number")
	case h.DeltaBase != nil:
		return unsupported("it is a delta list, which tells changes only")
	case len(h.UnknownCritical) > 0:
		return fmt.Errorf("critical extension %v of the list is not known", h.UnknownCritical[0])
	case h.CriticalEntries > 0:
		return fmt.Errorf("%d entries have critical extensions that are not known", h.CriticalEntries)
	case !h.Scope.Present:
		return nil
	case !h.Scope.Critical:
		return errors.New("its issuing distribution point is not critical, so that others overlook it")
	case h.Scope.Indirect:
		return unsupported("it is an indirect list, with entries of other issuers")
	case h.Scope.OnlySomeReasons:
		return unsupported("it lists some reasons only, and so never shows that a certificate is good")
	case h.Scope.OnlyAttributes:
		return unsupported("it is for attribute certificates")
	case len(h.Scope.URIs) == 0 && h.Scope.OtherNames:
		return unsupported("it is for a place that is not an address")
	case !h.Scope.OnlyUserCerts && !h.Scope.OnlyCACerts && len(h.Scope.URIs) == 0:
		return errors.New("its issuing distribution point is empty")
	}
	return nil
}

// Scope is the issuing distribution point in words, the same for each list of a scope.
func (x *List) Scope() string {
	s := x.Head.Scope
	words := slices.Clone(s.URIs)
	if s.OnlyUserCerts {
		words = append(words, "holders' certificates only")
	}
	if s.OnlyCACerts {
		words = append(words, "CA certificates only")
	}
	if len(words) == 0 {
		return "all certificates"
	}
	return strings.Join(words, ", ")
}

// Covers says why the list does not tell the status of a certificate with these
// distribution points. The list of another partition is signed by the same key;
// only this address tells that it is the one that would name the certificate.
func (x *List) Covers(cert *x509.Certificate, points []string) error {
	s := x.Head.Scope
	isCA := cert.BasicConstraintsValid && cert.IsCA
	switch {
	case s.OnlyUserCerts && isCA:
		return errors.New("the list is for holders' certificates only")
	case s.OnlyCACerts && !isCA:
		return errors.New("the list is for CA certificates only")
	case len(s.URIs) > 0 && !slices.ContainsFunc(s.URIs, func(uri string) bool { return slices.Contains(points, uri) }):
		return fmt.Errorf("the list is for %s, which the certificate does not name", strings.Join(s.URIs, ", "))
	}
	return nil
}

// Lookup returns since when and why a serial is revoked, and false if it is not
// listed. Of two entries the earlier counts.
func (x *List) Lookup(serial *big.Int) (at time.Time, reason ca.Reason, listed bool) {
	l, ok := x.find(serial)
	if !ok {
		return time.Time{}, 0, false
	}
	return time.Unix(l.at, 0).UTC(), ca.Reason(l.reason), true
}

func (x *List) find(serial *big.Int) (line, bool) {
	content := integerContent(serial)
	if len(content) > maxShort {
		l, ok := x.long[string(content)]
		return l, ok
	}
	var want line
	want.length = uint8(copy(want.serial[:], content))
	i, found := slices.BinarySearchFunc(x.lines, want, compareLines)
	if !found {
		return line{}, false
	}
	first := x.lines[i]
	for _, l := range x.lines[i:] {
		if compareLines(l, want) != 0 {
			break
		}
		if l.at < first.at {
			first = l
		}
	}
	return first, true
}

// integerContent is the content of n's INTEGER in DER.
func integerContent(n *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1BigInt(n)
	in := cryptobyte.String(b.BytesOrPanic())
	var content cryptobyte.String
	in.ReadASN1(&content, cbasn1.INTEGER)
	return content
}

// Octets is about what the index takes in memory.
func (x *List) Octets() int { return 32*cap(x.lines) + 128*len(x.long) + 1024 }

// Names reports whether a list bears the name of issuer, unverified. One that does
// not is about other certificates, which is no fault of it.
func Names(der []byte, issuer *x509.Certificate) bool {
	in := cryptobyte.String(der)
	var list, tbs, name cryptobyte.String
	if !in.ReadASN1(&list, cbasn1.SEQUENCE) || !list.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(cbasn1.INTEGER) || !tbs.SkipASN1(cbasn1.SEQUENCE) || !tbs.ReadASN1Element(&name, cbasn1.SEQUENCE) {
		return true // what cannot be read is told of
	}
	return bytes.Equal(name, issuer.RawSubject)
}
