package main

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/checkpoint"
	"sigill/internal/revtest"
	"sigill/revocation/logged"
	"sigill/revocation/read"
)

// exampleLoA3 is what the built-in profile calls ordinary/3.
const exampleLoA3 = "2.999.752.3.1"

// party is an issuer's side with certificates of now: root, CA, a holder, and a
// server that tells their status.
type party struct {
	t                          *testing.T
	dir                        string
	root, issuer, delegate     revtest.Authority
	holder                     *x509.Certificate
	server                     *httptest.Server
	revoked                    *crl.Revoked
	proofAt                    string // path of the proof, below any prefix
	proof                      []byte // none: 404
	rootFile, caFile, leafFile string
}

func newParty(t *testing.T, holderPolicy string) *party {
	t.Helper()
	p := &party{t: t, dir: t.TempDir()}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	now := time.Now()
	template := func(cn string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: ca.NewSerial().Int(), Subject: pkix.Name{CommonName: cn}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour)}
	}
	asCA := func(c *x509.Certificate) *x509.Certificate {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		return c
	}
	p.root.Key, p.issuer.Key, p.delegate.Key = revtest.NewKey(t), revtest.NewKey(t), revtest.NewKey(t)
	root := asCA(template("TEST root"))
	p.root.Cert = revtest.Sign(t, root, root, p.root.Key.Public(), p.root.Key)
	issuer := asCA(template("TEST person CA"))
	issuer.CRLDistributionPoints = []string{p.server.URL + "/root.crl"}
	p.issuer.Cert = revtest.Sign(t, issuer, p.root.Cert, p.issuer.Key.Public(), p.root.Key)
	delegate := template("TEST OCSP")
	delegate.KeyUsage, delegate.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	delegate.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
	p.delegate.Cert = revtest.Sign(t, delegate, p.issuer.Cert, p.delegate.Key.Public(), p.issuer.Key)
	leaf := template("Åsa Öberg\nverdict:     GOOD")
	leaf.Subject.SerialNumber = "SE2321000016-A1"
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	oid, err := x509.ParseOID(holderPolicy)
	if err != nil {
		t.Fatal(err)
	}
	leaf.Policies = []x509.OID{oid}
	leaf.IssuingCertificateURL = []string{p.server.URL + "/ca.cer"}
	leaf.OCSPServer, leaf.CRLDistributionPoints = []string{p.server.URL + "/ocsp"}, []string{p.server.URL + "/0.crl"}
	p.holder = revtest.Sign(t, leaf, p.issuer.Cert, revtest.NewKey(t).Public(), p.issuer.Key)
	p.rootFile, p.caFile, p.leafFile = p.pem("root.pem", p.root.Cert), p.pem("ca.pem", p.issuer.Cert), p.pem("leaf.pem", p.holder)
	return p
}

