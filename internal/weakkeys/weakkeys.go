// Package weakkeys knows public keys whose private part is public, or can be found
// by whoever knows where to look: keys printed in standards and shipped in test
// suites, elliptic keys with a tiny private number, and lists of such keys that an
// operator puts in place, above all those of Debian's OpenSSL of 2006 to 2008
// (CVE-2008-0166).
//
// It decides nothing: it says what it knows of a key. It opens no file; who has
// one hands in its bytes. Everything in it is safe for concurrent use.
package weakkeys

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"sync"

	"sigill/ca"
)

// smallest is how many private numbers, counted from 1, are taken for tiny. A
// generator that fails gives 0, 1, a counter or a short word far more often than
// anything else; to try these few costs an attacker nothing.
const smallest = 1000

//go:embed published.txt
var publishedText string

// published is the embedded list, read once; nobody changes it.
var published = sync.OnceValue(func() map[[32]byte]string {
	keys := map[[32]byte]string{}
	for line := range strings.Lines(publishedText) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		// A list that is wrong in the program itself would pass silently, as a
		// list that knows nothing: every key is refused instead, by a panic that
		// the tests meet first.
		sum, source, ok := strings.Cut(strings.TrimSpace(line), " ")
		raw, err := hex.DecodeString(sum)
		if !ok || err != nil || len(raw) != sha256.Size {
			panic("weakkeys: embedded list: " + line)
		}
		keys[[32]byte(raw)] = source
	}
	return keys
})

// Published says where the private part of a key was published, if it was: in a
// standard, or with the source text of a program whose tests use it. The keys are
// held as fingerprints ([ca.FingerprintKey]); some sources tell only the SHA-256
// of the SubjectPublicKeyInfo, which is looked for too.
func Published(pub crypto.PublicKey) (source string, found bool) {
	if fp, err := ca.FingerprintKey(pub); err == nil {
		if source, found = published()[fp]; found {
			return source, true
		}
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", false
	}
	source, found = published()[sha256.Sum256(spki)]
	return source, found
}

// smallP256 and smallP384 hold the x-coordinates of the first multiples of the
// generator, made when the first key of the curve is judged; nobody changes them.
var (
	smallP256 = sync.OnceValue(func() map[string]int { return multiples(ecdh.P256(), 32) })
	smallP384 = sync.OnceValue(func() map[string]int { return multiples(ecdh.P384(), 48) })
)

func multiples(curve ecdh.Curve, size int) map[string]int {
	table := make(map[string]int, smallest)
	for k := 1; k <= smallest; k++ {
		key, err := curve.NewPrivateKey(big.NewInt(int64(k)).FillBytes(make([]byte, size)))
		if err != nil {
			panic(fmt.Sprintf("weakkeys: private number %d: %v", k, err)) // no such number is refused
		}
		point := key.PublicKey().Bytes()
		table[string(point[1:1+size])] = k
	}
	return table
}

// SmallScalar returns the private number of an elliptic key if it, or its
// negative, is one of the first thousand.
func SmallScalar(pub *ecdsa.PublicKey) (k int, found bool) {
	var table map[string]int
	switch pub.Curve {
	case elliptic.P256():
		table = smallP256()
	case elliptic.P384():
		table = smallP384()
	default:
		return 0, false
	}
	point, err := pub.Bytes()
	if err != nil {
		return 0, false
	}
	k, found = table[string(point[1:1+len(point)/2])]
	return k, found
}
