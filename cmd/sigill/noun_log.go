package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigill/internal/app"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/keys"
)

type logCmd struct {
	Init       logInitCmd       `cmd:"" help:"Make the keys of the transparency logs, once, for an installation of before there were logs; init does it for new ones."`
	Export     logExportCmd     `cmd:"" help:"Write a copy of both logs, from which a restored installation is brought up to date."`
	VerifyCopy logVerifyCopyCmd `cmd:"" name:"verify-copy" help:"Hold all of a copy against the heads that the logs have signed."`
	Accept     logAcceptCmd     `cmd:"" help:"Believe a place that keeps heads and is new, or has less than it had."`
	Show       logShowCmd       `cmd:"" help:"Names and public keys of the logs, as auditors and relying parties need them."`
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

type logAcceptCmd struct {
	dirFlag
	Place string `arg:"" placeholder:"PLACE" help:"Its name in log.keep, or that of a witness."`
	yesFlag
}

// Help implements kong.HelpProvider.
func (logAcceptCmd) Help() string {
	return `A place that keeps the logs' heads shows, after a restore, that the database is old. One
that has nothing, or less than it is known to have had, shows nothing: it may have been
emptied by who restored. Such a place is not believed, and nothing is issued because of its
answer alone.

Where you have replaced a place that is gone, or named the first one of an installation that
has run without, say so with this command. Without --yes it tells what the place has, and
changes nothing. The installation may be served meanwhile. The log of acts tells of it.

Be sure that the database is the newest there is: what it lacks would be forgotten, and the
next auditor would see two histories.

  sigill log accept --dir ./sigill-data elsewhere --yes`
}

func (c *logAcceptCmd) Run(g *globals) error {
	r, err := app.AcceptPlace(g.ctx, c.Dir, app.AcceptOptions{Place: c.Place, Do: c.Yes, Now: time.Now, Log: g.log()})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s has %d acts and %d certificates", clean(r.Place), r.Has[audit.ActTree], r.Has[audit.CertificateTree])
	if r.Had != nil {
		text += fmt.Sprintf("; it is known to have had %d and %d", r.Had[audit.ActTree], r.Had[audit.CertificateTree])
	}
	if r.Done {
		text += ". It is believed from now on.\n"
	} else {
		text += ". Nothing was changed. With --yes it is believed from now on.\n"
	}
	return g.print(r, text)
}

type logShowCmd struct {
	dirFlag
	Out string `placeholder:"DIR" help:"Write the keys into DIR too, as acts.pem and certificates.pem: what --log of sigill audit wants."`
}

func (c *logShowCmd) Run(g *globals) error {
	logs, err := keys.LoadLogs(c.Dir)
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o755); err != nil {
			return err
		}
		for name, key := range map[string]keys.LogKey{"acts": logs.Acts, "certificates": logs.Certificates} {
			if err := os.WriteFile(filepath.Join(c.Out, name+".pem"), key.PEM(), 0o644); err != nil {
				return err
			}
		}
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
