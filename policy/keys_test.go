//lint:file-ignore SA1019 bad points can only be made coordinate by coordinate

package policy

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

var allKeys = KeyRules{Algorithms: []string{"P-256", "P-384", "RSA"}}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

// namesake is a curve of somebody's own that calls itself P-256.
type namesake struct{ elliptic.Curve }

func TestAdmitECDSA(t *testing.T) {
	p256, p384 := elliptic.P256(), elliptic.P384()
	good := ecKey(t, p256)
	big1 := big.NewInt(1)
	opposite := new(big.Int).Sub(p256.Params().P, p256.Params().Gy)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	xKey, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		pub   crypto.PublicKey
		rules KeyRules
		want  Rule // empty: allowed
	}{
		{"P-256", good, allKeys, ""},
		{"P-384", ecKey(t, p384), allKeys, ""},
		{"P-384 alone", ecKey(t, p384), KeyRules{Algorithms: []string{"P-384"}}, ""},
		{"no rules", good, KeyRules{}, KeyType},
		{"RSA only", good, KeyRules{Algorithms: []string{"RSA"}}, KeyType},
		{"nil", nil, allKeys, KeyType},
		{"nil key", (*ecdsa.PublicKey)(nil), allKeys, KeyCurve},
		{"Ed25519", edKey.Public(), allKeys, KeyType},
		{"X25519", xKey.Public(), allKeys, KeyType},
		{"by value", *good, allKeys, KeyType},
		{"P-256 where P-384 is demanded", good, KeyRules{Algorithms: []string{"P-384"}}, KeyCurve},
		{"P-224", ecKey(t, elliptic.P224()), allKeys, KeyCurve},
		{"P-521", ecKey(t, elliptic.P521()), KeyRules{Algorithms: []string{"P-256", "P-521"}}, KeyCurve},
		{"namesake", &ecdsa.PublicKey{Curve: namesake{p256}, X: good.X, Y: good.Y}, allKeys, KeyCurve},
		{"no curve", &ecdsa.PublicKey{X: good.X, Y: good.Y}, allKeys, KeyCurve},
		{"no point", &ecdsa.PublicKey{Curve: p256}, allKeys, KeyPoint},
		{"infinity", &ecdsa.PublicKey{Curve: p256, X: new(big.Int), Y: new(big.Int)}, allKeys, KeyPoint},
		{"beside the curve", &ecdsa.PublicKey{Curve: p256, X: good.X, Y: new(big.Int).Add(good.Y, big1)}, allKeys, KeyPoint},
		{"of another curve", &ecdsa.PublicKey{Curve: p384, X: good.X, Y: good.Y}, allKeys, KeyPoint},
		{"beyond the field", &ecdsa.PublicKey{Curve: p256, X: new(big.Int).Add(good.X, p256.Params().P), Y: good.Y}, allKeys, KeyPoint},
		{"negative", &ecdsa.PublicKey{Curve: p256, X: good.X, Y: new(big.Int).Neg(good.Y)}, allKeys, KeyPoint},
		{"generator", &ecdsa.PublicKey{Curve: p256, X: p256.Params().Gx, Y: p256.Params().Gy}, allKeys, KeyPoint},
		{"opposite of the generator", &ecdsa.PublicKey{Curve: p256, X: p256.Params().Gx, Y: opposite}, allKeys, KeyPoint},
	} {
		t.Run(tt.name, func(t *testing.T) { wantDecision(t, AdmitKey(tt.pub, tt.rules), tt.want) })
	}
}

func wantDecision(t *testing.T, got Decision, want Rule) {
	t.Helper()
	if got.Rule != want || got.Allow != (want == "") {
		t.Errorf("AdmitKey = %+v, want rule %q", got, want)
	}
	if !got.Allow && got.Detail == "" {
		t.Error("refused without a detail")
	}
}

func prime(t *testing.T, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// after returns the next prime from x on.
func after(x *big.Int) *big.Int {
	p := new(big.Int).SetBit(x, 0, 1)
	for !p.ProbablyPrime(10) {
		p.Add(p, big.NewInt(2))
	}
	return p
}

// infineon returns a prime as the generator of CVE-2017-15361 made them.
func infineon(t *testing.T, bits int) *big.Int {
	t.Helper()
	m := big.NewInt(1)
	for _, p := range primesBelow(168) {
		m.Mul(m, big.NewInt(int64(p)))
	}
	a, err := rand.Int(rand.Reader, m)
	if err != nil {
		t.Fatal(err)
	}
	p := new(big.Int).Exp(big.NewInt(65537), a, m)
	k, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-3-m.BitLen())))
	if err != nil {
		t.Fatal(err)
	}
	// m is 1.14 times a power of two, so that k·m has bits bits with these two set.
	k.SetBit(k.SetBit(k, bits-1-m.BitLen(), 1), bits-m.BitLen(), 1)
	for p.Add(p, k.Mul(k, m)); !p.ProbablyPrime(10); {
		p.Add(p, m)
	}
	return p
}

