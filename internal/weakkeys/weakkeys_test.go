package weakkeys_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigill/internal/weakkeys"
)

func file(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../testdata/badkeys", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func debianKey(t *testing.T) *rsa.PublicKey {
	t.Helper()
	block, _ := pem.Decode(file(t, "published/debian-rsa2048.pem"))
	key, err := x509.ParsePKCS1PublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func generated(t *testing.T) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

func TestPublished(t *testing.T) {
	if source, found := weakkeys.Published(generated(t)); found {
		t.Errorf("a fresh key is published: %s", source)
	}
	if _, found := weakkeys.Published(nil); found {
		t.Error("no key is published")
	}
	// Boulder's list names its keys by the SHA-256 of the SubjectPublicKeyInfo.
	block, _ := pem.Decode([]byte(boulderCA))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if source, found := weakkeys.Published(cert.PublicKey); !found || !strings.Contains(source, "Boulder") {
		t.Errorf("%q, %v", source, found)
	}
}

func TestSmallScalar(t *testing.T) {
	for _, c := range []struct {
		curve ecdh.Curve
		of    elliptic.Curve
		size  int
	}{{ecdh.P256(), elliptic.P256(), 32}, {ecdh.P384(), elliptic.P384(), 48}} {
		order := c.of.Params().N
		for _, k := range []int64{1, 2, 999, 1000, 1001, -1, -1000, -1001} {
			scalar := new(big.Int).Mod(big.NewInt(k), order)
			key, err := c.curve.NewPrivateKey(scalar.FillBytes(make([]byte, c.size)))
			if err != nil {
				t.Fatal(err)
			}
			pub, err := ecdsa.ParseUncompressedPublicKey(c.of, key.PublicKey().Bytes())
			if err != nil {
				t.Fatal(err)
			}
			got, found := weakkeys.SmallScalar(pub)
			if small := max(k, -k) <= 1000; found != small || small && int64(got) != max(k, -k) {
				t.Errorf("%s, %d: %d, %v", c.of.Params().Name, k, got, found)
			}
		}
	}
	if _, found := weakkeys.SmallScalar(generated(t)); found {
		t.Error("a fresh key is small")
	}
}

func TestParseDebian(t *testing.T) {
	list, err := weakkeys.ParseDebian("some", file(t, "debian.list"))
	if err != nil || list.Len() != 21 || list.Name() != "some" {
		t.Fatalf("%v, %v", list, err)
	}
	weak := debianKey(t)
	if !list.Find(weak) {
		t.Error("the true key is not found")
	}
	other := &rsa.PublicKey{N: new(big.Int).Add(weak.N, big.NewInt(2)), E: weak.E}
	if list.Find(other) || list.Find(generated(t)) || list.Find(nil) || list.Find(&rsa.PublicKey{}) {
		t.Error("found what is not there")
	}
	// Whatever the exponent: the modulus is what was guessed.
	if !list.Find(&rsa.PublicKey{N: weak.N, E: 3}) {
		t.Error("another exponent hides the key")
	}
	twice := append(slices.Clone(file(t, "debian.list")), file(t, "debian.list")...)
	if list, err := weakkeys.ParseDebian("twice", twice); err != nil || list.Len() != 21 || !list.Find(weak) {
		t.Errorf("two lists in one: %v", err)
	}
	for name, text := range map[string]string{
		"empty":        "",
		"comment only": "# nothing\n",
		"short line":   "0123456789abcdef012\n",
		"long line":    "0123456789abcdef01234567\n",
		"no hex":       "0123456789abcdefghij\n",
		"half read":    "3c430072d96e4a1e1809\nnot a line\n",
		"a page":       "<html><body>Not found</body></html>\n",
	} {
		if _, err := weakkeys.ParseDebian("x", []byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// badkeysFile makes a list in the form of the badkeys project.
func badkeysFile(numbers ...*big.Int) []byte {
	var records []string
	for i, n := range numbers {
		sum := sha256.Sum256(n.Bytes())
		records = append(records, string(append(sum[:15:15], byte(i))))
	}
	slices.Sort(records)
	return []byte(strings.Join(records, ""))
}

func TestParseBadkeys(t *testing.T) {
	weak, ec, fresh := debianKey(t), generated(t), generated(t)
	point, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x := new(big.Int).SetBytes(point[1:33])
	data := badkeysFile(big.NewInt(1), weak.N, big.NewInt(2), x, big.NewInt(3))
	list, err := weakkeys.ParseBadkeys("blocklist.dat", data)
	if err != nil || list.Len() != 5 {
		t.Fatal(err)
	}
	if !list.Find(weak) || !list.Find(ec) {
		t.Error("not found")
	}
	if list.Find(fresh) || list.Find(nil) || list.Find((*rsa.PublicKey)(nil)) || list.Find(&ecdsa.PublicKey{}) {
		t.Error("found what is not there")
	}
	for name, data := range map[string][]byte{
		"empty":          nil,
		"cut off":        data[:len(data)-1],
		"not in order":   append(slices.Clone(data[16:]), data[:16]...),
		"a page instead": bytes.Repeat([]byte("<html>not found "), 2)[:31],
	} {
		if _, err := weakkeys.ParseBadkeys("x", data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestListsOfNobody(t *testing.T) {
	var none *weakkeys.Lists
	if none.FindDebian(debianKey(t)) != "" || none.FindBadkeys(debianKey(t)) != "" {
		t.Error("no list knows a key")
	}
}

func FuzzLists(f *testing.F) {
	f.Add([]byte("3c430072d96e4a1e1809\n"))
	f.Add(badkeysFile(big.NewInt(1), big.NewInt(2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		key := &rsa.PublicKey{N: big.NewInt(2), E: 65537}
		if l, err := weakkeys.ParseDebian("x", data); err == nil {
			l.Find(key)
			if l.Len() == 0 {
				t.Error("an empty list")
			}
		}
		if l, err := weakkeys.ParseBadkeys("x", data); err == nil {
			l.Find(key)
		}
	})
}

// boulderCA is a certificate of a key that Boulder's tests publish.
const boulderCA = `-----BEGIN CERTIFICATE-----
MIIEHDCCAwSgAwIBAgICEl4wDQYJKoZIhvcNAQELBQAwKzEpMCcGA1UEAwwgY2Fj
a2xpbmcgY3J5cHRvZ3JhcGhlciBmYWtlIFJPT1QwHhcNMTUxMDIwMjAzMTQyWhcN
MjAxMDE4MjAzMTQyWjAfMR0wGwYDVQQDDBRoYXBweSBoYWNrZXIgZmFrZSBDQTCC
ASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAMIKR3maBcUSsncXYzQT13D5
Nr+Z3mLxMMh3TUdt6sACmqbJ0btRlgXfMtNLM2OU1I6a3Ju+tIZSdn2v21JBwvxU
zpZQ4zy2cimIiMQDZCQHJwzC9GZn8HaW091iz9H0Go3A7WDXwYNmsdLNRi00o14U
joaVqaPsYrZWvRKaIRqaU0hHmS0AWwQSvN/93iMIXuyiwywmkwKbWnnxCQ/gsctK
FUtcNrwEx9Wgj6KlhwDTyI1QWSBbxVYNyUgPFzKxrSmwMO0yNff7ho+QT9x5+Y/7
XE59S4Mc4ZXxcXKew/gSlN9U5mvT+D2BhDtkCupdfsZNCQWp27A+b/DmrFI9NqsC
AwEAAaOCAVQwggFQMBIGA1UdEwEB/wQIMAYBAf8CAQAwQgYDVR0eBDswOaE3MAWC
A21pbDAKhwgAAAAAAAAAADAihyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAADAOBgNVHQ8BAf8EBAMCAYYwMQYIKwYBBQUHAQEEJTAjMCEGCCsGAQUFBzAB
hhVodHRwOi8vbG9jYWxob3N0OjQwMDMwHwYDVR0jBBgwFoAUz0nVEcH3uFO1Wlnl
fuQ+5Dpx0EcwSwYDVR0gBEQwQjAIBgZngQwBAgEwNgYLKwYBBAGC3xMBAQEwJzAl
BggrBgEFBQcCARYZaHR0cDovL2xvY2FsaG9zdDo0MDAwL2NwczAmBgNVHR8EHzAd
MBugGaAXhhVodHRwOi8vbG9jYWxob3N0OjU1NTUwHQYDVR0OBBYEFPt4TxL5YBWD
LJ8XfzQZsy426kGJMA0GCSqGSIb3DQEBCwUAA4IBAQCPKuy6CFUte+8CFWTm+jtP
tnwLFnvznPGsF/GGb/JHRFJMvMoQ4ycvbOfY6jztQqmbf+R54pdPkpKxApQHvwcF
Zd4IsgA39kQcQBQR8ToxsURrCMqTM5EXzXP/RFQHAf8aIcKuplxh1pjyJjbTEAx5
n8W0HieqvWwy4JmBRI9N7KkpH4Xj5HBkesl4pGZOmt9kgYtN38jRX9BwJMM4IrXM
EdHHgSwOW2BGr1PivJw3KYu20gw0ArPOLgc0M+3CCa8VipVVJwQks8HfXX58gd91
kfobxltCCeRtKfeVWvF29TfxtHMxkwpZaGLxx+QKWytXqfj8kKF+tYl8PAE7DGJt
-----END CERTIFICATE-----`
