package bench

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"sigill/internal/token"
	"sigill/policy"
)

// memCard is a card whose keys are in memory and whose PIN was given: thousands
// of soft cards in files would measure the derivation of PIN keys.
type memCard struct {
	number string

	mu      sync.Mutex
	objects []*memObject
	made    int
}

type memObject struct {
	id   string
	slot policy.Slot
	key  *ecdsa.PrivateKey
	cert []byte
}

// newMemCard returns a card with one eID.
func newMemCard(number string, key *ecdsa.PrivateKey, cert []byte) *memCard {
	return &memCard{number: number, objects: []*memObject{{id: "0", slot: policy.Authentication, key: key, cert: cert}}}
}

// Info implements token.Card.
func (c *memCard) Info() token.Info { return token.Info{Number: c.number} }

// Objects implements token.Card.
func (c *memCard) Objects(context.Context) ([]token.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []token.Object
	for _, o := range c.objects {
		out = append(out, token.Object{ID: []byte(o.id), Slot: o.slot, Label: token.LabelPrefix + string(o.slot), Certificate: o.cert, HasKey: true, Public: o.key.Public()})
	}
	return out, nil
}

// GenerateKey implements token.Card.
func (c *memCard) GenerateKey(_ context.Context, slot policy.Slot, _ token.Algorithm) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	o := &memObject{id: fmt.Sprint(c.made), slot: slot, key: key}
	c.objects = append(c.objects, o)
	return []byte(o.id), nil
}

// find is called with mu held.
func (c *memCard) find(id []byte) (*memObject, error) {
	for _, o := range c.objects {
		if o.id == string(id) {
			return o, nil
		}
	}
	return nil, token.ErrNotFound
}

// Signer implements token.Card.
func (c *memCard) Signer(_ context.Context, id []byte) (crypto.Signer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.find(id)
	if err != nil {
		return nil, err
	}
	return o.key, nil
}

// WriteCertificate implements token.Card.
func (c *memCard) WriteCertificate(_ context.Context, id, der []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.find(id)
	if err != nil {
		return err
	}
	if o.cert != nil && !bytes.Equal(o.cert, der) {
		return token.ErrOccupied
	}
	o.cert = bytes.Clone(der)
	return nil
}

// ReadCertificate implements token.Card.
func (c *memCard) ReadCertificate(_ context.Context, id []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.find(id)
	if err != nil || o.cert == nil {
		return nil, token.ErrNotFound
	}
	return bytes.Clone(o.cert), nil
}

// Delete implements token.Card.
func (c *memCard) Delete(_ context.Context, id []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.find(id); err != nil {
		return err
	}
	c.objects = slices.DeleteFunc(c.objects, func(o *memObject) bool { return o.id == string(id) })
	return nil
}

// Close implements token.Card.
func (c *memCard) Close() error { return nil }
