package app

import (
	"context"
	"errors"
	"os"

	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/store"
)

// logFindings judges both logs: trees against rows, heads against trees, and who can
// read their keys.
func logFindings(ctx context.Context, cfg *config.Config, h *keys.Hierarchy, db *store.DB, say sayer) error {
	logs, err := keys.LoadLogs(cfg.Dir)
	if err != nil {
		say(Red, "logs", "%v", err)
		return nil
	}
	reader, err := LogReader(cfg.Dir, db)
	if err != nil {
		say(Red, "logs", "%v", err)
		return nil
	}
	found := 0
	if err := reader.VerifyTrees(ctx, func(f audit.Finding) { found++; say(Red, "logs", "%s", f) }); err != nil {
		return err
	}
	if found == 0 {
		for _, tree := range []struct {
			what string
			of   keys.LogKey
		}{{"certificates", logs.Certificates}, {"acts", logs.Acts}} {
			say(Green, "logs", "the log of %s, %s, is the tree of its rows and continues what it signed", tree.what, tree.of.Origin)
		}
	}
	logKeyFindings(cfg, logs, h, say)
	return nil
}

// logKeyFindings: who has the issuing keys and a log's key makes certificates whose
// promise verifies and is never kept. So one account must not be able to read both.
func logKeyFindings(cfg *config.Config, logs *keys.Logs, h *keys.Hierarchy, say sayer) {
	readable := func(path string, inFile bool) bool {
		if !inFile {
			return false
		}
		f, err := os.Open(path)
		if err == nil {
			f.Close()
		}
		return err == nil || !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist)
	}
	issuing := false
	for _, each := range h.Issuers {
		issuing = issuing || readable(h.KeyFile(each))
	}
	log := readable(logs.File(logs.Certificates))
	switch {
	case !log || !issuing:
		say(Green, "logs", "this account cannot read the certificate log's key and an issuing key")
	case cfg.Environment == config.Test:
		say(Yellow, "logs", "this account can read the certificate log's key and the issuing keys: promises (SCTs) prove nothing against it; in production the log's key belongs in another token, under another role")
	default:
		say(Red, "logs", "this account can read the certificate log's key and the issuing keys: who takes it over makes certificates whose promise verifies; move the log's key to a token of its own, under another role")
	}
}
