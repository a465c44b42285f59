package card_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sigill/internal/card"
)

var binding = card.Binding{
	Download: "dl_0123456789abcdefghjkmnpq", Slot: "authentication", Card: "9752000000000000017",
	Login: [32]byte{1}, PlanHash: [32]byte{2}, Challenge: [32]byte{3},
}

const number = "9752000000000000017"

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestDigestForm holds the documented octets: other clients are written after
// the documentation, not after the code.
func TestDigestForm(t *testing.T) {
	in := "sigill-csr-v1" + "\x00\x1bdl_0123456789abcdefghjkmnpq" + "\x00\x0eauthentication" + "\x00\x139752000000000000017" +
		"\x01" + strings.Repeat("\x00", 31) + "\x02" + strings.Repeat("\x00", 31) + "\x03" + strings.Repeat("\x00", 31)
	if got, want := binding.Digest(), sha256.Sum256([]byte(in)); got != want {
		t.Errorf("Digest() = %x, want %x", got, want)
	}
}

func TestDigestCoversEachField(t *testing.T) {
	changed := map[string]func(*card.Binding){
		"download":  func(b *card.Binding) { b.Download += "x" },
		"slot":      func(b *card.Binding) { b.Slot = "signing" },
		"card":      func(b *card.Binding) { b.Card = "9752000000000000018" },
		"login":     func(b *card.Binding) { b.Login[31] ^= 1 },
		"plan":      func(b *card.Binding) { b.PlanHash[31] ^= 1 },
		"challenge": func(b *card.Binding) { b.Challenge[31] ^= 1 },
		// The octets are the same in one row, the fields are not.
		"border": func(b *card.Binding) { b.Download, b.Slot = b.Download+b.Slot[:1], b.Slot[1:] },
	}
	seen := map[[32]byte]string{binding.Digest(): "none"}
	for name, change := range changed {
		b := binding
		change(&b)
		if other, ok := seen[b.Digest()]; ok {
			t.Errorf("change of %s gives the digest of change of %s", name, other)
		}
		seen[b.Digest()] = name
	}
}

func TestRequest(t *testing.T) {
	for name, key := range map[string]crypto.Signer{
		"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "RSA-2048": rsaKey(t, 2048),
	} {
		t.Run(name, func(t *testing.T) {
			der, err := card.NewRequest(key, binding)
			if err != nil {
				t.Fatal(err)
			}
			r, err := card.ParseRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if r.Digest != binding.Digest() {
				t.Errorf("digest = %x, want %x", r.Digest, binding.Digest())
			}
			if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(r.PublicKey) {
				t.Errorf("public key is not the signer's")
			}
			opensslAgrees(t, der)
			if _, err := card.ParsePlainRequest(der); err == nil {
				t.Error("a bound request passed for a plain one")
			}
		})
	}
}

