package store

import (
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/reconcile"
	"sigill/orders/issue"
	"sigill/revocation"
)

// Reconcile: see Downloads.
func (db *DB) Reconcile() Scope[reconcile.Tx] {
	return Scope[reconcile.Tx]{db, func(t *tx) *reconcile.Tx {
		return &reconcile.Tx{Tx: *downloads(t), Log: t, Trees: t, Heads: t, Acts: t, Leaves: t, Places: t, Publications: t}
	}}
}

// EventLeaf implements reconcile.Acts.
func (t *tx) EventLeaf(id string) (leaf [32]byte, numbered, found bool, err error) {
	var n int64
	found, err = t.one("reading event", `SELECT leaf, COALESCE(number, 0) FROM events WHERE id = $1`, []any{id}, intoOctets(leaf[:]), &n)
	return leaf, n > 0, found, err
}

// EventBody implements reconcile.Acts.
func (t *tx) EventBody(id string) ([]byte, error) {
	var body []byte
	err := missing(t.one("reading event", `SELECT body FROM events WHERE id = $1`, []any{id}, &body))
	return body, err
}

// InsertEvent implements reconcile.Acts.
func (t *tx) InsertEvent(r audit.Record, b *audit.Body) error {
	var seq int64
	found, err := t.one("inserting event", `INSERT INTO events (id, at, act, by_who, body, leaf) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING RETURNING seq`, []any{text(r.ID), at(r.At), text(r.Act), text(r.By), r.Body, r.Leaf[:]}, &seq)
	if err == nil && !found {
		err = fmt.Errorf("inserting event %s: %w", r.ID, errTaken)
	}
	if err != nil {
		return err
	}
	t.changed++
	return t.index(seq, audit.Event{ID: r.ID, At: r.At, Act: r.Act, By: r.By, Public: b.Public})
}

// RenameEvent implements reconcile.Acts.
func (t *tx) RenameEvent(old string, r audit.Record) error {
	n, err := t.exec("renaming event", `UPDATE events SET id = $1, body = $2, leaf = $3 WHERE id = $4 AND number IS NULL`,
		text(r.ID), r.Body, r.Leaf[:], old)
	if err := changedOne("renaming event", n, err); err != nil {
		return err
	}
	_, err = t.exec("renaming event of revocation", `UPDATE revocations SET event = $1 WHERE event = $2`, text(r.ID), old)
	return err
}

// HasLeaf implements reconcile.Leaves.
func (t *tx) HasLeaf(leaf tlog.Hash) (bool, error) {
	var n int64
	_, err := t.one("reading leaf", `SELECT count(*) FROM log_leaves WHERE leaf = $1`, []any{leaf[:]}, &n)
	return n > 0, err
}

// InsertAbandoned implements reconcile.Leaves.
func (t *tx) InsertAbandoned(in *issue.Intent, settled time.Time) error {
	open := *in
	open.State = issue.IntentOpen
	if err := t.InsertIntent(&open); err != nil {
		return err
	}
	return t.SettleIntent(in.Serial, in.Owner, in.State, settled)
}

// DropRevocations implements reconcile.Leaves.
func (t *tx) DropRevocations(s ca.Serial) ([]revocation.Entry, error) {
	found, err := list(t, "reading revocations", `SELECT `+entryColumns+` FROM revocations WHERE serial = $1 ORDER BY version`, []any{s[:]}, entryDest)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	_, err = t.exec("dropping revocations", `DELETE FROM revocations WHERE serial = $1`, s[:])
	return values(found), err
}
