package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/profiles"
)

type caCmd struct {
	Profiles  caProfilesCmd  `cmd:"" help:"Print the certificate profiles: an installation's, or the built-in ones."`
	RootCRL   caRootCRLCmd   `cmd:"" name:"root-crl" help:"Sign a new CRL of the root, where its key is. Once a year, and when an issuing CA is revoked."`
	ImportCRL caImportCRLCmd `cmd:"" name:"import-crl" help:"Put a root CRL that was signed elsewhere in place."`
}

type caProfilesCmd struct {
	Dir string `help:"An installation's directory. Default: the built-in profiles." placeholder:"DIR"`
}

func (c *caProfilesCmd) Run(g *globals) error {
	all, err := profiles.Default()
	if c.Dir != "" {
		all, err = profiles.Load(filepath.Join(c.Dir, "profiles"))
	}
	if err != nil {
		return err
	}
	configs := map[string]any{}
	for name, p := range all {
		configs[string(name)] = p.Config()
	}
	return g.print(configs, profiles.Text(all))
}

type caRootCRLCmd struct {
	dirFlag
	Revoke []string `placeholder:"SERIAL" help:"Serials of issuing CAs' certificates that the root takes back."`
	Reason string   `default:"cessationOfOperation" help:"Why: a name of RFC 5280, 5.3.1."`
	Yes    bool     `help:"Do it without asking. Revoking an issuing CA can't be undone."`
}

func (c *caRootCRLCmd) Run(g *globals) error {
	cfg, err := config.Load(c.Dir)
	if err != nil {
		return err
	}
	h, err := keys.Load(cfg.Dir)
	if err != nil {
		return err
	}
	if !h.RootKeyHere() {
		return fmt.Errorf("the root's key is not here: sign where it is, and bring the list back with `sigill ca import-crl`")
	}
	now := time.Now()
	revoked, err := c.revoked(h, now)
	if err != nil {
		return err
	}
	if len(revoked) > 0 && !c.Yes {
		return usageError{fmt.Sprintf("this would revoke %d issuing CAs and with them every certificate below, for ever: repeat it with --yes", len(revoked))}
	}
	pass, err := app.RootPassphrase(cfg, func() (keys.Passphrase, error) {
		in, ok := g.stdin.(*os.File)
		if !ok {
			return keys.Passphrase{}, fmt.Errorf("no terminal to ask for the passphrase on")
		}
		return keys.FromPrompt(in, g.stderr, "Passphrase of the root's key: ")
	})
	if err != nil {
		return err
	}
	if err := h.SignRootCRL(g.ctx, pass, now, revoked); err != nil {
		return err
	}
	return tellRootCRL(g, h)
}

func (c *caRootCRLCmd) revoked(h *keys.Hierarchy, now time.Time) ([]keys.RevokedCA, error) {
	reason, err := ca.ParseReason(c.Reason)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	var out []keys.RevokedCA
	for _, text := range c.Revoke {
		serial, err := ca.ParseSerial(text)
		if err != nil {
			return nil, usageError{err.Error()}
		}
		known := false
		for _, each := range h.Issuers {
			known = known || each.Certificate.SerialNumber.Cmp(serial.Int()) == 0
		}
		if !known {
			return nil, fmt.Errorf("no issuing CA of this hierarchy has the serial %s", serial)
		}
		out = append(out, keys.RevokedCA{Serial: serial, At: now, Reason: reason})
	}
	return out, nil
}

func tellRootCRL(g *globals, h *keys.Hierarchy) error {
	list, err := h.RootCRL()
	if err != nil {
		return err
	}
	answer := map[string]any{"number": list.Number, "thisUpdate": list.ThisUpdate, "nextUpdate": list.NextUpdate, "revoked": len(list.RevokedCertificateEntries)}
	return g.print(answer, fmt.Sprintf("root CRL number %v, %d revoked, until %s\n", list.Number, len(list.RevokedCertificateEntries), list.NextUpdate.Format(time.DateOnly)))
}

type caImportCRLCmd struct {
	dirFlag
	File string `arg:"" type:"existingfile" help:"The CRL, DER."`
}

func (c *caImportCRLCmd) Run(g *globals) error {
	cfg, err := config.Load(c.Dir)
	if err != nil {
		return err
	}
	h, err := keys.Load(cfg.Dir)
	if err != nil {
		return err
	}
	der, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	if _, err := app.InstallRootCRL(h, der, time.Now()); err != nil {
		return err
	}
	return tellRootCRL(g, h)
}
