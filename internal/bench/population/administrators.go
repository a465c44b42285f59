package population

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/orders/register"
	"sigill/policy"
)

// EID is an administrator's eID with its key, so that what two administrators state
// can be measured too.
type EID struct {
	Certificate []byte `json:"certificate"` // DER
	Key         []byte `json:"key"`         // PKCS #8
}

// administrators writes the cards and eIDs of the two who were founded with the
// organisation. They come after all others.
func (m *maker) administrators(ctx context.Context, w *writer, f *foundry) error {
	cards, err := w.table(ctx, "cards", "number, product, kind, organisation, state, holder, expires_at, version")
	if err != nil {
		return err
	}
	t, err := m.tables(ctx, w)
	if err != nil {
		return err
	}
	return w.inTransaction(ctx, func() error {
		for i, person := range m.p.Administrators {
			c, err := f.make(hsaIDs-1-i, m.issuedAt(0))
			if err != nil {
				return err
			}
			if err := f.look(&c); err != nil {
				return fmt.Errorf("administrator %d: %w", i+1, err)
			}
			key, err := x509.MarshalPKCS8PrivateKey(c.private)
			if err != nil {
				return err
			}
			m.p.EIDs[i] = EID{c.der, key}
			if err := cards.add(ctx, cardNumber(c.holder), "7XX", string(policy.Ordinary), string(m.p.Organisation), "active", string(person),
				m.made.Add(2*validity).UnixMicro(), int64(1)); err != nil {
				return err
			}
			if err := t.release(ctx, m, m.issuedAt(0), string(person), &c); err != nil {
				return err
			}
			if err := t.stand(ctx, m, m.issuedAt(0), &c); err != nil {
				return err
			}
		}
		return nil
	})
}

// State has an administrator, 0 or 1, make a statement: who logs in with the very
// card, and what he signs.
func (p *Population) State(i int, st statement.Statement) (register.Caller, []register.Signed, error) {
	key, err := x509.ParsePKCS8PrivateKey(p.EIDs[i].Key)
	if err != nil {
		return register.Caller{}, nil, fmt.Errorf("administrator %d: %w", i+1, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return register.Caller{}, nil, fmt.Errorf("administrator %d: a key of type %T", i+1, key)
	}
	c := register.Caller{Certificate: ca.FingerprintOf(p.EIDs[i].Certificate), Profile: policy.ProfileAuthentication, Card: policy.CardNumber(cardNumber(hsaIDs - 1 - i)),
		Person: p.Administrators[i], Organisation: p.Organisation, IDKind: policy.ByHSAID, LoA: 3}
	st.By, st.For, st.Card = c.Name(), "-", "-"
	s := register.Signed{Content: st.Bytes(), Certificate: c.Certificate}
	s.Signature, err = statement.Sign(signer, s.Content)
	return c, []register.Signed{s}, err
}
