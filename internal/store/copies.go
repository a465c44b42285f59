package store

import (
	"context"
	"fmt"
	"slices"

	"sigill/ca"
	"sigill/revocation"
)

// Copied implements revocation.Copies.
func (t *tx) Copied() ([]revocation.Copy, error) {
	found, err := list(t, "reading what is copied", `SELECT issuer, scope, number FROM list_copies WHERE part = 0`, nil,
		func(c *revocation.Copy) []any { return []any{str(&c.Issuer), &c.Scope, &c.Number} })
	return values(found), err
}

// CopyPart implements revocation.Copies: one statement for each part, so that none
// takes long however large the list is.
func (t *tx) CopyPart(c revocation.Copy, part int) ([]byte, error) {
	var octets []byte
	found, err := t.one("reading a copy", `SELECT octets FROM list_copies WHERE issuer = $1 AND scope = $2 AND number = $3 AND part = $4`,
		[]any{string(c.Issuer), c.Scope, c.Number, int64(part)}, &octets)
	if err == nil && !found {
		err = revocation.ErrNotFound
	}
	return octets, err
}

// InsertCopyPart implements revocation.Copies.
func (t *tx) InsertCopyPart(c revocation.Copy, part int, octets []byte) error {
	n, err := t.exec("inserting a copy", `INSERT INTO list_copies (issuer, scope, number, part, octets) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		text(c.Issuer), c.Scope, c.Number, int64(part), bytes(octets))
	if err == nil && n == 0 {
		err = fmt.Errorf("inserting a copy: part %d of number %d of %s/%s: %w", part, c.Number, c.Issuer, c.Scope, errTaken)
	}
	return err
}

// DeleteCopy implements revocation.Copies.
func (t *tx) DeleteCopy(issuer ca.IssuerID, scope string) error {
	_, err := t.exec("deleting a copy", `DELETE FROM list_copies WHERE issuer = $1 AND scope = $2`, string(issuer), scope)
	return err
}

// SetTail writes down up to which number a process has seen what was revoked.
func (db *DB) SetTail(ctx context.Context, owner string, number int64) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec("writing tail", `INSERT INTO tails (owner, number) VALUES ($1, $2)
			ON CONFLICT (owner) DO UPDATE SET number = excluded.number`, owner, number)
		return err
	})
}

// DeleteTail forgets a process that has ended.
func (db *DB) DeleteTail(ctx context.Context, owner string) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec("deleting tail", `DELETE FROM tails WHERE owner = $1`, owner)
		return err
	})
}

// TailsBelow returns the processes that have not seen everything up to number, by
// name: the dead too.
func (db *DB) TailsBelow(ctx context.Context, number int64) ([]string, error) {
	var out []string
	err := db.view(ctx, func(t *tx) error {
		found, err := list(t, "reading tails", `SELECT owner FROM tails WHERE number < $1`, []any{number},
			func(s *string) []any { return []any{s} })
		out = values(found)
		slices.Sort(out)
		return err
	})
	return out, err
}
