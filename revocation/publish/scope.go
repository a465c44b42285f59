package publish

import (
	"crypto/x509"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/revocation"
)

// CRLSigner is the part of [crl.Signer] that a Publisher needs.
//
// WriteCRL MUST write a list that verifies under Certificate, or return an error.
// SampleCRL returns what WriteCRL would write but for the signature, which is none:
// for a linter, and for nobody else.
type CRLSigner interface {
	Certificate() *x509.Certificate
	WriteCRL(w io.Writer, list crl.List, lines crl.Lines) error
	SampleCRL(list crl.List, lines [][]byte) ([]byte, error)
}

// Linter judges the form of a list by what relying parties insist on.
type Linter interface {
	LintCRL(der []byte) error
}

// Scope is one CRL with its sequence of numbers: a partition of an issuer, or, if
// Partition is [revocation.Whole], the full list beside the partitions. The full
// list has no issuing distribution point and no certificate names it; it is for
// those who mirror everything, and issued by the clock alone.
type Scope struct {
	Issuer    ca.IssuerID
	Partition int
	// URL is, byte for byte, what the CRL distribution point of the
	// certificates in this partition says; empty for the full list.
	URL    string
	Signer CRLSigner
}

func (s *Scope) list() revocation.List {
	return revocation.List{Issuer: s.Issuer, Partition: s.Partition}
}

// Endless is the nextUpdate of an issuer's last list (RFC 5280, 4.1.2.5).
var Endless = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// CRLPath returns where below the public directory the CRL of a partition is.
func CRLPath(issuer ca.IssuerID, partition int) string {
	l := revocation.List{Issuer: issuer, Partition: partition}
	return filepath.Join("crl", string(issuer), l.Scope()+".crl")
}

// check reports what is wrong with the configuration of a scope.
func (s *Scope) check() error {
	switch {
	case s.Issuer == "" || filepath.Base(string(s.Issuer)) != string(s.Issuer) || s.Partition < revocation.Whole:
		return fmt.Errorf("crl publisher: no file for issuer %q, partition %d", s.Issuer, s.Partition)
	case s.Signer == nil || (s.URL == "") != (s.Partition == revocation.Whole):
		return fmt.Errorf("crl publisher: %s has no signer or no address, or an address though it is named nowhere", s.list())
	}
	return nil
}

// trouble is a scope's last error. Each try costs a number, and a token that is
// gone is not back the sooner for being asked four times a second.
type trouble struct {
	err       error
	tries     int
	at, until time.Time
	since     time.Time // the first try that failed
}

const maxPause = time.Minute

// next is the trouble after one more try that ended with err at now.
func (t trouble) next(err error, now time.Time) trouble {
	pause := min(time.Second<<min(t.tries, 10), maxPause)
	since := t.since
	if t.tries == 0 {
		since = now
	}
	return trouble{err: err, tries: t.tries + 1, at: now, until: now.Add(pause), since: since}
}

func (p *Publisher) path(s *Scope) string {
	return filepath.Join(p.Dir, CRLPath(s.Issuer, s.Partition))
}
