// Package lint judges certificates before they are signed, and lists of revoked
// ones before they are published: by zlint's lints for RFC 5280 and its
// companions and for ETSI, by our own lints for what no public lint knows (card
// number, UPN, SID, the exact shape of each profile), and by comparing two
// independent parsers.
//
// Its expectations are written here and nowhere else: it does not read the
// profiles that certificates are made from. A mistake in a profile therefore
// can't excuse itself, and a planted one is found.
//
// It knows neither keys, orders nor stores, and looks at one certificate or list
// at a time. It reaches net/http through zlint, which is why package ca sees it
// only through an interface.
package lint

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/zmap/zlint/v3/lint"

	"sigill/ca"
)

// TestTransportEKU is the extended key usage of transport certificates in a TEST
// hierarchy, in the example arc. Relying parties know no meaning for it: a
// transport certificate must open no door but that of the download.
const TestTransportEKU = "2.999.752.1.1"

// Config is what an installation chooses and a lint must know.
type Config struct {
	// LoAPolicies are the policy OIDs, dotted, that state a level of assurance.
	// A person's certificate has exactly one of them, every other certificate
	// none: two would let each relying party read the level it likes.
	LoAPolicies []string
	// TransportEKU is the only purpose of a transport certificate, dotted;
	// TestTransportEKU if empty.
	TransportEKU string
}

// Linter judges certificates and CRLs. It is safe for concurrent use.
type Linter struct {
	lints    []*lint.CertificateLint
	crlLints []*lint.RevocationListLint
	profiles map[ca.ProfileName]*expectation
	loa      []string
}

// New returns a linter. It fails for a configuration that can't be right, so
// that Lint never has to.
func New(cfg Config) (*Linter, error) {
	if len(cfg.LoAPolicies) == 0 {
		return nil, errors.New("lint: no policy is named that states a level of assurance")
	}
	if cfg.TransportEKU == "" {
		cfg.TransportEKU = TestTransportEKU
	}
	for _, oid := range append(slices.Clone(cfg.LoAPolicies), cfg.TransportEKU) {
		if _, err := x509.ParseOID(oid); err != nil {
			return nil, fmt.Errorf("lint: %q is not a dotted object identifier", oid)
		}
	}
	lints, err := publicLints()
	if err != nil {
		return nil, err
	}
	crlLints, err := publicCRLLints()
	if err != nil {
		return nil, err
	}
	return &Linter{
		lints:    lints,
		crlLints: crlLints,
		profiles: expectations(cfg.TransportEKU),
		loa:      slices.Clone(cfg.LoAPolicies),
	}, nil
}

// Lint judges the certificate der as one of profile. It returns nil, or a
// *[ca.LintError] with everything that was found. Findings name the lint and what
// is wrong in words, and never a value from the certificate: they are logged,
// and certificates carry names and personal numbers.
func (l *Linter) Lint(der []byte, profile ca.ProfileName) error {
	var f findings
	want, ok := l.profiles[profile]
	if !ok {
		f.add("sigill_profile", "no expectation is known for this profile")
		return f.err()
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		// Without the parser's text: it quotes the value it stumbled over.
		f.add("sigill_parse", "crypto/x509 refuses the certificate")
		return f.err()
	}
	l.public(&f, cert)
	lintFrame(&f, cert)
	lintSubject(&f, cert.RawSubject, want)
	l.lintExtensions(&f, cert, want)
	return f.err()
}

// findings collects what the lints of one certificate say.
type findings struct{ list []string }

func (f *findings) add(name, format string, args ...any) {
	f.list = append(f.list, name+": "+fmt.Sprintf(format, args...))
}

func (f *findings) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &ca.LintError{Findings: f.list}
}
