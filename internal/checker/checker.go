// Package checker looks at a status service from outside, as relying parties do: with its
// public addresses and the CA certificates, and nothing else. It shares no database, no
// directory and no process with the installation, and so finds what the installation
// cannot see of itself.
//
// It owns what must hold between lists, OCSP answers, certificates and what an operator
// claims, and how bad it is if it does not. It repairs nothing.
package checker

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sigill/ca"
)

// Defaults of a Config.
const (
	DefaultSerials    = 10              // revoked serials of each CA that OCSP is asked for
	DefaultSkew       = 2 * time.Minute // between clocks
	DefaultSignerLife = 3 * 24 * time.Hour
	DefaultRate       = 50 // requests/s
	atOnce            = 4
	// grace is how long a revocation may be in one place and not yet in another: caches keep
	// what they have for a minute.
	grace = 2 * time.Minute
	// wholeEvery is how long lists that the server calls unchanged are believed to be.
	wholeEvery = time.Hour
)

// Authority is a CA whose status is looked at.
type Authority struct {
	// Name stands in its addresses. Empty: as certificates that it issued say, or Guess.
	Name        string
	Certificate *x509.Certificate
	// Guess is its name if the certificate is served under it.
	Guess string
}

// Config is what a Checker needs.
type Config struct {
	Authorities []Authority
	// Base is where the service is asked, http://host. Certificates may name another
	// address, of which this is a mirror.
	Base string
	// Certificates are given ones, of which OCSP and lists must say the same.
	Certificates []*x509.Certificate
	Claims       []Claim
	// Partitions is how many each issuing CA has at least; 0: as many as certificates name
	// and are found by trying.
	Partitions int
	Serials    int
	Skew       time.Duration
	SignerLife time.Duration // an OCSP signer with less is about to be missing
	Rate       int           // requests/s at most
	State      *State        // of earlier rounds; nil: none
	HTTP       *http.Client  // nil: one with bounds
	Now        func() time.Time
}

// Checker checks one service. Round may be called again and again, and not concurrently.
type Checker struct {
	Config
	limit       *rate.Limiter
	named       string // what certificates say instead of Base
	authorities []*authority
	strangers   []Finding // what New found out of place
}

// authority is a CA and what is remembered of it between rounds.
type authority struct {
	name  string
	guess string // a name that is to be tried
	cert  *x509.Certificate
	root  bool
	given []*x509.Certificate // that it issued
	least int                 // partitions that it must have
	// lists by path, of earlier rounds; nil where none was read.
	lists map[string]*seen
	whole time.Time // when all of them were last read
	// sample of revoked serials with the path of their lists.
	sample []sampled
}

var pathOf = regexp.MustCompile(`^(https?://[^/]+(?:/.*)?)/(?:crl/([a-z0-9-]+)/(full|0|[1-9][0-9]{0,5})\.crl|aia/([a-z0-9-]+)\.cer)$`)

// New returns a Checker.
func New(c Config) (*Checker, error) {
	u, err := url.Parse(c.Base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%q is not an address http://host[:port]", c.Base)
	}
	if len(c.Authorities) == 0 || c.Now == nil {
		return nil, errors.New("no CA certificate, or no clock")
	}
	c.Base = strings.TrimRight(c.Base, "/")
	setDefault(&c.Serials, DefaultSerials)
	setDefault(&c.Skew, DefaultSkew)
	setDefault(&c.SignerLife, DefaultSignerLife)
	setDefault(&c.Rate, DefaultRate)
	if c.HTTP == nil {
		c.HTTP = newClient()
	}
	if c.State == nil {
		c.State = &State{}
	}
	checker := &Checker{Config: c, limit: rate.NewLimiter(rate.Limit(c.Rate), c.Rate)}
	return checker, checker.arrange()
}

func setDefault[T int | time.Duration](v *T, standard T) {
	if *v == 0 {
		*v = standard
	}
}

// arrange finds out what the CAs are called, and which certificate is whose.
func (c *Checker) arrange() error {
	for _, a := range c.Authorities {
		if !a.Certificate.IsCA {
			return fmt.Errorf("%q is no CA", a.Certificate.Subject)
		}
		c.authorities = append(c.authorities, &authority{name: a.Name, guess: a.Guess, cert: a.Certificate, lists: map[string]*seen{}, least: c.Partitions,
			root: a.Certificate.CheckSignatureFrom(a.Certificate) == nil})
	}
	issued := slices.Clone(c.Certificates)
	for _, a := range c.authorities {
		issued = append(issued, a.cert)
	}
	for i, cert := range issued {
		of := c.issuerOf(cert)
		if of == nil {
			c.strangers = append(c.strangers, finding(Warning, CertForeign, subjectOf(cert), "it is of none of the CAs given, and is left out"))
			continue
		}
		if i < len(c.Certificates) {
			of.given = append(of.given, cert)
		} else if !of.root || of.cert != cert {
			of.given = append(of.given, cert) // a CA's own certificate has a status too
		}
		c.learn(of, cert)
	}
	if c.named == "" {
		c.named = c.Base
	}
	for _, a := range c.authorities {
		if a.root {
			a.least = 1
		}
	}
	return nil
}

