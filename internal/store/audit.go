package store

import (
	"database/sql"
	"errors"
	"fmt"

	"sigill/internal/audit"
)

// Append implements audit.Recorder.
func (t *tx) Append(e audit.Event) error {
	r, err := audit.Seal(e)
	if err != nil {
		return err
	}
	var seq int64
	found, err := t.one("inserting event", `INSERT INTO events (id, at, act, by_who, body, leaf) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING RETURNING seq`,
		[]any{text(r.ID), at(r.At), text(r.Act), text(r.By), r.Body, r.Leaf[:]}, &seq)
	if err == nil && !found {
		err = fmt.Errorf("inserting event %s: %w", r.ID, audit.ErrTaken)
	}
	if err != nil {
		return err
	}
	t.changed++
	if err := t.index(seq, e); err != nil {
		return err
	}
	for i, p := range r.Personal {
		_, err := t.exec("inserting personal field", `INSERT INTO event_personal (event, position, name, value, salt)
			VALUES ($1, $2, $3, $4, $5)`, seq, int64(i), p.Name, p.Value, p.Salt[:])
		if err != nil {
			return err
		}
	}
	return nil
}

const recordColumns = `id, at, act, by_who, body, leaf`

func recordDest(r *audit.Record) []any {
	return []any{&r.ID, intoTime{&r.At}, &r.Act, &r.By, &r.Body, intoOctets(r.Leaf[:])}
}

// Unnumbered implements audit.Log.
func (t *tx) Unnumbered(limit int) ([]audit.Record, error) {
	found, err := list(t, "reading unnumbered events", `SELECT `+recordColumns+` FROM events
		WHERE number IS NULL ORDER BY seq LIMIT $1`, []any{int64(limit)}, recordDest)
	return values(found), err
}

// Event implements audit.Log.
func (t *tx) Event(id string) (audit.Record, int64, error) {
	var r audit.Record
	var number sql.NullInt64
	found, err := t.one("reading event", `SELECT number, `+recordColumns+` FROM events WHERE id = $1`, []any{id},
		append([]any{&number}, recordDest(&r)...)...)
	if err == nil && !found {
		err = audit.ErrNotFound
	}
	return r, number.Int64, err
}

// HeadLink implements audit.Log.
func (t *tx) HeadLink() (*audit.Link, error) {
	l := new(audit.Link)
	found, err := t.one("reading head", `SELECT number, id, leaf, hash FROM events
		WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1`, nil,
		&l.Number, &l.Event, intoOctets(l.Leaf[:]), intoOctets(l.Hash[:]))
	if err == nil && !found {
		err = audit.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// AppendLinks implements audit.Log. Numbers that do not follow the head are a
// conflict too: a gap could never be closed.
func (t *tx) AppendLinks(links []audit.Link) error {
	head, err := t.HeadLink()
	if errors.Is(err, audit.ErrNotFound) {
		head = new(audit.Link)
	} else if err != nil {
		return err
	}
	for i, l := range links {
		if l.Number != head.Number+1+int64(i) {
			return fmt.Errorf("number %d after %d: %w", l.Number, head.Number+int64(i), audit.ErrConflict)
		}
		n, err := t.exec("numbering event", `UPDATE events SET number = $1, hash = $2
			WHERE id = $3 AND leaf = $4 AND number IS NULL`, l.Number, l.Hash[:], l.Event, l.Leaf[:])
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("event %s: %w", l.Event, audit.ErrConflict)
		}
	}
	return nil
}

// Linked implements audit.Log.
func (t *tx) Linked(after int64, limit int) ([]audit.Record, []audit.Link, error) {
	var records []audit.Record
	var links []audit.Link
	err := t.each("reading chain", `SELECT number, hash, `+recordColumns+` FROM events
		WHERE number > $1 ORDER BY number LIMIT $2`, []any{after, int64(limit)}, func(rows *sql.Rows) error {
		var r audit.Record
		var l audit.Link
		if err := rows.Scan(append([]any{&l.Number, intoOctets(l.Hash[:])}, recordDest(&r)...)...); err != nil {
			return err
		}
		l.Event, l.Leaf = r.ID, r.Leaf
		records, links = append(records, r), append(links, l)
		return nil
	})
	if err != nil || len(links) == 0 {
		return nil, nil, err
	}
	index := make(map[int64]*audit.Record, len(links))
	for i, l := range links {
		index[l.Number] = &records[i]
	}
	err = t.each("reading personal fields", `SELECT e.number, p.name, p.value, p.salt
		FROM events e CROSS JOIN event_personal p WHERE p.event = e.seq AND e.number > $1 AND e.number <= $2
		ORDER BY e.number, p.position`, []any{after, links[len(links)-1].Number}, func(rows *sql.Rows) error {
		var n int64
		var p audit.PersonalField
		if err := rows.Scan(&n, &p.Name, &p.Value, intoOctets(p.Salt[:])); err != nil {
			return err
		}
		if r := index[n]; r != nil {
			r.Personal = append(r.Personal, p)
		}
		return nil
	})
	return records, links, err
}
