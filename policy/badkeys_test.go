//lint:file-ignore SA1019 bad points can only be made coordinate by coordinate

package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"sigill/internal/weakkeys"
)

var update = flag.Bool("update", false, "write testdata/badkeys anew")

const badkeysDir = "../testdata/badkeys"

// corpusRules are rules as wide as they can be, with the corpus' own lists.
func corpusRules(t testing.TB) KeyRules {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(badkeysDir, "debian.list"))
	if err != nil {
		t.Fatal(err)
	}
	debian, err := weakkeys.ParseDebian("debian.list", text)
	if err != nil {
		t.Fatal(err)
	}
	return KeyRules{Algorithms: []string{"P-256", "P-384", "RSA"}, Lists: &weakkeys.Lists{Debian: []*weakkeys.List{debian}}}
}

// TestBadKeys: each key of the corpus is refused by exactly the rule that its file
// names, and the good ones pass.
func TestBadKeys(t *testing.T) {
	if *update {
		writeCorpus(t)
	}
	files, err := filepath.Glob(filepath.Join(badkeysDir, "*.pem"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	rules := corpusRules(t)
	seen := map[Rule]bool{}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".pem"), func(t *testing.T) {
			want, der := corpusFile(t, name)
			pub, err := lenient(der)
			if err != nil {
				t.Fatal(err)
			}
			wantDecision(t, AdmitKey(pub, rules), want)
			seen[want] = true
		})
	}
	for _, rule := range []Rule{"", KeyType, KeyCurve, KeyPoint, KeySmall, KeyRSASize, KeyRSAExponent, KeyRSAFactor, KeyRSAClose,
		KeyRSAWeakCard, KeyPublished, KeyDebian} {
		if !seen[rule] {
			t.Errorf("the corpus has no key for rule %q", rule)
		}
	}
}

// corpusFile reads a file of the corpus: "rule: NAME" (or "rule: -" for a good
// key), a line that says what it is, and a SubjectPublicKeyInfo.
func corpusFile(t testing.TB, name string) (Rule, []byte) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	rule, ok := strings.CutPrefix(first, "rule: ")
	block, _ := pem.Decode(text)
	if !ok || block == nil || block.Type != "PUBLIC KEY" {
		t.Fatalf("%s is no file of the corpus", name)
	}
	if rule == "-" {
		rule = ""
	}
	return Rule(rule), block.Bytes
}

// lenient reads a SubjectPublicKeyInfo as a careless parser would: it takes points
// that are on no curve and moduli of any form, which Go's own parser refuses, so
// that the gate is shown to refuse them by itself.
func lenient(der []byte) (crypto.PublicKey, error) {
	in := cryptobyte.String(der)
	var spki, algorithm, params cryptobyte.String
	var oid cryptobyte.String
	var bits []byte
	if !in.ReadASN1(&spki, asn1.SEQUENCE) || !spki.ReadASN1(&algorithm, asn1.SEQUENCE) || !spki.ReadASN1BitStringAsBytes(&bits) ||
		!algorithm.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
		return nil, fmt.Errorf("no SubjectPublicKeyInfo")
	}
	params = algorithm
	switch string(oid) {
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01": // rsaEncryption
		seq := cryptobyte.String(bits)
		var key cryptobyte.String
		n, e := new(big.Int), new(big.Int)
		if !seq.ReadASN1(&key, asn1.SEQUENCE) || !key.ReadASN1Integer(n) || !key.ReadASN1Integer(e) || !e.IsInt64() {
			return nil, fmt.Errorf("no RSA key")
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "\x2a\x86\x48\xce\x3d\x02\x01": // id-ecPublicKey
		var name cryptobyte.String
		if !params.ReadASN1(&name, asn1.OBJECT_IDENTIFIER) || len(bits) == 0 {
			return nil, fmt.Errorf("no named curve")
		}
		curve, ok := map[string]elliptic.Curve{
			"\x2a\x86\x48\xce\x3d\x03\x01\x07": elliptic.P256(), "\x2b\x81\x04\x00\x22": elliptic.P384(),
			"\x2b\x81\x04\x00\x21": elliptic.P224(), "\x2b\x81\x04\x00\x23": elliptic.P521(),
		}[string(name)]
		if !ok {
			return nil, fmt.Errorf("no named curve")
		}
		half := len(bits) / 2
		return &ecdsa.PublicKey{Curve: curve, X: new(big.Int).SetBytes(bits[1 : 1+half]), Y: new(big.Int).SetBytes(bits[1+half:])}, nil
	case "\x2b\x65\x70":
		return ed25519.PublicKey(bits), nil
	}
	return nil, fmt.Errorf("unknown algorithm")
}

