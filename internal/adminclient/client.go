// Package adminclient is the administrators' side of the API (/api/v1): it logs
// in with the caller's own card, makes the statements that acts need, and signs
// them with that card.
//
// Its central rule: what is signed is computed here from the bytes that the caller
// has, never taken from the server. It decides nothing that the server decides,
// and knows nothing of terminals.
package adminclient

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/cardclient"
	"sigill/internal/cardhttp"
	"sigill/internal/statement"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

var (
	// ErrNoCertificate: no authentication certificate with its key is on the
	// card.
	ErrNoCertificate = errors.New("there is no authentication certificate on the card to log in with")
	// ErrAnswer: the server's answer is not of this protocol.
	ErrAnswer = cardhttp.ErrAnswer
	// ErrDocument: what the server sent to be signed is not what was asked for.
	ErrDocument = errors.New("the server's document is not what was asked for: nothing was signed")
)

// Client works with one card and one server. Fields are set before its first use;
// its methods may then be called concurrently. What the server refuses is a
// [*wire.Problem].
//
// Every request is made over a connection of its own, with a full handshake: no
// connection outlives the act that the card was asked for.
type Client struct {
	Server   string         // "https://card.example:8444"
	Roots    *x509.CertPool // that the server's certificate must lead to; nil: the system's
	Card     token.Card
	Language string // for the server's texts, "sv" or "en"
	// LoginWith is the id of the object on the card to log in with; nil: the
	// newest that is accepted. Rights in an organisation need its eID.
	LoginWith []byte
	Now       func() time.Time // nil: time.Now
	// Seen, if set, makes acts that revoke wait until what they revoked is seen by
	// whoever asks, and is told whether it was.
	Seen func(wire.Visible)

	// wait is how a pause between two tries is made; nil: a timer.
	wait func(context.Context, time.Duration) error

	mu    sync.Mutex
	login *login // guarded by mu; nil: not logged in yet, or refused since
}

// login is the certificate that the server accepted, and as whom.
type login struct {
	*cardhttp.Session
	certificate *x509.Certificate
	me          *wire.WhoAmI
	seen        func(wire.Visible)
}

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// WhoAmI tells as whom the server knows the card, and what that person may do.
func (c *Client) WhoAmI(ctx context.Context) (*wire.WhoAmI, error) {
	return retried(ctx, c, func(l *login) (*wire.WhoAmI, error) {
		return get[wire.WhoAmI](ctx, l, path("whoami"), nil)
	})
}

// Sign completes st (By: the caller; At: now, in whole seconds; For and Card: "-"
// if empty) and signs it with the key that the client logs in with.
func (c *Client) Sign(ctx context.Context, st statement.Statement) (wire.Statement, error) {
	l, err := c.loggedIn(ctx)
	if err != nil {
		return wire.Statement{}, err
	}
	return c.sign(l, st)
}

func (c *Client) sign(l *login, st statement.Statement) (wire.Statement, error) {
	st.By, st.At = l.me.Name, c.now().UTC().Truncate(time.Second)
	for _, field := range []*string{&st.For, &st.Card} {
		if *field == "" {
			*field = "-"
		}
	}
	content := st.Bytes()
	// A line break in a field would make other lines of it; the server refuses
	// such a statement, and a card must not sign it.
	if _, err := statement.Parse(content); err != nil {
		return wire.Statement{}, err
	}
	signature, err := statement.Sign(l.Key(), content)
	if err != nil {
		return wire.Statement{}, fmt.Errorf("signing the statement with the card: %w", err)
	}
	return wire.Statement{Content: content, Signature: signature, Certificate: ca.FingerprintOf(l.certificate.Raw).String()}, nil
}

// retried calls fn with the log-in. If a log-in from earlier is refused by now
// (the card was given a new eID since), it logs in anew and calls fn once more;
// a refused log-in changed nothing.
func retried[T any](ctx context.Context, c *Client, fn func(*login) (T, error)) (T, error) {
	var none T
	c.mu.Lock()
	earlier := c.login != nil
	c.mu.Unlock()
	for {
		l, err := c.loggedIn(ctx)
		if err != nil {
			return none, err
		}
		v, err := fn(l)
		if err == nil || !earlier || !loginRefused(err) {
			return v, err
		}
		earlier = false
		c.forget(l)
	}
}

// loginRefused reports whether err is about the certificate that logged in, and
// not about what was asked.
func loginRefused(err error) bool {
	var p *wire.Problem
	return errors.As(err, &p) && strings.HasPrefix(p.Rule, "login.")
}

func (c *Client) forget(l *login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.login == l {
		c.login = nil
	}
}

// loggedIn returns the log-in, and finds the certificate that the server accepts
// if there is none: the newest first. A card has several for a while (an eID that
// was renewed, one of each organisation).
func (c *Client) loggedIn(ctx context.Context) (*login, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.login != nil {
		return c.login, nil
	}
	objects := &cardclient.Client{Card: c.Card, Now: c.Now}
	all, err := objects.Identities(ctx)
	if err != nil {
		return nil, err
	}
	var refused []error
	for _, i := range all {
		if i.Slot != policy.Authentication || c.LoginWith != nil && !bytes.Equal(c.LoginWith, i.ID) {
			continue
		}
		l, err := c.try(ctx, i)
		if err == nil {
			c.login = l
			return l, nil
		}
		if !loginRefused(err) && !errors.Is(err, token.ErrNotFound) {
			return nil, err
		}
		refused = append(refused, err)
	}
	if len(refused) > 0 {
		return nil, worst(refused)
	}
	return nil, ErrNoCertificate
}

// worst is the refusal to show: of the newest certificate, which stands first.
func worst(refused []error) error {
	if len(refused) == 1 {
		return refused[0]
	}
	return fmt.Errorf("none of the %d certificates on the card is accepted; the newest: %w", len(refused), refused[0])
}

func (c *Client) try(ctx context.Context, i cardclient.Identity) (*login, error) {
	session, err := cardhttp.Open(ctx, cardhttp.Config{Server: c.Server, Roots: c.Roots, Card: c.Card, Agent: "sigill", Language: c.Language,
		Tries: maxTries, MaxAnswer: maxAnswer, Wait: c.wait}, i.ID, i.Certificate)
	if err != nil {
		return nil, err
	}
	l := &login{Session: session, certificate: i.Certificate, seen: c.Seen}
	l.me, err = get[wire.WhoAmI](ctx, l, path("whoami"), nil)
	if err != nil {
		return nil, err
	}
	if l.me.Certificate != ca.FingerprintOf(i.Certificate.Raw).String() {
		return nil, fmt.Errorf("%w: logged in with another certificate, %q", ErrAnswer, l.me.Certificate)
	}
	return l, nil
}
