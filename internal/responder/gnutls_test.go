package responder

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/audit"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/revocation/publish"
	"sigill/revocation/status"
)

// relying is what a relying party of an installation has before it: two eIDs of
// which one is revoked, the chain, and the status listener. The eIDs come by the
// whole path of ordering and fetching, and status by publisher and responder over
// the same database.
type relying struct {
	root, issuer  *x509.Certificate
	good, revoked *world.Holder
	crl           string // address
	ocsp          string
}

func newRelying(t *testing.T) *relying {
	t.Helper()
	var key crypto.Signer
	s := worldtest.New(t, func(s *worldtest.Scene, c *world.Config) {
		c.Wrap = func(id ca.IssuerID, k crypto.Signer) crypto.Signer {
			if id == world.PersonCA {
				key = k
			}
			return s.Faults.Wrap(id, k)
		}
	})
	w := &relying{good: s.Holder(), revoked: s.Holder()}
	admin, err := s.Login(t.Context(), s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Downloads.Revoke(t.Context(), admin, w.revoked.Certificate().Serial, ca.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	issuer, err := s.Issuers.Issuer(world.PersonCA)
	if err != nil {
		t.Fatal(err)
	}
	w.certify(t, issuer.Certificate(), key)
	w.serve(t, s, key)
	return w
}

// certify puts the issuing CA, which is a root of its own in a world, below a
// root: same name, same key.
func (w *relying) certify(t *testing.T, issuer *x509.Certificate, key crypto.Signer) {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "TEST Root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	w.root = certificate(t, root, root, rootKey.Public(), rootKey)
	below := *issuer
	w.issuer = certificate(t, &below, w.root, key.Public(), rootKey)
}

func certificate(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.SignatureAlgorithm = ca.NewSerial().Int(), x509.UnknownSignatureAlgorithm
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// serve publishes the CRL of the eIDs' partition and opens the status listener.
func (w *relying) serve(t *testing.T, s *worldtest.Scene, key crypto.Signer) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if err := (&audit.Sequencer{Store: s.Store.Audit()}).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(w.good.CertificateOf())
	if err != nil {
		t.Fatal(err)
	}
	lists, err := crl.NewSigner(w.issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	dir, partition := t.TempDir(), w.good.Certificate().Partition
	linter, err := world.NewLinter()
	if err != nil {
		t.Fatal(err)
	}
	publisher := &publish.Publisher{Store: s.Store.Revocation(), Dir: dir, Lint: linter, Now: time.Now, Log: log, Scopes: []publish.Scope{
		{Issuer: world.PersonCA, Partition: partition, URL: leaf.CRLDistributionPoints[0], Signer: lists}}}
	if n, err := publisher.Publish(t.Context(), time.Now()); n != 1 || err != nil {
		t.Fatalf("published %d, %v", n, err)
	}
	ocspKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ca.NewResponder(w.issuer, certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "TEST OCSP"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}},
		w.issuer, ocspKey.Public(), key), ocspKey)
	if err != nil {
		t.Fatal(err)
	}
	signers := &status.Signers{}
	if err := signers.Set(world.PersonCA, signer); err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{OCSP: &status.Responder{Store: s.Store.Revocation(), Signers: signers, Now: time.Now}, Dir: dir, Now: time.Now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.ocsp, w.crl = server.URL+"/ocsp", server.URL+"/"+filepath.ToSlash(publish.CRLPath(world.PersonCA, partition))
}

// files writes what GnuTLS is asked about into a directory.
func (w *relying) files(t *testing.T) string {
	t.Helper()
	response, err := http.Get(w.crl)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	crl, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", w.crl, response.Status, err)
	}
	dir := t.TempDir()
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	issuer, good, revoked := block("CERTIFICATE", w.issuer.Raw), block("CERTIFICATE", w.good.CertificateOf()), block("CERTIFICATE", w.revoked.CertificateOf())
	spoilt := append([]byte(nil), crl...)
	spoilt[len(spoilt)-1] ^= 1
	for name, data := range map[string][]byte{
		"root.pem": block("CERTIFICATE", w.root.Raw), "issuer.pem": issuer, "good.pem": good, "revoked.pem": revoked,
		"good-chain.pem": append(good, issuer...), "revoked-chain.pem": append(revoked, issuer...),
		"crl.pem": block("X509 CRL", crl), "spoilt.pem": block("X509 CRL", spoilt),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// GnuTLS, which shares no code with OpenSSL or Go, judges certificates, CRL and
// OCSP answers of a whole installation.
func TestGnuTLSJudges(t *testing.T) {
	for _, program := range []string{"certtool", "ocsptool"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("SIGILL_REQUIRE") == "1" {
				t.Fatalf("%s is not installed", program)
			}
			t.Skipf("%s is not installed", program)
		}
	}
	w := newRelying(t)
	dir := w.files(t)
	const verified, answered = "Chain verification output: Verified", "Verifying OCSP Response: Success"
	certtool, ocsptool := "certtool", "ocsptool"
	for _, c := range []struct {
		name    string
		program string
		args    string
		accepts bool
		says    []string
	}{
		{"chain", certtool, "--verify --load-ca-certificate root.pem --infile good-chain.pem", true, []string{verified}},
		{"chain without its middle", certtool, "--verify --load-ca-certificate root.pem --infile good.pem", false, []string{"issuer is unknown"}},
		{"chain with CRL", certtool, "--verify --load-ca-certificate root.pem --load-crl crl.pem --infile good-chain.pem", true, []string{verified}},
		{"revoked with CRL", certtool, "--verify --load-ca-certificate root.pem --load-crl crl.pem --infile revoked-chain.pem", false, []string{"revoked"}},
		{"CRL", certtool, "--verify-crl --load-ca-certificate issuer.pem --infile crl.pem", true, []string{"Verified"}},
		{"CRL spoilt", certtool, "--verify-crl --load-ca-certificate issuer.pem --infile spoilt.pem", false, []string{"Not verified"}},
		{"CRL told", certtool, "--crl-info --infile crl.pem", true, []string{w.revoked.Certificate().Serial.String()}},
		{"OCSP good", ocsptool, "--ask=" + w.ocsp + " --load-cert good.pem --load-issuer issuer.pem", true, []string{"Certificate Status: good", answered}},
		{"OCSP revoked", ocsptool, "--ask=" + w.ocsp + " --load-cert revoked.pem --load-issuer issuer.pem", true, []string{"Certificate Status: revoked", answered}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), c.program, strings.Fields(c.args)...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
			out, err := cmd.CombinedOutput()
			if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
				t.Fatal(err)
			}
			if (err == nil) != c.accepts {
				t.Errorf("%s %s: %v:\n%s", c.program, c.args, err, out)
			}
			for _, want := range c.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s %s does not say %q:\n%s", c.program, c.args, want, out)
				}
			}
		})
	}
}
