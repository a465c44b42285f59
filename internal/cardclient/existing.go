package cardclient

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// Existing tells what became of the current certificates of a card.
type Existing struct {
	Card    string
	Written []Current // written to the card again
	There   []Current // were on it already
	Missing []Current // the key is not on this card
	Failed  []Failed
}

// Current is a certificate that is current at the server.
type Current struct {
	Organisation string
	Slot         policy.Slot
	Serial       string
	Fingerprint  string
	NotAfter     string // date
}

// Failed is a certificate that could not be written.
type Failed struct {
	Current
	Err error
}

// FetchExisting writes again every current certificate whose key is on the card
// and whose certificate is not, or is damaged. Nothing is issued: it is what
// helps when another program has emptied a card or a writer was killed.
func (c *Client) FetchExisting(ctx context.Context) (*Existing, error) {
	r, err := c.start(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { r.session.Close() }()
	e := &Existing{Card: r.me.Card}
	return e, r.existing(ctx, e, true)
}

// repair is FetchExisting as a part of another run.
func (r *run) repair(ctx context.Context, result *Result, ask bool) {
	var e Existing
	if err := r.existing(ctx, &e, ask); err != nil {
		result.keep(Kept{Err: err})
		return
	}
	for _, w := range e.Written {
		result.Repaired = append(result.Repaired, w.Fingerprint)
	}
}

func (r *run) existing(ctx context.Context, e *Existing, ask bool) error {
	objects, err := r.Card.Objects(ctx)
	if err != nil {
		return err
	}
	for _, eid := range r.me.EIDs {
		for _, cert := range eid.Certificates {
			if cert.State != "current" {
				continue
			}
			now := Current{Organisation: eid.Organisation, Slot: policy.Slot(cert.Slot), Serial: cert.Serial,
				Fingerprint: cert.Fingerprint, NotAfter: cert.NotAfter.Format("2006-01-02")}
			switch wrote, err := r.restore(ctx, cert, objects, ask); {
			case errors.Is(err, ErrKeyElsewhere):
				e.Missing = append(e.Missing, now)
			case err != nil:
				e.Failed = append(e.Failed, Failed{now, err})
			case wrote:
				e.Written = append(e.Written, now)
			default:
				e.There = append(e.There, now)
			}
		}
	}
	return nil
}

// restore writes one certificate if it is not on the card and its key is.
func (r *run) restore(ctx context.Context, listed wire.Certificate, objects []token.Object, ask bool) (wrote bool, err error) {
	cert, err := x509.ParseCertificate(listed.DER)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	switch {
	case fingerprint(listed.DER) != listed.Fingerprint:
		return false, fmt.Errorf("%w: it is not the one that is listed", ErrCertificate)
	case token.NumberOf(cert) != r.me.Card:
		return false, fmt.Errorf("%w: it names another card", ErrCertificate)
	case cert.KeyUsage != usageOf(policy.Slot(listed.Slot)):
		return false, fmt.Errorf("%w: key usage %b", ErrCertificate, cert.KeyUsage)
	}
	var at *token.Object
	for i, o := range objects {
		if !o.HasKey || !token.SameKey(o.Public, cert.PublicKey) {
			continue
		}
		if string(o.Certificate) == string(listed.DER) && !o.Damaged {
			return false, nil
		}
		at = &objects[i]
	}
	if at == nil {
		return false, ErrKeyElsewhere
	}
	return true, r.rewrite(ctx, *at, listed.DER, ask)
}

// rewrite puts a certificate to its key, in place of whatever is there.
func (r *run) rewrite(ctx context.Context, o token.Object, der []byte, ask bool) error {
	if r.apart(o.Slot) {
		if r.denied != nil {
			return r.denied
		}
		if !r.unlocked && !ask {
			return ErrNotAsked
		}
	}
	err := r.write(ctx, o, der)
	if r.apart(o.Slot) {
		r.unlocked = r.unlocked || err == nil
		if pinFailed(err) {
			r.denied = err
		}
	}
	return err
}

func (r *run) write(ctx context.Context, o token.Object, der []byte) error {
	// A public key alone, whose private one was never made or is gone, is not
	// the key; some cards tell only now.
	if _, err := r.Card.Signer(ctx, o.ID); errors.Is(err, token.ErrNotFound) {
		return ErrKeyElsewhere
	} else if err != nil {
		return err
	}
	if o.Certificate != nil || o.Damaged {
		m, ok := r.Card.(token.Mender)
		if !ok {
			return fmt.Errorf("%w: another one is there", ErrWrite)
		}
		if err := m.DropCertificate(ctx, o.ID); err != nil {
			return fmt.Errorf("%w: %w", ErrWrite, err)
		}
	}
	if err := r.Card.WriteCertificate(ctx, o.ID, der); err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	back, err := r.Card.ReadCertificate(ctx, o.ID)
	if err != nil {
		return fmt.Errorf("reading it back: %w", err)
	}
	if string(back) != string(der) {
		return ErrReadBack
	}
	return nil
}

// usageOf is the key usage of certificates in a slot.
func usageOf(slot policy.Slot) x509.KeyUsage {
	if slot == policy.Signing {
		return x509.KeyUsageContentCommitment
	}
	return x509.KeyUsageDigitalSignature
}
