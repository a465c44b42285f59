package app

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/internal/keys"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Technical certificates are made at every start, under keys that exist in this
// process's memory only, and again at half of their lives: there is no file to
// steal and nothing to remember renewing.
const (
	ocspLife   = 14 * 24 * time.Hour
	serverLife = 30 * 24 * time.Hour
)

// technical issues a certificate for a fresh key.
func (a *App) technical(ctx context.Context, id ca.IssuerID, profile ca.ProfileName, content ca.Content, life time.Duration) (*issue.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	issuer, err := a.Issuers.Issuer(id)
	if err != nil {
		return nil, nil, err
	}
	now := a.now()
	notAfter := now.Add(life)
	if end := issuer.Certificate().NotAfter; end.Before(notAfter) {
		notAfter = end
	}
	req := ca.Request{Profile: profile, Content: content, PublicKey: key.Public(), NotBefore: now.Add(-register.Backdate), NotAfter: notAfter}
	cert, err := a.Issue.Issue(ctx, id, req, issue.Binding{}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%s certificate from %s: %w", profile, id, err)
	}
	return cert, key, nil
}

// renewSigner gives an issuing CA a new OCSP signer.
func (a *App) renewSigner(ctx context.Context, each keys.CA) error {
	content := ca.Content{Country: "SE", Organisation: a.Config.Organisation, CommonName: each.Certificate.Subject.CommonName + " OCSP"}
	cert, key, err := a.technical(ctx, each.ID, policy.ProfileOCSP, content, ocspLife)
	if err != nil {
		return err
	}
	parsed, err := x509.ParseCertificate(cert.DER)
	if err != nil {
		return err
	}
	responder, err := ca.NewResponder(each.Certificate, parsed, key)
	if err != nil {
		return err
	}
	return a.book.add(cert, func() error { return a.signers.Set(each.ID, responder) })
}

// server holds the TLS certificate of the card listener.
type server struct {
	cert atomic.Pointer[tls.Certificate]
}

func (s *server) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil }

// renewServer gives the card listener a new certificate of the Function CA.
func (a *App) renewServer(ctx context.Context, s *server) error {
	content := ca.Content{Country: "SE", Organisation: a.Config.Organisation, CommonName: a.Config.Hosts[0], DNSNames: a.Config.Hosts}
	cert, key, err := a.technical(ctx, keys.FunctionCA, policy.ProfileServer, content, serverLife)
	if err != nil {
		return err
	}
	function, ok := a.Hierarchy.Issuer(keys.FunctionCA)
	if !ok {
		return fmt.Errorf("no issuing CA %s", keys.FunctionCA)
	}
	s.cert.Store(&tls.Certificate{Certificate: [][]byte{cert.DER, function.Certificate.Raw}, PrivateKey: key})
	return nil
}

// A failed renewal is tried again soon: half of a life is left, and after that
// relying parties get no answer, or cards no connection.
const (
	firstRetry   = 15 * time.Second
	longestRetry = 10 * time.Minute
	renewWithin  = time.Minute // a try that hangs must give way to the next
)

// renewal makes one technical certificate anew.
type renewal struct {
	name string
	half time.Duration // of the certificate's life
	do   func(ctx context.Context) error
}

// renewals are the technical certificates: each is renewed on its own, so that an
// issuing CA that can't sign keeps no other from its signer.
func (a *App) renewals(s *server) []renewal {
	var out []renewal
	for _, each := range a.Hierarchy.Issuers {
		out = append(out, renewal{"OCSP signer of " + string(each.ID), ocspLife / 2, func(ctx context.Context) error { return a.renewSigner(ctx, each) }})
	}
	return append(out, renewal{"server certificate", serverLife / 2, func(ctx context.Context) error { return a.renewServer(ctx, s) }})
}

// first makes every technical certificate; a start needs all of them.
func first(ctx context.Context, all []renewal) error {
	var errs []error
	for _, r := range all {
		if err := r.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
		}
	}
	return errors.Join(errs...)
}

// keep does the renewal at half of each life until ctx ends, and after a failure
// again with growing pauses until it succeeds.
func (r renewal) keep(ctx context.Context, log *slog.Logger) {
	wait, pause := r.half, firstRetry
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		try, cancel := context.WithTimeout(ctx, renewWithin)
		err := r.do(try)
		cancel()
		if err == nil {
			wait, pause = r.half, firstRetry
			continue
		}
		if ctx.Err() != nil {
			return
		}
		wait, pause = pause, min(2*pause, longestRetry)
		log.Error("renewing a technical certificate", "which", r.name, "err", err, "next try in", wait.String())
	}
}
