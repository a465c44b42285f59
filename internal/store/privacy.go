package store

import (
	"database/sql"
	"fmt"
	"math"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/privacy"
	"sigill/orders/register"
	"sigill/policy"
)

// Privacy: see Downloads.
func (db *DB) Privacy() Scope[privacy.Tx] {
	return Scope[privacy.Tx]{db, func(t *tx) *privacy.Tx { return &privacy.Tx{Tx: ordersOf(t), Held: t, Log: t, Erasing: t} }}
}

// AssignmentsOf implements privacy.Held.
func (t *tx) AssignmentsOf(p policy.PersonID) ([]*register.Assignment, error) {
	return list(t, "reading assignments", `SELECT `+assignmentColumns+` FROM assignments WHERE person = $1 ORDER BY organisation`,
		[]any{string(p)}, assignmentDest)
}

// AllGrantsOf implements privacy.Held.
func (t *tx) AllGrantsOf(p policy.PersonID) ([]register.Grant, error) {
	found, err := list(t, "reading all grants of person", `SELECT `+grantColumns+` FROM grants WHERE person = $1 ORDER BY granted_at, organisation, role`,
		[]any{string(p)}, grantDest)
	return values(found), err
}

// OrdersOfCard implements privacy.Held.
func (t *tx) OrdersOfCard(card policy.CardNumber) ([]*orders.Order, error) {
	return list(t, "reading orders of card", `SELECT `+orderColumns+` FROM orders WHERE card = $1 ORDER BY placed_at, id`, []any{string(card)}, orderDest)
}

// DownloadsOfCard implements privacy.Held.
func (t *tx) DownloadsOfCard(card policy.CardNumber) ([]*download.Download, error) {
	return list(t, "reading downloads of card", `SELECT `+downloadColumns+` FROM downloads WHERE card = $1 ORDER BY created_at, id`,
		[]any{string(card)}, downloadDest)
}

// StatementsBy implements privacy.Held.
func (t *tx) StatementsBy(f ca.Fingerprint) ([]*register.Statement, error) {
	return list(t, "reading statements of certificate", `SELECT `+statementColumns+` FROM statements WHERE certificate = $1 ORDER BY at, id`,
		[]any{f[:]}, statementDest)
}

// EventsOf implements privacy.Log.
func (t *tx) EventsOf(person policy.PersonID, before string, limit int) ([]privacy.Told, error) {
	end := int64(math.MaxInt64)
	if before != "" {
		if _, err := t.one("reading place of event", `SELECT seq FROM events WHERE id = $1`, []any{before}, &end); err != nil {
			return nil, err
		}
	}
	var out []privacy.Told
	var seqs []int64
	err := t.each("reading events of person", `SELECT p.event, p.about, `+recordColumns+` FROM event_people p JOIN events e ON e.seq = p.event
		WHERE p.person = $1 AND p.event < $2 ORDER BY p.event DESC LIMIT $3`, []any{string(person), end, int64(limit)}, func(r *sql.Rows) error {
		var told privacy.Told
		var seq int64
		if err := r.Scan(append([]any{&seq, intoFlag{&told.About}}, recordDest(&told.Record)...)...); err != nil {
			return err
		}
		out, seqs = append(out, told), append(seqs, seq)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, seq := range seqs {
		values, err := list(t, "reading personal values", `SELECT name, value, salt FROM event_personal WHERE event = $1 ORDER BY position`, []any{seq},
			func(p *audit.PersonalField) []any { return []any{&p.Name, &p.Value, intoOctets(p.Salt[:])} })
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			out[i].Personal = append(out[i].Personal, *v)
		}
	}
	return out, nil
}

// EraseValues implements privacy.Log.
func (t *tx) EraseValues(events []string) (erased int64, err error) {
	for _, id := range events {
		n, err := t.exec("erasing values of event", `DELETE FROM event_personal WHERE event = (SELECT seq FROM events WHERE id = $1)`, id)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			erased++
		}
	}
	return erased, nil
}

// ErasePerson implements privacy.Erasing.
func (t *tx) ErasePerson(p policy.PersonID, when time.Time) error {
	n, err := t.exec("erasing person", `UPDATE persons SET number = id, given_name = '', surname = '', erased_at = $1
		WHERE id = $2 AND erased_at IS NULL`, at(when), string(p))
	if err := changedOne("erasing person", n, err); err != nil {
		return err
	}
	for _, table := range []string{"assignments", "person_search"} {
		if _, err := t.exec("erasing "+table, `DELETE FROM `+table+` WHERE person = $1`, string(p)); err != nil {
			return err
		}
	}
	return nil
}

// ErasedAt implements privacy.Erasing.
func (t *tx) ErasedAt(p policy.PersonID) (time.Time, error) {
	var when time.Time
	found, err := t.one("reading when a person was erased", `SELECT erased_at FROM persons WHERE id = $1`, []any{string(p)}, intoTime{&when})
	if err == nil && !found {
		err = fmt.Errorf("person %s: %w", p, issue.ErrNotFound)
	}
	return when, err
}
