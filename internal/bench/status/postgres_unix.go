//go:build unix

package status

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sigill/internal/app"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/population"
	"sigill/internal/bench/process"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/store/pgtest"
)

// onPostgres measures how soon a revocation is seen by two processes on one database
// of PostgreSQL, where its programs are.
func (s *Session) onPostgres(ctx context.Context, emit func(figure.Figure)) (err error) {
	server, err := pgtest.Start()
	if errors.Is(err, pgtest.ErrMissing) {
		s.leftOut("PostgreSQL", err)
		return nil
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	temp, err := os.MkdirTemp(s.c.Dir, "sigill-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := filepath.Join(temp, "installation")
	issuer, err := installed(ctx, server, dir)
	if err != nil {
		return err
	}
	serve, err := s.begin(ctx, process.Serve, process.Spec{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, serve.end()) }()
	other, err := s.begin(ctx, process.Other, process.Spec{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.end()) }()
	o, err := serve.ask(process.Order{Issue: s.few(revocations)})
	if err != nil {
		return err
	}
	own, others, called, err := s.seen(ctx, serve, other, issuer, o.Serials)
	if err != nil {
		return err
	}
	emit(figure.Less("revoke_to_ocsp_postgres_p99_ms", figure.Percentile(own, 0.99), "ms", figure.Percentile(called, 0.99), fmt.Sprintf(
		"as revoke_to_ocsp_p99_ms, over PostgreSQL on the same machine (fsync on), %d certificates just issued; median %.1f ms; ceiling: the transaction that revokes, p99", len(own), figure.Percentile(own, 0.5))))
	emit(figure.Less("revoke_to_ocsp_postgres_other_p99_ms", figure.Percentile(others, 0.99), "ms", figure.Percentile(own, 0.99), fmt.Sprintf(
		"the same in a second process on that database; median %.1f ms; ceiling: the process that revokes, p99", figure.Percentile(others, 0.5))))
	return nil
}

// installed makes an installation over a fresh database and returns its issuing CA.
func installed(ctx context.Context, server *pgtest.Server, dir string) (*x509.Certificate, error) {
	settings := config.Defaults()
	settings.Status, settings.Card, settings.Ops = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	var err error
	if settings.Database, err = server.NewDatabase(ctx); err != nil {
		return nil, err
	}
	if _, err := app.Init(ctx, app.InitOptions{Dir: dir, Settings: settings, Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		return nil, err
	}
	h, err := keys.Load(dir)
	if err != nil {
		return nil, err
	}
	issuer, ok := h.Issuer(population.Issuer)
	if !ok {
		return nil, fmt.Errorf("no issuer %s", population.Issuer)
	}
	return issuer.Certificate, nil
}
