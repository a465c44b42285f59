package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"slices"
	"sync"

	"github.com/titanous/rocacheck"

	"sigill/internal/weakkeys"
)

// Public keys that are asked to be certified. Possession is proved before; these
// rules are about keys that somebody else can find the private part of.
const (
	// KeyType: the algorithm is not one of the profile's. An algorithm that no
	// relying party was tested with, or that nobody judged, is a certificate
	// whose holder cannot log in, or anybody can.
	KeyType Rule = "key.type"
	// KeyCurve: the curve is not one of the profile's. Curves below 256 bits
	// fall to computation; home-made parameters let an attacker name a
	// generator for which he knows the private key (CVE-2020-0601).
	KeyCurve Rule = "key.curve"
	// KeyPoint: the point is not on its curve, is infinity, or is the curve's
	// generator. A point beside the curve lies in a small group, where each
	// use of the key tells something of it (invalid-curve attack); the
	// generator has the private key 1.
	KeyPoint Rule = "key.point"
	// KeyRSASize: the modulus is too short to resist factoring, too long for
	// cards and relying parties (a long one is also an attack on whoever
	// verifies with it), or no whole number of octets.
	KeyRSASize Rule = "key.rsa.size"
	// KeyRSAExponent: the exponent is even or not above 65536. With a small one,
	// forged signatures pass at verifiers with careless padding checks
	// (Bleichenbacher 2006). FIPS 186-5, A.1.1; RFC 5280 sets no limit.
	KeyRSAExponent Rule = "key.rsa.exponent"
	// KeyRSAFactor: the modulus has a factor below 65536, so that it is no
	// product of two large primes and can be factored.
	KeyRSAFactor Rule = "key.rsa.factor"
	// KeyRSAClose: the primes are so close that Fermat's method finds them at
	// once (CVE-2022-26320), or the modulus is a square.
	KeyRSAClose Rule = "key.rsa.close"
	// KeyRSAWeakCard: the modulus has the mark of a generator in smart cards
	// whose keys can be factored (CVE-2017-15361, "ROCA"): 750,000 Estonian
	// identity cards had it.
	KeyRSAWeakCard Rule = "key.rsa.weak-card"
	// KeySmall: the private part is one of the first thousand numbers, or its
	// negative. A random generator that does not work gives such numbers, and
	// whoever looks for one tries them first.
	KeySmall Rule = "key.small"
	// KeyPublished: the private part is published: in a standard, with the tests
	// of a program, in firmware. A card that has it was made with a key from an
	// example, and everybody can log in with it.
	KeyPublished Rule = "key.published"
	// KeyDebian: the key is one of those that Debian's OpenSSL could make from
	// 2006 to 2008: one for each number of a process (CVE-2008-0166).
	KeyDebian Rule = "key.debian"
	// KeyBlocked: the key was reported as compromised: its private part was shown
	// to somebody other than its card, or two administrators say so.
	KeyBlocked Rule = "key.blocked"
	// KeySeenRule: the key was seen before, for something else. Two cards with
	// one key mean that a key was copied; a key that was refused once, or
	// whose certificate was revoked, does not come back by asking again.
	KeySeenRule Rule = "key.seen"
)

// Bounds of an RSA modulus in bits. KeyRules may narrow them and not widen them:
// 2048 is the least that ETSI TS 119 312 lets be issued, 4096 the most that cards
// make and that verifies in a time nobody notices.
const (
	minRSA = 2048
	maxRSA = 4096
)

// fermatRounds is how many steps of Fermat's method are tried. Primes drawn at
// random do not fall in any number of steps that can be made; the faulty
// generators that are known fall in the first.
const fermatRounds = 100

// KeyRules is what a profile demands of the keys that it certifies.
type KeyRules struct {
	Algorithms []string // of "P-256", "P-384", "RSA"; empty allows none
	MinRSA     int      // bits; 0, or below 2048, means 2048
	MaxRSA     int      // bits; 0, or above 4096, means 4096
	// Lists are the lists of weak keys that the operator put in place, beside
	// those that the program holds; nil: none.
	Lists *weakkeys.Lists
}

// AdmitKey judges a public key by itself. That its holder has the private key,
// and that it was never seen before, is judged elsewhere.
func AdmitKey(pub crypto.PublicKey, rules KeyRules) Decision {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if !slices.Contains(rules.Algorithms, "P-256") && !slices.Contains(rules.Algorithms, "P-384") {
			return Refuse(KeyType, "elliptic curve keys are not allowed here")
		}
		if d := admitECDSA(pub, rules); !d.Allow {
			return d
		}
	case *rsa.PublicKey:
		if !slices.Contains(rules.Algorithms, "RSA") {
			return Refuse(KeyType, "RSA keys are not allowed here")
		}
		if d := admitRSA(pub, rules); !d.Allow {
			return d
		}
	default:
		return Refuse(KeyType, "keys of type %T are not allowed", pub)
	}
	return admitListed(pub, rules.Lists)
}

