package main

import (
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/policy"
)

type caCloseCmd struct {
	dirFlag
	Issuer  string `arg:"" help:"The issuing CA, as in addresses: card-v1."`
	LastCRL bool   `name:"last-crl" help:"Issue its last CRLs as soon as none of its certificates is valid and not revoked, and not only when all have expired."`
	Yes     bool   `help:"Do it. Without, it is only told what would be done."`
}

// Help implements kong.HelpProvider.
func (caCloseCmd) Help() string {
	return `The CA issues nothing any more, for ever; what it has issued is served, confirmed and
revoked as before. When the last of it has expired its CRLs are issued once more,
without end, and stay. The running service hears of it within seconds.`
}

// closed is what close answers.
type closed struct {
	Issuer  ca.IssuerID `json:"issuer"`
	Closed  bool        `json:"closed"`
	At      *time.Time  `json:"at,omitempty"`
	LastCRL *time.Time  `json:"lastCrl,omitempty"` // since when the last CRLs are demanded
	// Valid counts its certificates that have not expired, Good those that are not
	// revoked either. OCSP signers are not counted.
	Valid   int        `json:"valid"`
	Good    int        `json:"good"`
	LastEnd *time.Time `json:"lastEnd,omitempty"` // when the last of them expires
}

func (c *caCloseCmd) Run(g *globals) error {
	h, cfg, err := loadHierarchy(c.Dir)
	if err != nil {
		return err
	}
	id := ca.IssuerID(c.Issuer)
	if _, ok := h.Issuer(id); !ok {
		return usageError{fmt.Sprintf("no issuing CA %q: there are %s", c.Issuer, issuerNames(h))}
	}
	db, err := store.Open(g.ctx, store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		return err
	}
	defer db.Close()
	now := time.Now()
	living, err := db.Living(g.ctx, id, policy.ProfileOCSP, now)
	if err != nil {
		return err
	}
	out := closed{Issuer: id, Valid: living.Valid, Good: living.Good}
	left := "None of its certificates is valid: its last CRLs come within a minute of the next publication.\n"
	if living.Valid > 0 {
		out.LastEnd = &living.LastEnd
		left = fmt.Sprintf("%d of its certificates have not expired, %d of them are not revoked; the last one expires on %s.\n",
			living.Valid, living.Good, living.LastEnd.Format(time.DateOnly))
	}
	if c.LastCRL && living.Good > 0 {
		return fmt.Errorf("after its last CRL nothing of %s can be revoked on a list, and %d of its certificates are neither expired nor revoked: revoke them, or wait until %s",
			id, living.Good, living.LastEnd.Format(time.DateOnly))
	}
	if !c.Yes {
		return g.print(out, fmt.Sprintf("This would have %s issue nothing any more, for ever. %sNothing was done: repeat it with --yes.\n", id, left))
	}
	closing := keys.Closing{Issuer: id, At: now, By: account()}
	if c.LastCRL {
		closing.LastCRL = now
	}
	closing, err = h.CloseIssuer(closing)
	word := "Closed"
	if errors.Is(err, keys.ErrClosed) {
		word = "Closed already"
	} else if err != nil {
		return err
	}
	out.Closed, out.At = true, &closing.At
	if !closing.LastCRL.IsZero() {
		out.LastCRL = &closing.LastCRL
	}
	return g.print(out, fmt.Sprintf("%s: %s issues nothing any more since %s. %s", word, id, closing.At.Format(time.RFC3339), left))
}

func issuerNames(h *keys.Hierarchy) string {
	text := ""
	for i, each := range h.Issuers {
		if i > 0 {
			text += ", "
		}
		text += string(each.ID)
	}
	return text
}

type caSignersCmd struct{ dirFlag }

// signerLine is an OCSP signer as it is listed.
type signerLine struct {
	app.SignerID
	Revoked *time.Time `json:"revoked,omitempty"`
}

func (c *caSignersCmd) Run(g *globals) error {
	_, cfg, err := loadHierarchy(c.Dir)
	if err != nil {
		return err
	}
	all, err := app.ReadSigners(cfg.Dir, time.Now())
	if err != nil {
		return err
	}
	db, err := store.Open(g.ctx, store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		return err
	}
	defer db.Close()
	out := []signerLine{}
	lines := [][]string{{"serial", "issuer", "since", "valid until", "revoked"}}
	for _, s := range all {
		line, since := signerLine{SignerID: s}, ""
		if serial, err := ca.ParseSerial(s.Serial); err == nil {
			if _, revoked, err := app.FindSigner(g.ctx, db.Issue().View, serial); err == nil && !revoked.IsZero() {
				line.Revoked, since = &revoked, moment(revoked)
			}
		}
		out = append(out, line)
		lines = append(lines, []string{s.Serial, string(s.Issuer), moment(s.IssuedAt), moment(s.NotAfter), since})
	}
	return g.print(out, table(lines...))
}

type caRevokeSignerCmd struct {
	dirFlag
	Serial string `arg:"" help:"The serial of the OCSP signer's certificate, which stands in its answers and in sigill ca signers."`
	Yes    bool   `help:"Do it. Without, it is only told what would be done."`
}

// Help implements kong.HelpProvider.
func (caRevokeSignerCmd) Help() string {
	return `The serving process replaces the signer at once if it uses it, and puts it on its
issuer's CRL as keyCompromise; if nobody serves, the next one that does. Relying
parties do not ask for the status of OCSP signers, which is why they live only two
weeks: who has the key is believed until then, or until the issuing CA is revoked.`
}

// requested is what revoke-signer answers.
type requested struct {
	Serial    string      `json:"serial"`
	Issuer    ca.IssuerID `json:"issuer"`
	NotAfter  time.Time   `json:"notAfter"`
	Requested bool        `json:"requested"`
	Revoked   *time.Time  `json:"revoked,omitempty"` // it is already, since then
}

func (c *caRevokeSignerCmd) Run(g *globals) error {
	_, cfg, err := loadHierarchy(c.Dir)
	if err != nil {
		return err
	}
	serial, err := ca.ParseSerial(c.Serial)
	if err != nil {
		return usageError{err.Error()}
	}
	db, err := store.Open(g.ctx, store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		return err
	}
	defer db.Close()
	cert, revoked, err := app.FindSigner(g.ctx, db.Issue().View, serial)
	if err != nil {
		return fmt.Errorf("%s: %w", serial, err)
	}
	out := requested{Serial: serial.String(), Issuer: cert.Issuer, NotAfter: cert.NotAfter.UTC()}
	switch {
	case !revoked.IsZero():
		out.Revoked = &revoked
		return g.print(out, fmt.Sprintf("%s is revoked already, since %s.\n", serial, moment(revoked)))
	case !c.Yes:
		return g.print(out, fmt.Sprintf("This would revoke the OCSP signer %s of %s as keyCompromise, for ever, and replace it. Nothing was done: repeat it with --yes.\n", serial, cert.Issuer))
	}
	if _, err := app.RequestSignerRevocation(cfg.Dir, app.SignerRequest{Serial: serial.String(), By: account(), At: time.Now().UTC().Truncate(time.Second)}); err != nil {
		return err
	}
	out.Requested = true
	return g.print(out, fmt.Sprintf("The OCSP signer %s of %s is replaced and revoked within seconds where this installation is served, otherwise when it is served next.\nRelying parties believe whoever has its key until %s: they do not ask for its status.\n",
		serial, cert.Issuer, moment(cert.NotAfter)))
}
