package cardclient_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"sigill/internal/token"
)

// torn is a card whose writer was killed while it wrote the certificate of an
// object: what is there can't be read, and is in the way.
type torn struct {
	*token.Soft
	tear   bool   // the next certificate is half written
	object []byte // where half of one is
}

func (c *torn) WriteCertificate(ctx context.Context, id, der []byte) error {
	switch {
	case c.tear:
		c.tear, c.object = false, bytes.Clone(id)
		return errPulled
	case bytes.Equal(id, c.object):
		return fmt.Errorf("object %x: %w", id, token.ErrOccupied)
	}
	return c.Soft.WriteCertificate(ctx, id, der)
}

func (c *torn) Objects(ctx context.Context) ([]token.Object, error) {
	all, err := c.Soft.Objects(ctx)
	for i := range all {
		all[i].Damaged = bytes.Equal(all[i].ID, c.object)
	}
	return all, err
}

func (c *torn) DropCertificate(_ context.Context, id []byte) error {
	if bytes.Equal(id, c.object) {
		c.object = nil
	}
	return nil
}

// TestHalfWrittenCertificate: the next run takes half a certificate away and writes
// the whole one, with the key that was certified.
func TestHalfWrittenCertificate(t *testing.T) {
	s := newScene(t)
	s.client.Card = &torn{Soft: s.card, tear: true}
	if _, err := s.client.Fetch(t.Context(), "", &holder{}); err == nil {
		t.Fatal("half a certificate was written, and no error")
	}
	s.lives(t, "after the cut")
	if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
		t.Fatal(err)
	}
	s.finished(t)
	if s.issued != 1 {
		t.Errorf("%d certificates were issued", s.issued)
	}
}
