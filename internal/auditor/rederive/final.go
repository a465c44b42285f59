package rederive

import (
	"bytes"
	"encoding/hex"
	"errors"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509"

	"sigill/ca"
	"sigill/internal/checkpoint"
)

// checkFinal judges the certificate that was made of the leaf: its signature, the
// log's promise in it, and that nothing else was signed than what the log has.
func (c *check) checkFinal() {
	if len(c.entry.Final) == 0 {
		return
	}
	cert, err := x509.ParseCertificate(c.entry.Final)
	if x509.IsFatal(err) {
		c.find(Malformed, "it is no certificate")
		return
	}
	sum := ca.FingerprintOf(c.entry.Final)
	c.Fingerprint = hex.EncodeToString(sum[:])
	if c.issuer != nil && c.issuer.signed(cert) != nil {
		c.find(Forged, "its issuer's signature does not verify")
	}
	tbs, err := cert.RawTBSCertificate, error(nil)
	if cert.RawSCT != nil {
		tbs, err = x509.RemoveSCTList(tbs)
	}
	if err != nil || !bytes.Equal(tbs, c.entry.TBS) {
		c.find(Unlogged, "without its SCT list it is not what the log has")
	}
	c.checkPromise(cert)
	if c.Linter != nil && c.said != nil {
		c.lint()
	}
}

// checkPromise verifies the SCT: one, of our log, for this very leaf.
func (c *check) checkPromise(cert *x509.Certificate) {
	sct, err := promiseOf(cert, c.Log)
	if err != nil {
		c.find(NoSCT, "%v", err)
		return
	}
	if sct.Timestamp != c.entry.Leaf.TimestampedEntry.Timestamp {
		c.find(NoSCT, "its SCT promises another leaf")
		return
	}
	if err := c.Log.Signatures().VerifySCTSignature(*sct, ct.LogEntry{Leaf: c.entry.Leaf}); err != nil {
		c.find(NoSCT, "its SCT does not verify")
	}
}

// promiseOf returns the log's SCT of a certificate, unverified.
func promiseOf(cert *x509.Certificate, log *checkpoint.Log) (*ct.SignedCertificateTimestamp, error) {
	if len(cert.SCTList.SCTList) == 0 {
		return nil, errors.New("it has no SCT")
	}
	var found *ct.SignedCertificateTimestamp
	for _, raw := range cert.SCTList.SCTList {
		var sct ct.SignedCertificateTimestamp
		rest, err := tls.Unmarshal(raw.Val, &sct)
		if err != nil || len(rest) > 0 || sct.SCTVersion != ct.V1 {
			return nil, errors.New("its SCT is malformed")
		}
		if sct.LogID.KeyID != log.ID() {
			continue // of another log: no promise of ours
		}
		if found != nil {
			return nil, errors.New("it has two SCTs of the log")
		}
		found = &sct
	}
	if found == nil {
		return nil, errors.New("it has no SCT of this log")
	}
	return found, nil
}

// lint asks the lints, each of which is a finding of its own.
func (c *check) lint() {
	err := c.Linter.Lint(c.entry.Final, ca.ProfileName(c.said.Profile))
	if err == nil {
		return
	}
	if found, ok := errors.AsType[*ca.LintError](err); ok {
		for _, text := range found.Findings {
			c.find(Lint, "%s", text)
		}
		return
	}
	c.find(Lint, "the lints could not judge it")
}
