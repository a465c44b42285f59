package store

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"sigill/ca"
	"sigill/revocation"
)

var errTaken = errors.New("taken")

const entryColumns = `serial, issuer, partition, not_after, version, at, reason, rule, event, line`

func entryDest(e *revocation.Entry) []any {
	return []any{intoOctets(e.Serial[:]), str(&e.Issuer), intoInt{&e.Partition}, intoTime{&e.NotAfter}, intoInt{&e.Version},
		intoTime{&e.At}, intoInt{(*int)(&e.Reason)}, str(&e.Rule), str(&e.Event), &e.Line}
}

// InsertRevocation implements revocation.Ledger.
func (t *tx) InsertRevocation(e revocation.Entry) error {
	n, err := t.exec("inserting revocation", `INSERT INTO revocations (`+entryColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		serial(e.Serial), text(e.Issuer), int64(e.Partition), at(e.NotAfter), int64(e.Version), at(e.At),
		int64(e.Reason), text(e.Rule), text(e.Event), bytes(e.Line))
	if err == nil && n == 0 {
		err = fmt.Errorf("inserting revocation: version %d of %s, or event %s: %w", e.Version, e.Serial, e.Event, errTaken)
	}
	if err == nil {
		t.revoked = append(t.revoked, e)
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
			r.serial, r.issuer, r.partition, r.not_after, r.version, r.at, r.reason, r.rule, r.event, r.line
		FROM (SELECT 1 AS one) o LEFT JOIN (
			SELECT `+entryColumns+` FROM revocations WHERE serial = $1 AND issuer = $2 ORDER BY version DESC LIMIT 1
		) r ON o.one = 1`, []any{s[:], string(issuer)}, append([]any{&released}, entryDest(&e)...)...)
	if err != nil || e.Serial.IsZero() {
		return released > 0, nil, err
	}
	return released > 0, &e, nil
}

const publicationColumns = `issuer, scope, number, state, this_update, next_update, through, entries, sha256, kept_from`

// NewestPublication implements revocation.Publications.
func (t *tx) NewestPublication(issuer ca.IssuerID, scope string, state revocation.PublicationState) (*revocation.Publication, error) {
	p := new(revocation.Publication)
	dest := []any{str(&p.Issuer), &p.Scope, &p.Number, str(&p.State), intoTime{&p.ThisUpdate}, intoTime{&p.NextUpdate},
		&p.Through, &p.Entries, intoOctets(p.SHA256[:]), intoTime{&p.KeptFrom}}
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
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		text(p.Issuer), p.Scope, p.Number, text(p.State), at(p.ThisUpdate), at(p.NextUpdate), p.Through, int64(p.Entries), hash(p.SHA256), at(p.KeptFrom))
	if err == nil && n == 0 {
		err = fmt.Errorf("inserting publication: number %d of %s/%s: %w", p.Number, p.Issuer, p.Scope, errTaken)
	}
	return err
}

// FinishPublication implements revocation.Publications. ErrNotFound: the number
// is not reserved.
func (t *tx) FinishPublication(p *revocation.Publication) error {
	n, err := t.exec("finishing publication", `UPDATE publications SET state = 'published', this_update = $1, next_update = $2,
			through = $3, entries = $4, sha256 = $5, kept_from = $6
		WHERE issuer = $7 AND scope = $8 AND number = $9 AND state = 'reserved'`,
		at(p.ThisUpdate), at(p.NextUpdate), p.Through, int64(p.Entries), hash(p.SHA256), at(p.KeptFrom), string(p.Issuer), p.Scope, p.Number)
	if err == nil && n == 0 {
		err = fmt.Errorf("finishing publication %d of %s/%s: %w", p.Number, p.Issuer, p.Scope, revocation.ErrNotFound)
	}
	return err
}

// EntriesIn implements revocation.Entries. yield must not use the transaction.
func (t *tx) EntriesIn(list revocation.List, since, until time.Time, yield func(revocation.Entry) error) error {
	end := int64(math.MaxInt64)
	if !until.IsZero() {
		end = until.UnixMicro()
	}
	return t.each("reading entries", `SELECT `+entryColumns+` FROM revocations r
		WHERE issuer = $1 AND not_after >= $2 AND not_after < $3 AND (CAST($4 AS BIGINT) = -1 OR partition = $4)
			AND NOT EXISTS (SELECT 1 FROM revocations n WHERE n.serial = r.serial AND n.version > r.version)`,
		[]any{string(list.Issuer), since.UnixMicro(), end, int64(list.Partition)}, func(r *sql.Rows) error {
			var e revocation.Entry
			if err := r.Scan(entryDest(&e)...); err != nil {
				return err
			}
			return yield(e)
		})
}

// linesPage is how many rows Lines reads by a statement: what a statement may take
// on PostgreSQL is bounded.
const linesPage = 20_000

// Lines implements revocation.Entries. yield must not use the transaction. Rows
// come by serial and version, and each row's octets are the driver's until the
// next: a serial is yielded when the next one comes. A partition is read by
// the index that has it together, not by that of ends (hence the + 0). The full list walks the table
// in the order of its key, without an index: most of it is wanted, and sorting a
// million rows costs more than reading some in vain.
func (t *tx) Lines(list revocation.List, since time.Time, yield func([]byte) error) error {
	query, args := `SELECT serial, version, line FROM revocations WHERE issuer = $1 AND not_after + 0 >= $2 AND (serial, version) > ($3, $4) AND partition = $6
		ORDER BY serial, version LIMIT $5`, []any{string(list.Issuer), since.UnixMicro(), []byte{}, int64(0), int64(linesPage), int64(list.Partition)}
	if list.Partition == revocation.Whole {
		query, args = `SELECT serial, version, line FROM revocations WHERE issuer || '' = $1 AND not_after + 0 >= $2 AND (serial, version) > ($3, $4)
		ORDER BY serial, version LIMIT $5`, args[:5]
	}
	var serial, line sql.RawBytes
	var last ca.Serial
	var version int64
	var held []byte
	for rows := linesPage; rows == linesPage; {
		rows = 0
		err := t.each("reading lines", query, args, func(r *sql.Rows) error {
			rows++
			if err := r.Scan(&serial, &version, &line); err != nil {
				return err
			}
			if len(serial) != len(last) || len(line) == 0 {
				return fmt.Errorf("revocation %x has no line", []byte(serial))
			}
			if len(held) > 0 && ca.Serial(serial) != last {
				if err := yield(held); err != nil {
					return err
				}
			}
			last, held = ca.Serial(serial), append(held[:0], line...)
			return nil
		})
		if err != nil {
			return err
		}
		args[2], args[3] = last[:], version
	}
	if len(held) == 0 {
		return nil
	}
	return yield(held)
}

// UnnumberedEntries implements revocation.Entries. yield must not use the transaction.
func (t *tx) UnnumberedEntries(yield func(revocation.Entry) error) error {
	return t.each("reading unnumbered revocations", `SELECT r.serial, r.issuer, r.partition, r.not_after, r.version, r.at, r.reason, r.rule, r.event, r.line
		FROM events e CROSS JOIN revocations r WHERE r.event = e.id AND e.number IS NULL ORDER BY e.seq`, nil, func(r *sql.Rows) error {
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
			r.at, r.reason, r.rule, r.event, r.line
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
