package read

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// signatureAlgorithm returns the algorithm that an AlgorithmIdentifier in DER
// names. The standard library keeps its own table to itself. SHA-1 is left out:
// whoever can make two documents of one SHA-1 has a signature on both.
func signatureAlgorithm(der []byte) (x509.SignatureAlgorithm, error) {
	var id pkix.AlgorithmIdentifier
	if rest, err := asn1.Unmarshal(der, &id); err != nil || len(rest) > 0 {
		return 0, errForm
	}
	for _, known := range []struct {
		oid  asn1.ObjectIdentifier
		is   x509.SignatureAlgorithm
		null bool // parameters are NULL (RFC 4055, 5); some leave them out
	}{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, x509.SHA256WithRSA, true},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, x509.SHA384WithRSA, true},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, x509.SHA512WithRSA, true},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, x509.ECDSAWithSHA256, false},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, x509.ECDSAWithSHA384, false},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, x509.ECDSAWithSHA512, false},
		{asn1.ObjectIdentifier{1, 3, 101, 112}, x509.PureEd25519, false},
	} {
		if !id.Algorithm.Equal(known.oid) {
			continue
		}
		if params := id.Parameters.FullBytes; len(params) > 0 && !(known.null && bytes.Equal(params, asn1.NullBytes)) {
			return 0, fmt.Errorf("signature algorithm %v has parameters", id.Algorithm)
		}
		return known.is, nil
	}
	if id.Algorithm.Equal(oidRSAPSS) {
		return pssAlgorithm(id.Parameters.FullBytes)
	}
	return 0, fmt.Errorf("signature algorithm %v is not accepted", id.Algorithm)
}

var (
	oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
)

// pssAlgorithm reads RSASSA-PSS-params (RFC 4055, 3.1). Only the usual forms are
// taken: one hash for both uses, a salt of its length.
func pssAlgorithm(der []byte) (x509.SignatureAlgorithm, error) {
	var params struct {
		Hash    pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
		MGF     pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
		Salt    int                      `asn1:"explicit,tag:2"`
		Trailer int                      `asn1:"optional,explicit,tag:3,default:1"`
	}
	var inner pkix.AlgorithmIdentifier
	if rest, err := asn1.Unmarshal(der, &params); err != nil || len(rest) > 0 {
		return 0, fmt.Errorf("RSA-PSS parameters are not in the usual form")
	}
	if rest, err := asn1.Unmarshal(params.MGF.Parameters.FullBytes, &inner); err != nil || len(rest) > 0 ||
		!params.MGF.Algorithm.Equal(oidMGF1) || !inner.Algorithm.Equal(params.Hash.Algorithm) || params.Trailer != 1 {
		return 0, fmt.Errorf("RSA-PSS parameters are not in the usual form")
	}
	for _, known := range []struct {
		oid  asn1.ObjectIdentifier
		salt int
		is   x509.SignatureAlgorithm
	}{
		{oidHashSHA256, 32, x509.SHA256WithRSAPSS},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, 48, x509.SHA384WithRSAPSS},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, 64, x509.SHA512WithRSAPSS},
	} {
		if params.Hash.Algorithm.Equal(known.oid) && params.Salt == known.salt {
			return known.is, nil
		}
	}
	return 0, fmt.Errorf("RSA-PSS with hash %v and a salt of %d octets is not accepted", params.Hash.Algorithm, params.Salt)
}
