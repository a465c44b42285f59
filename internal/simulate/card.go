package simulate

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"slices"

	"sigill/internal/token"
	"sigill/policy"
)

// plastic is a card as it lies on the desk: what is on it outlives every client.
type plastic struct {
	number  string
	objects []*cardObject
	// epoch counts how often it was taken out of the reader: a client that began
	// in an earlier one has a pulled card.
	epoch int
	// left are the tries of each PIN: one for authentication, one for signing.
	left   [2]int
	serial uint64
}

func newPlastic(number string) *plastic {
	p := &plastic{number: number}
	p.heal()
	return p
}

// heal is what the desk does with the PUK.
func (p *plastic) heal() { p.left = [2]int{pinTries, pinTries} }

// pin is which PIN a slot has.
func pin(slot policy.Slot) int {
	if slot == policy.Signing {
		return 1
	}
	return 0
}

// cardObject is a key pair, of which the private half or the certificate may be
// missing.
type cardObject struct {
	id     []byte
	slot   policy.Slot
	label  string
	key    crypto.Signer // nil: the private key is gone or was never made
	public crypto.PublicKey
	cert   []byte
	torn   bool // cert is what a killed writer left of one
}

// Tries of the PIN before it is locked.
const pinTries = 3

func (p *plastic) add(slot policy.Slot, key crypto.Signer, der []byte) *cardObject {
	p.serial++
	o := &cardObject{id: fmt.Appendf(nil, "object-%d", p.serial), slot: slot, label: token.LabelPrefix + string(slot), key: key, cert: der}
	if key != nil {
		o.public = key.Public()
	}
	p.objects = append(p.objects, o)
	return o
}

func (p *plastic) find(id []byte) *cardObject {
	i := slices.IndexFunc(p.objects, func(o *cardObject) bool { return bytes.Equal(o.id, id) })
	if i < 0 {
		return nil
	}
	return p.objects[i]
}

// holds reports whether the card has a certificate together with its key.
func (p *plastic) holds(fingerprint [32]byte) bool {
	return slices.ContainsFunc(p.objects, func(o *cardObject) bool {
		return o.key != nil && o.cert != nil && !o.torn && sumOf(o.cert) == fingerprint
	})
}

// reader is a card opened by one client.
type reader struct {
	c      *client
	p      *plastic
	epoch  int
	opened [2]bool // which PINs were given
}

var (
	_ token.Card   = (*reader)(nil)
	_ token.Mender = (*reader)(nil)
)

// begin is the point before a command, which may fail in its place.
func (r *reader) begin(op string, faults ...Fault) (Fault, error) {
	s := r.c.s
	s.point("card " + op)
	if r.c.killed {
		return "", errKilled
	}
	if r.epoch != r.p.epoch {
		return "", errPulled
	}
	if s.drawAt(CardPulledBefore) {
		r.p.epoch++
		return "", errPulled
	}
	f := s.draw(faults...)
	s.note("card "+op, "done")
	return f, nil
}

// end is the moment after a command.
func (r *reader) end() error {
	if r.c.s.drawAt(CardPulledAfter) {
		r.p.epoch++
		return errPulled
	}
	return nil
}

var errPulled = fmt.Errorf("%w: the card was pulled", errInjected)

// unlock gives the PIN once a client.
func (r *reader) unlock(slot policy.Slot) error {
	i := pin(slot)
	if r.opened[i] {
		return nil
	}
	if r.p.left[i] > 0 && r.c.s.drawAt(CardWrongPIN) {
		r.p.left[i]--
		if r.p.left[i] > 0 {
			return token.ErrPIN{Slot: slot, Left: r.p.left[i]}
		}
	}
	if r.p.left[i] == 0 {
		return token.LockedError{Slot: slot}
	}
	r.p.left[i], r.opened[i] = pinTries, true
	return nil
}

// Info implements [token.Card].
func (r *reader) Info() token.Info {
	return token.Info{Number: r.p.number, Label: "simulated", SigningPIN: true}
}

// Objects implements [token.Card].
func (r *reader) Objects(context.Context) ([]token.Object, error) {
	if _, err := r.begin("list"); err != nil {
		return nil, err
	}
	var all []token.Object
	for _, o := range r.p.objects {
		each := token.Object{ID: slices.Clone(o.id), Slot: o.slot, Label: o.label, Certificate: slices.Clone(o.cert),
			HasKey: o.key != nil, Public: o.public}
		if o.torn {
			each.Certificate, each.Damaged = nil, true
		}
		all = append(all, each)
	}
	return all, r.end()
}