// FuzzAdmitKey: the gate never panics, and what it admits is a key that Go's own
// strict parser takes too, and takes for the same key.
func FuzzAdmitKey(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(badkeysDir, "*.pem"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		_, der := corpusFile(f, name)
		f.Add(der)
	}
	rules := corpusRules(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		pub, err := lenient(der)
		if err != nil {
			return
		}
		if n, ok := pub.(*rsa.PublicKey); ok && n.N.BitLen() > 1<<14 {
			return // slow, and refused for its size at once
		}
		if !AdmitKey(pub, rules).Allow {
			return
		}
		again, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatalf("admitted a key that cannot be encoded: %v", err)
		}
		parsed, err := x509.ParsePKIXPublicKey(again)
		if err != nil {
			t.Fatalf("admitted a key that is refused by the strict parser: %v", err)
		}
		if !parsed.(interface{ Equal(crypto.PublicKey) bool }).Equal(pub) {
			t.Fatal("the strict parser reads another key")
		}
	})
}

// entry is one key of the corpus.
type entry struct {
	rule Rule
	what string
	spki []byte
}

// writeCorpus makes the corpus anew from a fixed seed: the same version of Go makes
// the same files.
func writeCorpus(t *testing.T) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 2008)
	all := map[string]entry{}
	maps.Copy(all, ellipticCorpus(t))
	maps.Copy(all, rsaCorpus(t))
	maps.Copy(all, publishedCorpus(t))
	old, err := filepath.Glob(filepath.Join(badkeysDir, "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := all[name]
		rule := string(e.rule)
		if rule == "" {
			rule = "-"
		}
		text := fmt.Appendf(nil, "rule: %s\n%s\n\n%s", rule, e.what, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: e.spki}))
		if err := os.WriteFile(filepath.Join(badkeysDir, name+".pem"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// ecSPKI encodes a point as it is, on the curve or not.
func ecSPKI(t *testing.T, curve elliptic.Curve, x, y *big.Int) []byte {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(ecKey(t, curve)) // the frame, whose point is replaced
	if err != nil {
		t.Fatal(err)
	}
	size := (curve.Params().BitSize + 7) / 8
	x.FillBytes(spki[len(spki)-2*size : len(spki)-size])
	y.FillBytes(spki[len(spki)-size:])
	return spki
}

func ellipticCorpus(t *testing.T) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	for _, c := range []struct {
		name  string
		curve elliptic.Curve
	}{{"p256", elliptic.P256()}, {"p384", elliptic.P384()}} {
		params := c.curve.Params()
		good := ecKey(t, c.curve)
		out["good-"+c.name] = entry{"", "a key of " + params.Name, ecSPKI(t, c.curve, good.X, good.Y)}
		out["ec-"+c.name+"-beside"] = entry{KeyPoint, "a point beside the curve (invalid-curve attack)", ecSPKI(t, c.curve, good.X, new(big.Int).Xor(good.Y, big.NewInt(1)))}
		out["ec-"+c.name+"-origin"] = entry{KeyPoint, "x and y are 0, which some take for infinity", ecSPKI(t, c.curve, new(big.Int), new(big.Int))}
		out["ec-"+c.name+"-beyond"] = entry{KeyPoint, "the coordinates are not below the field's prime", ecSPKI(t, c.curve, params.P, good.Y)}
		out["ec-"+c.name+"-generator"] = entry{KeyPoint, "the generator: private key 1", ecSPKI(t, c.curve, params.Gx, params.Gy)}
		for _, k := range []int64{2, 3, 7, 1000} {
			x, y := c.curve.ScalarBaseMult(big.NewInt(k).Bytes())
			out[fmt.Sprintf("ec-%s-small-%d", c.name, k)] = entry{KeySmall, fmt.Sprintf("private key %d", k), ecSPKI(t, c.curve, x, y)}
			out[fmt.Sprintf("ec-%s-small-minus-%d", c.name, k)] = entry{KeySmall, fmt.Sprintf("private key n-%d", k), ecSPKI(t, c.curve, x, new(big.Int).Sub(params.P, y))}
		}
		x, y := c.curve.ScalarBaseMult(big.NewInt(1001).Bytes())
		out["good-"+c.name+"-1001"] = entry{"", "private key 1001: just beyond the table, which shows where it ends", ecSPKI(t, c.curve, x, y)}
	}
	for name, curve := range map[string]elliptic.Curve{"p224": elliptic.P224(), "p521": elliptic.P521()} {
		key := ecKey(t, curve)
		out["ec-"+name] = entry{KeyCurve, "a curve that is not allowed", ecSPKI(t, curve, key.X, key.Y)}
	}
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	out["ed25519"] = entry{KeyType, "an algorithm that is not allowed", spki}
	return out
}

// rsaSPKI encodes any two numbers as an RSA key.
func rsaSPKI(t *testing.T, n *big.Int, e int64) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"))
		})
		b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) {
			b.AddUint8(0)
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1BigInt(n)
				b.AddASN1Int64(e)
			})
		})
	})
	spki, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return spki
}

