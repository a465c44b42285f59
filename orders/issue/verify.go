package issue

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"

	"sigill/ca"
)

// Verifier believes rows of the table of certificates only as far as an issuing
// CA signed them: who can write the database can invent a row, but not a
// signature. It remembers what it verified, because a signature that verified
// once always does. It is safe for concurrent use.
type Verifier struct {
	Issuers Issuers

	mu sync.Mutex
	// young and old are what is remembered: what is used again becomes young
	// again, and when there are enough young ones the old ones are forgotten.
	young, old map[ca.Fingerprint]*x509.Certificate
}

// maxVerified bounds each of the two generations. A parsed certificate takes about
// seven kilobytes, a download uses two for some seconds, and a day brings tens of
// thousands of downloads: what is remembered for longer than that only fills
// memory, but for administrators' certificates, which stay young.
const maxVerified = 2000

// Verify returns the parsed certificate of a row. It refuses a row whose DER is
// not what its fingerprint and serial say, that none of our issuing CAs signed,
// or that claims a level of assurance that its policy does not tell.
func (v *Verifier) Verify(c *Certificate) (*x509.Certificate, error) {
	cert, err := v.signed(c)
	if err != nil {
		return nil, fmt.Errorf("certificate %s as stored: %w", c.Serial, err)
	}
	if serial, ok := ca.SerialOf(cert.SerialNumber); !ok || serial != c.Serial ||
		!cert.NotAfter.Equal(c.NotAfter) || !cert.NotBefore.Equal(c.NotBefore) {
		return nil, fmt.Errorf("certificate %s as stored: row and certificate differ", c.Serial)
	}
	if err := v.level(c, cert); err != nil {
		return nil, fmt.Errorf("certificate %s as stored: %w", c.Serial, err)
	}
	if c.Card != "" && !bytes.Contains(cardNumber(cert), []byte(c.Card)) {
		return nil, fmt.Errorf("certificate %s as stored: the certificate names another card", c.Serial)
	}
	return cert, nil
}

func (v *Verifier) signed(c *Certificate) (*x509.Certificate, error) {
	fp := ca.FingerprintOf(c.DER)
	if fp != c.Fingerprint {
		return nil, fmt.Errorf("its SHA-256 is %s", fp)
	}
	v.mu.Lock()
	cert := v.remembered(fp)
	v.mu.Unlock()
	issuer, err := v.Issuers.Issuer(c.Issuer)
	if err != nil {
		return nil, err
	}
	if cert != nil && bytes.Equal(cert.RawIssuer, issuer.Certificate().RawSubject) {
		return cert, nil
	}
	if cert, err = x509.ParseCertificate(c.DER); err != nil {
		return nil, err
	}
	if err := cert.CheckSignatureFrom(issuer.Certificate()); err != nil {
		return nil, fmt.Errorf("not signed by %s: %w", c.Issuer, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remember(fp, cert)
	return cert, nil
}

// remembered returns a certificate that was verified, or nil. Called with mu held.
func (v *Verifier) remembered(fp ca.Fingerprint) *x509.Certificate {
	if cert := v.young[fp]; cert != nil {
		return cert
	}
	cert := v.old[fp]
	if cert != nil {
		v.remember(fp, cert)
	}
	return cert
}

// remember is called with mu held.
func (v *Verifier) remember(fp ca.Fingerprint, cert *x509.Certificate) {
	if v.young == nil || len(v.young) >= maxVerified {
		v.old, v.young = v.young, make(map[ca.Fingerprint]*x509.Certificate, maxVerified)
	}
	v.young[fp] = cert
}

// level: the row's level of assurance is the one that a policy OID of its profile
// tells, and a profile that tells none has none.
func (v *Verifier) level(c *Certificate, cert *x509.Certificate) error {
	issuer, err := v.Issuers.Issuer(c.Issuer)
	if err != nil {
		return err
	}
	profile, ok := issuer.Profile(c.Profile)
	if !ok {
		return fmt.Errorf("%s does not issue %s", c.Issuer, c.Profile)
	}
	told := ""
	for routine, oid := range profile.Assurance() {
		for _, have := range cert.Policies {
			if have.String() == oid {
				_, told, _ = strings.Cut(routine, "/")
			}
		}
	}
	want := ""
	if c.LoA != 0 {
		want = fmt.Sprint(int(c.LoA))
	}
	if told != want {
		return fmt.Errorf("row says level %q, certificate %q", want, told)
	}
	return nil
}

// cardNumber returns the value of the card number extension (SEIS).
func cardNumber(cert *x509.Certificate) []byte {
	for _, e := range cert.Extensions {
		if e.Id.String() == "1.2.752.34.2.1" {
			return e.Value
		}
	}
	return nil
}
