package app

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
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

// renewSigners gives every issuing CA a new OCSP signer.
func (a *App) renewSigners(ctx context.Context) error {
	for _, each := range a.Hierarchy.Issuers {
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
		if err := a.signers.Set(each.ID, responder); err != nil {
			return err
		}
	}
	return nil
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

// renew makes technical certificates anew at half of their lives.
func (a *App) renew(ctx context.Context, s *server) {
	signers, servers := time.NewTicker(ocspLife/2), time.NewTicker(serverLife/2)
	defer signers.Stop()
	defer servers.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-signers.C:
			err = a.renewSigners(ctx)
		case <-servers.C:
			err = a.renewServer(ctx, s)
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("renewing technical certificates: will be tried again at the next start or half life", "err", err)
		}
	}
}
