package keys

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"
	"github.com/smallstep/certificates/cas/softcas"

	"sigill/ca"
	"sigill/internal/lint"
	"sigill/internal/profiles"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func rootPassphrase() Passphrase { return NewPassphrase([]byte("roten ligger i kassaskåpet")) }

func testPlan(t *testing.T, dir string) Plan {
	t.Helper()
	all, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	linter, err := lint.New(lint.Config{LoAPolicies: []string{"2.999.752.3.1"}})
	if err != nil {
		t.Fatal(err)
	}
	p := DefaultPlan(Test, dir, "http://status.example.se:8080", "Sigill Test AB", at)
	p.Profiles, p.Lint = all, linter.Lint
	p.Passphrase, p.RootPassphrase = passphrase(), rootPassphrase()
	return p
}

func create(t *testing.T) *Hierarchy {
	t.Helper()
	h, err := Create(t.Context(), testPlan(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestDefaultHierarchy(t *testing.T) {
	h := create(t)
	want := map[ca.IssuerID]string{
		"person-hsa-id-3-v1": "TEST Sigill Person HSA-id 3 CA v1",
		"person-hsa-id-2-v1": "TEST Sigill Person HSA-id 2 CA v1",
		"person-id-3-v1":     "TEST Sigill Person ID 3 CA v1",
		"card-v1":            "TEST Sigill Card CA v1",
		"function-v1":        "TEST Sigill Function CA v1",
	}
	if cn := h.Root.Certificate.Subject.CommonName; cn != "TEST Sigill Root CA v1" {
		t.Errorf("the root is called %q", cn)
	}
	if len(h.Issuers) != len(want) {
		t.Errorf("%d issuing CAs, want %d", len(h.Issuers), len(want))
	}
	roots := x509.NewCertPool()
	roots.AddCert(h.Root.Certificate)
	serials := map[string]bool{h.Root.Certificate.SerialNumber.String(): true}
	for _, issuer := range h.Issuers {
		cert := issuer.Certificate
		if cert.Subject.CommonName != want[issuer.ID] {
			t.Errorf("%s is called %q, want %q", issuer.ID, cert.Subject.CommonName, want[issuer.ID])
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at}); err != nil {
			t.Errorf("%s does not verify: %v", issuer.ID, err)
		}
		if !cert.MaxPathLenZero || !cert.IsCA || cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
			t.Errorf("%s: path length, cA or key usage", issuer.ID)
		}
		if fmt.Sprint(cert.CRLDistributionPoints) != "[http://status.example.se:8080/crl/root/0.crl]" ||
			fmt.Sprint(cert.IssuingCertificateURL) != "[http://status.example.se:8080/aia/root.cer]" {
			t.Errorf("%s: CDP %v, AIA %v", issuer.ID, cert.CRLDistributionPoints, cert.IssuingCertificateURL)
		}
		// Where relying parties will look is where the files are.
		for _, address := range append(cert.CRLDistributionPoints, cert.IssuingCertificateURL...) {
			name := strings.TrimPrefix(address, h.StatusURL)
			if _, err := os.Stat(filepath.Join(h.PublicDir(), filepath.FromSlash(name))); err != nil {
				t.Errorf("%s is not there: %v", address, err)
			}
		}
		vouches := strings.HasPrefix(string(issuer.ID), "person-")
		if (len(cert.Policies) == 1) != vouches {
			t.Errorf("%s: policies %v", issuer.ID, cert.Policies)
		}
		if serials[cert.SerialNumber.String()] {
			t.Errorf("%s: its serial is another CA's", issuer.ID)
		}
		serials[cert.SerialNumber.String()] = true
		if string(cert.AuthorityKeyId) != string(h.Root.Certificate.SubjectKeyId) || len(cert.SubjectKeyId) == 0 {
			t.Errorf("%s: key identifiers", issuer.ID)
		}
	}
}

// The whole chain with the root's CRL, judged by somebody else's code.
func TestOpenSSLVerifiesTheHierarchy(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") != "" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	h := create(t)
	crl := filepath.Join(t.TempDir(), "root.crl.pem")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
			t.Errorf("openssl %v: %v\n%s", args, err, out)
		}
	}
	run("crl", "-inform", "DER", "-in", h.RootCRLPath(), "-out", crl)
	for _, issuer := range h.Issuers {
		run("verify", "-x509_strict", "-attime", fmt.Sprint(at.Unix()), "-crl_check", "-CRLfile", crl,
			"-CAfile", h.rootCertificatePEM(), h.CertificatePath(issuer.ID))
	}
	// The key files are plain PKCS#8 that any tool opens with the passphrase.
	cmd := exec.Command(openssl, "pkey", "-in", filepath.Join(h.Dir, keyDir, "card-v1.key"), "-passin", "stdin", "-noout", "-check")
	cmd.Stdin = strings.NewReader(secret + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("openssl does not open a key file: %v\n%s", err, out)
	}
}

