package weakkeys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1" // what the list is made of: it hides nothing and authenticates nothing
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sort"
)

// List is a list of keys that is searched by truncated hashes.
type List struct {
	name    string
	records []byte // sorted, each of size octets; key is the part that is compared
	size    int
	key     int
	hash    func(crypto.PublicKey) []byte
}

// Name says which list it is.
func (l *List) Name() string { return l.name }

// Len is how many keys the list holds.
func (l *List) Len() int { return len(l.records) / l.size }

// Find reports whether the list holds a key.
func (l *List) Find(pub crypto.PublicKey) bool {
	want := l.hash(pub)
	if want == nil {
		return false
	}
	n := l.Len()
	i := sort.Search(n, func(i int) bool { return bytes.Compare(l.record(i), want) >= 0 })
	return i < n && bytes.Equal(l.record(i), want)
}

func (l *List) record(i int) []byte { return l.records[i*l.size : i*l.size+l.key] }

// OneArchitecture is how many RSA keys of one length a faulty Debian machine of one
// architecture could make without a file of randomness: one for each process id.
// A list of Debian's keys with fewer is not whole.
const OneArchitecture = 32767

// debianHalf is how much of a SHA-1 a line of Debian's lists keeps: its last half.
const debianHalf = 10

// ParseDebian reads a list in the form of Debian's openssl-blacklist: lines of 20
// hexadecimal digits, each the last half of the SHA-1 of "Modulus=", the modulus in
// capital hexadecimal digits and a newline, which is what
// `openssl x509 -noout -modulus` prints; lines that begin with # are comments. The
// lists of several lengths may be put one after another. One line of another form,
// or none at all, is an error: a list that is only half read would let pass what
// is in the other half.
func ParseDebian(name string, text []byte) (*List, error) {
	var sums [][debianHalf]byte
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		var sum [debianHalf]byte
		if len(line) != 2*debianHalf {
			return nil, fmt.Errorf("list %s, line %d: %d characters where 20 hexadecimal digits should be", name, n, len(line))
		}
		if _, err := hex.Decode(sum[:], line); err != nil {
			return nil, fmt.Errorf("list %s, line %d: %w", name, n, err)
		}
		sums = append(sums, sum)
	}
	if len(sums) == 0 {
		return nil, fmt.Errorf("list %s: holds no key", name)
	}
	slices.SortFunc(sums, func(a, b [debianHalf]byte) int { return bytes.Compare(a[:], b[:]) })
	sums = slices.Compact(sums)
	l := &List{name: name, size: debianHalf, key: debianHalf, hash: debianHash}
	l.records = make([]byte, 0, len(sums)*debianHalf)
	for _, s := range sums {
		l.records = append(l.records, s[:]...)
	}
	return l, nil
}

// debianHash is the form in which ParseDebian's lists know an RSA key; nil for
// others, which those lists do not hold.
func debianHash(pub crypto.PublicKey) []byte {
	key, ok := pub.(*rsa.PublicKey)
	if !ok || key == nil || key.N == nil {
		return nil
	}
	sum := sha1.Sum(fmt.Appendf(nil, "Modulus=%X\n", key.N))
	return sum[sha1.Size-debianHalf:]
}

const (
	badkeysRecord = 16 // 15 octets of SHA-256 and one that names the source
	badkeysKey    = 15
)

// ParseBadkeys reads the blocklist.dat of the badkeys project: sorted records of 16
// octets, the first 15 of the SHA-256 of an RSA modulus or of an elliptic key's
// x-coordinate, without leading zeros, and the number of the collection it comes
// from. It holds Debian's keys of all lengths, keys found in firmware and keys of
// standards. Anything that is not sorted whole records is an error. The list keeps
// data, which must not be changed afterwards.
func ParseBadkeys(name string, data []byte) (*List, error) {
	if len(data) == 0 || len(data)%badkeysRecord != 0 {
		return nil, fmt.Errorf("list %s: %d octets are no records of %d", name, len(data), badkeysRecord)
	}
	l := &List{name: name, records: data, size: badkeysRecord, key: badkeysKey, hash: badkeysHash}
	for i := 1; i < l.Len(); i++ {
		if bytes.Compare(l.record(i-1), l.record(i)) > 0 {
			return nil, fmt.Errorf("list %s: record %d is not in order", name, i)
		}
	}
	return l, nil
}

func badkeysHash(pub crypto.PublicKey) []byte {
	var number []byte
	switch key := pub.(type) {
	case *rsa.PublicKey:
		if key == nil || key.N == nil {
			return nil
		}
		number = key.N.Bytes()
	case *ecdsa.PublicKey:
		point, err := uncompressed(key)
		if err != nil {
			return nil
		}
		number = bytes.TrimLeft(point[1:1+len(point)/2], "\x00")
	default:
		return nil
	}
	sum := sha256.Sum256(number)
	return sum[:badkeysKey]
}

func uncompressed(key *ecdsa.PublicKey) ([]byte, error) {
	if key == nil || key.Curve == nil {
		return nil, errors.New("no key")
	}
	return key.Bytes()
}

// Lists are the lists that an operator put in place.
type Lists struct {
	Debian  []*List // ParseDebian
	Badkeys []*List // ParseBadkeys
}

// FindDebian returns the name of the list that knows a key for one of CVE-2008-0166;
// empty: none does.
func (l *Lists) FindDebian(pub crypto.PublicKey) string { return find(l.lists().Debian, pub) }

// FindBadkeys returns the name of another list that holds a key; empty: none does.
func (l *Lists) FindBadkeys(pub crypto.PublicKey) string { return find(l.lists().Badkeys, pub) }

func (l *Lists) lists() Lists {
	if l == nil {
		return Lists{}
	}
	return *l
}

func find(lists []*List, pub crypto.PublicKey) string {
	for _, each := range lists {
		if each.Find(pub) {
			return each.Name()
		}
	}
	return ""
}
