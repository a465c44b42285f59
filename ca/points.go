package ca

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"
)

// ProfileNames returns the profiles that this issuer signs, in order.
func (i *Issuer) ProfileNames() []ProfileName { return slices.Sorted(maps.Keys(i.profiles)) }

// points are the CRL distribution points of certificates of a profile.
func (i *Issuer) points(p *Profile, partition int) []string {
	if !p.config.CRL {
		return nil
	}
	return []string{i.CRLURL(partition)}
}

// DistributionPoints returns for every partition the CRL distribution points of
// certificates of a profile, as a relying party reads them: encoded in a
// certificate, and decoded again. They must be, octet by octet, the scope of a
// published list (RFC 5280, 5.2.5); that is compared at every start.
func (i *Issuer) DistributionPoints(profile ProfileName) ([][]string, error) {
	p, ok := i.profiles[profile]
	if !ok {
		return nil, fmt.Errorf("issuer %q does not issue profile %q", i.id, profile)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
	count := make([]int, i.partitions)
	for partition := range count {
		all := i.points(p, partition)
		t.CRLDistributionPoints = append(t.CRLDistributionPoints, all...)
		count[partition] = len(all)
	}
	// The form of an extension depends on no key: a quick one serves. Those of all
	// partitions stand in one certificate, each a point of its own, as it stands
	// alone in others.
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, public, key)
	if err != nil {
		return nil, fmt.Errorf("encoding distribution points: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("decoding distribution points: %w", err)
	}
	read := cert.CRLDistributionPoints
	if len(read) != len(t.CRLDistributionPoints) {
		return nil, fmt.Errorf("%d distribution points were encoded and %d decoded", len(t.CRLDistributionPoints), len(read))
	}
	out := make([][]string, i.partitions)
	for partition, n := range count {
		out[partition], read = read[:n:n], read[n:]
	}
	return out, nil
}
