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
