package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"sigill/ca/signing"
)

// Linter judges a certificate before its bytes may be signed.
//
// Lint MUST parse der with a parser other than crypto/x509 and return a
// [*LintError] for anything that may not be signed under the profile. The
// signature of der is a throw-away key's. Lint MUST be safe for concurrent use.
type Linter interface {
	Lint(der []byte, profile ProfileName) error
}

// IssuerConfig is what an issuer is made of.
type IssuerConfig struct {
	ID          IssuerID
	Certificate *x509.Certificate
	// Signer holds the key of Certificate: P-256, P-384 or RSA. It must be safe
	// for concurrent use.
	Signer   crypto.Signer
	Profiles Profiles
	// MayIssue names the end-entity profiles that this issuer signs.
	MayIssue []ProfileName
	// Partitions of the issuer's CRL. The number may grow, never shrink:
	// partitions already named in certificates must go on being published.
	Partitions int
	// StatusURL is where status and issuer certificates are served, over http:
	// over https a verifier would need the status of the status server's
	// certificate first (RFC 5280, 4.2.1.13 and 8).
	StatusURL string
	Linter    Linter
	// Rand is where serials are drawn from; nil means crypto/rand.
	Rand io.Reader
}

// Issuer is an issuing CA. It is immutable and safe for concurrent use.
type Issuer struct {
	id          IssuerID
	certificate *x509.Certificate
	profiles    Profiles
	partitions  int
	statusURL   string
	linter      Linter
	rand        io.Reader

	key       signing.Key
	algorithm x509.SignatureAlgorithm
	keyHash   [32]byte // SHA-256 of the SubjectPublicKeyInfo

	// throwaway signs what is linted; throwawayParent is certificate with its
	// public key. A certificate under it verifies under no CA, so nothing is
	// gained by stealing it or by seeing many of its signatures.
	throwaway       signing.Key
	throwawayParent *x509.Certificate
}

// NewIssuer checks everything that can be wrong with an issuer once.
func NewIssuer(c IssuerConfig) (*Issuer, error) {
	i := &Issuer{id: c.ID, certificate: c.Certificate, partitions: c.Partitions,
		linter: c.Linter, rand: c.Rand, profiles: Profiles{}}
	if i.rand == nil {
		i.rand = rand.Reader
	}
	for _, step := range []func(IssuerConfig) error{i.checkIdentity, i.checkKey, i.checkURL, i.checkProfiles, i.makeThrowaway} {
		if err := step(c); err != nil {
			return nil, fmt.Errorf("issuer %q: %w", c.ID, err)
		}
	}
	return i, nil
}

func (i *Issuer) checkIdentity(c IssuerConfig) error {
	cert := c.Certificate
	switch {
	case len(c.ID) > 64 || !slug.MatchString(string(c.ID)):
		return errors.New("id is not lower-case letters, digits and hyphens, at most 64")
	case c.Linter == nil:
		return errors.New("no linter: nothing may be signed unlinted")
	case c.Signer == nil:
		return errors.New("no signer")
	case cert == nil:
		return errors.New("no certificate")
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("certificate is not a CA's")
	case cert.KeyUsage&x509.KeyUsageCertSign == 0 || cert.KeyUsage&x509.KeyUsageCRLSign == 0:
		return errors.New("certificate may not sign certificates and CRLs")
	case len(cert.SubjectKeyId) == 0:
		return errors.New("certificate has no subject key identifier")
	case len(cert.RawSubject) <= 2:
		return errors.New("certificate has no subject")
	case c.Partitions < 1 || c.Partitions > 1<<16:
		return errors.New("partitions are not between 1 and 65536")
	}
	return nil
}

