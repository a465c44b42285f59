package main

import (
	"crypto/x509"
	"strings"
	"time"

	"sigill/revocation"
)

type verifyCmd struct {
	Roots       []string `required:"" placeholder:"FILE" help:"Trusted root certificates, PEM or DER."`
	Issuer      []string `placeholder:"FILE" help:"Certificates between the root and this one, in any order."`
	Certificate string   `arg:"" help:"The certificate, PEM or DER; further ones in the file are taken as issuers."`
}

// Help implements kong.HelpProvider.
func (verifyCmd) Help() string {
	return `Exit 0 means good: the chain leads to a root, everything is valid now, and the
status of every certificate below the root was told by OCSP or a CRL. All else is 1.

  sigill verify eid.pem --roots sigill-data/public/aia/root.cer --issuer person-ca.pem`
}

// verdict is the judgement in JSON.
type verdict struct {
	Status   revocation.Status `json:"status"`
	Reason   string            `json:"reason,omitempty"`
	At       *time.Time        `json:"at,omitempty"`
	Policies []string          `json:"policies"`
	Steps    []string          `json:"steps"`
}

// clockSkew is how wrong clocks may be.
const clockSkew = 5 * time.Minute

func (c *verifyCmd) Run(g *globals) error {
	leaf, err := readCertificates(c.Certificate)
	if err != nil {
		return err
	}
	v := revocation.Verifier{Fetch: fetch, Now: time.Now, Skew: clockSkew}
	issuers := leaf[1:]
	for _, files := range []struct {
		names []string
		to    *[]*x509.Certificate
	}{{c.Roots, &v.Roots}, {c.Issuer, &issuers}} {
		for _, name := range files.names {
			certs, err := readCertificates(name)
			if err != nil {
				return err
			}
			*files.to = append(*files.to, certs...)
		}
	}
	found := v.Verify(g.ctx, leaf[0], issuers...)
	out := verdict{Status: found.Status, Policies: append([]string{}, found.PolicyOIDs...), Steps: found.Steps}
	text := ""
	for _, step := range found.Steps {
		text += "  " + clean(step) + "\n"
	}
	if found.Status == revocation.Revoked {
		out.Reason, out.At = found.Reason.String(), &found.At
	}
	if found.Status == revocation.Good && len(out.Policies) > 0 {
		text += facts("policies", strings.Join(out.Policies, " "))
	}
	if err := g.print(out, text+found.String()+"\n"); err != nil {
		return err
	}
	if found.Status != revocation.Good {
		return errTold
	}
	return nil
}
