package ca_test

import (
	"bytes"
	"crypto/x509"
	"slices"
	"testing"

	"sigill/ca"
)

// cdp returns the octets of a certificate's CRL distribution points.
func cdp(cert *x509.Certificate) []byte {
	for _, e := range cert.Extensions {
		if e.Id.String() == "2.5.29.31" {
			return e.Value
		}
	}
	return nil
}

// TestDistributionPoints: what is compared at a start is what stands in issued
// certificates.
func TestDistributionPoints(t *testing.T) {
	c := issuerConfig(t, "P-256")
	i := newIssuer(t, c)
	if got := i.ProfileNames(); len(got) != len(c.MayIssue) || !slices.IsSorted(got) {
		t.Errorf("profiles %v", got)
	}
	points, err := i.DistributionPoints("officer")
	if err != nil || len(points) != 4 {
		t.Fatalf("%v, %v", points, err)
	}
	seen := map[int]bool{}
	for range 40 {
		issued, cert := issue(t, i, request(t, "officer", ca.Content{CommonName: "Officer 1"}))
		want := points[issued.Partition]
		if !slices.Equal(cert.CRLDistributionPoints, want) || len(want) != 1 || !bytes.Contains(cdp(cert), []byte(want[0])) {
			t.Errorf("partition %d: the certificate says %q (%x), the comparison %q", issued.Partition, cert.CRLDistributionPoints, cdp(cert), want)
		}
		seen[issued.Partition] = true
	}
	if len(seen) != 4 {
		t.Errorf("only partitions %v were seen", seen)
	}
	none, err := i.DistributionPoints("ocsp")
	if err != nil || slices.ContainsFunc(none, func(l []string) bool { return len(l) > 0 }) {
		t.Errorf("a profile without a CRL: %v, %v", none, err)
	}
	if _, err := i.DistributionPoints("root-ca"); err == nil {
		t.Error("a profile that is not issued has points")
	}
}
