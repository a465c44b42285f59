package read

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidDistributionPoints = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidSCTList            = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// DistributionPoints returns the addresses where cert says that all of its
// possible revocations are listed by its issuer. A point for some reasons only,
// or with the list of another issuer, is left out: it would show half.
// crypto/x509 reads the addresses and not what is said beside them.
func DistributionPoints(cert *x509.Certificate) ([]string, error) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidDistributionPoints) {
			continue
		}
		points, left, ok := readDistributionPoints(ext.Value)
		if !ok {
			return nil, errors.New("its CRL distribution points cannot be read")
		}
		if left > 0 && len(points) == 0 {
			return nil, unsupported("its CRL distribution points name no address, some reasons only, or another issuer's list")
		}
		return points, nil
	}
	return nil, nil
}

// readDistributionPoints reads CRLDistributionPoints (RFC 5280, 4.2.1.13): the
// addresses, and how many points were left out.
func readDistributionPoints(value []byte) (uris []string, left int, ok bool) {
	in := cryptobyte.String(value)
	var list cryptobyte.String
	if !in.ReadASN1(&list, cbasn1.SEQUENCE) || !in.Empty() || list.Empty() {
		return nil, 0, false
	}
	for !list.Empty() {
		var point, name, full, part cryptobyte.String
		var hasName, some, other bool
		if !list.ReadASN1(&point, cbasn1.SEQUENCE) ||
			!point.ReadOptionalASN1(&name, &hasName, explicit(0)) ||
			!point.ReadOptionalASN1(&part, &some, cbasn1.Tag(1).ContextSpecific()) ||
			!point.ReadOptionalASN1(&part, &other, explicit(2)) || !point.Empty() {
			return nil, 0, false
		}
		if some || other || !hasName || !name.PeekASN1Tag(explicit(0)) {
			left++
			continue
		}
		if !name.ReadASN1(&full, explicit(0)) || !name.Empty() {
			return nil, 0, false
		}
		before := len(uris)
		for !full.Empty() {
			var general cryptobyte.String
			var tag cbasn1.Tag
			if !full.ReadAnyASN1(&general, &tag) {
				return nil, 0, false
			}
			if tag == cbasn1.Tag(6).ContextSpecific() {
				uris = append(uris, string(general))
			}
		}
		if len(uris) == before {
			left++
		}
	}
	return uris, left, true
}

// SCTs returns the list of signed timestamps in cert's extension (RFC 6962, 3.3),
// nil without one.
func SCTs(cert *x509.Certificate) []byte {
	for _, ext := range cert.Extensions {
		if ext.Id.Equal(oidSCTList) {
			value := cryptobyte.String(ext.Value)
			var list cryptobyte.String
			if value.ReadASN1(&list, cbasn1.OCTET_STRING) && value.Empty() {
				return list
			}
			return ext.Value
		}
	}
	return nil
}
