package issue

import (
	"crypto/x509"
	"encoding/binary"
	"testing"

	"sigill/ca"
)

// TestVerifierForgets: however many certificates come by, no more than two
// generations are remembered, and who is used all the time is among them.
func TestVerifierForgets(t *testing.T) {
	v := &Verifier{}
	admin, first := ca.Fingerprint{1}, ca.Fingerprint{2}
	cert := &x509.Certificate{}
	v.remember(admin, cert)
	v.remember(first, cert)
	for i := range 10 * maxVerified {
		fp := ca.Fingerprint{3}
		binary.BigEndian.PutUint64(fp[8:], uint64(i))
		v.remember(fp, cert)
		if i%100 == 0 && v.remembered(admin) == nil {
			t.Fatalf("after %d others the administrator is forgotten", i)
		}
		if n := len(v.young) + len(v.old); n > 2*maxVerified {
			t.Fatalf("%d are remembered", n)
		}
	}
	if v.remembered(first) != nil {
		t.Error("what was used once is remembered for ever")
	}
}
