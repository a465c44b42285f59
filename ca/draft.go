package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"sigill/internal/der"
)

// Request asks for a certificate.
type Request struct {
	Profile   ProfileName
	Content   Content
	PublicKey crypto.PublicKey // *ecdsa.PublicKey or *rsa.PublicKey
	// NotBefore and NotAfter are cut to seconds. A NotAfter past the issuer's
	// or the profile's limit is refused, never shortened here: whoever promised
	// it has to know.
	NotBefore time.Time
	NotAfter  time.Time
	// Mandate must be there if the profile demands one, and only then.
	Mandate *Mandate
}

// Draft is a certificate under a throw-away key, before its transparency log.
type Draft struct {
	issuer *Issuer
	intent Intent // TBS is that without an SCT list
	spki   []byte
	linted []byte       // the certificate under the throw-away key
	used   *atomic.Bool // sealed: one serial, one TBS
}

// Sealed is a draft with the bytes that are to be recorded and signed.
type Sealed struct {
	work
	used *atomic.Bool // recorded, or tried to be
}

// Recorded is an intent that was written down. Its serial is known for ever.
type Recorded struct {
	work
	used *atomic.Bool // awaited, or tried to be
}

// Logged is a recorded intent that its log has, or that has no log: the right to
// one signature.
type Logged struct {
	work
	used *atomic.Bool // redeemed
}

// work is what goes from step to step unchanged.
type work struct {
	issuer *Issuer
	intent Intent
	tbs0   []byte // without the SCT list; equal to intent.TBS if there is none
	spki   []byte
	log    Log // nil: none
}

// errUsed is returned when a step is taken twice. Repeating one could sign the
// same serial twice.
var errUsed = errors.New("already used: prepare a new draft")

// Prepare checks a request, draws a serial and builds the certificate under a
// throw-away key. It returns a [*RequestError] or [*MandateError] if the request
// can't be granted. It has no effect.
func (i *Issuer) Prepare(r Request) (*Draft, error) {
	p, ok := i.profiles[r.Profile]
	if !ok {
		return nil, refuse("profile", fmt.Sprintf("%q is not issued by %s", r.Profile, i.id))
	}
	if err := checkMandate(p, i.id, r); err != nil {
		return nil, err
	}
	if err := p.checkContent(r.Content); err != nil {
		return nil, err
	}
	if err := p.CheckKey(r.PublicKey); err != nil {
		return nil, err
	}
	if err := i.checkForeignKey(r.PublicKey); err != nil {
		return nil, err
	}
	r.NotBefore, r.NotAfter = r.NotBefore.UTC().Truncate(time.Second), r.NotAfter.UTC().Truncate(time.Second)
	if err := i.checkValidity(p, r); err != nil {
		return nil, err
	}
	return i.draft(p, r)
}

func (i *Issuer) checkForeignKey(key crypto.PublicKey) error {
	if i.certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
		return refuse("key", "it is the issuer's own")
	}
	return nil
}

func (i *Issuer) checkValidity(p *Profile, r Request) error {
	switch {
	case r.NotBefore.Unix() <= 0:
		return refuse("notBefore", "it is missing")
	case !r.NotAfter.After(r.NotBefore):
		return refuse("notAfter", "it is not after notBefore")
	case r.NotAfter.Sub(r.NotBefore) > p.MaxValidity():
		return refuse("notAfter", "the certificate would live longer than its profile allows")
	case r.NotAfter.After(i.certificate.NotAfter):
		return refuse("notAfter", "the certificate would outlive its issuer")
	case r.NotBefore.After(i.certificate.NotAfter):
		return refuse("notBefore", "it is after the end of the issuer")
	}
	return nil
}

func (i *Issuer) draft(p *Profile, r Request) (*Draft, error) {
	serial, err := i.drawSerial()
	if err != nil {
		return nil, err
	}
	in := Intent{Serial: serial, Issuer: i.id, Partition: PartitionOf(serial, i.partitions), Profile: r.Profile,
		NotBefore: r.NotBefore, NotAfter: r.NotAfter}
	if in.Key, err = FingerprintKey(r.PublicKey); err != nil {
		return nil, err
	}
	template, err := i.template(p, r, in)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(template.RawSubject, i.certificate.RawSubject) {
		return nil, refuse("content", "the subject would be the issuer's own name")
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, i.throwawayParent, r.PublicKey, i.throwaway.Signer())
	if err != nil {
		return nil, fmt.Errorf("building certificate: %w", err)
	}
	parts, err := der.Parse(cert)
	if err != nil {
		return nil, fmt.Errorf("reading built certificate: %w", err)
	}
	in.TBS = parts.TBS
	return &Draft{issuer: i, intent: in, spki: parts.PublicKey, linted: cert, used: new(atomic.Bool)}, nil
}

// Seal asks log for its promise, adds it as the last extension, and lints the
// result. A nil log leaves the draft as it is. A draft is sealed once, also when
// that fails: a log that answered may have promised the first form already.
func (d *Draft) Seal(ctx context.Context, log Log) (*Sealed, error) {
	if d.used == nil || !d.used.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("sealing: %w", errUsed)
	}
	s := &Sealed{work{issuer: d.issuer, intent: d.intent, tbs0: d.intent.TBS, spki: d.spki, log: log}, new(atomic.Bool)}
	cert := d.linted
	if log != nil {
		promise, err := log.Promise(ctx, s.preCert())
		if err != nil {
			return nil, fmt.Errorf("sealing: %w", err)
		}
		s.intent.Leaf = promise.Leaf
		if s.intent.TBS, err = addSCTList(s.tbs0, promise.SCTList); err != nil {
			return nil, fmt.Errorf("sealing: %w", err)
		}
		if cert, err = d.issuer.throwaway.Seal(s.intent.TBS); err != nil {
			return nil, fmt.Errorf("sealing: %w", err)
		}
	}
	if err := d.issuer.linter.Lint(cert, d.intent.Profile); err != nil {
		return nil, fmt.Errorf("certificate of profile %s: %w", d.intent.Profile, err)
	}
	return s, nil
}

// Intent returns a copy of what Record will hand to save.
func (s *Sealed) Intent() Intent { return s.intent.clone() }

func (in Intent) clone() Intent {
	in.TBS = slices.Clone(in.TBS)
	return in
}

// Record hands a copy of the intent to save, which MUST return nil only when the
// intent is durable: from then on the serial is known whatever happens. It is the
// only way to a [*Recorded]. A Sealed is recorded once, also when save fails,
// because a save that failed may still have been committed.
func (s *Sealed) Record(ctx context.Context, save func(context.Context, Intent) error) (*Recorded, error) {
	if save == nil {
		return nil, errors.New("recording intent: nothing to save it with")
	}
	if s.used == nil || !s.used.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("recording intent: %w", errUsed)
	}
	if err := save(ctx, s.intent.clone()); err != nil {
		return nil, fmt.Errorf("recording intent %s: %w", s.intent.Serial, err)
	}
	return &Recorded{s.work, new(atomic.Bool)}, nil
}