// checkKey admits fewer keys than can sign status: what issues is one of those
// that every relying party of the last ten years verifies.
func (i *Issuer) checkKey(c IssuerConfig) (err error) {
	switch key := c.Certificate.PublicKey.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			i.algorithm = x509.ECDSAWithSHA256
		case elliptic.P384():
			i.algorithm = x509.ECDSAWithSHA384
		default:
			return fmt.Errorf("curve %s is not P-256 or P-384", key.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return errors.New("RSA key is shorter than 2048 bits")
		}
		i.algorithm = x509.SHA256WithRSA
	default:
		return fmt.Errorf("keys of type %T do not issue", key)
	}
	i.keyHash = sha256.Sum256(c.Certificate.RawSubjectPublicKeyInfo)
	i.key, err = signing.New(c.Certificate, c.Signer)
	return err
}

func (i *Issuer) checkURL(c IssuerConfig) error {
	u, err := url.Parse(c.StatusURL)
	if err != nil {
		return fmt.Errorf("status address: %w", err)
	}
	if u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return fmt.Errorf("status address %q is not http://host[:port][/path]", c.StatusURL)
	}
	i.statusURL = strings.TrimRight(c.StatusURL, "/")
	for _, r := range i.statusURL { // a URI in a certificate is an IA5String
		if r <= ' ' || r > '~' {
			return fmt.Errorf("status address %q is not ASCII", c.StatusURL)
		}
	}
	return nil
}

func (i *Issuer) checkProfiles(c IssuerConfig) error {
	for _, name := range c.MayIssue {
		p := c.Profiles[name]
		switch {
		case p == nil:
			return fmt.Errorf("profile %q is not known", name)
		case p.IsCA():
			return fmt.Errorf("profile %q is a CA's: CAs are made in a ceremony, not issued", name)
		case p.Name() != name:
			return fmt.Errorf("profile %q is known as %q", p.Name(), name)
		}
		i.profiles[name] = p
	}
	return nil
}

func (i *Issuer) makeThrowaway(c IssuerConfig) error {
	var key crypto.Signer
	var err error
	switch public := c.Certificate.PublicKey.(type) {
	case *ecdsa.PublicKey:
		key, err = ecdsa.GenerateKey(public.Curve, rand.Reader)
	default:
		// The to-be-signed bytes name the algorithm, not the size of its key.
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return fmt.Errorf("making the throw-away key: %w", err)
	}
	parent := *c.Certificate
	parent.PublicKey = key.Public()
	i.throwawayParent = &parent
	i.throwaway, err = signing.New(&parent, key)
	return err
}

// ID returns the issuer's stored name.
func (i *Issuer) ID() IssuerID { return i.id }

// Certificate returns the issuer's certificate, which must not be changed.
func (i *Issuer) Certificate() *x509.Certificate { return i.certificate }

// Partitions returns the number of partitions of the issuer's CRL.
func (i *Issuer) Partitions() int { return i.partitions }

// Profile returns a profile that this issuer signs, and false if it does not.
func (i *Issuer) Profile(name ProfileName) (*Profile, bool) {
	p, ok := i.profiles[name]
	return p, ok
}

// CRLURL returns the address of a partition of the issuer's CRL.
func (i *Issuer) CRLURL(partition int) string {
	return fmt.Sprintf("%s/crl/%s/%d.crl", i.statusURL, i.id, partition)
}

// CertificateURL returns the address of the issuer's certificate.
func (i *Issuer) CertificateURL() string { return fmt.Sprintf("%s/aia/%s.cer", i.statusURL, i.id) }

// OCSPURL returns the address of the OCSP responder.
func (i *Issuer) OCSPURL() string { return i.statusURL + "/ocsp" }

// PartitionOf returns the CRL partition of a serial: its low 64 bits modulo the
// number of partitions. The result is written into the certificate and recorded
// in the intent; it is fixed from then on, whatever the number becomes.
func PartitionOf(s Serial, partitions int) int {
	return int(binary.BigEndian.Uint64(s[8:]) % uint64(partitions))
}

// drawSerial is NewSerial from the issuer's source of randomness.
func (i *Issuer) drawSerial() (Serial, error) {
	var s Serial
	if _, err := io.ReadFull(i.rand, s[:]); err != nil {
		return Serial{}, fmt.Errorf("drawing a serial: %w", err)
	}
	s[0] = s[0]&0x3f | 0x40
	return s, nil
}
