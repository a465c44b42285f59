package revocation_test

import (
	"bytes"
	"crypto/x509"
	"slices"
	"testing"

	"golang.org/x/crypto/ocsp"

	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/testdata/pkits"
)

// Whatever comes along as an OCSP response, nothing that the issuer or its
// delegate did not sign makes a certificate good. What x/crypto/ocsp reads as a
// signed answer, this reader reads too.
func FuzzReadOCSP(f *testing.F) {
	root := revtest.NewAuthority(f, revtest.Root, nil)
	leaf := root.Leaf(f, revtest.NewAuthority(f, revtest.Person, root).Cert.SerialNumber, 0)
	request, err := ocsp.CreateRequest(leaf, root.Cert, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, key := range []signed{{root.OCSPKey, false, []*x509.Certificate{root.OCSPCert}}, {root.Key, false, nil}} {
		f.Add(key.answer(f, request))
	}
	f.Add([]byte{0x30, 3, 0x0a, 1, 6})
	stranger := revtest.NewAuthority(f, revtest.Root, nil)
	v := &revocation.Verifier{Roots: []*x509.Certificate{stranger.Cert}, Now: now, Sources: revocation.OCSPOnly}
	forged := stranger.Leaf(f, leaf.SerialNumber, 0)
	f.Fuzz(func(t *testing.T, der []byte) {
		singles, err := revocation.ReadOCSP(der)
		if err == nil && singles > 64 {
			t.Errorf("%d certificates", singles)
		}
		got := v.Judge(t.Context(), revocation.Presented{Certificate: forged, OCSP: [][]byte{der}})
		if got.Status != revocation.Unknown {
			t.Errorf("nobody signed it for this issuer, and it is %s", got.Status)
		}
	})
}

// Addresses are those that crypto/x509 reads too, or fewer.
func FuzzReadDistributionPoints(f *testing.F) {
	for _, c := range pkits.Cases() {
		if cert, err := x509.ParseCertificate(c.Leaf); err == nil {
			for _, ext := range cert.Extensions {
				if ext.Id.String() == "2.5.29.31" {
					f.Add(ext.Value)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		uris, left, ok := revocation.ReadDistributionPoints(der)
		if !ok {
			return
		}
		if left < 0 || len(uris) == 0 && left == 0 {
			t.Errorf("%d addresses, %d left out", len(uris), left)
		}
		for _, uri := range uris {
			if !bytes.Contains(der, []byte(uri)) {
				t.Errorf("%q does not stand there", uri)
			}
		}
		if slices.Contains(uris, "") && !bytes.Contains(der, []byte{0x86, 0}) {
			t.Error("an empty address")
		}
	})
}
