package revocation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
)

// issuingDistributionPoint is the only critical extension of a CRL that is known.
const issuingDistributionPoint = "2.5.29.28"

// Status is a relying party's judgement of a certificate.
type Status string

// Unknown stands for everything that is not proved: a chain that does not lead
// to a root, a status that cannot be had. Only Good may be trusted.
const (
	Good    Status = "good"
	Revoked Status = "revoked"
	Unknown Status = "unknown"
)

// Verification is what a Verifier found.
type Verification struct {
	Status Status
	Reason ca.Reason // if revoked
	At     time.Time // if revoked
	// PolicyOIDs are the leaf's certificate policies, among them the level of
	// assurance; they mean something only if Status is Good.
	PolicyOIDs []string
	// Steps tell in words what was checked, with what result, in order.
	Steps []string
}

// Verifier judges certificates as a relying party must: chain, time, and the
// status of every certificate below the root, by OCSP and, where that gives no
// answer, by CRL. It fails closed. Answers and lists are read by other code than what
// writes them here. Its methods may be called concurrently if Fetch may.
type Verifier struct {
	Roots []*x509.Certificate
	// Fetch returns what GET of an address (http) returns, no more than it
	// would read of a stranger.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	Now   func() time.Time
	// Skew is how wrong clocks may be.
	Skew time.Duration
}

// Verify judges leaf, with the issuers that came with it in any order.
func (v *Verifier) Verify(ctx context.Context, leaf *x509.Certificate, issuers ...*x509.Certificate) Verification {
	result := Verification{Status: Unknown}
	now := v.Now()
	chain, err := v.chain(leaf, issuers, now)
	if err != nil {
		result.say("chain: %v", err)
		return result
	}
	for _, oid := range leaf.Policies {
		result.PolicyOIDs = append(result.PolicyOIDs, oid.String())
	}
	result.say("chain: %s", describe(chain))
	// From the root down: what a revoked CA says of its certificates is nothing.
	for i := len(chain) - 2; i >= 0; i-- {
		one := v.one(ctx, chain[i], chain[i+1], now, &result)
		if one.Status != Good {
			result.Status, result.Reason, result.At = one.Status, one.Reason, one.At
			return result
		}
	}
	result.Status = Good
	return result
}

func (r *Verification) say(format string, args ...any) {
	r.Steps = append(r.Steps, fmt.Sprintf(format, args...))
}

func describe(chain []*x509.Certificate) string {
	var names []string
	for _, cert := range chain {
		names = append(names, fmt.Sprintf("%q", cert.Subject.CommonName))
	}
	return strings.Join(names, " issued by ") + ", which is trusted"
}

