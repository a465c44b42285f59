package ca_test

import (
	"crypto/x509"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/catest"
)

// What an issuer issues and what its status says fit together: its certificates
// name the address that the CRL carries, byte by byte, and the profile of OCSP
// signers makes certificates that a responder takes.
func TestIssuerStatus(t *testing.T) {
	c := issuerConfig(t, "P-256")
	issuer := newIssuer(t, c)
	issued, cert := issue(t, issuer, request(t, "authentication", asa()))
	signer, err := crl.NewSigner(issuer.Certificate(), c.Signer)
	if err != nil {
		t.Fatal(err)
	}
	list := crl.List{Number: 1, ThisUpdate: catest.Time, NextUpdate: catest.Time.Add(24 * time.Hour)}
	list.DistributionPoint = issuer.CRLURL(issued.Partition)
	der, err := signer.SignCRL(list)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	url, err := crl.IssuingDistributionPoint(parsed)
	if err != nil || len(cert.CRLDistributionPoints) != 1 || url != cert.CRLDistributionPoints[0] {
		t.Errorf("the CRL is for %q, %v, the certificate names %q", url, err, cert.CRLDistributionPoints)
	}

	key := newKey(t, "P-256")
	r := request(t, "ocsp", ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "TEST OCSP 1"})
	r.PublicKey, r.Mandate = key.Public(), nil
	_, ocspCert := issue(t, issuer, r)
	if _, err := ca.NewResponder(issuer.Certificate(), ocspCert, key); err != nil {
		t.Error(err)
	}
	if _, err := ca.NewResponder(issuer.Certificate(), cert, key); err == nil {
		t.Error("a person's certificate may sign OCSP answers")
	}
}