func (p *party) pem(name string, cert *x509.Certificate) string {
	return p.file(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func (p *party) file(name string, b []byte) string {
	p.t.Helper()
	name = filepath.Join(p.dir, name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return name
}

// list is the CRL of the root, or of the partition.
func (p *party) list(root bool) []byte {
	now := time.Now()
	l := crl.List{Number: 1, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	if root {
		return p.root.CRL(p.t, l)
	}
	l.DistributionPoint = p.server.URL + "/0.crl"
	if p.revoked != nil {
		l.Entries = []crl.Revoked{*p.revoked}
	}
	return p.issuer.CRL(p.t, l)
}

// answer is what OCSP says of the holder's certificate.
func (p *party) answer(request []byte) []byte {
	r, err := ca.ParseOCSPRequest(request)
	if err != nil {
		return ca.OCSPError(ca.OCSPMalformedRequest)
	}
	responder, err := ca.NewResponder(p.issuer.Cert, p.delegate.Cert, p.delegate.Key)
	if err != nil {
		p.t.Error(err)
		return nil
	}
	single := ca.OCSPSingle{ID: r.CertIDs[0], Status: ca.OCSPGood}
	if p.revoked != nil {
		single.Status, single.At, single.Reason = ca.OCSPRevoked, p.revoked.At, p.revoked.Reason
	}
	now := time.Now()
	der, _, err := responder.SignOCSP(ca.OCSPAnswer{ProducedAt: now, ThisUpdate: now.Add(-5 * time.Minute), NextUpdate: now.Add(time.Hour), Singles: []ca.OCSPSingle{single}, Nonce: r.Nonce})
	if err != nil {
		p.t.Error(err)
	}
	return der
}

func (p *party) serve(w http.ResponseWriter, r *http.Request) {
	switch text, ok := strings.CutPrefix(r.URL.EscapedPath(), "/ocsp/"); {
	case ok:
		text, err := url.PathUnescape(text)
		if err != nil {
			p.t.Error(err)
		}
		request, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			p.t.Error(err)
		}
		w.Write(p.answer(request))
	case p.proofAt != "" && strings.HasSuffix(r.URL.Path, strings.TrimPrefix(p.proofAt, "/log/certificates")):
		if p.proof == nil {
			http.NotFound(w, r)
			return
		}
		w.Write(p.proof)
	case r.URL.Path == "/ca.cer":
		w.Write(p.issuer.Cert.Raw)
	case r.URL.Path == "/root.crl":
		w.Write(p.list(true))
	default:
		w.Write(p.list(false))
	}
}

// verify runs sigill verify on the holder's certificate.
func (p *party) verify(flags ...string) outcome {
	p.t.Helper()
	return program(p.t, "", append([]string{"verify", p.leafFile, "--lang", "en", "--issuer", p.caFile}, flags...)...)
}

func (p *party) want(flags []string, code int, says ...string) outcome {
	p.t.Helper()
	got := p.verify(flags...)
	if got.code != code {
		p.t.Errorf("%q: exit %d, want %d\n%s%s", flags, got.code, code, got.out, got.err)
	}
	for _, each := range says {
		if !strings.Contains(got.out+got.err, each) {
			p.t.Errorf("%q does not say %q:\n%s%s", flags, each, got.out, got.err)
		}
	}
	return got
}

func TestVerifyCommand(t *testing.T) {
	p := newParty(t, exampleLoA3)
	roots := []string{"--roots", p.rootFile}
	with := func(more ...string) []string { return append(roots[:1:1], append([]string{p.rootFile}, more...)...) }
	p.want(roots, 0, "OCSP for the certificate", "The certificate is good.", "3 ordinary")
	p.want(with("--min-loa", "3", "--kind", "hsa-id", "--purpose", "login", "--policy", exampleLoA3, "--nonce"), 0)
	p.want(with("--min-loa", "4"), 1, "The level of assurance is too low.")
	p.want(with("--loa", exampleLoA3+"=2", "--min-loa", "3"), 1, "too low")
	p.want(with("--kind", "person-number"), 1, "another kind of identifier")
	p.want(with("--purpose", "signature"), 1, "another purpose")
	p.want(with("--policy", "1.2.3"), 1, "policy")
	p.want(with("--crl-only"), 0, "CRL for the certificate")
	p.want(with("--ocsp-only"), 0, "OCSP for the certificate")
	p.want(with("--at", time.Now().Add(-time.Hour).Format(time.RFC3339)), 0, "was not revoked then")
	p.want(with("--at", time.Now().Add(-72*time.Hour).Format(time.RFC3339)), 1, "not valid yet")
	for _, wrong := range [][]string{{"--loa", "x=3"}, {"--loa", "1.2.3"}, {"--at", "yesterday"}, {"--ocsp-only", "--crl-only"},
		{"--ocsp-only", "--crl", p.leafFile}, {"--policy", "x"}, {"--fail", "soft"}, {"--kind", "card"}, {"--trust", p.rootFile + ",1.2=x"}} {
		p.want(with(wrong...), 2)
	}
	p.want(nil, 2, "--roots")
	alone := []string{"verify", p.leafFile, "--roots", p.rootFile, "--lang", "en"}
	if got := program(t, "", alone...); got.code != 1 || !strings.Contains(got.out, p.server.URL+"/ca.cer") {
		t.Errorf("without the issuer's certificate: %+v", got)
	}
	if got := program(t, "", append(alone, "--aia")...); got.code != 0 {
		t.Errorf("with the issuer's certificate fetched: %+v", got)
	}
	p.revoked = &crl.Revoked{Serial: ca.Serial(p.holder.SerialNumber.FillBytes(make([]byte, 16))), At: time.Now().Add(-30 * time.Minute), Reason: ca.KeyCompromise}
	p.want(roots, 1, "The certificate is revoked.", "keyCompromise")
	p.want(with("--crl-only"), 1, "The certificate is revoked.")
	p.want(with("--at", time.Now().Add(-time.Hour).Format(time.RFC3339)), 0, "was not revoked before")
	if got := p.verify("--roots", p.rootFile, "--lang", "sv"); got.code != 1 || !strings.Contains(got.out, "Certifikatet är spärrat. Det spärrades") {
		t.Errorf("in Swedish: %+v", got)
	}
}

// The status service is down: refused, or let pass and said so; lists and answers
// at hand serve without it.
func TestVerifyCommandOffline(t *testing.T) {
	p := newParty(t, exampleLoA3)
	lists := []string{"--crl", p.file("root.crl", p.list(true)), "--crl", p.file("0.crl", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: p.list(false)}))}
	request := p.want([]string{"--roots", p.rootFile, "--json"}, 0)
	var told verdict
	if err := json.Unmarshal([]byte(request.out), &told); err != nil {
		t.Fatal(err)
	}
	if told.Status != "good" || told.Source != "ocsp" || told.Level != 3 || told.Kind != "hsa-id" || told.Identifier != "SE2321000016-A1" || len(told.Chain) != 3 || len(told.Exchanges) != 2 {
		t.Errorf("%+v", told)
	}
	p.server.Close()
	p.want([]string{"--roots", p.rootFile}, 1, "The status service could not be reached.")
	p.want([]string{"--roots", p.rootFile, "--fail", "open"}, 0, "was let pass although its status could not be had", "connection refused")
	p.want(append([]string{"--roots", p.rootFile}, lists...), 0, "CRL for the certificate", "good")
	p.want(append([]string{"--roots", p.rootFile}, lists[:2]...), 1, "nothing is fetched here")
	p.revoked = &crl.Revoked{Serial: ca.Serial(p.holder.SerialNumber.FillBytes(make([]byte, 16))), At: time.Now(), Reason: ca.Superseded}
	lists[3] = p.file("1.crl", p.list(false))
	p.want(append([]string{"--roots", p.rootFile, "--fail", "open"}, lists...), 1, "revoked")
}

// A stapled answer spares the question.
func TestVerifyCommandStapled(t *testing.T) {
	p := newParty(t, exampleLoA3)
	request := requestOf(t, p.holder, p.issuer.Cert)
	staple := p.file("staple.der", p.answer(request))
	p.want([]string{"--roots", p.rootFile, "--stapled", staple}, 0, "OCSP for the certificate, serial", "as presented: good")
	p.want([]string{"--roots", p.rootFile, "--stapled", p.leafFile}, 0, "as presented: no answer")
	p.want([]string{"--roots", p.rootFile, "--stapled", staple, "--max-age", "30m"}, 0, "as presented: good")
	p.want([]string{"--roots", p.rootFile, "--stapled", staple, "--nonce"}, 0, "as presented: no answer: a nonce is demanded")
	// A list in the place of an answer may be no older either; it is an hour old.
	p.want([]string{"--roots", p.rootFile, "--crl-only", "--max-age", "30m"}, 1, "more than the 30m0s that are accepted")
	p.want([]string{"--roots", p.rootFile, "--crl-only", "--max-age", "2h"}, 0, "good")
}

// Another organisation's root is trusted beside our own, with its own OIDs.
func TestVerifyCommandTrust(t *testing.T) {
	own, other := newParty(t, exampleLoA3), newParty(t, "1.2.752.74.8.512")
	other.want([]string{"--roots", own.rootFile}, 1, "issuer is not trusted here")
	trust := []string{"--roots", own.rootFile, "--trust", other.rootFile + ",1.2.752.74.8.512=3", "--min-loa", "3"}
	other.want(trust, 0, "good")
	own.want(trust, 0, "good")
	// The OID that is a level below our own root is none below theirs.
	forged := newParty(t, exampleLoA3)
	forged.want([]string{"--roots", own.rootFile, "--trust", forged.rootFile + ",1.2.752.74.8.512=3", "--min-loa", "3"}, 1, "too low")
}

func TestVerifyCommandTranscript(t *testing.T) {
	p := newParty(t, exampleLoA3)
	got := p.want([]string{"--roots", p.rootFile, "--transcript"}, 0, "subject:", "Åsa Öberg", "issuer:      CN=TEST person CA", "level:       3 ordinary", "our clock:",
		"asked        "+p.server.URL+"/ocsp", "made at", "by its clock", "this update", "next update", "signed by    \"TEST OCSP\"", "list         number 1, 0 entries, for all certificates",
		"log:         absent", "verdict:     GOOD. The certificate is good.", "next:        Nothing.")
	// A name cannot write a verdict of its own.
	if n := strings.Count(got.out, "\nverdict:"); n != 1 {
		t.Errorf("%d verdicts:\n%s", n, got.out)
	}
	got = p.want([]string{"--roots", p.rootFile, "--transcript", "--no-subject"}, 0, "serial:")
	if strings.Contains(got.out, "Åsa") || strings.Contains(got.out, "SE2321000016") {
		t.Errorf("it names the holder:\n%s", got.out)
	}
	if got := p.want([]string{"--roots", p.rootFile, "--json", "--no-subject"}, 0); strings.Contains(got.out, "SE2321000016") {
		t.Errorf("it names the holder:\n%s", got.out)
	}
	p.server.Close()
	p.want([]string{"--roots", p.rootFile, "--transcript"}, 1, "verdict:     UNKNOWN. The status service could not be reached.", "next:        Holder: try again in a while.")
}

// logs gives the holder's certificate a timestamp of a log, whose proofs the server
// tells, and returns the log and the flags that name it and its witness.
func (p *party) logs() (l *revtest.Log, witness *checkpoint.Cosigner, flags []string) {
	p.t.Helper()
	origin := strings.TrimPrefix(p.server.URL, "http://") + "/log/certificates"
	l, witness = revtest.NewLog(p.t, origin), revtest.NewCosigner(p.t, "witness.example/w1")
	pre := revtest.PreCert{TBS: p.holder.RawTBSCertificate, Issuer: p.issuer.Cert, At: time.Now().Add(-time.Minute)}
	p.holder = revtest.Embed(p.t, p.holder, p.issuer.Key, revtest.SCTList(p.t, revtest.Octets(p.t, l.SCT(pre))))
	p.leafFile = p.pem("leaf.pem", p.holder)
	leaf := pre.Leaf(p.t)
	l.Add(leaf)
	p.proofAt = "/log/certificates/proof/" + hex.EncodeToString(leaf[:])
	return l, witness, []string{"--roots", p.rootFile, "--log", origin + "=" + p.file("log.pem", l.PublicKey()), "--witness", witness.Witness().String()}
}

// A promise is told apart from a proof, which comes along or is fetched, and either can
// be demanded.
func TestVerifyCommandLogged(t *testing.T) {
	p := newParty(t, exampleLoA3)
	l, witness, flags := p.logs()
	with := func(more ...string) []string { return append(flags[:len(flags):len(flags)], more...) }
	alone, cosigned := l.Proof(0, l.Head(time.Now())), l.Proof(0, l.Head(time.Now(), witness))
	p.want([]string{"--roots", p.rootFile}, 0, "no log is known here")
	p.want(with(), 0, "to show the certificate; that it does is not proved", p.proofAt, "The certificate is good.")
	p.want(with("--require", "sct"), 0, "The certificate is good.")
	p.want(with("--require", "logged"), 1, "It is not proved that the certificate is in a transparency log that witnesses watch.")
	p.proof = alone
	p.want(with("--require", "logged"), 1, "included, not witnessed", "0 of the 1 witnesses")
	p.proof = cosigned
	p.want(with("--require", "logged"), 0, "logged: entry 0 of 1", "cosigned by witness.example/w1 (proof fetched)")
	p.want(with("--require", "logged", "--transcript"), 0, "log:         logged (", "asked        "+p.server.URL+p.proofAt, "verdict:     GOOD.")
	p.want(with("--require", "logged", "--lang", "sv", "--witnesses", "1"), 0, "Certifikatet är giltigt.")
	p.proof = nil
	p.want(with("--require", "logged", "--proof", p.file("proof", cosigned)), 0, "(proof presented)")
	p.want(with("--require", "logged", "--proof", p.leafFile), 1, "the proof that came along")
	// A log that the certificate has no timestamp of proves nothing of it.
	stranger := p.file("stranger.pem", revtest.NewLog(t, "stranger.example/log").PublicKey())
	p.want([]string{"--roots", p.rootFile, "--log", "stranger.example/log=" + stranger, "--require", "sct"}, 1, "No transparency log that is known here has promised to show the certificate.")
	// A log may tell its proofs elsewhere.
	p.proof = cosigned
	p.want([]string{"--roots", p.rootFile, "--log", flags[3] + "," + p.server.URL + "/else/", "--witness", flags[5], "--transcript"}, 0, p.server.URL+"/else/proof/")
	// The list alone judges, and a proof that came along; nothing is fetched.
	lists := []string{"--crl", p.file("root.crl", p.list(true)), "--crl", p.file("0.crl", p.list(false)), "--require", "logged"}
	p.want(with(lists...), 1, "no proof came along, and none was fetched")
	p.want(with(append(lists, "--proof", p.file("proof", cosigned))...), 0, "good")

	var told verdict
	if err := json.Unmarshal([]byte(p.want(with("--json"), 0).out), &told); err != nil {
		t.Fatal(err)
	}
	if told.Log.State != logged.Logged || len(told.Log.Promises) != 1 || told.Log.Promises[0].Log != l.Origin() ||
		told.Log.Promises[0].Inclusion == nil || told.Log.Promises[0].Inclusion.Witnesses[0] != "witness.example/w1" {
		t.Errorf("%+v", told.Log)
	}
	for _, wrong := range [][]string{{"--log", "x"}, {"--log", "x="}, {"--log", "a b=" + stranger}, {"--witness", "x"}, {"--witness", flags[5]}, {"--witnesses", "2"}, {"--require", "all"}, {"--log", flags[3]}} {
		p.want(with(wrong...), 2)
	}
	p.want([]string{"--roots", p.rootFile, "--require", "sct"}, 2, "wants a --log")
	p.want(flags[:4:4], 0)
	p.want(append(flags[:4:4], "--require", "logged"), 2, "wants a --witness")
	p.want(append(flags[:2:2], "--log", "x="+p.leafFile), 2, "--log: ")
	p.want(append(flags[:2:2], "--log", "x=none.pem"), 1, "none.pem")
}

func requestOf(t *testing.T, cert, issuer *x509.Certificate) []byte {
	t.Helper()
	der, err := read.Request(cert, issuer, crypto.SHA256, nil)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
