package main

import (
	"fmt"

	"sigill/internal/app"
	"sigill/internal/config"
	"sigill/internal/keys"
)

type logCmd struct {
	Init   logInitCmd   `cmd:"" help:"Make the keys of the transparency logs, once, for an installation of before there were logs; init does it for new ones."`
	Export logExportCmd `cmd:"" help:"Write a copy of both logs, from which a restored installation is brought up to date."`
	Show   logShowCmd   `cmd:"" help:"Names and public keys of the logs, as auditors and relying parties need them."`
}

type logInitCmd struct {
	dirFlag
	CertificatesKey string `name:"certificates-key" placeholder:"URI" help:"Where the key of the certificate log is made: softkms:path=FILE or pkcs11:… Default: a file in logs/."`
	ActsKey         string `name:"acts-key" placeholder:"URI" help:"Where the key of the log of acts is made, likewise."`
}

func (c *logInitCmd) Run(g *globals) error {
	cfg, err := config.Load(c.Dir)
	if err != nil {
		return err
	}
	plan := keys.LogsPlan{CertificatesKey: c.CertificatesKey, ActsKey: c.ActsKey}
	if cfg.Passphrase != "file" {
		if plan.Passphrase, err = app.LogPassphrase(cfg, g.passphrase("Passphrase of the logs' keys: ")); err != nil {
			return err
		}
	}
	logs, err := app.CreateLogs(g.ctx, cfg, plan)
	if err != nil {
		return err
	}
	return printLogs(g, logs)
}

type logShowCmd struct{ dirFlag }

func (c *logShowCmd) Run(g *globals) error {
	logs, err := keys.LoadLogs(c.Dir)
	if err != nil {
		return err
	}
	return printLogs(g, logs)
}

func printLogs(g *globals, logs *keys.Logs) error {
	type shown struct {
		Origin    string `json:"origin"`
		PublicKey string `json:"publicKey"` // PEM
	}
	out := map[string]shown{}
	text := ""
	for _, each := range []struct {
		name string
		key  keys.LogKey
	}{{"certificates", logs.Certificates}, {"acts", logs.Acts}} {
		out[each.name] = shown{each.key.Origin, string(each.key.PEM())}
		text += fmt.Sprintf("%s\n%s\n", each.key.Origin, each.key.PEM())
	}
	return g.print(out, text)
}