func TestNewRequestRefusesUnboundItem(t *testing.T) {
	for name, b := range map[string]card.Binding{
		"no download": {Slot: "signing", Card: number}, "no slot": {Download: "dl_1", Card: number}, "no card": {Download: "dl_1", Slot: "signing"},
		"too long": {Download: strings.Repeat("x", 1<<16), Slot: "signing", Card: number},
	} {
		if _, err := card.NewRequest(ecKey(t, elliptic.P256()), b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	if _, err := card.NewRequest(key, binding); err == nil {
		t.Error("Ed25519: accepted")
	}
}

// request builds requests that NewRequest would not: raw attributes, subject
// and algorithm as told.
func request(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// resign replaces the request info of a fresh request by edit of it and signs
// that, so that only the form is wrong and never the signature.
func resign(t testing.TB, key *ecdsa.PrivateKey, edit func(info []byte) []byte) []byte {
	t.Helper()
	der, err := card.NewRequest(key, binding)
	if err != nil {
		t.Fatal(err)
	}
	var outer struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	info := edit(outer.Info.FullBytes)
	sum := sha256.Sum256(info)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	outer.Info = asn1.RawValue{FullBytes: info}
	outer.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	if der, err = asn1.Marshal(outer); err != nil {
		t.Fatal(err)
	}
	return der
}

// attributes replaces the attributes of a request info; P-256 infos have
// lengths below 256, which keeps the arithmetic visible.
func attributes(info []byte, all ...[]byte) []byte {
	start := bytes.LastIndex(info, []byte{0xa0})
	for i := range info { // the attributes' tag follows the key
		if info[i] == 0xa0 && int(info[i+1]) == len(info)-i-2 {
			start = i
			break
		}
	}
	inner := bytes.Join(all, nil)
	body := append(bytes.Clone(info[3:start]), append([]byte{0xa0, 0x81, byte(len(inner))}, inner...)...)
	if len(inner) < 128 {
		body = append(bytes.Clone(info[3:start]), append([]byte{0xa0, byte(len(inner))}, inner...)...)
	}
	return append([]byte{0x30, 0x81, byte(len(body))}, body...)
}

func attribute(t testing.TB, oid asn1.ObjectIdentifier, values ...any) []byte {
	t.Helper()
	var set []asn1.RawValue
	for _, v := range values {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(struct {
		Type   asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}{oid, set})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseRequestRefuses(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	digest := binding.Digest()
	oid := asn1.ObjectIdentifier{2, 999, 752, 2, 1}
	good := attribute(t, oid, digest[:])
	edit := func(all ...[]byte) []byte {
		return resign(t, key, func(info []byte) []byte { return attributes(info, all...) })
	}
	if _, err := card.ParseRequest(edit(good)); err != nil {
		t.Fatalf("the unchanged request: %v", err)
	}
	// Refused for more than one reason: the first is the one to be told.
	reasons := map[string]string{"too large": "at most 8192", "two attributes": "more than one", "another beside it": "more than one"}
	whole, _ := card.NewRequest(key, binding)
	for name, der := range map[string][]byte{
		"empty":               nil,
		"no DER":              []byte("-----BEGIN CERTIFICATE REQUEST-----"),
		"trailing octet":      append(bytes.Clone(whole), 0),
		"too large":           append(bytes.Clone(whole), make([]byte, 8<<10)...),
		"no attribute":        edit(),
		"two attributes":      edit(good, good),
		"another beside it":   edit(good, attribute(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, "pass")),
		"another attribute":   edit(attribute(t, asn1.ObjectIdentifier{2, 999, 752, 2, 2}, digest[:])),
		"two values":          edit(attribute(t, oid, digest[:], digest[:])),
		"no value":            edit(attribute(t, oid)),
		"31 octets":           edit(attribute(t, oid, digest[:31])),
		"33 octets":           edit(attribute(t, oid, append(digest[:], 0))),
		"text instead":        edit(attribute(t, oid, "0123456789abcdef0123456789abcdef")),
		"after the attribute": edit(append(bytes.Clone(good), 5, 0)),
		"subject":             request(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}),
		"version 2":           resign(t, key, func(info []byte) []byte { info[5] = 1; return info }),
		"P-224":               request(t, ecKey(t, elliptic.P224()), x509.CertificateRequest{}),
		"P-521":               request(t, ecKey(t, elliptic.P521()), x509.CertificateRequest{}),
		"RSA-1024":            request(t, rsaKey(t, 1024), x509.CertificateRequest{}),
		"SHA-512 with P-256":  request(t, key, x509.CertificateRequest{SignatureAlgorithm: x509.ECDSAWithSHA512}),
	} {
		r, err := card.ParseRequest(der)
		if err == nil || r != nil {
			t.Errorf("%s: accepted", name)
		}
		if want := reasons[name]; err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a text with %q", name, err, want)
		}
		if errors.Is(err, card.ErrProof) {
			t.Errorf("%s: refused for its signature (%v), not for its form", name, err)
		}
	}
}

func TestProof(t *testing.T) {
	key, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	der, err := card.NewRequest(liar{key.Public(), other}, binding)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := card.ParseRequest(der); !errors.Is(err, card.ErrProof) || r != nil {
		t.Errorf("key of another: %v, %v, want ErrProof", r, err)
	}
	der, err = card.NewPlainRequest(liar{key.Public(), other}, number)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := card.ParsePlainRequest(der); !errors.Is(err, card.ErrProof) || r != nil {
		t.Errorf("plain, key of another: %v, %v, want ErrProof", r, err)
	}
	// A digest moved to another binding by one who lacks the key.
	whole, _ := card.NewRequest(key, binding)
	digest := binding.Digest()
	moved := bytes.Replace(whole, digest[:], bytes.Repeat([]byte{7}, 32), 1)
	if _, err := card.ParseRequest(moved); !errors.Is(err, card.ErrProof) {
		t.Errorf("changed digest: %v, want ErrProof", err)
	}
}

// liar says it has one key and signs with another.
type liar struct {
	public crypto.PublicKey
	crypto.Signer
}

func (l liar) Public() crypto.PublicKey { return l.public }

// TestParseRequestPSS: some middleware signs everything with PSS.
func TestParseRequestPSS(t *testing.T) {
	key := rsaKey(t, 2048)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: number}, SignatureAlgorithm: x509.SHA256WithRSAPSS}, key)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := card.ParsePlainRequest(der); err != nil || r.Card != number {
		t.Errorf("PSS: %v, %v", r, err)
	}
}

