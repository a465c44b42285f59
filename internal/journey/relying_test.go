//go:build unix && cgo

package journey

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/stage"
)

// writePEM writes a certificate into a file of the test's own.
func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// issuerFile is the CA of the holders' certificates here.
func (p *played) issuerFile() string {
	return filepath.Join(p.Dir, "certificates", "test-sigill-person-hsa-id-3-ca-v1.pem")
}

// ocsp asks the address in the certificate by openssl, which must accept the
// answer's signer, and say status.
func (p *played) ocsp(cert *x509.Certificate, status ...string) {
	p.t.Helper()
	o := stage.Run(p.t, stage.Command(stage.Need(p.t, "openssl", "openssl"), "ocsp", "-no_nonce", "-CAfile", p.RootFile, "-issuer", p.issuerFile(),
		"-cert", writePEM(p.t, "CERTIFICATE", cert.Raw), "-url", cert.OCSPServer[0])).Want(p.t, 0, "openssl ocsp")
	stage.Says(p.t, "openssl ocsp", o.Err, "Response verify OK")
	stage.Says(p.t, "openssl ocsp", o.Out, status...)
}

// download is a relying party's GET.
func (p *played) download(address string) []byte {
	p.t.Helper()
	resp, err := http.Get(address)
	p.Must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	p.Must(err)
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s", address, resp.Status)
	}
	return b
}

// crl returns the list that a certificate names, once it lists the serial of
// another: a revocation is on the list a second or two after it was decided.
func (p *played) crl(cert *x509.Certificate) (list []byte, entry x509.RevocationListEntry) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), stage.Patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		der := p.download(cert.CRLDistributionPoints[0])
		list, err := x509.ParseRevocationList(der)
		p.Must(err)
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return der, e
			}
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("%s, number %v, does not list %x", cert.CRLDistributionPoints[0], list.Number, cert.SerialNumber)
		case <-tick.C:
		}
	}
}

// verify has openssl judge a certificate by the chain and the CRLs that the
// certificates name, and returns the lines that it gives.
func (p *played) verify(cert *x509.Certificate) stage.Outcome {
	p.t.Helper()
	text, err := os.ReadFile(p.issuerFile())
	p.Must(err)
	block, _ := pem.Decode(text)
	issuer, err := x509.ParseCertificate(block.Bytes)
	p.Must(err)
	args := []string{"verify", "-x509_strict", "-crl_check_all", "-CAfile", p.RootFile, "-untrusted", p.issuerFile()}
	for _, c := range []*x509.Certificate{cert, issuer} {
		args = append(args, "-CRLfile", writePEM(p.t, "X509 CRL", p.download(c.CRLDistributionPoints[0])))
	}
	return stage.Run(p.t, stage.Command(stage.Need(p.t, "openssl", "openssl"), append(args, writePEM(p.t, "CERTIFICATE", cert.Raw))...))
}

// lineWith reports whether one line of a text has all the words.
func lineWith(text string, words ...string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}
