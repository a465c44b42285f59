package app

import (
	"context"
	"os"
	"time"

	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/revocation/publish"
)

// RootPassphrase returns the passphrase of the root's key: in a TEST installation
// from its file if that is there, otherwise by prompt.
func RootPassphrase(cfg *config.Config, prompt func() (keys.Passphrase, error)) (keys.Passphrase, error) {
	path := cfg.Path("secrets", "root-passphrase")
	if _, err := os.Stat(path); err == nil {
		return keys.FromFile(path, environment(cfg.Environment))
	}
	return prompt()
}

// InstallRootCRL puts a root CRL that was signed elsewhere in place of the public
// one, if it follows it, and reports whether that was another.
func InstallRootCRL(h *keys.Hierarchy, der []byte, now time.Time) (changed bool, err error) {
	return publish.Install(h.PublicDir(), publish.Given{Issuer: keys.RootID, Certificate: h.Root.Certificate, DER: der}, now)
}

// watchRootCRL warns once a day when the root's CRL must soon be followed by
// another: without a valid one relying parties refuse everything, and nobody here
// can sign it.
func (a *App) watchRootCRL(ctx context.Context) {
	t := time.NewTicker(24 * time.Hour)
	defer t.Stop()
	for {
		der, err := os.ReadFile(a.Hierarchy.RootCRLPath())
		warning := ""
		if err == nil {
			given := publish.Given{Issuer: keys.RootID, Certificate: a.Hierarchy.Root.Certificate, DER: der}
			warning, err = given.Warning(a.now())
		}
		if err != nil {
			a.log.Error("root CRL", "err", err)
		} else if warning != "" {
			a.log.Warn("root CRL", "warning", warning, "next", "sign a new one with `sigill ca root-crl`")
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