// What was created is opened after a restart, wherever the directory was moved.
func TestReopen(t *testing.T) {
	h := create(t)
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(h.Dir, moved); err != nil {
		t.Fatal(err)
	}
	if !(&Hierarchy{Dir: moved, Root: h.Root}).RootKeyHere() {
		t.Error("the root's key is not seen")
	}
	// The root's directory goes into the safe.
	if err := os.Rename(filepath.Join(moved, rootDir), filepath.Join(t.TempDir(), "safe")); err != nil {
		t.Fatal(err)
	}
	again, err := Load(moved)
	if err != nil {
		t.Fatal(err)
	}
	if again.RootKeyHere() {
		t.Error("the root's key is seen in the safe")
	}
	if again.Environment != Test || again.StatusURL != h.StatusURL || len(again.Issuers) != len(h.Issuers) {
		t.Errorf("another hierarchy was loaded: %+v", again)
	}
	for _, each := range again.Issuers {
		issuer, err := again.OpenIssuer(t.Context(), each.ID, passphrase())
		if err != nil {
			t.Fatal(err)
		}
		// A certificate signed by this signer verifies under this chain.
		leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: at, NotAfter: at.Add(time.Hour)}
		der, err := x509.CreateCertificate(nil, leaf, issuer.Certificate, issuer.Signer.Public(), issuer.Signer)
		if err != nil {
			t.Fatalf("%s: %v", each.ID, err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(issuer.Chain[1])
		between.AddCert(issuer.Chain[0])
		_, err = cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err := errors.Join(err, issuer.Close()); err != nil {
			t.Errorf("%s: %v", each.ID, err)
		}
	}
	if err := again.SignRootCRL(t.Context(), rootPassphrase(), at, nil); err == nil {
		t.Error("a root CRL was signed without the root's key")
	}
}

func TestOpenIssuerRefusals(t *testing.T) {
	h := create(t)
	if _, err := h.OpenIssuer(t.Context(), "nobody", passphrase()); err == nil {
		t.Error("an issuer that is not there was opened")
	}
	_, err := h.OpenIssuer(t.Context(), CardCA, NewPassphrase([]byte("fel lösenfras")))
	if !errors.Is(err, ErrPassphrase) {
		t.Errorf("a wrong passphrase: %v", err)
	}
	leaks(t, fmt.Sprintf("%+v %#v", err, err))
	// The root's passphrase is not the issuers', and the reverse.
	if _, err := h.OpenIssuer(t.Context(), CardCA, rootPassphrase()); !errors.Is(err, ErrPassphrase) {
		t.Errorf("an issuer was opened with the root's passphrase: %v", err)
	}
	// Another CA's key under this CA's name.
	key := func(id ca.IssuerID) string { return filepath.Join(h.Dir, keyDir, string(id)+".key") }
	if err := os.Rename(key(FunctionCA), key(CardCA)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.OpenIssuer(t.Context(), CardCA, passphrase()); err == nil || !strings.Contains(err.Error(), "not its certificate's") {
		t.Errorf("a foreign key was opened: %v", err)
	}
	if err := os.Chmod(key(PersonID3), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := h.OpenIssuer(t.Context(), PersonID3, passphrase()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that the group can read was opened: %v", err)
	}
}

func TestFilesOfAHierarchy(t *testing.T) {
	h := create(t)
	for name, mode := range map[string]os.FileMode{
		rootDir: 0o700, rootDir + "/root.key": 0o600, rootDir + "/root.pem": 0o644, rootDir + "/root.crl": 0o644,
		keyDir: 0o700, keyDir + "/card-v1.key": 0o600, indexFile: 0o644,
		publicDir + "/aia/root.cer": 0o644, publicDir + "/crl/root/0.crl": 0o644,
	} {
		info, err := os.Stat(filepath.Join(h.Dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, want mode %04o", name, info, mode)
		}
	}
	// Nothing that is published or recorded holds a key, and no key is clear.
	err := filepath.WalkDir(h.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "PRIVATE KEY") != (filepath.Ext(path) == ".key") ||
			strings.Contains(string(text), "BEGIN PRIVATE") || strings.Contains(string(text), "BEGIN EC") {
			t.Errorf("%s holds a key it should not, or in clear", path)
		}
		leaks(t, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), testPlan(t, h.Dir)); !errors.Is(err, ErrExists) {
		t.Errorf("a hierarchy was created over another: %v", err)
	}
	// Neither beside what another run left half done.
	p := testPlan(t, t.TempDir())
	if err := os.Mkdir(filepath.Join(p.Dir, publicDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), p); !errors.Is(err, ErrExists) {
		t.Errorf("a hierarchy was created beside another's remains: %v", err)
	}
	// A certificate exchanged on disk is not loaded.
	other := create(t)
	der, err := os.ReadFile(other.CertificatePath(CardCA))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.CertificatePath(CardCA), der, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(h.Dir); err == nil || !strings.Contains(err.Error(), "exchanged") {
		t.Errorf("an exchanged certificate was loaded: %v", err)
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"no directory":       func(p *Plan) { p.Dir = "" },
		"environment":        func(p *Plan) { p.Environment = "QA" },
		"country":            func(p *Plan) { p.Country = "se" },
		"organisation":       func(p *Plan) { p.Organisation = "" },
		"https":              func(p *Plan) { p.StatusURL = "https://status.example.se" },
		"slash":              func(p *Plan) { p.StatusURL += "/" },
		"no time":            func(p *Plan) { p.At = time.Time{} },
		"no linter":          func(p *Plan) { p.Lint = nil },
		"no profiles":        func(p *Plan) { p.Profiles = nil },
		"no issuer":          func(p *Plan) { p.Issuers = nil },
		"id twice":           func(p *Plan) { p.Issuers[1].ID = p.Issuers[0].ID },
		"name twice":         func(p *Plan) { p.Issuers[1].Name = p.Issuers[0].Name },
		"path as id":         func(p *Plan) { p.Issuers[1].ID = "../x" },
		"issuer called root": func(p *Plan) { p.Issuers[1].ID = RootID },
		"TEST in a name":     func(p *Plan) { p.Issuers[1].Name = "Test CA" },
		"outlives the root":  func(p *Plan) { p.Issuers[1].Lifetime = p.Root.Lifetime + year },
		"no life":            func(p *Plan) { p.Issuers[1].Lifetime = 0 },
		"key":                func(p *Plan) { p.Issuers[1].Key = "P-224" },
		"key in a cloud":     func(p *Plan) { p.Issuers[1].KeyURI = "awskms:key-id=x" },
		"lint":               func(p *Plan) { p.Lint = func([]byte, ca.ProfileName) error { return errors.New("planted") } },
		"short passphrase":   func(p *Plan) { p.RootPassphrase = NewPassphrase([]byte("kort")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testPlan(t, t.TempDir())
			dir := p.Dir
			change(&p)
			if _, err := Create(t.Context(), p); err == nil {
				t.Fatal("the hierarchy was created")
			}
			if _, err := Load(dir); err == nil {
				t.Error("a refused plan left a hierarchy that loads")
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Errorf("a refused plan left %v", left)
			}
		})
	}
}

func TestProductionHasNoTestInItsNames(t *testing.T) {
	p := testPlan(t, t.TempDir())
	p.Environment = Production
	h, err := Create(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range append(h.Issuers, h.Root) {
		if cn := each.Certificate.Subject.CommonName; !strings.HasPrefix(cn, "Sigill ") {
			t.Errorf("%s is called %q", each.ID, cn)
		}
	}
}

func TestRSAIssuer(t *testing.T) {
	p := testPlan(t, t.TempDir())
	p.Issuers = p.Issuers[:2]
	p.Issuers[0].Key, p.Issuers[1].Key = RSA3072, P384
	h, err := Create(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := h.OpenIssuer(t.Context(), h.Issuers[0].ID, passphrase())
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := issuer.Signer.Public().(*rsa.PublicKey); !ok || key.N.BitLen() != 3072 {
		t.Errorf("the issuer's key is %T", issuer.Signer.Public())
	}
}

func TestRootCRL(t *testing.T) {
	h := create(t)
	first, err := h.RootCRL()
	if err != nil {
		t.Fatal(err)
	}
	if first.Number.Int64() != 1 || len(first.RevokedCertificateEntries) != 0 || !first.NextUpdate.Equal(at.Add(year)) {
		t.Errorf("first root CRL: number %v, %d entries, until %v", first.Number, len(first.RevokedCertificateEntries), first.NextUpdate)
	}
	serial := func(i int) ca.Serial {
		s, ok := ca.SerialOf(h.Issuers[i].Certificate.SerialNumber)
		if !ok {
			t.Fatal("not a serial")
		}
		return s
	}
	sign := func(when time.Time, revoked ...RevokedCA) error {
		return h.SignRootCRL(t.Context(), rootPassphrase(), when, revoked)
	}
	day := 24 * time.Hour
	if err := sign(at.Add(day), RevokedCA{serial(1), at.Add(time.Hour), ca.CACompromise}); err != nil {
		t.Fatal(err)
	}
	// A date never moves, and nothing is dropped.
	if err := sign(at.Add(2*day), RevokedCA{serial(1), at.Add(day), ca.Superseded}, RevokedCA{serial(2), at, ca.CessationOfOperation}); err != nil {
		t.Fatal(err)
	}
	list, err := h.RootCRL()
	if err != nil {
		t.Fatal(err)
	}
	if list.Number.Int64() != 3 || len(list.RevokedCertificateEntries) != 2 {
		t.Fatalf("number %v, %d entries", list.Number, len(list.RevokedCertificateEntries))
	}
	i := slices.IndexFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(serial(1).Int()) == 0 })
	if i < 0 {
		t.Fatal("the first revoked CA has left the list")
	}
	e := list.RevokedCertificateEntries[i]
	if !e.RevocationTime.Equal(at.Add(time.Hour)) || e.ReasonCode != int(ca.CACompromise) {
		t.Errorf("entry: %+v", e)
	}
	for name, err := range map[string]error{
		"older than the public one": sign(at),
		"future":                    sign(at.Add(3*day), RevokedCA{serial(3), at.Add(4 * day), ca.Superseded}),
		"no serial":                 sign(at.Add(3*day), RevokedCA{At: at}),
		"wrong passphrase":          h.SignRootCRL(t.Context(), passphrase(), at.Add(3*day), nil),
	} {
		if err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if after, err := h.RootCRL(); err != nil || after.Number.Int64() != 3 {
		t.Errorf("a refused root CRL changed the public one: %v", err)
	}
	// A CRL of another root in its place is not built upon.
	other := create(t)
	raw, err := os.ReadFile(other.RootCRLPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.RootCRLPath(), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sign(at.Add(3 * day)); err == nil {
		t.Error("a foreign root CRL was continued")
	}
}

// softcas writes into the template it is given. Two CAs of one plan share
// nothing, and a template that it got is not used again.
func TestTemplatesAreNotShared(t *testing.T) {
	p := testPlan(t, t.TempDir())
	a, err := p.template(p.Issuers[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.template(p.Issuers[0])
	if err != nil {
		t.Fatal(err)
	}
	if a == b || a.SerialNumber.Cmp(b.SerialNumber) == 0 {
		t.Error("two templates are one, or share a serial")
	}
	service, err := softcas.New(context.Background(), apiv1.Options{IsCreator: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.CreateCertificateAuthority(&apiv1.CreateCertificateAuthorityRequest{
		Type: apiv1.RootCA, Template: a, Lifetime: time.Hour,
	}); err != nil {
		t.Fatal(err)
	}
	if a.SubjectKeyId == nil {
		t.Skip("softcas no longer writes into its template")
	}
	if b.SubjectKeyId != nil {
		t.Error("what softcas wrote into one template shows in another")
	}
}
