package main

import (
	"os"
	"path/filepath"
	"time"

	"sigill/internal/app"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/profiles"
)

type caCmd struct {
	Profiles  caProfilesCmd  `cmd:"" help:"Print the certificate profiles: an installation's, or the built-in ones."`
	RootCRL   caRootCRLCmd   `cmd:"" name:"root-crl" help:"Sign a new CRL of the root, where its key is. Once a year at least."`
	RevokeCA  caRevokeCACmd  `cmd:"" name:"revoke-ca" help:"Revoke an issuing CA's certificate: sign a CRL of the root that says so, where the root's key is."`
	ImportCRL caImportCRLCmd `cmd:"" name:"import-crl" help:"Put a root CRL that was signed elsewhere in place."`
	Close     caCloseCmd     `cmd:"" help:"Have an issuing CA issue nothing any more, for ever; its last CRLs follow when all it issued has ended."`
	Signers   caSignersCmd   `cmd:"" help:"List the OCSP signers that this installation has had and that have not expired."`

	RevokeSigner caRevokeSignerCmd `cmd:"" name:"revoke-signer" help:"Replace and revoke an OCSP signer whose key may have been seen."`
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
	changed, err := app.InstallRootCRL(h, der, time.Now())
	if err != nil {
		return err
	}
	list, err := h.RootCRL()
	if err != nil {
		return err
	}
	out := rootListOf(list, hierarchyNames(h))
	text := "In place, and served from now on: " + out.text()
	if !changed {
		text = "It was in place already: " + out.text()
	}
	return g.print(out, text)
}