// learn takes from a certificate what its issuer's lists are called. A name that was given
// stays.
func (c *Checker) learn(of *authority, cert *x509.Certificate) {
	for _, address := range cert.CRLDistributionPoints {
		m := pathOf.FindStringSubmatch(address)
		if m == nil || m[2] == "" || m[3] == "full" {
			continue
		}
		c.named = m[1]
		if of.name == "" {
			of.name = m[2]
		}
		n := 0
		fmt.Sscan(m[3], &n) // digits, as the pattern says
		of.least = max(of.least, n+1)
	}
	for _, address := range cert.IssuingCertificateURL {
		if m := pathOf.FindStringSubmatch(address); m != nil && m[4] != "" && of.name == "" {
			of.name = m[4]
		}
	}
}

func (c *Checker) issuerOf(cert *x509.Certificate) *authority {
	for _, a := range c.authorities {
		if cert.CheckSignatureFrom(a.cert) == nil {
			return a
		}
	}
	return nil
}

func subjectOf(cert *x509.Certificate) string {
	return fmt.Sprintf("%s, serial %x", cert.Subject.CommonName, cert.SerialNumber)
}

// Round looks at everything once. The error is that it could not be done, or was broken
// off; whatever is wrong with the service is in the report.
func (c *Checker) Round(ctx context.Context) (*Report, error) {
	r := &round{c: c, now: c.Now(), report: &Report{At: c.Now().UTC()}}
	r.report.add(c.strangers...)
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, a := range c.authorities {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.authority(ctx, a)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.claims(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.report.sort()
	c.State.take(r.report)
	return r.report, nil
}

// round is one look.
type round struct {
	c      *Checker
	now    time.Time
	mu     sync.Mutex // guards report
	report *Report
}

func (r *round) say(g Grade, code Code, subject, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.add(finding(g, code, subject, fmt.Sprintf(format, args...)))
}

// authority looks at everything of one CA.
func (r *round) authority(ctx context.Context, a *authority) {
	if a.name == "" && nameOf.MatchString(a.guess) && r.servedAs(ctx, a, a.guess) {
		a.name = a.guess
	}
	if a.name == "" {
		r.say(Warning, CAUnnamed, a.cert.Subject.CommonName, "nothing tells what its addresses are: give its name, or a certificate that it issued; it is left out")
		return
	}
	r.certificate(ctx, a)
	r.lists(ctx, a)
	r.ocsp(ctx, a)
}

var nameOf = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// servedAs reports whether the CA's certificate is served under a name. That it is not is
// no finding.
func (r *round) servedAs(ctx context.Context, a *authority, name string) bool {
	response, ok := r.do(ctx, http.MethodGet, "/aia/"+name+".cer", nil, nil)
	if !ok {
		return false
	}
	defer response.Body.Close()
	body, err := readAll(response.Body, int64(len(a.cert.Raw)))
	return err == nil && response.StatusCode == http.StatusOK && string(body) == string(a.cert.Raw)
}

// certificate compares what is served as the CA's certificate with the one given.
func (r *round) certificate(ctx context.Context, a *authority) {
	address := "/aia/" + a.name + ".cer"
	if left := a.cert.NotAfter.Sub(r.now); left < 30*24*time.Hour {
		g := Warning
		if left <= 0 {
			g = Failure
		}
		r.say(g, CAEnds, a.name, "its certificate ends on %s", a.cert.NotAfter.Format(time.DateOnly))
	}
	body, ok := r.fetch(ctx, address, typeCertificate, int64(len(a.cert.Raw))+1)
	if ok && string(body) != string(a.cert.Raw) {
		r.say(Failure, AIADiffers, r.c.Base+address, "it is not the CA's certificate")
	}
}

// legal reports whether a reason may stand in a list of this kind of service: nothing is
// suspended, and removal belongs to deltas.
func legal(reason ca.Reason) bool {
	switch reason {
	case ca.Unspecified, ca.KeyCompromise, ca.CACompromise, ca.AffiliationChanged, ca.Superseded, ca.CessationOfOperation, ca.PrivilegeWithdrawn, 10:
		return true
	}
	return false
}
