package cardclient

import (
	"context"
	"crypto/x509"

	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// Kinds of differences between a card and what the server has of it.
const (
	DiffNoKey         = "no-key"         // current, and its key is not on the card
	DiffNoCertificate = "no-certificate" // current, and only its key is on the card
	DiffDead          = "dead"           // on the card, and replaced, revoked or expired
	DiffUnknown       = "unknown"        // on the card, and the server has no such certificate
)

// Difference is one certificate in which card and server disagree.
type Difference struct {
	Kind         string
	Organisation string // empty: not known
	Slot         policy.Slot
	Serial       string
	State        string // at the server; empty: none
}

// Standing is what waits for a card and what is not as it should be on it.
type Standing struct {
	Me          *wire.Me
	Differences []Difference
}

// Compare logs in and compares the card with what the server has of it.
func (c *Client) Compare(ctx context.Context) (*Standing, error) {
	s, me, err := c.login(ctx, Identity{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	objects, err := c.Card.Objects(ctx)
	if err != nil {
		return nil, err
	}
	return &Standing{Me: me, Differences: differences(me, objects)}, nil
}

// differences compares. Transport certificates, which belong to no eID, are left
// out, and what stands behind the signing PIN is judged by its public parts.
func differences(me *wire.Me, objects []token.Object) []Difference {
	var all []Difference
	known := map[string]bool{}
	for _, e := range me.EIDs {
		for _, cert := range e.Certificates {
			known[cert.Fingerprint] = true
			d := Difference{Organisation: e.Organisation, Slot: policy.Slot(cert.Slot), Serial: cert.Serial, State: cert.State}
			if d.Kind = difference(cert, objects); d.Kind != "" {
				all = append(all, d)
			}
		}
	}
	for _, o := range objects {
		cert, err := x509.ParseCertificate(o.Certificate)
		if err != nil || !o.Made() || o.Slot == policy.Transport || known[fingerprint(o.Certificate)] {
			continue
		}
		all = append(all, Difference{Kind: DiffUnknown, Slot: o.Slot, Serial: serialOf(cert)})
	}
	return all
}

func difference(listed wire.Certificate, objects []token.Object) string {
	cert, err := x509.ParseCertificate(listed.DER)
	if err != nil {
		return ""
	}
	key, whole, there := false, false, false
	for _, o := range objects {
		same := token.SameKey(o.Public, cert.PublicKey) && o.HasKey
		is := string(o.Certificate) == string(listed.DER)
		key, whole, there = key || same, whole || same && is && !o.Damaged, there || is
	}
	switch listed.State {
	case "current":
		switch {
		case whole:
			return ""
		case key:
			return DiffNoCertificate
		}
		return DiffNoKey
	case "superseded", "revoked", "expired":
		if there {
			return DiffDead
		}
	}
	return ""
}
