package main

import (
	"encoding/pem"
	"errors"
	"fmt"

	"sigill/internal/adminclient"
	"sigill/internal/audit"
	"sigill/internal/wire"
)

type certCmd struct {
	Show   certShowCmd   `cmd:"" help:"Show a certificate."`
	Revoke certRevokeCmd `cmd:"" help:"Revoke a certificate."`
}

type certShowCmd struct {
	ownCard
	PEM    bool   `name:"pem" help:"Print the certificate itself, PEM."`
	Serial string `arg:"" help:"Serial, 32 hexadecimal digits."`
}

func (c *certShowCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		cert, err := a.Certificate(g.ctx, c.Serial)
		if err != nil {
			return err
		}
		if c.PEM {
			return pem.Encode(g.stdout, &pem.Block{Type: "CERTIFICATE", Bytes: cert.DER})
		}
		return g.print(cert, certificateText(cert))
	})
}

func certificateText(c *wire.Certificate) string {
	return facts("serial", c.Serial, "profile", c.Profile, "slot", c.Slot, "state", c.State, "revoked", moment(c.RevokedAt), "reason", c.Reason, "issuing CA", c.Issuer,
		"valid from", moment(c.NotBefore), "valid until", moment(c.NotAfter), "SHA-256", c.Fingerprint)
}

type certRevokeCmd struct {
	ownCard
	yesFlag
	waitFlag
	receiptFlags
	Reason string `required:"" enum:"keyCompromise,affiliationChanged,superseded,cessationOfOperation,privilegeWithdrawn" help:"Reason of RFC 5280: ${enum}."`
	Serial string `arg:"" help:"Serial, 32 hexadecimal digits."`
}

// Help implements kong.HelpProvider.
func (certRevokeCmd) Help() string {
	return `With an authentication certificate goes the signing certificate of the same eID.

  sigill cert revoke 4a…9f --reason cessationOfOperation --identity soft:anna.card`
}

func (c *certRevokeCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		c.on(g, a)
		cert, err := a.Certificate(g.ctx, c.Serial)
		if err != nil {
			return err
		}
		if err := s.confirm(c.yesFlag, fmt.Sprintf("Revoke this certificate as %s. This can't be undone.\n%s", c.Reason, certificateText(cert))); err != nil {
			return err
		}
		if cert, err = a.Revoke(g.ctx, c.Serial, c.Reason); err != nil {
			return err
		}
		act := audit.CertificateRevoked
		if cert.State == "superseded" { // before, and it stays so
			act = audit.CertificateSuperseded
		}
		return errors.Join(g.print(cert, certificateText(cert)), c.keep(s, cert.Receipted, didTo(act, "serial", c.Serial)))
	})
}
