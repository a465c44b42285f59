package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/checkpoint"
	"sigill/internal/keys"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
	"sigill/revocation"
	"sigill/revocation/logged"
	data "sigill/testdata/demo"
)

func corrected() []byte { return data.Corrected }

func fingerprint(der []byte) string {
	return hex.EncodeToString(func() []byte { s := sha256.Sum256(der); return s[:] }())
}

// status is what a relying party is told.
type status struct {
	ocsp   int
	reason int
	text   string
}

var (
	good       = status{ocsp.Good, 0, "good"}
	superseded = status{ocsp.Revoked, int(ca.Superseded), "revoked, superseded"}
	unknown    = status{ocsp.Unknown, 0, "unknown"}
)

// fetch is a relying party's HTTP: short, bounded, no redirects.
func fetch(ctx context.Context, method, address, kind string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected") }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", address, resp.Status)
	}
	return b, err
}

func get(ctx context.Context, address string) ([]byte, error) {
	return fetch(ctx, "GET", address, "", nil)
}

// issuerOf returns the CA that issued a certificate.
func (d *demo) issuerOf(c *x509.Certificate) (*x509.Certificate, error) {
	for _, each := range d.h.Issuers {
		if bytes.Equal(each.Certificate.RawSubject, c.RawIssuer) {
			return each.Certificate, nil
		}
	}
	return nil, fmt.Errorf("no CA of this hierarchy issued %s", c.Subject)
}

// ask asks OCSP at the address that the certificate itself names.
func (d *demo) ask(der []byte) (*ocsp.Response, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	issuer, err := d.issuerOf(c)
	if err != nil {
		return nil, err
	}
	address := d.at.Status + "/ocsp"
	if len(c.OCSPServer) > 0 {
		address = c.OCSPServer[0]
	}
	request, err := ocsp.CreateRequest(c, issuer, nil)
	if err != nil {
		return nil, err
	}
	b, err := fetch(d.ctx, "POST", address, "application/ocsp-request", request)
	if err != nil {
		return nil, err
	}
	return ocsp.ParseResponseForCert(b, c, issuer)
}

// expectStatus asks OCSP and tells the answer; another than expected is an error.
func (d *demo) expectStatus(what string, der []byte, want status) error {
	r, err := d.ask(der)
	if err != nil {
		return fmt.Errorf("OCSP for %s: %w", what, err)
	}
	if err := expect(r.Status == want.ocsp && (want.ocsp != ocsp.Revoked || r.RevocationReason == want.reason),
		"OCSP says status %d, reason %d of %s, not %s", r.Status, r.RevocationReason, what, want.text); err != nil {
		return err
	}
	d.fact("OCSP says of %s: %s", what, want.text)
	return nil
}

// expectRevoked: revoked for whatever reason.
func (d *demo) expectRevoked(what string, der []byte) error {
	r, err := d.ask(der)
	if err != nil {
		return fmt.Errorf("OCSP for %s: %w", what, err)
	}
	if err := expect(r.Status == ocsp.Revoked, "OCSP says status %d of %s", r.Status, what); err != nil {
		return err
	}
	d.fact("OCSP says of %s: revoked, %s", what, ca.Reason(r.RevocationReason))
	return nil
}

// relyingParties: what everybody else sees.
func (d *demo) relyingParties() error {
	d.begin("Relying parties: OCSP, CRL, and other people's programs")
	if err := d.expectStatus("the new certificate "+d.new.Serial, d.new.DER, good); err != nil {
		return err
	}
	if err := d.expectStatus("the old certificate "+d.old.Serial, d.old.DER, superseded); err != nil {
		return err
	}
	if err := d.neverIssued(); err != nil {
		return err
	}
	if err := d.onCRL(); err != nil {
		return err
	}
	if err := d.verified(); err != nil {
		return err
	}
	return d.openssl()
}

// neverIssued asks for a serial that was drawn just now.
func (d *demo) neverIssued() error {
	c, err := x509.ParseCertificate(d.new.DER)
	if err != nil {
		return err
	}
	issuer, err := d.issuerOf(c)
	if err != nil {
		return err
	}
	serial := ca.NewSerial()
	c.SerialNumber = serial.Int()
	request, err := ocsp.CreateRequest(c, issuer, nil)
	if err != nil {
		return err
	}
	b, err := fetch(d.ctx, "POST", d.at.Status+"/ocsp", "application/ocsp-request", request)
	if err != nil {
		return err
	}
	r, err := ocsp.ParseResponseForCert(b, c, issuer)
	if err != nil {
		return err
	}
	if err := expect(r.Status == unknown.ocsp, "OCSP says status %d of a serial never issued", r.Status); err != nil {
		return err
	}
	d.fact("OCSP says of %s, a serial never issued: unknown", serial)
	return nil
}

