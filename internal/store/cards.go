package store

import (
	"sigill/orders/register"
	"sigill/policy"
)

const cardColumns = `number, product, kind, organisation, state, holder, expires_at, armed_until, armed_for, identity, version`

func cardDest(c *register.Card) []any {
	return []any{str(&c.Number), &c.Product, str(&c.Kind), str(&c.Organisation), str(&c.State), str(&c.Holder),
		intoTime{&c.ExpiresAt}, intoTime{&c.ArmedUntil}, str(&c.ArmedFor), str(&c.Identity), &c.Version}
}

// Card implements register.Cards.
func (t *tx) Card(n policy.CardNumber) (*register.Card, error) {
	c := new(register.Card)
	err := missing(t.one("reading card", `SELECT `+cardColumns+` FROM cards WHERE number = $1`, []any{string(n)}, cardDest(c)...))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// InsertCard implements register.Cards.
func (t *tx) InsertCard(c *register.Card) error {
	n, err := t.exec("inserting card", `INSERT INTO cards (`+cardColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`,
		text(c.Number), c.Product, text(c.Kind), text(c.Organisation), text(c.State), text(c.Holder),
		at(c.ExpiresAt), at(c.ArmedUntil), text(c.ArmedFor), text(c.Identity), c.Version)
	return changedOne("inserting card", n, err)
}

// PutCard implements register.Cards.
func (t *tx) PutCard(c *register.Card) error {
	n, err := t.exec("putting card", `UPDATE cards SET product = $1, kind = $2, organisation = $3, state = $4, holder = $5,
			expires_at = $6, armed_until = $7, armed_for = $8, identity = $9, version = version + 1
		WHERE number = $10 AND version = $11`,
		c.Product, text(c.Kind), text(c.Organisation), text(c.State), text(c.Holder),
		at(c.ExpiresAt), at(c.ArmedUntil), text(c.ArmedFor), text(c.Identity), string(c.Number), c.Version)
	if err := changedOne("putting card", n, err); err != nil {
		return err
	}
	c.Version++
	return nil
}

// CardsOfHolder implements register.Cards.
func (t *tx) CardsOfHolder(p policy.PersonID) ([]*register.Card, error) {
	return list(t, "reading cards of holder", `SELECT `+cardColumns+` FROM cards
		WHERE holder = $1 ORDER BY number`, []any{string(p)}, cardDest)
}

// ListCards implements register.Cards.
func (t *tx) ListCards(org policy.OrganisationID, after policy.CardNumber, limit int) ([]*register.Card, error) {
	return list(t, "listing cards", `SELECT `+cardColumns+` FROM cards
		WHERE organisation = $1 AND number > $2 ORDER BY number LIMIT $3`,
		[]any{string(org), string(after), int64(limit)}, cardDest)
}
