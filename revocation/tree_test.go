package revocation_test

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
	"sigill/revocation"
)

// start is when the tests begin.
var start = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

const (
	person  = ca.IssuerID("person-hsa-id-3-v1")
	another = ca.IssuerID("person-id-3-v1")
	base    = "http://status.example.test"
)

func urlOf(issuer ca.IssuerID, partition int) string {
	return fmt.Sprintf("%s/crl/%s/%d.crl", base, issuer, partition)
}

// authority is a CA with its OCSP signer.
type authority struct {
	id         ca.IssuerID
	cert       *x509.Certificate
	key        crypto.Signer
	ocspCert   *x509.Certificate
	ocspKey    crypto.Signer
	ocspServer []string // of what it issues
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
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

// newAuthority makes a CA under parent, or a root if that is nil.
func newAuthority(t testing.TB, id ca.IssuerID, parent *authority) *authority {
	t.Helper()
	a := &authority{id: id, key: newKey(t), ocspKey: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: ca.NewSerial().Int(), Subject: pkix.Name{Country: []string{"SE"}, CommonName: "TEST " + string(id)},
		NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		a.cert = sign(t, template, template, a.key.Public(), a.key)
	} else {
		template.CRLDistributionPoints = []string{urlOf(parent.id, 0)}
		a.cert = sign(t, template, parent.cert, a.key.Public(), parent.key)
	}
	a.ocspCert = a.signer(t, a.ocspKey, func(*x509.Certificate) {})
	return a
}

// signer issues an OCSP signer's certificate, changed by change.
func (a *authority) signer(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: ca.NewSerial().Int(), Subject: pkix.Name{CommonName: "TEST OCSP " + string(a.id)},
		NotBefore: start.AddDate(0, 0, -1), NotAfter: start.AddDate(0, 2, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}},
	}
	change(template)
	return sign(t, template, a.cert, key.Public(), a.key)
}

// leaf issues an end-entity certificate whose CRL is the partition's.
func (a *authority) leaf(t testing.TB, serial *big.Int, partition int) *x509.Certificate {
	t.Helper()
	loa, err := x509.ParseOID("1.2.752.146.101.3")
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Åsa Öberg"}, NotBefore: start.AddDate(0, -1, 0), NotAfter: start.AddDate(2, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, Policies: []x509.OID{loa},
		OCSPServer: a.ocspServer, CRLDistributionPoints: []string{urlOf(a.id, partition)},
	}, a.cert, newKey(t).Public(), a.key)
}

func (a *authority) responder(t testing.TB) *ca.Responder {
	t.Helper()
	r, err := ca.NewResponder(a.cert, a.ocspCert, a.ocspKey)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// crl signs a CRL with the authority's key.
func (a *authority) crl(t testing.TB, list ca.CRL) []byte {
	t.Helper()
	signer, err := ca.NewCRLSigner(a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := signer.SignCRL(list)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// watchedKey can be made to fail, and refuses to be used within a transaction.
type watchedKey struct {
	crypto.Signer
	store *fakeStore
	mu    sync.Mutex
	err   error
}

// fail makes the key fail with err, or work again if that is nil.
func (k *watchedKey) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

func (k *watchedKey) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.store.noTransaction()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return nil, k.err
	}
	return k.Signer.Sign(r, digest, opts)
}

// newEntry is an entry for a new serial.
func newEntry(issuer ca.IssuerID, partition int, reason ca.Reason) revocation.Entry {
	serial := ca.NewSerial()
	return revocation.Entry{Serial: serial, Issuer: issuer, Partition: partition, NotAfter: start.AddDate(2, 0, 0),
		At: start.Add(-time.Minute), Reason: reason, Rule: "confirm.superseded", Event: "event-" + hex.EncodeToString(serial[8:])}
}

// revoke writes an entry and numbers it.
func (s *fakeStore) revoke(e revocation.Entry) revocation.Entry {
	s.t.Helper()
	err := s.Update(context.Background(), func(tx *revocation.Tx) error {
		_, _, err := revocation.Revoke(tx, e)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.sequence()
	return e
}

// openssl runs openssl in a directory with these files.
func openssl(t *testing.T, files map[string][]byte, args ...string) string {
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

func pemOf(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
