package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/mode"
	"sigill/internal/store"
	"sigill/internal/translog"
)

// refreshHeads is how often it is looked whether a head of a log has become old.
const refreshHeads = time.Minute

// LogPassphrase returns the passphrase of the logs' keys from where the configuration
// says that passphrases come from. It is another one than that of the issuing keys: who
// has one of them shall not have both.
func LogPassphrase(cfg *config.Config, prompt func() (keys.Passphrase, error)) (keys.Passphrase, error) {
	switch cfg.Passphrase {
	case "file":
		return keys.FromFile(cfg.Path("secrets", "log-passphrase"), environment(cfg.Environment))
	case "credential":
		return keys.FromCredential("sigill-log-passphrase", os.LookupEnv)
	}
	if prompt == nil {
		return keys.Passphrase{}, errors.New("the configuration asks for the passphrase of the logs' keys by prompt, and there is no terminal")
	}
	return prompt()
}

// CreateLogs makes the logs of an installation that has none: init does, and an
// installation of before there were logs does it once. In TEST a passphrase is made and
// written if none is given.
func CreateLogs(ctx context.Context, cfg *config.Config, p keys.LogsPlan) (*keys.Logs, error) {
	p.Dir, p.StatusURL = cfg.Dir, cfg.StatusURL
	if p.Passphrase.IsZero() && cfg.Passphrase == "file" {
		var err error
		p.Passphrase, err = keys.GenerateFile(cfg.Path("secrets", "log-passphrase"), environment(cfg.Environment))
		if errors.Is(err, os.ErrExist) { // of a try before that did not come further
			p.Passphrase, err = LogPassphrase(cfg, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return keys.CreateLogs(ctx, p)
}

// openLogs opens both logs with their keys. The sequencer is wired with them.
func (a *App) openLogs(ctx context.Context, prompt func() (keys.Passphrase, error)) error {
	logs, err := keys.LoadLogs(a.Config.Dir)
	if errors.Is(err, keys.ErrNoLogs) {
		return fmt.Errorf("%w: make them with `sigill log init --dir %s`", err, a.Config.Dir)
	} else if err != nil {
		return err
	}
	pass, err := LogPassphrase(a.Config, prompt)
	if err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	a.Sequencer = &audit.Sequencer{Store: mode.Watch(a.Modes, a.DB.Audit()), Failed: func(err error) { a.log.Error("sequencer", "err", err) }}
	c := translog.Config{Store: mode.Watch(a.Modes, a.DB.Translog()), Now: a.now, Found: a.foundLogs}
	for _, each := range []struct {
		key keys.LogKey
		to  *translog.Keyed
	}{{logs.Certificates, &c.Certificates}, {logs.Acts, &c.Acts}} {
		opened, err := logs.Open(ctx, each.key, pass)
		if err != nil {
			return err
		}
		a.closers = append(a.closers, opened)
		log, err := checkpoint.NewLog(each.key.Origin, opened.Signer.Public())
		if err != nil {
			return err
		}
		*each.to = translog.Keyed{Log: log, Signer: opened.Signer}
	}
	a.Logs, err = translog.Attach(a.Sequencer, c)
	return err
}

// LogReader returns the logs of an installation for reading, without their keys.
func LogReader(dir string, db *store.DB) (*translog.Reader, error) {
	logs, err := keys.LoadLogs(dir)
	if err != nil {
		return nil, err
	}
	r := &translog.Reader{Store: db.Translog()}
	for _, each := range []struct {
		key keys.LogKey
		to  **checkpoint.Log
	}{{logs.Certificates, &r.Certificates}, {logs.Acts, &r.Acts}} {
		public, err := each.key.Key()
		if err != nil {
			return nil, err
		}
		if *each.to, err = checkpoint.NewLog(each.key.Origin, public); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// keepHeadsFresh has heads signed anew when nothing happens for long: a head that is old
// would otherwise not differ from one that is withheld.
func (a *App) keepHeadsFresh(ctx context.Context) {
	t := time.NewTicker(refreshHeads)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := a.Logs.Heads(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("signing the heads of the logs", "err", err)
			}
		}
	}
}
