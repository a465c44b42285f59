package revtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/revocation"
)

// Start is when the tests begin.
var Start = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

const (
	Person  = ca.IssuerID("person-hsa-id-3-v1")
	Root    = ca.IssuerID("root")
	Another = ca.IssuerID("person-id-3-v1")
	Base    = "http://status.example.test"
)

func URLOf(issuer ca.IssuerID, partition int) string {
	return fmt.Sprintf("%s/crl/%s/%d.crl", Base, issuer, partition)
}

// Authority is a CA with its OCSP signer.
type Authority struct {
	ID         ca.IssuerID
	Cert       *x509.Certificate
	Key        crypto.Signer
	OCSPCert   *x509.Certificate
	OCSPKey    crypto.Signer
	OCSPServer []string // of what it issues
}

func NewKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func Sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
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

// NewAuthority makes a CA under parent, or a root if that is nil.
func NewAuthority(t testing.TB, id ca.IssuerID, parent *Authority) *Authority {
	t.Helper()
	a := &Authority{ID: id, Key: NewKey(t), OCSPKey: NewKey(t)}
	template := &x509.Certificate{
		SerialNumber: ca.NewSerial().Int(), Subject: pkix.Name{Country: []string{"SE"}, CommonName: "TEST " + string(id)},
		NotBefore: Start.AddDate(-1, 0, 0), NotAfter: Start.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		a.Cert = Sign(t, template, template, a.Key.Public(), a.Key)
	} else {
		template.CRLDistributionPoints = []string{URLOf(parent.ID, 0)}
		a.Cert = Sign(t, template, parent.Cert, a.Key.Public(), parent.Key)
	}
	a.OCSPCert = a.Signer(t, a.OCSPKey, func(*x509.Certificate) {})
	return a
}

// Signer issues an OCSP signer's certificate, changed by change.
func (a *Authority) Signer(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: ca.NewSerial().Int(), Subject: pkix.Name{CommonName: "TEST OCSP " + string(a.ID)},
		NotBefore: Start.AddDate(0, 0, -1), NotAfter: Start.AddDate(0, 2, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}},
	}
	change(template)
	return Sign(t, template, a.Cert, key.Public(), a.Key)
}

// Leaf issues an end-entity certificate whose CRL is the partition's.
func (a *Authority) Leaf(t testing.TB, serial *big.Int, partition int) *x509.Certificate {
	t.Helper()
	loa, err := x509.ParseOID("1.2.752.146.101.3")
	if err != nil {
		t.Fatal(err)
	}
	return Sign(t, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Åsa Öberg"}, NotBefore: Start.AddDate(0, -1, 0), NotAfter: Start.AddDate(2, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, Policies: []x509.OID{loa},
		OCSPServer: a.OCSPServer, CRLDistributionPoints: []string{URLOf(a.ID, partition)},
	}, a.Cert, NewKey(t).Public(), a.Key)
}

func (a *Authority) Responder(t testing.TB) *ca.Responder {
	t.Helper()
	r, err := ca.NewResponder(a.Cert, a.OCSPCert, a.OCSPKey)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// CRL signs a CRL with the authority's key.
func (a *Authority) CRL(t testing.TB, list crl.List) []byte {
	t.Helper()
	signer, err := crl.NewSigner(a.Cert, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := signer.SignCRL(list)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// WatchedKey can be made to fail, and refuses to be used within a transaction.
type WatchedKey struct {
	crypto.Signer
	Store *Store
	Used  int // signatures made
	mu    sync.Mutex
	err   error
}

// Fail makes the key fail with err, or work again if that is nil.
func (k *WatchedKey) Fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

func (k *WatchedKey) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.Store.NoTransaction()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return nil, k.err
	}
	k.Used++
	return k.Signer.Sign(r, digest, opts)
}

// NewEntry is an entry for a new serial.
func NewEntry(issuer ca.IssuerID, partition int, reason ca.Reason) revocation.Entry {
	serial := ca.NewSerial()
	at := Start.Add(-time.Minute)
	line, err := crl.EncodeRevoked(crl.Revoked{Serial: serial, At: at, Reason: reason})
	if err != nil {
		panic(err) // a reason that no list can have
	}
	return revocation.Entry{Serial: serial, Issuer: issuer, Partition: partition, NotAfter: Start.AddDate(2, 0, 0),
		At: at, Reason: reason, Rule: "confirm.superseded", Event: "event-" + hex.EncodeToString(serial[8:]), Line: line}
}

// Revoke writes an entry and numbers it.
func (s *Store) Revoke(e revocation.Entry) revocation.Entry {
	s.t.Helper()
	err := s.Update(context.Background(), func(tx *revocation.Tx) error {
		_, _, err := revocation.Revoke(tx, e)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Sequence()
	return e
}

// OpenSSL runs openssl in a directory with these files.
func OpenSSL(t *testing.T, files map[string][]byte, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
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
		return fmt.Sprintf("%s\n%v: %v", out, strings.Join(args, " "), err)
	}
	return string(out)
}

func PEMOf(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

func Read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
