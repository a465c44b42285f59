package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"sigill/internal/durable"
	"sigill/policy"
)

// SoftConfig says what a new soft card is.
type SoftConfig struct {
	Number  string // card number
	Product string // product code; empty: none
	Label   string // empty: "TEST" and the number
	PIN1    string // for authentication and transport; 4–16 characters
	PIN2    string // for signing; empty: the card has no signing slot
}

// Soft is a card made of software, for personal test cards: its keys can be
// copied with the file, so only a TEST hierarchy accepts it.
type Soft struct {
	store softStore
	info  Info
	pin   PIN

	mu      sync.Mutex               // guards what follows; held while a PIN is asked for
	master  map[string][]byte        // opened PIN areas
	signers map[string]crypto.Signer // by id
	closed  bool
}

var (
	_ Card   = (*Soft)(nil)
	_ Mender = (*Soft)(nil)
)

func newImage(c SoftConfig) (*image, error) {
	number, err := policy.ParseCardNumber(c.Number)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 8)
	rand.Read(serial)
	im := &image{
		Format: softFormat, Note: "TEST card made of software; its keys can be copied",
		Number: string(number), Product: c.Product, Label: c.Label, Serial: hex.EncodeToString(serial),
		Objects: []*softObject{},
	}
	if im.Label == "" {
		im.Label = "TEST " + c.Number
	}
	return im, nil
}

// CreateSoft makes an empty soft card in the new file path, mode 0600. It
// refuses to replace a file.
func CreateSoft(path string, c SoftConfig) error {
	im, err := newImage(c)
	if err != nil {
		return fmt.Errorf("soft card: %w", err)
	}
	im.PINs = map[string]*pinArea{}
	for name, pin := range map[string]string{"1": c.PIN1, "2": c.PIN2} {
		if name == "2" && pin == "" {
			continue
		}
		if im.PINs[name], err = newPINArea(name, []byte(pin)); err != nil {
			return fmt.Errorf("soft card: %w", err)
		}
	}
	unlock, err := durable.LockDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("soft card: %w", err)
	}
	defer unlock()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("soft card %s: %w", path, fs.ErrExist)
	}
	return writeImage(path, im)
}

// OpenSoft opens the soft card in the file path, or in the only card file of
// the directory path.
func OpenSoft(path string, pin PIN) (*Soft, error) {
	path, err := softPath(path)
	if err != nil {
		return nil, err
	}
	im, err := readImage(path)
	if err != nil {
		return nil, err
	}
	s := newSoft(im, pin)
	s.store.path = path
	return s, nil
}

// NewMemory returns an empty card in memory, without file and PIN. It is for
// benchmarks, where scrypt and fsync would be what is measured.
func NewMemory(c SoftConfig) (*Soft, error) {
	im, err := newImage(c)
	if err != nil {
		return nil, fmt.Errorf("soft card: %w", err)
	}
	s := newSoft(im, nil)
	s.store.mem = *im
	return s, nil
}

func newSoft(im *image, pin PIN) *Soft {
	return &Soft{
		info:   Info{Number: im.Number, Product: im.Product, Label: im.Label, Serial: im.Serial, SigningPIN: im.PINs[area(policy.Signing)] != nil},
		pin:    pin,
		master: map[string][]byte{}, signers: map[string]crypto.Signer{},
	}
}

// Info implements [Card].
func (s *Soft) Info() Info { return s.info }

// Objects implements [Card].
func (s *Soft) Objects(ctx context.Context) ([]Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var all []Object
	err := s.store.view(func(im *image) error {
		for _, o := range im.Objects {
			public, err := x509.ParsePKIXPublicKey(o.Public)
			if err != nil {
				return fmt.Errorf("soft card: public key of %x: %w", o.ID, err)
			}
			_, bad := x509.ParseCertificate(o.Certificate)
			all = append(all, Object{ID: slices.Clone(o.ID), Slot: o.Slot, Label: o.Label,
				Certificate: slices.Clone(o.Certificate), HasKey: true, Public: public, Damaged: o.Certificate != nil && bad != nil})
		}
		return nil
	})
	return all, err
}