func TestPlainRequest(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	der, err := card.NewPlainRequest(key, number)
	if err != nil {
		t.Fatal(err)
	}
	r, err := card.ParsePlainRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if r.Card != number || !key.PublicKey.Equal(r.PublicKey) {
		t.Errorf("got %v", r)
	}
	opensslAgrees(t, der)
	if _, err := card.ParseRequest(der); err == nil {
		t.Error("a plain request passed for a bound one")
	}
	for name, template := range map[string]x509.CertificateRequest{
		"no subject": {}, "letters": {Subject: pkix.Name{CommonName: "97520000000000000 7"}},
		"more names": {Subject: pkix.Name{CommonName: number, Organization: []string{"x"}}},
		"too long":   {Subject: pkix.Name{CommonName: strings.Repeat("9", 65)}},
		"extensions": {Subject: pkix.Name{CommonName: number}, DNSNames: []string{"x.example"}},
	} {
		if r, err := card.ParsePlainRequest(request(t, key, template)); err == nil || r != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := card.NewPlainRequest(key, "9752-1"); err == nil {
		t.Error("a number with a hyphen was accepted")
	}
}

func opensslAgrees(t *testing.T, der []byte) {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatal("openssl is not installed")
		}
		t.Log("openssl is not installed: not compared")
		return
	}
	cmd := exec.Command(path, "req", "-verify", "-noout", "-inform", "DER")
	cmd.Stdin = bytes.NewReader(der)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("verify OK")) {
		t.Errorf("openssl: %v: %s", err, out)
	}
}

// FuzzParseRequest: what is accepted verifies, has an allowed key and is what
// the same facts encode to.
func FuzzParseRequest(f *testing.F) {
	key := ecKey(f, elliptic.P256())
	bound, _ := card.NewRequest(key, binding)
	plain, _ := card.NewPlainRequest(key, number)
	f.Add(bound)
	f.Add(plain)
	f.Add(bound[:40])
	f.Add(request(f, key, x509.CertificateRequest{DNSNames: []string{"x.example"}}))
	f.Fuzz(func(t *testing.T, der []byte) {
		if r, err := card.ParseRequest(der); err == nil {
			csr, err := x509.ParseCertificateRequest(der)
			if err != nil || csr.CheckSignature() != nil || len(csr.Subject.Names) != 0 {
				t.Fatalf("accepted: %s", hex.EncodeToString(der))
			}
			if !bytes.Contains(csr.RawTBSCertificateRequest, r.Digest[:]) {
				t.Fatalf("digest is not in the request: %x", der)
			}
		}
		if r, err := card.ParsePlainRequest(der); err == nil && (r.PublicKey == nil || r.Card == "") {
			t.Fatalf("accepted without key or number: %x", der)
		}
	})
}
