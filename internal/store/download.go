package store

import (
	"time"

	"sigill/orders"
	"sigill/orders/download"
	"sigill/policy"
)

const downloadColumns = `id, card, order_id, holder, login, state, plan, plan_hash, created_at, ended_at, cleaned_at, version`

func downloadDest(d *download.Download) []any {
	return []any{str(&d.ID), str(&d.Card), str(&d.Order), str(&d.Holder), intoOctets(d.Login[:]), str(&d.State),
		&d.Plan, intoOctets(d.PlanHash[:]), intoTime{&d.CreatedAt}, intoTime{&d.EndedAt}, intoTime{&d.CleanedAt}, &d.Version}
}

const itemColumns = `download, slot, state, challenge, challenge_expires, serial, certificate, version`

func itemDest(i *download.Item) []any {
	return []any{str(&i.Download), str(&i.Slot), str(&i.State), intoOctets(i.Challenge[:]), intoTime{&i.ChallengeExpires},
		intoOctets(i.Serial[:]), intoOctets(i.Certificate[:]), &i.Version}
}

// InsertDownload implements download.Downloads.
func (t *tx) InsertDownload(d *download.Download, items []*download.Item) error {
	n, err := t.exec("inserting download", `INSERT INTO downloads (`+downloadColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
		text(d.ID), text(d.Card), text(d.Order), text(d.Holder), hash(d.Login), text(d.State), bytes(d.Plan), hash(d.PlanHash),
		at(d.CreatedAt), at(d.EndedAt), at(d.CleanedAt), d.Version)
	if err := changedOne("inserting download", n, err); err != nil {
		return err
	}
	for _, i := range items {
		n, err := t.exec("inserting item", `INSERT INTO items (`+itemColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			text(i.Download), text(i.Slot), text(i.State), hash(i.Challenge), at(i.ChallengeExpires),
			serial(i.Serial), hash(i.Certificate), i.Version)
		if err := changedOne("inserting item", n, err); err != nil {
			return err
		}
	}
	return nil
}

// Download implements download.Downloads; the items come in the order of slots.
func (t *tx) Download(id policy.DownloadID) (*download.Download, []*download.Item, error) {
	return t.download(`SELECT `+downloadColumns+` FROM downloads WHERE id = $1`, string(id))
}

// OpenDownloadOfCard implements download.Downloads.
func (t *tx) OpenDownloadOfCard(card policy.CardNumber) (*download.Download, []*download.Item, error) {
	return t.download(`SELECT `+downloadColumns+` FROM downloads WHERE card = $1 AND state = 'planned'`, string(card))
}

// UncleanedOfCard implements download.Downloads.
func (t *tx) UncleanedOfCard(card policy.CardNumber) (*download.Download, []*download.Item, error) {
	return t.download(`SELECT `+downloadColumns+` FROM downloads WHERE card = $1 AND state = 'installed' AND cleaned_at IS NULL
		ORDER BY created_at DESC LIMIT 1`, string(card))
}

func (t *tx) download(query, key string) (*download.Download, []*download.Item, error) {
	d := new(download.Download)
	if err := missing(t.one("reading download", query, []any{key}, downloadDest(d)...)); err != nil {
		return nil, nil, err
	}
	items, err := list(t, "reading items", `SELECT `+itemColumns+` FROM items WHERE download = $1 ORDER BY slot`,
		[]any{string(d.ID)}, itemDest)
	if err != nil {
		return nil, nil, err
	}
	return d, items, nil
}

// PutDownload implements download.Downloads. What the download is for (card,
// order, holder, log-in, beginning) never changes and is not written.
func (t *tx) PutDownload(d *download.Download) error {
	n, err := t.exec("putting download", `UPDATE downloads SET state = $1, plan = $2, plan_hash = $3, ended_at = $4,
			cleaned_at = $5, version = version + 1
		WHERE id = $6 AND version = $7`,
		text(d.State), bytes(d.Plan), hash(d.PlanHash), at(d.EndedAt), at(d.CleanedAt), string(d.ID), d.Version)
	if err := changedOne("putting download", n, err); err != nil {
		return err
	}
	d.Version++
	return nil
}

// PutItem implements download.Downloads.
func (t *tx) PutItem(i *download.Item) error {
	n, err := t.exec("putting item", `UPDATE items SET state = $1, challenge = $2, challenge_expires = $3, serial = $4,
			certificate = $5, version = version + 1
		WHERE download = $6 AND slot = $7 AND version = $8`,
		text(i.State), hash(i.Challenge), at(i.ChallengeExpires), serial(i.Serial), hash(i.Certificate),
		string(i.Download), string(i.Slot), i.Version)
	if err := changedOne("putting item", n, err); err != nil {
		return err
	}
	i.Version++
	return nil
}

// OpenDownloadsBefore implements download.Due.
func (t *tx) OpenDownloadsBefore(before time.Time, limit int) ([]*download.Download, error) {
	return list(t, "reading open downloads", `SELECT `+downloadColumns+` FROM downloads
		WHERE state = 'planned' AND created_at < $1 ORDER BY created_at LIMIT $2`,
		[]any{before.UnixMicro(), int64(limit)}, downloadDest)
}

// OrdersExpiredAt implements download.Due, the longest expired first.
func (t *tx) OrdersExpiredAt(when time.Time, limit int) ([]*orders.Order, error) {
	return list(t, "reading expired orders", `SELECT `+orderColumns+` FROM orders
		WHERE state IN ('placed', 'approved') AND expires_at <= $1 ORDER BY expires_at LIMIT $2`,
		[]any{when.UnixMicro(), int64(limit)}, orderDest)
}