// area names the PIN of a slot.
func area(slot policy.Slot) string {
	if slot == policy.Signing {
		return "2"
	}
	return "1"
}

// unlock returns the master key of slot's PIN, asking for the PIN the first
// time; nil for a card without PINs. The caller holds s.mu.
func (s *Soft) unlock(ctx context.Context, slot policy.Slot) ([]byte, error) {
	name := area(slot)
	switch {
	case s.closed:
		return nil, errors.New("soft card: closed")
	case s.store.path == "":
		return nil, nil
	case s.master[name] != nil:
		return s.master[name], nil
	case s.pin == nil:
		return nil, fmt.Errorf("soft card: the PIN for %s is needed, and nobody can be asked", slot)
	}
	if err := s.store.view(func(im *image) error { return canTry(im.PINs[name], slot) }); err != nil {
		return nil, err
	}
	pin, err := s.pin(ctx, slot)
	if err != nil {
		return nil, fmt.Errorf("PIN for %s: %w", slot, err)
	}
	defer clear(pin)
	master, err := s.try(name, slot, pin)
	if err != nil {
		return nil, err
	}
	s.master[name] = master
	return master, nil
}

// try counts the try durably before it looks whether the PIN is right: who
// takes the power away at the right moment gets no try for nothing.
func (s *Soft) try(name string, slot policy.Slot, pin []byte) ([]byte, error) {
	var opened pinArea
	err := s.store.update(func(im *image) error {
		if err := canTry(im.PINs[name], slot); err != nil {
			return err
		}
		im.PINs[name].Left--
		opened = *im.PINs[name]
		return nil
	})
	if err != nil {
		return nil, err
	}
	master, err := opened.open(name, pin)
	if errors.Is(err, errWrongPIN) {
		if opened.Left == 0 {
			return nil, LockedError{Slot: slot}
		}
		return nil, ErrPIN{Slot: slot, Left: opened.Left}
	}
	if err != nil {
		return nil, fmt.Errorf("soft card: %w", err)
	}
	err = s.store.update(func(im *image) error { im.PINs[name].Left = maxTries; return nil })
	return master, err
}

func canTry(a *pinArea, slot policy.Slot) error {
	if a == nil {
		return fmt.Errorf("soft card: it has no PIN for %s", slot)
	}
	if a.Left == 0 {
		return LockedError{Slot: slot}
	}
	return nil
}

// GenerateKey implements [Card].
func (s *Soft) GenerateKey(ctx context.Context, slot policy.Slot, algorithm Algorithm) ([]byte, error) {
	if slot != policy.Authentication && slot != policy.Signing && slot != policy.Transport {
		return nil, fmt.Errorf("soft card: no slot %q", slot)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	master, err := s.unlock(ctx, slot)
	if err != nil {
		return nil, err
	}
	key, err := generate(algorithm)
	if err != nil {
		return nil, err
	}
	o := &softObject{ID: make([]byte, 16), Slot: slot, Label: labelOf(slot)}
	rand.Read(o.ID)
	if o.Public, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		return nil, fmt.Errorf("soft card: %w", err)
	}
	if o.Key, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, fmt.Errorf("soft card: %w", err)
	}
	if master != nil {
		if o.Key, err = seal(master, o.Key, sealedFor(o)); err != nil {
			return nil, fmt.Errorf("soft card: %w", err)
		}
	}
	err = s.store.update(func(im *image) error { im.Objects = append(im.Objects, o); return nil })
	if err != nil {
		return nil, err
	}
	s.signers[string(o.ID)] = softSigner{key}
	return slices.Clone(o.ID), nil
}

func sealedFor(o *softObject) []byte { return append([]byte("key "+string(o.Slot)+" "), o.ID...) }

func generate(algorithm Algorithm) (crypto.Signer, error) {
	switch algorithm {
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	default:
		return nil, fmt.Errorf("the card cannot make a key of kind %q", algorithm)
	}
}

// softSigner hides the private key: code that works with a soft card must work
// with a real one, which gives nothing but signatures.
type softSigner struct{ key crypto.Signer }

