package lint

import (
	"bytes"
	"crypto/x509"
	"fmt"

	zx509 "github.com/zmap/zcrypto/x509"
	_ "github.com/zmap/zlint/v3" // registers the lints
	"github.com/zmap/zlint/v3/lint"
)

// sources are the rules that bind certificates of persons. The CA/Browser
// Forum's and the root programmes' are for web servers and public trust.
var sources = lint.SourceList{
	lint.RFC5280,
	lint.EtsiEsi,
	// Key usage bits that fit the algorithm: RSA, elliptic curves, and its
	// clarification.
	lint.RFC3279, lint.RFC5480, lint.RFC8813,
	// SCT lists, for the day when certificates carry one.
	lint.RFC6962,
}

// excluded are lints of these sources that must not decide, each with its reason.
// An entry that zlint no longer knows makes New fail, so that the list can't rot.
var excluded = []string{}

// publicLints filters zlint's registry once; filtering costs more than linting.
func publicLints() ([]*lint.CertificateLint, error) {
	registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: sources, ExcludeNames: excluded})
	if err != nil {
		return nil, fmt.Errorf("lint: filtering zlint's registry: %w", err)
	}
	lints := registry.CertificateLints().Lints()
	if len(lints) < 100 {
		return nil, fmt.Errorf("lint: only %d public lints are registered", len(lints))
	}
	return lints, nil
}

// public parses the certificate a second time, with zlint's own parser, lets the
// two agree, and runs the public lints. Errors and fatal results count; warnings
// and notices are advice (a given name over 16 characters, for one) and would
// make certificates of ordinary people impossible.
func (l *Linter) public(f *findings, cert *x509.Certificate) {
	second, err := zx509.ParseCertificate(cert.Raw)
	if err != nil {
		// What is silently accepted by one parser and refused by another is
		// exactly what relying parties would disagree on: an otherName without
		// its [0] passed crypto/x509 and failed in OpenSSL.
		f.add("sigill_second_parser", "zcrypto refuses the certificate")
		return
	}
	lintAgreement(f, cert, second)
	config := lint.NewEmptyConfig()
	for _, each := range l.lints {
		result := each.Execute(second, config)
		if result.Status == lint.Error || result.Status == lint.Fatal {
			f.add(each.Name, "%s (%s)", each.Description, each.Citation)
		}
	}
}

// lintAgreement finds what two parsers read differently in the same bytes.
func lintAgreement(f *findings, a *x509.Certificate, b *zx509.Certificate) {
	differ := func(what string) { f.add("sigill_second_parser", "the two parsers disagree on the %s", what) }
	if !bytes.Equal(a.RawTBSCertificate, b.RawTBSCertificate) {
		differ("bytes to be signed")
	}
	if !bytes.Equal(a.RawSubject, b.RawSubject) || !bytes.Equal(a.RawIssuer, b.RawIssuer) {
		differ("names")
	}
	if a.SerialNumber.Cmp(b.SerialNumber) != 0 {
		differ("serial number")
	}
	if !a.NotBefore.Equal(b.NotBefore) || !a.NotAfter.Equal(b.NotAfter) {
		differ("validity")
	}
	if !bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo) {
		differ("public key")
	}
	if a.IsCA != b.IsCA || int(a.KeyUsage) != int(b.KeyUsage) {
		differ("basic constraints or key usage")
	}
	if len(a.Extensions) != len(b.Extensions) {
		differ("number of extensions")
		return
	}
	for i, ext := range a.Extensions {
		other := b.Extensions[i]
		if ext.Id.String() != other.Id.String() || ext.Critical != other.Critical || !bytes.Equal(ext.Value, other.Value) {
			differ("extension " + ext.Id.String())
		}
	}
}