// GenerateKey implements [token.Card].
func (r *reader) GenerateKey(_ context.Context, slot policy.Slot, algorithm token.Algorithm) ([]byte, error) {
	f, err := r.begin("generate", CardWriteFails, CardKeyHalf)
	if err != nil {
		return nil, err
	}
	if err := r.unlock(slot); err != nil {
		return nil, err
	}
	if f == CardWriteFails {
		return nil, fmt.Errorf("%w: %s", errInjected, f)
	}
	if algorithm != token.P256 {
		return nil, fmt.Errorf("the simulated card makes no %s", algorithm)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	o := r.p.add(slot, key, nil)
	if other := r.c.s.copied(r.c.h); other != nil {
		o.key, o.public = other, other.Public()
	}
	if f == CardKeyHalf { // the client died while the card wrote
		o.key = nil
		r.p.epoch++
		return nil, errPulled
	}
	return slices.Clone(o.id), r.end()
}

// copied returns a certified key of another holder, now and then: somebody has it
// twice, and whose it is can't be told any more.
func (s *Sim) copied(h *holder) crypto.Signer {
	for _, other := range s.holders {
		if other == h {
			continue
		}
		for _, o := range other.card.objects {
			if o.slot == policy.Authentication && o.key != nil && o.cert != nil && s.drawAt(CardKeyCopied) {
				h.ended[everyOne], other.ended[everyOne] = true, true
				return o.key
			}
		}
	}
	return nil
}

// Signer implements [token.Card].
func (r *reader) Signer(_ context.Context, id []byte) (crypto.Signer, error) {
	if _, err := r.begin("open key"); err != nil {
		return nil, err
	}
	o := r.p.find(id)
	if o == nil || o.key == nil {
		return nil, fmt.Errorf("key %s: %w", id, token.ErrNotFound)
	}
	return &cardSigner{r, o}, r.unlock(o.slot)
}

// cardSigner is a key on a card.
type cardSigner struct {
	r *reader
	o *cardObject
}

// Public implements [crypto.Signer].
func (k *cardSigner) Public() crypto.PublicKey { return k.o.public }

// Sign implements [crypto.Signer].
func (k *cardSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, err := k.r.begin("sign"); err != nil {
		return nil, err
	}
	if k.r.p.find(k.o.id) != k.o || k.o.key == nil {
		return nil, fmt.Errorf("key %s: %w", k.o.id, token.ErrNotFound)
	}
	signature, err := k.o.key.Sign(rand.Reader, digest, opts)
	if err != nil {
		return nil, err
	}
	return signature, k.r.end()
}

// WriteCertificate implements [token.Card].
func (r *reader) WriteCertificate(_ context.Context, id, der []byte) error {
	f, err := r.begin("write", CardWriteFails, CardWriteTorn)
	if err != nil {
		return err
	}
	o := r.p.find(id)
	if o == nil {
		return fmt.Errorf("object %s: %w", id, token.ErrNotFound)
	}
	if err := r.unlock(o.slot); err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	switch {
	case f == CardWriteFails:
		return fmt.Errorf("%w: %s", errInjected, f)
	case !token.SameKey(o.public, cert.PublicKey):
		return fmt.Errorf("object %s: the certificate is for another key", id)
	case o.cert != nil && !bytes.Equal(o.cert, der):
		return fmt.Errorf("object %s: %w", id, token.ErrOccupied)
	}
	o.cert = slices.Clone(der)
	if f == CardWriteTorn {
		o.cert, o.torn = o.cert[:len(der)/2], true
		r.p.epoch++
		return errPulled
	}
	return r.end()
}

// ReadCertificate implements [token.Card].
func (r *reader) ReadCertificate(_ context.Context, id []byte) ([]byte, error) {
	if _, err := r.begin("read"); err != nil {
		return nil, err
	}
	o := r.p.find(id)
	if o == nil || o.cert == nil || o.torn {
		return nil, fmt.Errorf("certificate %s: %w", id, token.ErrNotFound)
	}
	return slices.Clone(o.cert), r.end()
}

// Delete implements [token.Card].
func (r *reader) Delete(_ context.Context, id []byte) error {
	f, err := r.begin("delete", CardDeleteFails, CardDeleteHalf)
	if err != nil {
		return err
	}
	o := r.p.find(id)
	if o == nil {
		return fmt.Errorf("object %s: %w", id, token.ErrNotFound)
	}
	if err := r.unlock(o.slot); err != nil {
		return err
	}
	if f == CardDeleteFails {
		return fmt.Errorf("%w: %s", errInjected, f)
	}
	r.c.s.deleting(r.c.h, o)
	if f == CardDeleteHalf {
		o.key = nil
		r.p.epoch++
		return errPulled
	}
	r.p.objects = slices.DeleteFunc(r.p.objects, func(x *cardObject) bool { return x == o })
	return r.end()
}

// DropCertificate implements [token.Mender].
func (r *reader) DropCertificate(_ context.Context, id []byte) error {
	if _, err := r.begin("drop certificate"); err != nil {
		return err
	}
	o := r.p.find(id)
	if o == nil {
		return fmt.Errorf("object %s: %w", id, token.ErrNotFound)
	}
	if err := r.unlock(o.slot); err != nil {
		return err
	}
	o.cert, o.torn = nil, false
	return r.end()
}

// Nameless implements [token.Mender].
func (r *reader) Nameless(context.Context, bool) (int, error) { return 0, nil }

// Close implements [token.Card].
func (r *reader) Close() error { return nil }