func rsaCorpus(t *testing.T) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
	add := func(name string, rule Rule, what string, n *big.Int, e int64) {
		out[name] = entry{rule, what, rsaSPKI(t, n, e)}
	}
	for _, bits := range []int{2048, 3072, 4096} {
		add(fmt.Sprintf("good-rsa%d", bits), "", fmt.Sprintf("an RSA key of %d bits", bits), mul(prime(t, bits/2), prime(t, bits/2)), 65537)
	}
	p, q := prime(t, 1024), prime(t, 1024)
	n := mul(p, q)
	add("good-rsa2048-exponent", "", "a large odd exponent", mul(prime(t, 1024), prime(t, 1024)), 1<<31-1)
	add("rsa1024", KeyRSASize, "too short: factored with much money", mul(prime(t, 512), prime(t, 512)), 65537)
	add("rsa2047", KeyRSASize, "one bit short", new(big.Int).Rsh(n, 1), 65537)
	add("rsa2050", KeyRSASize, "no whole number of octets", mul(prime(t, 1025), prime(t, 1025)), 65537)
	add("rsa4104", KeyRSASize, "longer than cards make", mul(prime(t, 2052), prime(t, 2052)), 65537)
	add("rsa16384", KeyRSASize, "so long that verifying is an attack", new(big.Int).SetBit(big.NewInt(1), 16383, 1), 65537)
	add("rsa-negative", KeyRSASize, "a negative modulus", new(big.Int).Neg(n), 65537)
	for _, e := range []int64{1, 3, 17, 65535, 65536, 65538, -65537} {
		add(fmt.Sprintf("rsa-exponent-%d", e), KeyRSAExponent, fmt.Sprintf("exponent %d", e), n, e)
	}
	even := new(big.Int).Lsh(prime(t, 2047), 1)
	add("rsa-even", KeyRSAFactor, "an even modulus", even, 65537)
	add("rsa-factor-3", KeyRSAFactor, "a factor 3", mul(big.NewInt(3), prime(t, 2046)), 65537)
	add("rsa-factor-65521", KeyRSAFactor, "a factor 65521, the largest prime below 2^16", mul(big.NewInt(65521), prime(t, 2032)), 65537)
	add("rsa-close-next", KeyRSAClose, "two primes that follow each other (CVE-2022-26320)", mul(p, after(new(big.Int).Add(p, big.NewInt(2)))), 65537)
	add("rsa-close-far", KeyRSAClose, "primes 2^515 apart, found in the first steps of Fermat's method", mul(p, after(new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), 515)))), 65537)
	add("rsa-square", KeyRSAClose, "the square of a prime", mul(p, p), 65537)
	add("rsa-weak-card", KeyRSAWeakCard, "made as the generator of CVE-2017-15361 made them", mul(infineon(t, 1024), infineon(t, 1024)), 65537)
	add("rsa3072-weak-card", KeyRSAWeakCard, "made as the generator of CVE-2017-15361 made them, 3072 bits", mul(infineon(t, 1536), infineon(t, 1536)), 65537)
	return out
}

// publishedCorpus takes in what was published, and makes the list of Debian's keys
// that the test uses: one true entry among made ones.
func publishedCorpus(t *testing.T) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	files, err := filepath.Glob(filepath.Join(badkeysDir, "published", "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		source, _, _ := bytes.Cut(text, []byte("\n"))
		var pub any
		if block.Type == "RSA PUBLIC KEY" {
			pub, err = x509.ParsePKCS1PublicKey(block.Bytes)
		} else {
			pub, err = x509.ParsePKIXPublicKey(block.Bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		base := strings.TrimSuffix(filepath.Base(name), ".pem")
		rule := KeyPublished
		switch {
		case strings.HasPrefix(base, "debian-"):
			rule = KeyDebian
			writeDebian(t, pub.(*rsa.PublicKey))
		case strings.HasPrefix(base, "roca-"):
			rule = KeyRSAWeakCard
		}
		out["published-"+base] = entry{rule, string(source), spki}
	}
	return out
}

func writeDebian(t *testing.T, weak *rsa.PublicKey) {
	t.Helper()
	sums := []string{line(weak.N)}
	for range 20 {
		sums = append(sums, line(prime(t, 256)))
	}
	slices.Sort(sums)
	text := "# In the form of Debian's openssl-blacklist. One line is the true one of published/debian-rsa2048.pem;\n" +
		"# the others are of made numbers, so that something stands before and after it.\n" + strings.Join(sums, "")
	if err := os.WriteFile(filepath.Join(badkeysDir, "debian.list"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func line(n *big.Int) string {
	sum := sha1.Sum([]byte("Modulus=" + strings.ToUpper(n.Text(16)) + "\n"))
	return fmt.Sprintf("%x\n", sum[10:])
}
