package revocation_test

import (
	"crypto/x509"
	"testing"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/read"
)

// Whatever comes along as an OCSP response, nothing that the issuer or its
// delegate did not sign makes a certificate good.
func FuzzStapled(f *testing.F) {
	root := revtest.NewAuthority(f, revtest.Root, nil)
	leaf := root.Leaf(f, ca.NewSerial().Int(), 0)
	request, err := ocsp.CreateRequest(leaf, root.Cert, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, key := range []signed{{root.OCSPKey, false, []*x509.Certificate{root.OCSPCert}}, {root.Key, false, nil}} {
		f.Add(key.answer(f, request))
	}
	f.Add(ca.OCSPError(ca.OCSPUnauthorized))
	stranger := revtest.NewAuthority(f, revtest.Root, nil)
	v := &revocation.Verifier{Roots: []*x509.Certificate{stranger.Cert}, Now: now, Sources: revocation.OCSPOnly}
	forged := stranger.Leaf(f, leaf.SerialNumber, 0)
	f.Fuzz(func(t *testing.T, der []byte) {
		if a, err := read.OCSP(der); err == nil && len(a.Singles) > 64 {
			t.Errorf("%d certificates", len(a.Singles))
		}
		got := v.Judge(t.Context(), revocation.Presented{Certificate: forged, OCSP: [][]byte{der}})
		if got.Status != revocation.Unknown {
			t.Errorf("nobody signed it for this issuer, and it is %s", got.Status)
		}
	})
}
