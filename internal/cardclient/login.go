package cardclient

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Identity is a certificate on the card, with its key, that may log in.
type Identity struct {
	ID          []byte // of the object on the card
	Slot        policy.Slot
	Certificate *x509.Certificate
}

// IsZero reports whether i names no certificate.
func (i Identity) IsZero() bool { return i.Certificate == nil }

// Identities returns what may log in, best first: authentication certificates,
// the newest first, then transport certificates; those whose time is not now
// come last, because the server says best what is wrong with them.
func (c *Client) Identities(ctx context.Context) ([]Identity, error) {
	objects, err := c.Card.Objects(ctx)
	if err != nil {
		return nil, err
	}
	var all []Identity
	for _, o := range objects {
		if o.Slot == policy.Signing || !o.HasKey {
			continue
		}
		if cert, err := x509.ParseCertificate(o.Certificate); err == nil {
			all = append(all, Identity{ID: o.ID, Slot: o.Slot, Certificate: cert})
		}
	}
	now := c.now()
	rank := func(i Identity) int {
		r := 0
		if now.Before(i.Certificate.NotBefore) || !now.Before(i.Certificate.NotAfter) {
			r += 2
		}
		if i.Slot == policy.Transport {
			r++
		}
		return r
	}
	slices.SortStableFunc(all, func(a, b Identity) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		return b.Certificate.NotBefore.Compare(a.Certificate.NotBefore)
	})
	return all, nil
}

// Login finds the certificate that the server accepts: as, or the one that the
// client was told to use, or the first of [Client.Identities] that is not
// refused. If all are refused, the error has each refusal.
func (c *Client) Login(ctx context.Context, as Identity) (Identity, *wire.Me, error) {
	s, me, err := c.login(ctx, as)
	if err != nil {
		return Identity{}, nil, err
	}
	s.Close()
	return s.identity, me, nil
}

// login is Login; the session stays open.
func (c *Client) login(ctx context.Context, as Identity) (*session, *wire.Me, error) {
	return c.loginAfter(ctx, as, func() error { return nil })
}

// loginAfter is login; before is called when the card is open with its PIN and the
// server has not been asked.
func (c *Client) loginAfter(ctx context.Context, as Identity, before func() error) (*session, *wire.Me, error) {
	candidates := []Identity{as}
	if as.IsZero() {
		var err error
		if candidates, err = c.Identities(ctx); err != nil {
			return nil, nil, err
		}
		if c.LoginWith != nil {
			candidates = slices.DeleteFunc(candidates, func(i Identity) bool { return string(i.ID) != string(c.LoginWith) })
		}
	}
	var refused []error
	for _, i := range candidates {
		s, me, err := c.loginWith(ctx, i, before)
		if err == nil {
			return s, me, nil
		}
		var problem *wire.Problem
		switch {
		case errors.As(err, &problem) && (problem.Status == 401 || problem.Status == 403),
			errors.Is(err, token.ErrNotFound): // a certificate whose key is gone
			refused = append(refused, fmt.Errorf("%s certificate of %s: %w", i.Slot, i.Certificate.NotBefore.Format("2006-01-02"), err))
		default:
			return nil, nil, err
		}
	}
	if len(refused) > 0 {
		return nil, nil, errors.Join(refused...)
	}
	return nil, nil, ErrNoCertificate
}

func (c *Client) loginWith(ctx context.Context, i Identity, before func() error) (*session, *wire.Me, error) {
	s, err := c.session(ctx, i)
	if err != nil {
		return nil, nil, err
	}
	var me wire.Me
	if err := before(); err != nil {
		s.Close()
		return nil, nil, err
	}
	if err := s.get(ctx, &me, "me"); err != nil {
		s.Close()
		return nil, nil, err
	}
	if err := c.accept(&me); err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, &me, nil
}

// accept checks what the server says against this program and the card.
func (c *Client) accept(me *wire.Me) error {
	if wire.Older(c.Version, me.MinClient) {
		return fmt.Errorf("%w: this is %s, it wants %s or newer", ErrClientTooOld, c.Version, me.MinClient)
	}
	if n := c.Card.Info().Number; n != "" && n != me.Card {
		return fmt.Errorf("%w: the reader has %s, logged in as %s", ErrOtherCard, n, me.Card)
	}
	return nil
}