func TestAdmitRSA(t *testing.T) {
	p, q := prime(t, 1024), prime(t, 1024)
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
	good := mul(p, q)
	near := after(new(big.Int).Add(p, big.NewInt(2)))
	far := after(new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), 600))) // 2^173 steps
	rsaRules := KeyRules{Algorithms: []string{"RSA"}}
	for _, tt := range []struct {
		name  string
		n     *big.Int
		e     int
		rules KeyRules
		want  Rule
	}{
		{"2048 bits", good, 65537, rsaRules, ""},
		{"2056 bits", mul(prime(t, 1028), prime(t, 1028)), 65537, rsaRules, ""},
		{"a large exponent", good, 1<<31 - 1, rsaRules, ""},
		{"primes 2^600 apart", mul(p, far), 65537, rsaRules, ""},
		{"not allowed", good, 65537, KeyRules{Algorithms: []string{"P-256"}}, KeyType},
		{"nil", nil, 65537, rsaRules, KeyRSASize},
		{"negative", new(big.Int).Neg(good), 65537, rsaRules, KeyRSASize},
		{"1024 bits", mul(prime(t, 512), prime(t, 512)), 65537, rsaRules, KeyRSASize},
		{"1024 bits by a rule that is too low", mul(prime(t, 512), prime(t, 512)), 65537, KeyRules{Algorithms: []string{"RSA"}, MinRSA: 1024}, KeyRSASize},
		{"2047 bits", mul(prime(t, 1024), prime(t, 1023)), 65537, rsaRules, KeyRSASize},
		{"2049 bits", new(big.Int).SetBit(good, 2048, 1), 65537, rsaRules, KeyRSASize},
		{"2048 bits where 3072 are demanded", good, 65537, KeyRules{Algorithms: []string{"RSA"}, MinRSA: 3072}, KeyRSASize},
		{"2056 bits where 2048 are the most", mul(prime(t, 1028), prime(t, 1028)), 65537, KeyRules{Algorithms: []string{"RSA"}, MaxRSA: 2048}, KeyRSASize},
		{"8192 bits by a rule that is too high", new(big.Int).SetBit(good, 8191, 1), 65537, KeyRules{Algorithms: []string{"RSA"}, MaxRSA: 8192}, KeyRSASize},
		{"exponent 1", good, 1, rsaRules, KeyRSAExponent},
		{"exponent 3", good, 3, rsaRules, KeyRSAExponent},
		{"exponent 65535", good, 65535, rsaRules, KeyRSAExponent},
		{"exponent 65536", good, 65536, rsaRules, KeyRSAExponent},
		{"exponent 65538", good, 65538, rsaRules, KeyRSAExponent},
		{"negative exponent", good, -65537, rsaRules, KeyRSAExponent},
		{"even", new(big.Int).SetBit(good, 0, 0), 65537, rsaRules, KeyRSAFactor},
		{"factor 3", sized(t, 3), 65537, rsaRules, KeyRSAFactor},
		{"factor 65521", sized(t, 65521), 65537, rsaRules, KeyRSAFactor},
		{"factor 65537, the next prime, is not looked for", sized(t, 65537), 65537, rsaRules, ""},
		{"square", mul(p, p), 65537, rsaRules, KeyRSAClose},
		{"close primes", mul(p, near), 65537, rsaRules, KeyRSAClose},
		{"weak card", mul(infineon(t, 1024), infineon(t, 1024)), 65537, rsaRules, KeyRSAWeakCard},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantDecision(t, AdmitKey(&rsa.PublicKey{N: tt.n, E: tt.e}, tt.rules), tt.want)
		})
	}
}

// sized returns a number of 2048 bits with a factor beside two large primes.
func sized(t *testing.T, factor int64) *big.Int {
	t.Helper()
	f := big.NewInt(factor)
	for i := 0; ; i++ { // each length fits about every other time
		n := new(big.Int).Mul(prime(t, 1024), prime(t, 1024-f.BitLen()+i%2))
		if n.Mul(n, f).BitLen() == 2048 {
			return n
		}
	}
}

// TestClosePrimesReachesItsRounds places the answer at the last step and one
// beyond it: n = a² − b² with a that many steps above √n.
func TestClosePrimesReachesItsRounds(t *testing.T) {
	for _, tt := range []struct {
		steps int64
		want  bool
	}{{1, true}, {fermatRounds, true}, {fermatRounds + 2, false}} {
		a := new(big.Int).Lsh(big.NewInt(1), 1023)
		// a − √n ≈ b²/2a: b = √(2·a·steps).
		b := new(big.Int).Sqrt(new(big.Int).Mul(a, big.NewInt(2*tt.steps-1)))
		n := new(big.Int).Sub(new(big.Int).Mul(a, a), new(big.Int).Mul(b, b))
		if got := closePrimes(n); got != tt.want {
			t.Errorf("closePrimes after %d steps = %v", tt.steps, got)
		}
	}
}

func TestMaybeSquareLosesNone(t *testing.T) {
	for i := range int64(1000) {
		if !maybeSquare(big.NewInt(i * i)) {
			t.Errorf("%d² is said to be no square", i)
		}
	}
}

func BenchmarkAdmitRSA(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if d := AdmitKey(&key.PublicKey, allKeys); !d.Allow {
			b.Fatal(d)
		}
	}
}
