package responder

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/revocation"
	"sigill/revocation/status"
)

// statuses is a store that can tell the status of serials and nothing else.
type statuses map[ca.Serial]*revocation.Entry

func (s statuses) Status(_ ca.IssuerID, serial ca.Serial) (bool, *revocation.Entry, error) {
	entry, released := s[serial]
	return released, entry, nil
}

func (s statuses) View(_ context.Context, fn func(*revocation.Tx) error) error {
	return fn(&revocation.Tx{Statuses: s})
}

func (s statuses) Update(context.Context, func(*revocation.Tx) error) error {
	panic("answering OCSP writes")
}

// issue makes a CA with its OCSP signer, valid now.
func issue(t *testing.T) (cert *x509.Certificate, signer *ca.Responder) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, public, key *ecdsa.PrivateKey) *x509.Certificate {
		template.SerialNumber = ca.NewSerial().Int()
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "TEST CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	cert = sign(root, root, keys[0], keys[0])
	responder := sign(&x509.Certificate{Subject: pkix.Name{CommonName: "TEST OCSP"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}}, cert, keys[1], keys[0])
	signer, err := ca.NewResponder(cert, responder, keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return cert, signer
}

// The real client asks the real service over a socket, by POST and with a nonce.
func TestOpenSSLAsks(t *testing.T) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	cert, signer := issue(t)
	signers := &status.Signers{}
	if err := signers.Set("test", signer); err != nil {
		t.Fatal(err)
	}
	good, revoked, never := ca.NewSerial(), ca.NewSerial(), ca.NewSerial()
	store := statuses{good: nil, revoked: {Serial: revoked, At: time.Now().Add(-time.Minute), Reason: ca.Superseded}}
	dir := t.TempDir()
	h, err := New(Config{OCSP: &status.Responder{Store: store, Signers: signers, Now: time.Now}, Dir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	issuer := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(issuer, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for serial, want := range map[ca.Serial]string{good: ": good", revoked: ": revoked", never: ": unknown"} {
		for _, hash := range []string{"-sha1", "-sha256"} {
			out, err := exec.Command(path, "ocsp", hash, "-issuer", issuer, "-CAfile", issuer, "-serial", "0x"+serial.String(), "-url", server.URL+"/ocsp").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Response verify OK") || !strings.Contains(string(out), want) ||
				strings.Contains(strings.ToLower(string(out)), "nonce") {
				t.Errorf("%s: %v, want %q:\n%s", hash, err, want, out)
			}
		}
	}
}
