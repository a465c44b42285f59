package revocation_test

import (
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/internal/revtest"
)

// requestFor is a question by other code than the Verifier's.
func requestFor(t testing.TB, cert, issuer *x509.Certificate) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func now() time.Time { return revtest.Start }

// endless is an answer "good" on the leaf that has no nextUpdate.
func (w *web) endless() []byte {
	w.t.Helper()
	der, err := ocsp.CreateResponse(w.inner.Cert, w.inner.OCSPCert, ocsp.Response{Status: ocsp.Good, SerialNumber: w.leaf.SerialNumber,
		ThisUpdate: revtest.Start, Certificate: w.inner.OCSPCert, IssuerHash: crypto.SHA256}, w.inner.OCSPKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}
