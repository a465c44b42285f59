package store

import (
	"database/sql"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/internal/translog"
)

// Tile implements tiles.Records.
func (t *tx) Tile(tree tiles.Name, level int, n int64) ([]byte, error) {
	var hashes []byte
	_, err := t.one("reading tile", `SELECT hashes FROM log_tiles WHERE log = $1 AND level = $2 AND n = $3`,
		[]any{string(tree), int64(level), n}, &hashes)
	return hashes, err
}

// PutTile implements tiles.Records.
func (t *tx) PutTile(tree tiles.Name, level int, n int64, hashes []byte) error {
	_, err := t.exec("writing tile", `INSERT INTO log_tiles (log, level, n, hashes) VALUES ($1, $2, $3, $4)
		ON CONFLICT (log, level, n) DO UPDATE SET hashes = excluded.hashes`, string(tree), int64(level), n, hashes)
	return err
}

// LastTile implements tiles.Records.
func (t *tx) LastTile(tree tiles.Name) (int64, []byte, error) {
	n := int64(-1)
	var hashes []byte
	_, err := t.one("reading last tile", `SELECT n, hashes FROM log_tiles WHERE log = $1 AND level = 0 ORDER BY n DESC LIMIT 1`,
		[]any{string(tree)}, &n, &hashes)
	return n, hashes, err
}

func (t *tx) hashes(what, query string, args ...any) ([]tlog.Hash, error) {
	var out []tlog.Hash
	err := t.each(what, query, args, func(r *sql.Rows) error {
		var h tlog.Hash
		if err := r.Scan(intoOctets(h[:])); err != nil {
			return err
		}
		out = append(out, h)
		return nil
	})
	return out, err
}

// ActLeaves implements audit.Trees.
func (t *tx) ActLeaves(after int64, limit int) ([]tlog.Hash, error) {
	return t.hashes("reading leaves of events", `SELECT leaf FROM events WHERE number > $1 ORDER BY number LIMIT $2`, after, int64(limit))
}

// UnnumberedLeaves implements audit.Trees.
func (t *tx) UnnumberedLeaves(limit int) ([]tlog.Hash, error) {
	return t.hashes("reading unnumbered leaves", `SELECT leaf FROM log_leaves WHERE number IS NULL ORDER BY seq LIMIT $1`, int64(limit))
}

// NumberLeaves implements audit.Trees. Numbers that do not follow the last are an error
// and no conflict: rows were taken away, and trying again would not bring them back.
func (t *tx) NumberLeaves(first int64, leaves []tlog.Hash) error {
	var last int64
	_, err := t.one("reading last leaf", `SELECT number FROM log_leaves WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1`, nil, &last)
	if err != nil {
		return err
	}
	if last >= first {
		return fmt.Errorf("leaf %d is there already: %w", first, audit.ErrConflict)
	}
	if last+1 != first {
		return fmt.Errorf("the tree of certificates has %d leaves, but the rows end at %d: rows were taken away", first-1, last)
	}
	for i, l := range leaves {
		n, err := t.exec("numbering leaf", `UPDATE log_leaves SET number = $1 WHERE leaf = $2 AND number IS NULL`, first+int64(i), l[:])
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("leaf %s: %w", l, audit.ErrConflict)
		}
	}
	return nil
}

// Leaves implements translog.Records.
func (t *tx) Leaves(tree tiles.Name, after int64, limit int) ([]tlog.Hash, error) {
	if tree == audit.ActTree {
		return t.ActLeaves(after, limit)
	}
	return t.hashes("reading leaves of certificates", `SELECT leaf FROM log_leaves WHERE number > $1 ORDER BY number LIMIT $2`, after, int64(limit))
}

// insertLeaf records the leaf of an intent, to be numbered.
func (t *tx) insertLeaf(s ca.Serial, leaf ca.LogLeaf) error {
	n, err := t.exec("inserting leaf", `INSERT INTO log_leaves (serial, leaf, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		s[:], leaf.Hash[:], leaf.Time.UnixMilli())
	return changedOne("inserting leaf", n, err)
}

// LeafNumber implements translog.Records.
func (t *tx) LeafNumber(leaf tlog.Hash) (int64, error) {
	var number sql.NullInt64
	found, err := t.one("reading leaf", `SELECT number FROM log_leaves WHERE leaf = $1`, []any{leaf[:]}, &number)
	if err != nil {
		return 0, err
	}
	if !found || !number.Valid {
		return 0, translog.ErrNotFound
	}
	return number.Int64, nil
}

// EventNumber implements translog.Records.
func (t *tx) EventNumber(id string) (int64, error) {
	var number sql.NullInt64
	found, err := t.one("reading event's number", `SELECT number FROM events WHERE id = $1`, []any{id}, &number)
	if err != nil {
		return 0, err
	}
	if !found || !number.Valid {
		return 0, translog.ErrNotFound
	}
	return number.Int64, nil
}

// EventNumbered implements translog.Records.
func (t *tx) EventNumbered(id string) ([]byte, int64, error) {
	var body []byte
	var number sql.NullInt64
	found, err := t.one("reading event", `SELECT body, number FROM events WHERE id = $1`, []any{id}, &body, &number)
	if err == nil && !found {
		err = translog.ErrNotFound
	}
	return body, number.Int64, err
}

// Head implements translog.Records.
func (t *tx) Head(tree tiles.Name, kind translog.Kind) ([]byte, error) {
	var note []byte
	found, err := t.one("reading head of log", `SELECT note FROM log_heads WHERE log = $1 AND kind = $2`,
		[]any{string(tree), string(kind)}, &note)
	if err == nil && !found {
		err = translog.ErrNotFound
	}
	return note, err
}

// PutHead implements translog.Records.
func (t *tx) PutHead(tree tiles.Name, kind translog.Kind, size int64, note []byte) error {
	_, err := t.exec("writing head of log", `INSERT INTO log_heads (log, kind, size, note) VALUES ($1, $2, $3, $4)
		ON CONFLICT (log, kind) DO UPDATE SET size = excluded.size, note = excluded.note WHERE log_heads.size <= excluded.size`,
		string(tree), string(kind), size, note)
	return err
}

// Translog: see Downloads.
func (db *DB) Translog() Scope[translog.Tx] {
	return Scope[translog.Tx]{db, func(t *tx) *translog.Tx { return &translog.Tx{Records: t} }}
}
