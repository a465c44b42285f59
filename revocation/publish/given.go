package publish

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/durable"
)

// Given is a CRL that was signed elsewhere: the root's, whose key is not where
// this process could use it.
type Given struct {
	Issuer      ca.IssuerID // names the file
	Partition   int         // 0 where the issuer has one CRL
	Certificate *x509.Certificate
	// URL is the address that the issuing distribution point must name; empty:
	// the CRL has none and covers all that the issuer has issued.
	URL string
	DER []byte
}

// Install puts a given CRL in place below the public directory dir, and reports
// whether it was not there already. It refuses one that does not verify, that is
// not in force at now, or that goes back behind the public one: in number, in
// time, or by leaving out a serial (CA certificates live long enough that none
// ever needs to leave).
func Install(dir string, g Given, now time.Time) (changed bool, err error) {
	fail := func(err error) (bool, error) {
		return false, fmt.Errorf("crl %s/%d: %w", g.Issuer, g.Partition, err)
	}
	if g.Issuer == "" || filepath.Base(string(g.Issuer)) != string(g.Issuer) || g.Partition < 0 || g.Certificate == nil {
		return fail(errors.New("issuer is missing"))
	}
	list, err := parseCRL(g.DER, g.Certificate)
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(g.strict(), g.check(list, now)); err != nil {
		return fail(err)
	}
	path := filepath.Join(dir, CRLPath(g.Issuer, g.Partition))
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fail(err)
	case bytes.Equal(old, g.DER):
		return false, nil
	default:
		if err := g.follows(list, path); err != nil {
			return fail(err)
		}
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	if err := durable.WriteFile(path, g.DER, 0o644); err != nil {
		return fail(err)
	}
	return true, nil
}

// Warning tells in words that a given CRL must soon be followed by another, ""
// while that is not so: when half of its life has passed, and louder when 30
// days are left. Nobody here can sign the next one, so it must be said in time.
func (g *Given) Warning(now time.Time) (string, error) {
	list, err := parseCRL(g.DER, g.Certificate)
	if err != nil {
		return "", fmt.Errorf("crl %s/%d: %w", g.Issuer, g.Partition, err)
	}
	left := list.NextUpdate.Sub(now)
	days := int(left / (24 * time.Hour))
	switch {
	case left <= 0:
		return fmt.Sprintf("the CRL of %s has ended: relying parties refuse everything below it", g.Issuer), nil
	case days < 30:
		return fmt.Sprintf("the CRL of %s ends in %d days, and everything below it with it", g.Issuer, days), nil
	case left < list.NextUpdate.Sub(list.ThisUpdate)/2:
		return fmt.Sprintf("half of the life of the CRL of %s has passed, %d days are left", g.Issuer, days), nil
	}
	return "", nil
}

// strict judges the form of the list as relying parties do that are stricter than
// the standard library: nothing after the list, no delta, no critical extension that
// is not known, algorithms of today.
func (g *Given) strict() error {
	r, err := crl.NewReader(bytes.NewReader(g.DER), g.Certificate)
	if err != nil {
		return err
	}
	for r.Next() {
	}
	head, err := r.Finish()
	switch {
	case err != nil:
		return err
	case head.DeltaBase != nil:
		return errors.New("it is a delta list")
	case len(head.UnknownCritical) > 0 || head.CriticalEntries > 0:
		return errors.New("it has critical extensions that are not known")
	}
	return nil
}

// check judges the list by itself.
func (g *Given) check(list *x509.RevocationList, now time.Time) error {
	url, err := crl.IssuingDistributionPoint(list)
	switch {
	case err != nil:
		return err
	case url != g.URL:
		return fmt.Errorf("it is for %q, the certificates say %q", url, g.URL)
	case now.Before(list.ThisUpdate):
		return fmt.Errorf("thisUpdate %v has not come", list.ThisUpdate)
	case !now.Before(list.NextUpdate):
		return fmt.Errorf("nextUpdate %v has passed: have a new one signed with the root's key", list.NextUpdate)
	}
	return nil
}

// follows judges the list against the public one.
func (g *Given) follows(list *x509.RevocationList, path string) error {
	der, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the public CRL: %w", err)
	}
	public, err := parseCRL(der, g.Certificate)
	if err != nil {
		return fmt.Errorf("the public CRL %s is damaged or another issuer's; look why, then move it away: %w", path, err)
	}
	if err := notBackwards(public.Number, list.Number, public.ThisUpdate, list.ThisUpdate); err != nil {
		return err
	}
	has := serialSet(list)
	for _, e := range public.RevokedCertificateEntries {
		if !has[e.SerialNumber.String()] {
			return fmt.Errorf("serial %x is on the public CRL and not on this one", e.SerialNumber)
		}
	}
	return nil
}

func serialSet(list *x509.RevocationList) map[string]bool {
	has := make(map[string]bool, len(list.RevokedCertificateEntries))
	for i := range list.RevokedCertificateEntries {
		has[list.RevokedCertificateEntries[i].SerialNumber.String()] = true
	}
	return has
}
