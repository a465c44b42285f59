// Package catest is what tests of what an issuer signs share: small CAs with an OCSP
// signer, keys of each kind, other people's programs.
package catest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Time is the present of the tests of CRLs and OCSP answers.
var Time = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// Tree is an issuer and its OCSP signer.
type Tree struct {
	Issuer, Signer       *x509.Certificate
	IssuerKey, SignerKey crypto.Signer
}

func ECDSA(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Keys are a key of each kind that can sign status.
func Keys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{
		"P-256": ECDSA(t, elliptic.P256()), "P-384": ECDSA(t, elliptic.P384()),
		"P-521": ECDSA(t, elliptic.P521()), "RSA": rsaKey, "Ed25519": ed,
	}
}

func CA(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"SE"}, CommonName: name},
		NotBefore: Time.AddDate(-1, 0, 0), NotAfter: Time.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func OCSPSigner() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "TEST OCSP"},
		NotBefore: Time.AddDate(0, 0, -1), NotAfter: Time.AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}},
	}
}

// Issue signs a template; a nil parent means by itself.
func Issue(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func NewTree(t testing.TB, issuerKey, signerKey crypto.Signer) *Tree {
	t.Helper()
	tree := &Tree{IssuerKey: issuerKey, SignerKey: signerKey}
	tree.Issuer = Issue(t, CA("TEST Person HSA-id 3 CA v1"), nil, issuerKey.Public(), issuerKey)
	tree.Signer = Issue(t, OCSPSigner(), tree.Issuer, signerKey.Public(), issuerKey)
	return tree
}

// OpenSSL runs openssl in a directory with these files and returns what it
// printed. Where it is not installed, the test is skipped, unless
// SIGILL_REQUIRE says that this must not happen.
func OpenSSL(t *testing.T, files map[string][]byte, args ...string) string {
	t.Helper()
	return Tool(t, "openssl", files, args...)
}

// Tool does so with another program.
func Tool(t *testing.T, name string, files map[string][]byte, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func PEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func Extension(id asn1.ObjectIdentifier, critical bool, value []byte) pkix.Extension {
	return pkix.Extension{Id: id, Critical: critical, Value: value}
}

// CountingSigner counts the signatures that it is asked for and can spoil them.
type CountingSigner struct {
	crypto.Signer
	N     int
	Spoil func(signature []byte, err error) ([]byte, error)
}

func (s *CountingSigner) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.N++
	signature, err := s.Signer.Sign(r, digest, opts)
	if s.Spoil != nil {
		return s.Spoil(signature, err)
	}
	return signature, err
}
