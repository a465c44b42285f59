package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/revocation"
)

var errTaken = errors.New("taken")

const entryColumns = `serial, issuer, partition, not_after, version, at, reason, rule, event`

func entryDest(e *revocation.Entry) []any {
	return []any{intoOctets(e.Serial[:]), str(&e.Issuer), intoInt{&e.Partition}, intoTime{&e.NotAfter}, intoInt{&e.Version},
		intoTime{&e.At}, intoInt{(*int)(&e.Reason)}, str(&e.Rule), str(&e.Event)}
}

// InsertRevocation implements revocation.Ledger.
func (t *tx) InsertRevocation(e revocation.Entry) error {
	n, err := t.exec("inserting revocation", `INSERT INTO revocations (`+entryColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		serial(e.Serial), text(e.Issuer), int64(e.Partition), at(e.NotAfter), int64(e.Version), at(e.At),
		int64(e.Reason), text(e.Rule), text(e.Event))
	if err == nil && n == 0 {
		err = fmt.Errorf("inserting revocation: version %d of %s, or event %s: %w", e.Version, e.Serial, e.Event, errTaken)
	}
	return err
}

// Revocation implements revocation.Ledger.
func (t *tx) Revocation(s ca.Serial) (revocation.Entry, bool, error) {
	var e revocation.Entry
	found, err := t.one("reading revocation", `SELECT `+entryColumns+` FROM revocations
		WHERE serial = $1 ORDER BY version DESC LIMIT 1`, []any{s[:]}, entryDest(&e)...)
	return e, found, err
}

// Status implements revocation.Statuses in one statement.
func (t *tx) Status(issuer ca.IssuerID, s ca.Serial) (bool, *revocation.Entry, error) {
	var released int
	var e revocation.Entry
	_, err := t.one("reading status", `SELECT
			(SELECT count(*) FROM certificates WHERE serial = $1 AND issuer = $2),
			r.serial, r.issuer, r.partition, r.not_after, r.version, r.at, r.reason, r.rule, r.event
		FROM (SELECT 1 AS one) o LEFT JOIN (
			SELECT `+entryColumns+` FROM revocations WHERE serial = $1 AND issuer = $2 ORDER BY version DESC LIMIT 1
		) r ON o.one = 1`, []any{s[:], string(issuer)}, append([]any{&released}, entryDest(&e)...)...)
	if err != nil || e.Serial.IsZero() {
		return released > 0, nil, err
	}
	return released > 0, &e, nil
}

const publicationColumns = `issuer, scope, number, state, this_update, next_update, through, entries, sha256`

// NewestPublication implements revocation.Publications.
func (t *tx) NewestPublication(issuer ca.IssuerID, scope string, state revocation.PublicationState) (*revocation.Publication, error) {
	p := new(revocation.Publication)
	dest := []any{str(&p.Issuer), &p.Scope, &p.Number, str(&p.State), intoTime{&p.ThisUpdate}, intoTime{&p.NextUpdate},
		&p.Through, &p.Entries, intoOctets(p.SHA256[:])}
	var found bool
	var err error
	if state == "" {
		found, err = t.one("reading publication", `SELECT `+publicationColumns+` FROM publications
			WHERE issuer = $1 AND scope = $2 ORDER BY number DESC LIMIT 1`, []any{string(issuer), scope}, dest...)
	} else {
		found, err = t.one("reading publication", `SELECT `+publicationColumns+` FROM publications
			WHERE issuer = $1 AND scope = $2 AND state = $3 ORDER BY number DESC LIMIT 1`,
			[]any{string(issuer), scope, string(state)}, dest...)
	}
	if err == nil && !found {
		err = revocation.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// InsertPublication implements revocation.Publications.
func (t *tx) InsertPublication(p *revocation.Publication) error {
	n, err := t.exec("inserting publication", `INSERT INTO publications (`+publicationColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		text(p.Issuer), p.Scope, p.Number, text(p.State), at(p.ThisUpdate), at(p.NextUpdate), p.Through, int64(p.Entries), hash(p.SHA256))
	if err == nil && n == 0 {
		err = fmt.Errorf("inserting publication: number %d of %s/%s: %w", p.Number, p.Issuer, p.Scope, errTaken)
	}
	return err
}

// FinishPublication implements revocation.Publications. ErrNotFound: the number
// is not reserved.
func (t *tx) FinishPublication(p *revocation.Publication) error {
	n, err := t.exec("finishing publication", `UPDATE publications SET state = 'published', this_update = $1, next_update = $2,
			through = $3, entries = $4, sha256 = $5
		WHERE issuer = $6 AND scope = $7 AND number = $8 AND state = 'reserved'`,
		at(p.ThisUpdate), at(p.NextUpdate), p.Through, int64(p.Entries), hash(p.SHA256), string(p.Issuer), p.Scope, p.Number)
	if err == nil && n == 0 {
		err = fmt.Errorf("finishing publication %d of %s/%s: %w", p.Number, p.Issuer, p.Scope, revocation.ErrNotFound)
	}
	return err
}

// EntriesIn implements revocation.Entries. yield must not use the transaction.
func (t *tx) EntriesIn(issuer ca.IssuerID, partition int, since time.Time, yield func(revocation.Entry) error) error {
	return t.each("reading partition", `SELECT `+entryColumns+` FROM revocations r
		WHERE issuer = $1 AND partition = $2 AND not_after >= $3
			AND NOT EXISTS (SELECT 1 FROM revocations n WHERE n.serial = r.serial AND n.version > r.version)
		ORDER BY serial`, []any{string(issuer), int64(partition), since.UnixMicro()}, func(r *sql.Rows) error {
		var e revocation.Entry
		if err := r.Scan(entryDest(&e)...); err != nil {
			return err
		}
		return yield(e)
	})
}

// NumberedEntries implements revocation.Entries. CROSS JOIN keeps SQLite to the
// order of the numbers, which is the order of the index that it must walk.
func (t *tx) NumberedEntries(after int64, limit int) ([]revocation.Numbered, error) {
	found, err := list(t, "reading numbered revocations", `SELECT e.number, r.serial, r.issuer, r.partition, r.not_after, r.version,
			r.at, r.reason, r.rule, r.event
		FROM events e CROSS JOIN revocations r WHERE r.event = e.id AND e.number > $1
		ORDER BY e.number LIMIT $2`, []any{after, int64(limit)},
		func(n *revocation.Numbered) []any { return append([]any{&n.Number}, entryDest(&n.Entry)...) })
	return values(found), err
}

// HeadNumber implements revocation.Entries.
func (t *tx) HeadNumber() (int64, error) {
	var n int64
	_, err := t.one("reading head number", `SELECT number FROM events WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1`, nil, &n)
	return n, err
}