// admitListed looks for a key in every list there is. The more telling list goes
// first: it says what the card's maker did wrong.
func admitListed(pub crypto.PublicKey, lists *weakkeys.Lists) Decision {
	if name := lists.FindDebian(pub); name != "" {
		return Refuse(KeyDebian, "the key is on the list %s of CVE-2008-0166", name)
	}
	if source, found := weakkeys.Published(pub); found {
		return Refuse(KeyPublished, "the private key is published: %s", source)
	}
	if name := lists.FindBadkeys(pub); name != "" {
		return Refuse(KeyPublished, "the key is on the list %s", name)
	}
	return Allowed
}

func admitECDSA(pub *ecdsa.PublicKey, rules KeyRules) Decision {
	// Compared as values, not by name: a curve of somebody's own can call
	// itself P-256.
	if pub == nil || pub.Curve != elliptic.P256() && pub.Curve != elliptic.P384() {
		return Refuse(KeyCurve, "the curve is neither P-256 nor P-384")
	}
	params := pub.Curve.Params()
	if !slices.Contains(rules.Algorithms, params.Name) {
		return Refuse(KeyCurve, "%s is not allowed here", params.Name)
	}
	//lint:ignore SA1019 only asked whether they are there, because ECDH panics where not
	if pub.X == nil || pub.Y == nil {
		return Refuse(KeyPoint, "there is no point")
	}
	point, err := pub.ECDH() // checks range, curve and infinity
	if err != nil {
		return Refuse(KeyPoint, "the point is not on %s", params.Name)
	}
	x := point.Bytes()[1 : 1+(params.BitSize+7)/8] // SEC 1, 2.3.3: 0x04 ‖ x ‖ y
	if params.Gx.Cmp(new(big.Int).SetBytes(x)) == 0 {
		return Refuse(KeyPoint, "the point is the generator of %s or its opposite", params.Name)
	}
	if k, found := weakkeys.SmallScalar(pub); found {
		return Refuse(KeySmall, "the private key is %d or its negative", k)
	}
	return Allowed
}

func admitRSA(pub *rsa.PublicKey, rules KeyRules) Decision {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 {
		return Refuse(KeyRSASize, "there is no modulus")
	}
	low, high := max(rules.MinRSA, minRSA), maxRSA
	if rules.MaxRSA > 0 {
		high = min(rules.MaxRSA, maxRSA)
	}
	if bits := pub.N.BitLen(); bits < low || bits > high || bits%8 != 0 {
		return Refuse(KeyRSASize, "the modulus has %d bits; %d to %d, a multiple of 8, are allowed", bits, low, high)
	}
	// The upper limit of FIPS 186-5, 2^256, cannot be reached by Go's int.
	if pub.E <= 1<<16 || pub.E&1 == 0 {
		return Refuse(KeyRSAExponent, "the exponent %d is even or not above 65536", pub.E)
	}
	if hasSmallFactor(pub.N) {
		return Refuse(KeyRSAFactor, "the modulus has a factor below 65536")
	}
	if closePrimes(pub.N) {
		return Refuse(KeyRSAClose, "the modulus is a product of primes that are close to each other")
	}
	// One modulus in 2^27 that is not of the faulty generator has its mark too,
	// and is refused for nothing (Nemec et al., "The Return of Coppersmith's
	// Attack", 2017).
	if rocacheck.IsWeak(pub) {
		return Refuse(KeyRSAWeakCard, "the modulus has the mark of CVE-2017-15361")
	}
	return Allowed
}

// smallPrimes is the product of all primes below 2^16, made once when the first
// RSA key is judged; nobody changes it.
var smallPrimes = sync.OnceValue(func() *big.Int {
	product := big.NewInt(1)
	for _, p := range primesBelow(1 << 16) {
		product.Mul(product, big.NewInt(int64(p)))
	}
	return product
})

func primesBelow(limit int) []int {
	composite := make([]bool, limit)
	var primes []int
	for p := 2; p < limit; p++ {
		if composite[p] {
			continue
		}
		primes = append(primes, p)
		for q := p * p; q < limit; q += p {
			composite[q] = true
		}
	}
	return primes
}

func hasSmallFactor(n *big.Int) bool {
	// The remainder has the same divisors in common with n and is far shorter.
	rest := new(big.Int).Mod(smallPrimes(), n)
	return rest.GCD(nil, nil, rest, n).Cmp(big.NewInt(1)) != 0
}

// closePrimes tries Fermat's method: n = a² − b² = (a+b)(a−b), for the first a
// from √n on. A square is the case b = 0.
func closePrimes(n *big.Int) bool {
	a := new(big.Int).Sqrt(n)
	rest, root, square := new(big.Int), new(big.Int), new(big.Int)
	for range fermatRounds + 1 { // the root, rounded down, first: n may be a square
		rest.Sub(rest.Mul(a, a), n)
		if rest.Sign() >= 0 && maybeSquare(rest) {
			root.Sqrt(rest)
			if square.Mul(root, root).Cmp(rest) == 0 {
				return true
			}
		}
		a.Add(a, big.NewInt(1))
	}
	return false
}

// maybeSquare is false for four of five numbers that are no squares, at the
// price of looking at their last octet: squares end in one of few ways.
func maybeSquare(x *big.Int) bool {
	words := x.Bits()
	if len(words) == 0 {
		return true
	}
	switch words[0] & 63 {
	case 0, 1, 4, 9, 16, 17, 25, 33, 36, 41, 49, 57:
		return true
	}
	return false
}
