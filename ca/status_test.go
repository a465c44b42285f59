package ca_test

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
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
)

// statusTime is the present of the tests of CRLs and OCSP answers.
var statusTime = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// statusTree is an issuer and its OCSP signer.
type statusTree struct {
	issuer, signer       *x509.Certificate
	issuerKey, signerKey crypto.Signer
}

func statusECDSA(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// statusKeys are a key of each kind that can sign status.
func statusKeys(t *testing.T) map[string]crypto.Signer {
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
		"P-256": statusECDSA(t, elliptic.P256()), "P-384": statusECDSA(t, elliptic.P384()),
		"P-521": statusECDSA(t, elliptic.P521()), "RSA": rsaKey, "Ed25519": ed,
	}
}

func statusCA(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"SE"}, CommonName: name},
		NotBefore: statusTime.AddDate(-1, 0, 0), NotAfter: statusTime.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func statusOCSPTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "TEST OCSP"},
		NotBefore: statusTime.AddDate(0, 0, -1), NotAfter: statusTime.AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}},
	}
}

// statusIssue signs a template; a nil parent means by itself.
func statusIssue(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
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

func newStatusTree(t testing.TB, issuerKey, signerKey crypto.Signer) *statusTree {
	t.Helper()
	tree := &statusTree{issuerKey: issuerKey, signerKey: signerKey}
	tree.issuer = statusIssue(t, statusCA("TEST Person HSA-id 3 CA v1"), nil, issuerKey.Public(), issuerKey)
	tree.signer = statusIssue(t, statusOCSPTemplate(), tree.issuer, signerKey.Public(), issuerKey)
	return tree
}

// statusOpenSSL runs openssl in a directory with these files and returns what it
// printed. Where it is not installed, the test is skipped, unless
// SIGILL_REQUIRE says that this must not happen.
func statusOpenSSL(t *testing.T, files map[string][]byte, args ...string) string {
	t.Helper()
	return statusTool(t, "openssl", files, args...)
}

// statusTool does so with another program.
func statusTool(t *testing.T, name string, files map[string][]byte, args ...string) string {
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

func statusPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func pkixExtension(id asn1.ObjectIdentifier, critical bool, value []byte) pkix.Extension {
	return pkix.Extension{Id: id, Critical: critical, Value: value}
}

// What an issuer issues and what its status says fit together: its certificates
// name the address that the CRL carries, byte by byte, and the profile of OCSP
// signers makes certificates that a responder takes.
func TestIssuerStatus(t *testing.T) {
	c := issuerConfig(t, "P-256")
	issuer := newIssuer(t, c)
	issued, cert := issue(t, issuer, request(t, "authentication", asa()))
	signer, err := ca.NewCRLSigner(issuer.Certificate(), c.Signer)
	if err != nil {
		t.Fatal(err)
	}
	list := statusList(3)
	list.DistributionPoint = issuer.CRLURL(issued.Partition)
	der, err := signer.SignCRL(list)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	url, err := ca.IssuingDistributionPoint(parsed)
	if err != nil || len(cert.CRLDistributionPoints) != 1 || url != cert.CRLDistributionPoints[0] {
		t.Errorf("the CRL is for %q, %v, the certificate names %q", url, err, cert.CRLDistributionPoints)
	}

	key := newKey(t, "P-256")
	r := request(t, "ocsp", ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "TEST OCSP 1"})
	r.PublicKey, r.Mandate = key.Public(), nil
	_, ocspCert := issue(t, issuer, r)
	if _, err := ca.NewResponder(issuer.Certificate(), ocspCert, key); err != nil {
		t.Error(err)
	}
	if _, err := ca.NewResponder(issuer.Certificate(), cert, key); err == nil {
		t.Error("a person's certificate may sign OCSP answers")
	}
}