// chain builds the way from leaf to a root, all of it valid now.
func (v *Verifier) chain(leaf *x509.Certificate, issuers []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, cert := range v.Roots {
		roots.AddCert(cert)
	}
	for _, cert := range issuers {
		between.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// one judges the status of cert as its issuer tells it.
func (v *Verifier) one(ctx context.Context, cert, issuer *x509.Certificate, now time.Time, result *Verification) Verification {
	name := fmt.Sprintf("%q, serial %x", cert.Subject.CommonName, cert.SerialNumber)
	for _, address := range cert.OCSPServer {
		status, err := v.askOCSP(ctx, address, cert, issuer, now)
		if err != nil {
			result.say("OCSP for %s: no answer: %v", name, err)
			continue
		}
		result.say("OCSP for %s: %s", name, status)
		return status
	}
	for _, address := range cert.CRLDistributionPoints {
		status, err := v.askCRL(ctx, address, cert, issuer, now)
		if err != nil {
			result.say("CRL for %s: none: %v", name, err)
			continue
		}
		result.say("CRL for %s: %s", name, status)
		return status
	}
	result.say("%s: nobody tells its status, so it is not trusted", name)
	return Verification{Status: Unknown}
}

// String tells the status in words.
func (r Verification) String() string {
	if r.Status != Revoked {
		return string(r.Status)
	}
	return fmt.Sprintf("revoked at %s as %v", r.At.UTC().Format(time.RFC3339), r.Reason)
}

// inForce checks the validity of an answer or a list. One without an end would
// be in force for ever, whoever replays it.
func (v *Verifier) inForce(thisUpdate, nextUpdate, now time.Time) error {
	switch {
	case thisUpdate.After(now.Add(v.Skew)):
		return fmt.Errorf("thisUpdate %v has not come", thisUpdate)
	case nextUpdate.IsZero():
		return errors.New("no nextUpdate")
	case !now.Add(-v.Skew).Before(nextUpdate):
		return fmt.Errorf("nextUpdate %v has passed", nextUpdate)
	}
	return nil
}

// askOCSP asks by GET (RFC 6960, A.1) with a SHA-256 CertID.
func (v *Verifier) askOCSP(ctx context.Context, address string, cert, issuer *x509.Certificate, now time.Time) (Verification, error) {
	none := Verification{Status: Unknown}
	request, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		return none, err
	}
	address = strings.TrimSuffix(address, "/") + "/" + url.QueryEscape(base64.StdEncoding.EncodeToString(request))
	der, err := v.Fetch(ctx, address)
	if err != nil {
		return none, err
	}
	answer, err := ocsp.ParseResponseForCert(der, cert, issuer)
	if err != nil {
		return none, err
	}
	if err := v.checkResponder(answer, request, issuer, now); err != nil {
		return none, err
	}
	if err := v.inForce(answer.ThisUpdate, answer.NextUpdate, now); err != nil {
		return none, err
	}
	switch answer.Status {
	case ocsp.Good:
		return Verification{Status: Good}, nil
	case ocsp.Revoked:
		return Verification{Status: Revoked, Reason: ca.Reason(answer.RevocationReason), At: answer.RevokedAt}, nil
	}
	return none, nil
}

// checkResponder judges what the parser does not. It finds the status by the
// serial alone, which names nothing without the issuer; and it takes any
// certificate of the issuer as the signer, so that every holder could vouch for
// himself.
func (v *Verifier) checkResponder(answer *ocsp.Response, request []byte, issuer *x509.Certificate, now time.Time) error {
	asked, err := ca.ParseOCSPRequest(request)
	if err != nil {
		return err
	}
	// Name hash, key hash and serial as they stand side by side in a CertID,
	// without the algorithm before them, whose parameters have two forms.
	id := asked.CertIDs[0]
	named := id.Raw[bytes.Index(id.Raw, []byte(id.NameHash))-2:]
	if answer.IssuerHash != id.Hash || !bytes.Contains(answer.TBSResponseData, named) {
		return errors.New("the answer is about another certificate")
	}
	signer := answer.Certificate
	if signer == nil || signer.Equal(issuer) {
		return nil // signed by the issuer itself
	}
	if err := ca.CheckOCSPSigner(issuer, signer); err != nil {
		return err
	}
	if now.Before(signer.NotBefore.Add(-v.Skew)) || now.After(signer.NotAfter.Add(v.Skew)) {
		return fmt.Errorf("the signer's certificate is valid from %v to %v", signer.NotBefore, signer.NotAfter)
	}
	return nil
}

// askCRL fetches the list at address and looks cert up.
func (v *Verifier) askCRL(ctx context.Context, address string, cert, issuer *x509.Certificate, now time.Time) (Verification, error) {
	none := Verification{Status: Unknown}
	der, err := v.Fetch(ctx, address)
	if err != nil {
		return none, err
	}
	list, err := parseCRL(der, issuer)
	if err != nil {
		return none, err
	}
	if err := v.inForce(list.ThisUpdate, list.NextUpdate, now); err != nil {
		return none, err
	}
	// The list of another partition is signed by the same key; only this address
	// tells that it is the one that would name the certificate.
	scope, err := ca.IssuingDistributionPoint(list)
	if err != nil {
		return none, err
	}
	if scope != "" && !slices.Contains(cert.CRLDistributionPoints, scope) {
		return none, fmt.Errorf("the list is for %q", scope)
	}
	for _, ext := range list.Extensions {
		if ext.Critical && ext.Id.String() != issuingDistributionPoint {
			return none, fmt.Errorf("critical extension %v of the list is not known", ext.Id)
		}
	}
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return Verification{Status: Revoked, Reason: ca.Reason(e.ReasonCode), At: e.RevocationTime}, nil
		}
	}
	return Verification{Status: Good}, nil
}

// parseCRL reads der and verifies it under issuer.
func parseCRL(der []byte, issuer *x509.Certificate) (*x509.RevocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, err
	}
	if list.Number == nil {
		return nil, errors.New("the CRL has no number")
	}
	return list, nil
}
