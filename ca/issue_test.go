package ca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/profiles"
	"sigill/internal/statement"
)

// issueTime is the present of the tests of issuing.
var issueTime = time.Date(2026, 9, 1, 8, 30, 0, 0, time.UTC)

// linterFunc makes a Linter of a function.
type linterFunc func(der []byte, profile ca.ProfileName) error

func (f linterFunc) Lint(der []byte, profile ca.ProfileName) error { return f(der, profile) }

func noLint([]byte, ca.ProfileName) error { return nil }

// newKey returns a key "P-256", "P-384", "P-521", "RSA-1024" or "RSA-2048".
func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RSA-2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no key of kind %s", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issuerConfig returns a valid configuration of an issuing CA with a fresh key.
func issuerConfig(t testing.TB, keyKind string) ca.IssuerConfig {
	t.Helper()
	all, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t, keyKind)
	template, err := ca.CATemplate(all["root-ca"], ca.CARequest{
		Content:   ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "TEST Sigill Person HSA-id 3 CA v1"},
		NotBefore: issueTime.AddDate(0, 0, -1), NotAfter: issueTime.AddDate(10, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return ca.IssuerConfig{ID: "person-hsa-id-3-v1", Certificate: cert, Signer: key, Profiles: all,
		MayIssue:   []ca.ProfileName{"authentication", "signing", "transport", "ocsp", "server", "officer"},
		Partitions: 4, StatusURL: "http://127.0.0.1:8080", Linter: linterFunc(noLint)}
}

func newIssuer(t testing.TB, c ca.IssuerConfig) *ca.Issuer {
	t.Helper()
	i, err := ca.NewIssuer(c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// asa is the content of an authentication certificate with everything in it.
func asa() ca.Content {
	return ca.Content{Country: "SE", Organisation: "Region Östergötland", CommonName: "Åsa Öström Häggström",
		Surname: "Öström Häggström", GivenName: "Åsa", SerialNumber: "SE2321000016-1A2B", CardNumber: "9752263890112233445",
		Email: "asa.haggstrom@example.se", UPN: "åsa.häggström@ad.example.se",
		SID:        "S-1-5-21-3623811015-3361044348-30300820-1013",
		PolicyOIDs: []string{"2.999.752.3.1"}}
}

func server() ca.Content {
	return ca.Content{CommonName: "sigill", DNSNames: []string{"localhost", "127.0.0.1", "::1", "kort.example.se"}}
}

// administrator signs statements.
type administrator struct {
	person string
	key    crypto.Signer
	cert   *x509.Certificate
}

func newAdministrator(t testing.TB, person, keyKind string) administrator {
	t.Helper()
	key := newKey(t, keyKind)
	return administrator{person, key, &x509.Certificate{PublicKey: key.Public(), SerialNumber: big.NewInt(1)}}
}

func (a administrator) state(t testing.TB, act string, order []byte) ca.SignedStatement {
	t.Helper()
	s := statement.Statement{Act: act, Subject: "ord_1", By: a.person, For: "per_asa", Card: "-",
		Content: sha256.Sum256(order), At: issueTime}
	signature, err := statement.Sign(a.key, s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return ca.SignedStatement{Content: s.Bytes(), Signature: signature, Certificate: a.cert, Person: a.person}
}

func orderOf(t testing.TB, c ca.Content) []byte {
	t.Helper()
	order, err := json.Marshal(struct {
		ID      string     `json:"id"`
		Content ca.Content `json:"content"`
	}{"ord_1", c})
	if err != nil {
		t.Fatal(err)
	}
	return order
}

func mandateFor(t testing.TB, c ca.Content) *ca.Mandate {
	t.Helper()
	order := orderOf(t, c)
	a, b := newAdministrator(t, "per_a", "P-256"), newAdministrator(t, "per_b", "P-256")
	m, err := ca.NewMandate(order, 2, []ca.SignedStatement{
		a.state(t, statement.ActPlace, order), b.state(t, statement.ActApprove, order)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// request returns a valid request for a profile.
func request(t testing.TB, profile ca.ProfileName, c ca.Content) ca.Request {
	t.Helper()
	r := ca.Request{Profile: profile, Content: c, PublicKey: newKey(t, "P-256").Public(),
		NotBefore: issueTime, NotAfter: issueTime.AddDate(0, 0, 30)}
	if profile == "authentication" || profile == "signing" {
		r.Mandate = mandateFor(t, c)
	}
	return r
}

func seal(t testing.TB, i *ca.Issuer, r ca.Request, log ca.Log) *ca.Sealed {
	t.Helper()
	draft, err := i.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := draft.Seal(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func saved(context.Context, ca.Intent) error { return nil }

func record(t testing.TB, s *ca.Sealed) *ca.Logged {
	t.Helper()
	rec, err := s.Record(t.Context(), saved)
	if err != nil {
		t.Fatal(err)
	}
	logged, err := rec.Await(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return logged
}

func issue(t testing.TB, i *ca.Issuer, r ca.Request) (*ca.Issued, *x509.Certificate) {
	t.Helper()
	issued, err := i.Sign(record(t, seal(t, i, r, nil)))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(issued.DER)
	if err != nil {
		t.Fatal(err)
	}
	return issued, cert
}

func TestIssueByKey(t *testing.T) {
	for _, kind := range []string{"P-256", "P-384", "RSA-2048"} {
		t.Run(kind, func(t *testing.T) {
			c := issuerConfig(t, kind)
			i := newIssuer(t, c)
			r := request(t, "authentication", asa())
			r.PublicKey = newKey(t, kind).Public()
			issued, cert := issue(t, i, r)
			if err := cert.CheckSignatureFrom(c.Certificate); err != nil {
				t.Error(err)
			}
			roots := x509.NewCertPool()
			roots.AddCert(c.Certificate)
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: issueTime.Add(time.Hour),
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Error(err)
			}
			if got := ca.PartitionOf(issued.Serial, 4); got != issued.Partition {
				t.Errorf("partition %d, want %d", issued.Partition, got)
			}
			if serial, ok := ca.SerialOf(cert.SerialNumber); !ok || serial != issued.Serial {
				t.Errorf("serial %v, want %v", serial, issued.Serial)
			}
			if issued.Fingerprint != sha256.Sum256(issued.DER) {
				t.Error("the fingerprint is not the certificate's")
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	c := issuerConfig(t, "P-256")
	c.StatusURL = "http://status.example.se/pki/"
	i := newIssuer(t, c)
	issued, cert := issue(t, i, request(t, "authentication", asa()))
	crl := "http://status.example.se/pki/crl/person-hsa-id-3-v1/" + string(rune('0'+issued.Partition)) + ".crl"
	for _, f := range []struct {
		name      string
		got, want []string
	}{
		{"CDP", cert.CRLDistributionPoints, []string{crl}},
		{"OCSP", cert.OCSPServer, []string{"http://status.example.se/pki/ocsp"}},
		{"caIssuers", cert.IssuingCertificateURL, []string{"http://status.example.se/pki/aia/person-hsa-id-3-v1.cer"}},
		{"CRLURL", []string{i.CRLURL(issued.Partition)}, []string{crl}},
	} {
		if !slices.Equal(f.got, f.want) {
			t.Errorf("%s: %q, want %q", f.name, f.got, f.want)
		}
	}
}

// All partitions of a CRL are used, by the low bits of random serials.
func TestPartitions(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	r := request(t, "officer", ca.Content{CommonName: "Officer 1"})
	seen := map[int]bool{}
	for range 200 {
		draft, err := i.Prepare(r)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := draft.Seal(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[sealed.Intent().Partition] = true
	}
	if len(seen) != i.Partitions() {
		t.Errorf("200 certificates in partitions %v of %d", seen, i.Partitions())
	}
	s, err := ca.ParseSerial("400000000000000000000000000000ff")
	if err != nil {
		t.Fatal(err)
	}
	if got := ca.PartitionOf(s, 10); got != 5 {
		t.Errorf("partition %d, want 5", got)
	}
}

func TestNewIssuerRefuses(t *testing.T) {
	good := issuerConfig(t, "P-256")
	other := newKey(t, "P-256")
	for _, c := range []struct {
		name   string
		change func(*ca.IssuerConfig)
		want   string
	}{
		{"no linter", func(c *ca.IssuerConfig) { c.Linter = nil }, "linter"},
		{"other key", func(c *ca.IssuerConfig) { c.Signer = other }, "not the key"},
		{"no key", func(c *ca.IssuerConfig) { c.Signer = nil }, "no signer"},
		{"no certificate", func(c *ca.IssuerConfig) { c.Certificate = nil }, "no certificate"},
		{"no CA", func(c *ca.IssuerConfig) {
			c.Certificate = altered(c.Certificate, func(x *x509.Certificate) { x.IsCA = false })
		}, "not a CA"},
		{"no keyCertSign", func(c *ca.IssuerConfig) {
			c.Certificate = altered(c.Certificate, func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageCRLSign })
		}, "may not sign"},
		{"no key id", func(c *ca.IssuerConfig) {
			c.Certificate = altered(c.Certificate, func(x *x509.Certificate) { x.SubjectKeyId = nil })
		}, "key identifier"},
		{"no partition", func(c *ca.IssuerConfig) { c.Partitions = 0 }, "partitions"},
		{"https", func(c *ca.IssuerConfig) { c.StatusURL = "https://status.example.se" }, "http://"},
		{"query", func(c *ca.IssuerConfig) { c.StatusURL = "http://status.example.se/?a=b" }, "http://"},
		{"no host", func(c *ca.IssuerConfig) { c.StatusURL = "http:///crl" }, "http://"},
		{"no ASCII", func(c *ca.IssuerConfig) { c.StatusURL = "http://härd.example.se" }, "ASCII"},
		{"id", func(c *ca.IssuerConfig) { c.ID = "../root" }, "id is not"},
		{"unknown profile", func(c *ca.IssuerConfig) { c.MayIssue = []ca.ProfileName{"gold"} }, "not known"},
		{"CA profile", func(c *ca.IssuerConfig) { c.MayIssue = []ca.ProfileName{"issuing-ca"} }, "ceremony"},
		{"misnamed profile", func(c *ca.IssuerConfig) {
			c.Profiles = ca.Profiles{"signing": c.Profiles["transport"]}
			c.MayIssue = []ca.ProfileName{"signing"}
		}, "is known as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := good
			c.change(&config)
			_, err := ca.NewIssuer(config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func altered(c *x509.Certificate, change func(*x509.Certificate)) *x509.Certificate {
	x := *c
	change(&x)
	return &x
}

func TestPrepareRefusesContent(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	for _, c := range []struct {
		name    string
		profile ca.ProfileName
		change  func(*ca.Content)
		field   string
	}{
		{"country in small letters", "authentication", func(c *ca.Content) { c.Country = "se" }, "country"},
		{"no country", "authentication", func(c *ca.Content) { c.Country = "" }, "country"},
		{"no organisation", "authentication", func(c *ca.Content) { c.Organisation = "" }, "organisation"},
		{"long organisation", "authentication", func(c *ca.Content) { c.Organisation = strings.Repeat("ö", 65) }, "organisation"},
		{"no common name", "authentication", func(c *ca.Content) { c.CommonName = "" }, "commonName"},
		{"newline", "authentication", func(c *ca.Content) { c.CommonName = "Åsa\nÖström" }, "commonName"},
		{"NUL", "authentication", func(c *ca.Content) { c.CommonName = "Åsa\x00" }, "commonName"},
		{"no UTF-8", "officer", func(c *ca.Content) { *c = ca.Content{CommonName: "H\xe4ggstr\xf6m"} }, "commonName"},
		{"replacement character", "authentication", func(c *ca.Content) { c.Surname = "H\ufffdggström" }, "surname"},
		{"right to left", "authentication", func(c *ca.Content) { c.GivenName = "Åsa\u202e" }, "givenName"},
		{"zero width", "authentication", func(c *ca.Content) { c.GivenName = "Å\u200bsa" }, "givenName"},
		{"line separator", "authentication", func(c *ca.Content) { c.GivenName = "Åsa\u2028B" }, "givenName"},
		{"space first", "authentication", func(c *ca.Content) { c.GivenName = " Åsa" }, "givenName"},
		{"no-break space last", "authentication", func(c *ca.Content) { c.GivenName = "Åsa\u00a0" }, "givenName"},
		{"no-break space", "authentication", func(c *ca.Content) { c.CommonName = "Åsa\u00a0Öström" }, "commonName"},
		{"private use", "authentication", func(c *ca.Content) { c.CommonName = "Åsa\ue000" }, "commonName"},
		{"no serial number", "authentication", func(c *ca.Content) { c.SerialNumber = "" }, "serialNumber"},
		{"serial number not printable", "authentication", func(c *ca.Content) { c.SerialNumber = "SE2321000016-Å" }, "serialNumber"},
		{"serial number with asterisk", "authentication", func(c *ca.Content) { c.SerialNumber = "SE2321000016-*" }, "serialNumber"},
		{"no card number", "authentication", func(c *ca.Content) { c.CardNumber = "" }, "cardNumber"},
		{"short card number", "authentication", func(c *ca.Content) { c.CardNumber = "975226389011223344" }, "cardNumber"},
		{"foreign card number", "authentication", func(c *ca.Content) { c.CardNumber = "9753263890112233445" }, "cardNumber"},
		{"e-mail with å", "authentication", func(c *ca.Content) { c.Email = "åsa@example.se" }, "email"},
		{"e-mail without domain", "authentication", func(c *ca.Content) { c.Email = "asa" }, "email"},
		{"e-mail with two @", "authentication", func(c *ca.Content) { c.Email = "asa@b@example.se" }, "email"},
		{"e-mail with display name", "authentication", func(c *ca.Content) { c.Email = "Asa <asa@example.se>" }, "email"},
		{"e-mail with newline", "authentication", func(c *ca.Content) { c.Email = "asa@example.se\n" }, "email"},
		{"e-mail to one label", "authentication", func(c *ca.Content) { c.Email = "asa@localhost" }, "email"},
		{"long e-mail", "authentication", func(c *ca.Content) { c.Email = strings.Repeat("a", 65) + "@example.se" }, "email"},
		{"UPN without realm", "authentication", func(c *ca.Content) { c.UPN = "asa@" }, "upn"},
		{"UPN without user", "authentication", func(c *ca.Content) { c.UPN = "@ad.example.se" }, "upn"},
		{"UPN with space", "authentication", func(c *ca.Content) { c.UPN = "a sa@ad.example.se" }, "upn"},
		{"UPN with zero width space", "authentication", func(c *ca.Content) { c.UPN = "a\u200bsa@ad.example.se" }, "upn"},
		{"UPN with no-break space", "authentication", func(c *ca.Content) { c.UPN = "a\u00a0sa@ad.example.se" }, "upn"},
		{"UPN with replacement character", "authentication", func(c *ca.Content) { c.UPN = "\ufffdsa@ad.example.se" }, "upn"},
		{"UPN with two @", "authentication", func(c *ca.Content) { c.UPN = "asa@ad@example.se" }, "upn"},
		{"long UPN", "authentication", func(c *ca.Content) { c.UPN = strings.Repeat("å", 256) + "@b" }, "upn"},
		{"SID of another revision", "authentication", func(c *ca.Content) { c.SID = "S-2-5-21-1" }, "sid"},
		{"SID with leading zero", "authentication", func(c *ca.Content) { c.SID = "S-1-5-021-1" }, "sid"},
		{"SID past 32 bits", "authentication", func(c *ca.Content) { c.SID = "S-1-5-4294967296-1" }, "sid"},
		{"SID without parts", "authentication", func(c *ca.Content) { c.SID = "S-1-5" }, "sid"},
		{"SID with sign", "authentication", func(c *ca.Content) { c.SID = "S-1-5-+21-1" }, "sid"},
		{"no policy", "authentication", func(c *ca.Content) { c.PolicyOIDs = nil }, "policyOids"},
		{"unknown policy", "authentication", func(c *ca.Content) { c.PolicyOIDs = []string{"2.999.752.9.9"} }, "policyOids"},
		{"anyPolicy", "authentication", func(c *ca.Content) { c.PolicyOIDs = append(c.PolicyOIDs, "2.5.29.32.0") }, "policyOids"},
		{"two levels", "authentication", func(c *ca.Content) { c.PolicyOIDs = append(c.PolicyOIDs, "2.999.752.2.1") }, "policyOids"},
		{"policy twice", "authentication", func(c *ca.Content) { c.PolicyOIDs = append(c.PolicyOIDs, c.PolicyOIDs[0]) }, "policyOids"},
		{"DNS name for a person", "authentication", func(c *ca.Content) { c.DNSNames = []string{"example.se"} }, "dnsNames"},
		{"bad UPN, omitted", "signing", func(c *ca.Content) { c.UPN = "asa" }, "upn"},
		{"person on a transport certificate", "transport", func(c *ca.Content) {}, "surname"},
		{"other common name on a transport certificate", "transport", func(c *ca.Content) {
			*c = ca.Content{CommonName: "9752263890112233446", CardNumber: "9752263890112233445"}
		}, "commonName"},
		{"policy on a transport certificate", "transport", func(c *ca.Content) {
			*c = ca.Content{CommonName: "9752263890112233445", CardNumber: "9752263890112233445", PolicyOIDs: c.PolicyOIDs}
		}, "policyOids"},
		{"server without names", "server", func(c *ca.Content) { *c = server(); c.DNSNames = nil }, "dnsNames"},
		{"wildcard", "server", func(c *ca.Content) { *c = server(); c.DNSNames = []string{"*.example.se"} }, "dnsNames"},
		{"empty name", "server", func(c *ca.Content) { *c = server(); c.DNSNames = []string{"a", ""} }, "dnsNames"},
		{"one empty name", "server", func(c *ca.Content) { *c = server(); c.DNSNames = []string{""} }, "dnsNames"},
		{"address with zone", "server", func(c *ca.Content) { *c = server(); c.DNSNames = []string{"fe80::1%eth0"} }, "dnsNames"},
		{"name with å", "server", func(c *ca.Content) { *c = server(); c.DNSNames = []string{"kår.example.se"} }, "dnsNames"},
		{"name twice", "server", func(c *ca.Content) { *c = server(); c.DNSNames = []string{"a", "a"} }, "dnsNames"},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := asa()
			c.change(&content)
			_, err := i.Prepare(request(t, c.profile, content))
			if e, ok := errors.AsType[*ca.RequestError](err); !ok || e.Field != "content."+c.field {
				t.Errorf("error %v, want one about content.%s", err, c.field)
			}
		})
	}
}

func TestPrepareRefusesRequest(t *testing.T) {
	config := issuerConfig(t, "P-256")
	i := newIssuer(t, config)
	end := config.Certificate.NotAfter
	own := config.Certificate.PublicKey
	p521, p256 := newKey(t, "P-521").Public(), newKey(t, "P-256").Public().(*ecdsa.PublicKey)
	rsaKey := newKey(t, "RSA-2048").Public().(*rsa.PublicKey)
	for _, c := range []struct {
		name   string
		change func(*ca.Request)
		field  string
	}{
		{"profile unknown", func(r *ca.Request) { r.Profile = "gold" }, "profile"},
		{"CA profile", func(r *ca.Request) { r.Profile = "issuing-ca" }, "profile"},
		{"no key", func(r *ca.Request) { r.PublicKey = nil }, "key"},
		{"P-521", func(r *ca.Request) { r.PublicKey = p521 }, "key"},
		{"private key", func(r *ca.Request) { r.PublicKey = config.Signer }, "key"},
		{"nil P-256", func(r *ca.Request) { r.PublicKey = (*ecdsa.PublicKey)(nil) }, "key"},
		{"issuer's key", func(r *ca.Request) { r.PublicKey = own }, "key"},
		{"point off the curve", func(r *ca.Request) {
			//lint:ignore SA1019 a broken key can't be made otherwise
			r.PublicKey = &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(5), Y: p256.Y}
		}, "key"},
		{"short modulus", func(r *ca.Request) {
			r.PublicKey = &rsa.PublicKey{N: new(big.Int).Rsh(rsaKey.N, 1), E: 65537}
		}, "key"},
		{"long modulus", func(r *ca.Request) {
			r.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(rsaKey.N, 2049), E: 65537}
		}, "key"},
		{"exponent 3", func(r *ca.Request) { r.PublicKey = &rsa.PublicKey{N: rsaKey.N, E: 3} }, "key"},
		{"even exponent", func(r *ca.Request) { r.PublicKey = &rsa.PublicKey{N: rsaKey.N, E: 65538} }, "key"},
		{"no notBefore", func(r *ca.Request) { r.NotBefore = time.Time{} }, "notBefore"},
		{"backwards", func(r *ca.Request) { r.NotAfter = r.NotBefore.Add(-time.Second) }, "notAfter"},
		{"no time at all", func(r *ca.Request) { r.NotAfter = r.NotBefore }, "notAfter"},
		{"same second", func(r *ca.Request) { r.NotAfter = r.NotBefore.Add(time.Second - 1) }, "notAfter"},
		{"longer than the profile", func(r *ca.Request) { r.NotAfter = r.NotBefore.Add(1827*24*time.Hour + time.Second) }, "notAfter"},
		{"longer than the issuer", func(r *ca.Request) {
			r.NotBefore, r.NotAfter = end.AddDate(-1, 0, 0), end.Add(time.Second)
		}, "notAfter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(t, "authentication", asa())
			c.change(&r)
			_, err := i.Prepare(r)
			if e, ok := errors.AsType[*ca.RequestError](err); !ok || e.Field != c.field {
				t.Errorf("error %v, want one about %s", err, c.field)
			}
		})
	}
	// At the limits it is granted.
	r := request(t, "authentication", asa())
	r.NotBefore, r.NotAfter = end.AddDate(-1, 0, 0), end.Add(time.Second-1)
	if _, cert := issue(t, i, r); !cert.NotAfter.Equal(end) {
		t.Errorf("notAfter %v, want %v, cut to the second", cert.NotAfter, end)
	}
	r.NotBefore, r.NotAfter = issueTime, issueTime.Add(1827*24*time.Hour)
	if _, err := i.Prepare(r); err != nil {
		t.Error(err)
	}
}

// A subject equal to the issuer's would make the certificate look self-issued.
func TestPrepareRefusesOwnName(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	_, err := i.Prepare(request(t, "officer", ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "TEST Sigill Person HSA-id 3 CA v1"}))
	if _, ok := errors.AsType[*ca.RequestError](err); !ok {
		t.Errorf("error %v, want a RequestError", err)
	}
}

func TestFingerprintKey(t *testing.T) {
	key := newKey(t, "P-256").Public().(*ecdsa.PublicKey)
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(append([]byte("P-256"), raw[1:33]...))
	if got, err := ca.FingerprintKey(key); err != nil || got != want {
		t.Errorf("P-256: %x, %v, want %x", got, err, want)
	}
	// The negated point has the same x: who has one private key has both.
	//lint:ignore SA1019 this is what the test is about
	negated := &ecdsa.PublicKey{Curve: key.Curve, X: key.X, Y: new(big.Int).Sub(key.Params().P, key.Y)}
	if got, err := ca.FingerprintKey(negated); err != nil || got != want {
		t.Errorf("negated: %x, %v, want %x", got, err, want)
	}
	modulus := newKey(t, "RSA-2048").Public().(*rsa.PublicKey)
	want = sha256.Sum256(append([]byte("rsa"), modulus.N.Bytes()...))
	for _, e := range []int{3, 65537} {
		if got, err := ca.FingerprintKey(&rsa.PublicKey{N: modulus.N, E: e}); err != nil || got != want {
			t.Errorf("RSA with exponent %d: %x, %v, want %x", e, got, err, want)
		}
	}
	for _, bad := range []crypto.PublicKey{nil, newKey(t, "P-521").Public(), &rsa.PublicKey{}, (*ecdsa.PublicKey)(nil)} {
		if _, err := ca.FingerprintKey(bad); err == nil {
			t.Errorf("%T has a fingerprint", bad)
		}
	}
}

func TestCATemplate(t *testing.T) {
	all, err := profiles.Default()
	if err != nil {
		t.Fatal(err)
	}
	name := ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "TEST Sigill Person HSA-id 3 CA v1"}
	good := ca.CARequest{Content: name, NotBefore: issueTime, CRLURL: "http://a/crl/root/full.crl", IssuerURL: "http://a/aia/root.cer"}
	one, err := ca.CATemplate(all["issuing-ca"], good)
	if err != nil {
		t.Fatal(err)
	}
	two, err := ca.CATemplate(all["issuing-ca"], good)
	if err != nil {
		t.Fatal(err)
	}
	if one == two || one.SerialNumber.Cmp(two.SerialNumber) == 0 {
		t.Error("two templates are one")
	}
	if _, ok := ca.SerialOf(one.SerialNumber); !ok {
		t.Errorf("serial %x is not one of ours", one.SerialNumber)
	}
	if !one.IsCA || !one.BasicConstraintsValid || one.MaxPathLen != 0 || !one.MaxPathLenZero ||
		one.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !one.NotAfter.Equal(issueTime.Add(3653*24*time.Hour)) ||
		!slices.Equal(one.CRLDistributionPoints, []string{good.CRLURL}) || !slices.Equal(one.IssuingCertificateURL, []string{good.IssuerURL}) {
		t.Errorf("template %+v", one)
	}
	for _, c := range []struct {
		name    string
		profile ca.ProfileName
		change  func(*ca.CARequest)
	}{
		{"not a CA's profile", "officer", func(r *ca.CARequest) {}},
		{"no parent's CRL", "issuing-ca", func(r *ca.CARequest) { r.CRLURL = "" }},
		{"root with a CRL", "root-ca", func(r *ca.CARequest) {}},
		{"too long", "issuing-ca", func(r *ca.CARequest) { r.NotAfter = issueTime.AddDate(11, 0, 0) }},
		{"card number", "issuing-ca", func(r *ca.CARequest) { r.Content.CardNumber = "9752263890112233445" }},
		{"weak key", "issuing-ca", func(r *ca.CARequest) { r.PublicKey = newKey(t, "P-521").Public() }},
	} {
		r := good
		c.change(&r)
		if _, err := ca.CATemplate(all[c.profile], r); err == nil {
			t.Errorf("%s: granted", c.name)
		}
	}
}

func TestSubjectKeyIdentifiers(t *testing.T) {
	config := issuerConfig(t, "P-256")
	_, cert := issue(t, newIssuer(t, config), request(t, "officer", ca.Content{CommonName: "Officer 1"}))
	if !bytes.Equal(cert.AuthorityKeyId, config.Certificate.SubjectKeyId) {
		t.Errorf("authority key id %x, want %x", cert.AuthorityKeyId, config.Certificate.SubjectKeyId)
	}
	raw, err := cert.PublicKey.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(raw); !bytes.Equal(cert.SubjectKeyId, want[:20]) {
		t.Errorf("subject key id %x, want %x", cert.SubjectKeyId, want[:20])
	}
}
