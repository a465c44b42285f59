package cardclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"sigill/internal/cardhttp"
	"sigill/internal/wire"
)

// Names of the checks of [Client.SelfTest].
const (
	CheckCard         = "card"         // the card answers
	CheckCertificates = "certificates" // one of them may log in now
	CheckServer       = "server"       // it can be reached
	CheckTLS          = "tls"          // and is who it must be
	CheckLogin        = "login"        // and lets this card in
)

// probeTimeout bounds the making of a connection.
const probeTimeout = 15 * time.Second

// ErrInspected: the server's certificate leads to an unexpected issuer. In an
// organisation that is nearly always a proxy which opens TLS; a log-in with a
// card can't go through it.
var ErrInspected = errors.New("the server's certificate was issued by somebody unexpected")

// ErrNotValidNow: no certificate on the card is within its time.
var ErrNotValidNow = errors.New("no certificate on the card is valid at this time")

// Check is the outcome of one check.
type Check struct {
	Name   string
	Detail string // facts, not sentences: card number, dates, issuer
	Err    error  // nil: passed
}

// SelfTest makes the checks that a help desk would ask for, in that order, and
// stops after the first that the later ones can't do without. report is called
// with each as it is done.
func (c *Client) SelfTest(ctx context.Context, report func(Check)) bool {
	ok := true
	tell := func(name, detail string, err error) bool {
		report(Check{Name: name, Detail: detail, Err: err})
		ok = ok && err == nil
		return err == nil
	}
	info := c.Card.Info()
	_, err := c.Card.Objects(ctx)
	if !tell(CheckCard, info.Label+" "+info.Number, err) {
		return false
	}
	detail, err := c.checkCertificates(ctx)
	tell(CheckCertificates, detail, err)
	host, err := c.checkServer(ctx)
	if !tell(CheckServer, host, err) {
		return false
	}
	detail, err = c.checkTLS(ctx)
	if !tell(CheckTLS, detail, err) {
		return false
	}
	me, err := c.Me(ctx, Identity{})
	if me == nil {
		me = &wire.Me{}
	}
	tell(CheckLogin, me.Name, err)
	return ok
}

func (c *Client) checkCertificates(ctx context.Context) (string, error) {
	all, err := c.Identities(ctx)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", ErrNoCertificate
	}
	best := all[0].Certificate // those valid now stand first
	detail := fmt.Sprintf("%s – %s", best.NotBefore.Format(time.DateOnly), best.NotAfter.Format(time.DateOnly))
	if now := c.now(); now.Before(best.NotBefore) || !now.Before(best.NotAfter) {
		return detail, ErrNotValidNow
	}
	return detail, nil
}

func (c *Client) checkServer(ctx context.Context) (string, error) {
	u, err := cardhttp.ParseServer(c.Server)
	if err != nil {
		return "", err
	}
	conn, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, "tcp", hostPort(u.Hostname(), u.Port()))
	if err != nil {
		return u.Host, err
	}
	return u.Host, conn.Close()
}

func hostPort(host, port string) string {
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(host, port)
}

// checkTLS looks at the server's certificate without using the card.
func (c *Client) checkTLS(ctx context.Context) (issuer string, err error) {
	u, err := cardhttp.ParseServer(c.Server)
	if err != nil {
		return "", err
	}
	verify := func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		issuer = leaf.Issuer.String()
		rest := x509.NewCertPool()
		for _, cert := range s.PeerCertificates[1:] {
			rest.AddCert(cert)
		}
		_, err := leaf.Verify(x509.VerifyOptions{Roots: c.Roots, Intermediates: rest, DNSName: u.Hostname(), CurrentTime: c.now()})
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			return fmt.Errorf("%w: %s", ErrInspected, issuer)
		}
		return err
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: probeTimeout}, Config: &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: u.Hostname(),
		// Verified just above, by the same rules: the standard check would
		// fail without telling who the issuer is.
		InsecureSkipVerify: true, VerifyConnection: verify,
	}}
	conn, err := d.DialContext(ctx, "tcp", hostPort(u.Hostname(), u.Port()))
	if err != nil {
		return issuer, err
	}
	return issuer, conn.Close()
}