// onCRL waits until the partition that the old certificate names lists it: a new
// one is out within a second or two.
func (d *demo) onCRL() error {
	c, err := x509.ParseCertificate(d.old.DER)
	if err != nil {
		return err
	}
	issuer, err := d.issuerOf(c)
	if err != nil {
		return err
	}
	address := c.CRLDistributionPoints[0]
	ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		der, err := get(ctx, address)
		if err != nil {
			return err
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		if err := list.CheckSignatureFrom(issuer); err != nil {
			return err
		}
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(c.SerialNumber) == 0 && e.ReasonCode == int(ca.Superseded) {
				d.fact("the CRL partition that it names, number %v, lists it as superseded\n(%s)", list.Number, address)
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s, number %v, does not list %s", address, list.Number, d.old.Serial)
		case <-tick.C:
		}
	}
}

// verified asks Sigill's own verifier, which reads with other code than what
// writes.
func (d *demo) verified() error {
	logs, err := d.knownLogs()
	if err != nil {
		return err
	}
	v := &revocation.Verifier{Roots: []*x509.Certificate{d.root}, Fetch: get, Now: time.Now, Skew: time.Minute,
		Logs: logs, AskLogs: true, Demand: revocation.Demand{Log: logged.DemandSCT}}
	for _, each := range []struct {
		der  []byte
		want revocation.Status
	}{{d.new.DER, revocation.Good}, {d.old.DER, revocation.Revoked}} {
		c, err := x509.ParseCertificate(each.der)
		if err != nil {
			return err
		}
		issuer, err := d.issuerOf(c)
		if err != nil {
			return err
		}
		got := v.Verify(d.ctx, c, issuer)
		if err := expect(got.Status == each.want, "verifier says %s:\n%v", got.Status, got.Steps); err != nil {
			return err
		}
		if err := expect(got.Log.State == logged.Included, "verifier says of the log: %s:\n%v", got.Log, got.Steps); err != nil {
			return err
		}
	}
	d.fact("a verifier that checks the whole chain, the root's CRL too, agrees on both")
	d.fact("both carry the log's promise, and the log proves that both are in it; that it shows others no other history, only witnesses could say")
	return nil
}

// knownLogs is what a relying party has configured: the name and the public key of the
// log of certificates.
func (d *demo) knownLogs() (*logged.Judge, error) {
	logs, err := keys.LoadLogs(d.Dir)
	if err != nil {
		return nil, err
	}
	log, err := checkpoint.ReadLog(logs.Certificates.Origin, logs.Certificates.PEM())
	if err != nil {
		return nil, err
	}
	return logged.New(logged.Config{Logs: []logged.Log{{Log: log}}})
}

// openssl asks the program that everybody has, if it is here.
func (d *demo) openssl() error {
	program, err := exec.LookPath("openssl")
	if err != nil {
		d.tell("openssl is not installed here, so it was not asked")
		return nil
	}
	dir, err := os.MkdirTemp("", "sigill-demo-openssl-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, each := range []struct {
		what string
		der  []byte
		want string
	}{{"new", d.new.DER, ": good"}, {"old", d.old.DER, ": revoked"}} {
		c, err := x509.ParseCertificate(each.der)
		if err != nil {
			return err
		}
		issuer, err := d.issuerOf(c)
		if err != nil {
			return err
		}
		for name, der := range map[string][]byte{"cert": each.der, "issuer": issuer.Raw, "root": d.root.Raw} {
			if err := writePEM(filepath.Join(dir, name+".pem"), der); err != nil {
				return err
			}
		}
		out, err := exec.CommandContext(d.ctx, program, "ocsp", "-issuer", filepath.Join(dir, "issuer.pem"), "-cert", filepath.Join(dir, "cert.pem"),
			"-url", c.OCSPServer[0], "-CAfile", filepath.Join(dir, "root.pem"), "-no_nonce").CombinedOutput()
		if err != nil {
			return fmt.Errorf("openssl ocsp: %w\n%s", err, out)
		}
		if err := expect(bytes.Contains(out, []byte(each.want)) && bytes.Contains(out, []byte("Response verify OK")), "openssl says of the %s certificate:\n%s", each.what, out); err != nil {
			return err
		}
	}
	d.fact("openssl ocsp agrees on both: good, revoked")
	return nil
}