// Public implements [crypto.Signer].
func (s softSigner) Public() crypto.PublicKey { return s.key.Public() }

// Sign implements [crypto.Signer]. Like a card it uses its own randomness, and
// signs only what cards of this package sign.
func (s softSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	switch opts.HashFunc() {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
		return s.key.Sign(rand.Reader, digest, opts)
	}
	return nil, fmt.Errorf("the card does not sign a %v", opts.HashFunc())
}

// Signer implements [Card].
func (s *Soft) Signer(ctx context.Context, id []byte) (crypto.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := s.signers[string(id)]; key != nil {
		return key, nil
	}
	o, err := s.object(id)
	if err != nil {
		return nil, err
	}
	der, err := s.unlock(ctx, o.Slot)
	if err != nil {
		return nil, err
	}
	if der, err = unseal(der, o.Key, sealedFor(o)); err != nil {
		return nil, fmt.Errorf("soft card: key %x does not open: %w", id, err)
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("soft card: key %x: %w", id, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("soft card: key %x cannot sign", id)
	}
	s.signers[string(id)] = softSigner{signer}
	return softSigner{signer}, nil
}

// object returns a copy of the object id. The caller holds s.mu.
func (s *Soft) object(id []byte) (*softObject, error) {
	if s.closed {
		return nil, errors.New("soft card: closed")
	}
	var found softObject
	err := s.store.view(func(im *image) error {
		o := im.find(id)
		if o == nil {
			return fmt.Errorf("object %x: %w", id, ErrNotFound)
		}
		found = *o
		return nil
	})
	return &found, err
}

// change unlocks the PIN of the object id, as cards demand for writing, and
// changes the card.
func (s *Soft) change(ctx context.Context, id []byte, fn func(*image, *softObject) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.object(id)
	if err != nil {
		return err
	}
	if _, err := s.unlock(ctx, o.Slot); err != nil {
		return err
	}
	return s.store.update(func(im *image) error {
		o := im.find(id)
		if o == nil {
			return fmt.Errorf("object %x: %w", id, ErrNotFound)
		}
		return fn(im, o)
	})
}

// WriteCertificate implements [Card].
func (s *Soft) WriteCertificate(ctx context.Context, id, der []byte) error {
	return s.change(ctx, id, func(_ *image, o *softObject) error {
		public, err := x509.ParsePKIXPublicKey(o.Public)
		if err != nil {
			return fmt.Errorf("soft card: public key of %x: %w", id, err)
		}
		if _, err := certificateFor(public, der); err != nil {
			return err
		}
		if o.Certificate != nil && !slices.Equal(o.Certificate, der) {
			return fmt.Errorf("object %x: %w", id, ErrOccupied)
		}
		o.Certificate = slices.Clone(der)
		return nil
	})
}

// ReadCertificate implements [Card].
func (s *Soft) ReadCertificate(ctx context.Context, id []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.object(id)
	if err != nil {
		return nil, err
	}
	if o.Certificate == nil {
		return nil, fmt.Errorf("certificate %x: %w", id, ErrNotFound)
	}
	return slices.Clone(o.Certificate), nil
}

// Delete implements [Card].
func (s *Soft) Delete(ctx context.Context, id []byte) error {
	err := s.change(ctx, id, func(im *image, o *softObject) error {
		im.Objects = slices.DeleteFunc(im.Objects, func(x *softObject) bool { return x == o })
		return nil
	})
	if err == nil {
		s.mu.Lock()
		delete(s.signers, string(id))
		s.mu.Unlock()
	}
	return err
}

// DropCertificate implements [Mender].
func (s *Soft) DropCertificate(ctx context.Context, id []byte) error {
	return s.change(ctx, id, func(_ *image, o *softObject) error {
		o.Certificate = nil
		return nil
	})
}

// Nameless implements [Mender]: each change of a soft card is whole or not there.
func (s *Soft) Nameless(context.Context, bool) (int, error) { return 0, nil }

// Close implements [Card].
func (s *Soft) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.master {
		clear(m)
	}
	s.closed = true
	s.master, s.signers = nil, nil
	return nil
}