func writePEM(path string, ders ...[]byte) error {
	var b bytes.Buffer
	for _, der := range ders {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// callInto makes one request with a certificate on a card and reads the answer.
func (d *demo) callInto(card token.Card, fp, method, path string, body, out any) error {
	b, err := d.call(card, fp, method, path, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

// call makes one request over a connection of its own, with the authentication
// certificate fp of a card (the only one, if fp is empty; the transport
// certificate, if there is none).
func (d *demo) call(card token.Card, fp, method, path string, body any) ([]byte, error) {
	objects, err := card.Objects(d.ctx)
	if err != nil {
		return nil, err
	}
	var with *tls.Certificate
	for _, o := range objects {
		if len(o.Certificate) == 0 || fp != "" && fingerprint(o.Certificate) != fp || fp == "" && o.Slot == policy.Signing {
			continue // what signs does not log in
		}
		key, err := card.Signer(d.ctx, o.ID)
		if err != nil {
			return nil, err
		}
		with = &tls.Certificate{Certificate: [][]byte{o.Certificate}, PrivateKey: key}
	}
	if with == nil {
		return nil, fmt.Errorf("the card has no certificate %s", fp)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*with}}}}
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(d.ctx, method, d.at.Card+path, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Language", "en")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode == http.StatusOK {
		return b, err
	}
	var p wire.Problem
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%s without a problem document: %s", resp.Status, b)
	}
	return nil, &p
}

// keep writes what somebody who looks around wants to find.
func (d *demo) keep() error {
	dir := filepath.Join(d.Dir, "certificates")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	chain := [][]byte{}
	name := func(cn string) string { return strings.ReplaceAll(strings.ToLower(cn), " ", "-") + ".pem" }
	for _, each := range append([]keys.CA{d.h.Root}, d.h.Issuers...) {
		if err := writePEM(filepath.Join(dir, name(each.Certificate.Subject.CommonName)), each.Certificate.Raw); err != nil {
			return err
		}
		chain = append(chain, each.Certificate.Raw)
	}
	if err := writePEM(filepath.Join(dir, "chain.pem"), chain...); err != nil {
		return err
	}
	for _, p := range []*person{d.admins[0], d.admins[1], d.åsa, d.göran, d.märta} {
		objects, err := p.card.Objects(d.ctx)
		if err != nil {
			return err
		}
		for _, o := range objects {
			file := fmt.Sprintf("%s %s.pem", p.name, o.Slot)
			if err := writePEM(filepath.Join(dir, name(strings.TrimSuffix(file, ".pem"))), o.Certificate); err != nil {
				return err
			}
		}
	}
	if err := writePEM(filepath.Join(dir, name(d.åsa.name+" authentication superseded")), d.old.DER); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.Dir, "README.txt"), []byte(d.guide()), 0o644)
}

// guide tells how to look around.
func (d *demo) guide() string {
	åsa := strings.ReplaceAll(strings.ToLower(d.åsa.name), " ", "-")
	return fmt.Sprintf(`What the demo left in this directory

certificates/   every certificate as PEM under a telling name; chain.pem: the CAs
public/         what relying parties fetch: crl/<issuer>/<partition>.crl, aia/<issuer>.cer
cards/          the cards made of software; PIN1 %s, PIN2 %s
bureau/         the key of the bureau that made the cards, for more of them
officers/       the two officers' cards of the bootstrap (closed for ever)
root/           the root's key, which in production is taken offline
sigill.yaml     the configuration, every key explained
serve.log       what the service logged

Serve it again:   sigill serve --dir THIS
Examine it:       sigill doctor --dir THIS
                  sigill audit verify --dir THIS

While it is served, ask OCSP (here for the superseded certificate):
  openssl ocsp -no_nonce -CAfile certificates/test-sigill-root-ca-v1.pem \
    -issuer certificates/test-sigill-person-hsa-id-3-ca-v1.pem \
    -cert certificates/%s-authentication-superseded.pem -url %s/ocsp

Be a holder, and an administrator:
  sigill-card --card soft:cards/%s.json --server %s --ca certificates/test-sigill-root-ca-v1.pem login
  sigill order list --identity soft:cards/%s.json --server %s --ca certificates/test-sigill-root-ca-v1.pem --org %s
`, pin1, pin2, åsa, d.at.Status, d.åsa.number, d.at.Card, d.admins[0].number, d.at.Card, d.org)
}

// lookAround tells where everything is while the service goes on.
func (d *demo) lookAround() {
	fmt.Fprintf(d.out, "\nThe service goes on until Ctrl-C. Look around:\n\n%s\n", d.guide())
}
