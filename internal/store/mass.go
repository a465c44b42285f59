package store

import (
	"database/sql"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

const massColumns = `id, organisation, kind, reason, entries, document, state, ordered, ordered_by, ordered_at, approved, approved_by,
	approved_at, done, revoked, failed, finished_at, version`

func massDest(m *download.Mass) []any {
	return []any{str(&m.ID), str(&m.Organisation), str(&m.Kind), intoInt{(*int)(&m.Reason)}, intoInt{&m.Entries}, &m.Document, str(&m.State),
		str(&m.Ordered), str(&m.OrderedBy), intoTime{&m.OrderedAt}, str(&m.Approved), str(&m.ApprovedBy), intoTime{&m.ApprovedAt},
		intoInt{&m.Done}, intoInt{&m.Revoked}, intoPositions{&m.Failed}, intoTime{&m.FinishedAt}, &m.Version}
}

// positions writes numbers apart by spaces.
func positions(list []int) string {
	var b strings.Builder
	for i, n := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// intoPositions scans what positions writes.
type intoPositions struct{ p *[]int }

// Scan implements sql.Scanner.
func (s intoPositions) Scan(v any) error {
	var text string
	if err := (intoText[string]{&text}).Scan(v); err != nil {
		return err
	}
	*s.p = nil
	for field := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("%q where a position should be", field)
		}
		*s.p = append(*s.p, n)
	}
	return nil
}

// InsertMass implements download.Masses.
func (t *tx) InsertMass(m *download.Mass, octets []byte) error {
	n, err := t.exec("inserting mass revocation", `INSERT INTO mass_revocations (`+massColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT DO NOTHING`,
		text(m.ID), text(m.Organisation), text(m.Kind), int64(m.Reason), int64(m.Entries), bytes(m.Document), text(m.State),
		text(m.Ordered), text(m.OrderedBy), at(m.OrderedAt), text(m.Approved), text(m.ApprovedBy), at(m.ApprovedAt),
		int64(m.Done), int64(m.Revoked), positions(m.Failed), at(m.FinishedAt), m.Version)
	if err := changedOne("inserting mass revocation", n, err); err != nil {
		return err
	}
	_, err = t.exec("inserting list", `INSERT INTO mass_lists (id, list) VALUES ($1, $2)`, text(m.ID), octets)
	return err
}

// Mass implements download.Masses.
func (t *tx) Mass(id download.MassID) (*download.Mass, error) {
	m := new(download.Mass)
	err := missing(t.one("reading mass revocation", `SELECT `+massColumns+` FROM mass_revocations WHERE id = $1`, []any{string(id)}, massDest(m)...))
	if err != nil {
		return nil, err
	}
	return m, nil
}

// MassList implements download.Masses.
func (t *tx) MassList(id download.MassID) ([]byte, error) {
	var octets []byte
	err := missing(t.one("reading list", `SELECT list FROM mass_lists WHERE id = $1`, []any{string(id)}, &octets))
	return octets, err
}

// PutMass implements download.Masses.
func (t *tx) PutMass(m *download.Mass) error {
	n, err := t.exec("writing mass revocation", `UPDATE mass_revocations SET state = $1, approved = $2, approved_by = $3, approved_at = $4,
			done = $5, revoked = $6, failed = $7, finished_at = $8, version = version + 1
		WHERE id = $9 AND version = $10`, text(m.State), text(m.Approved), text(m.ApprovedBy), at(m.ApprovedAt),
		int64(m.Done), int64(m.Revoked), positions(m.Failed), at(m.FinishedAt), string(m.ID), m.Version)
	if err := changedOne("writing mass revocation", n, err); err != nil {
		return err
	}
	m.Version++
	return nil
}

// MassesOf implements download.Masses: those that are under way, without an
// organisation; else an organisation's.
func (t *tx) MassesOf(org policy.OrganisationID, after download.MassID, limit int) ([]*download.Mass, error) {
	if org == "" {
		return list(t, "reading open mass revocations", `SELECT `+massColumns+` FROM mass_revocations
			WHERE state = 'approved' ORDER BY approved_at, id LIMIT $1`, []any{int64(limit)}, massDest)
	}
	return list(t, "reading mass revocations", `SELECT `+massColumns+` FROM mass_revocations
		WHERE organisation = $1 AND id > $2 ORDER BY id LIMIT $3`, []any{string(org), string(after), int64(limit)}, massDest)
}

// keysIn is "IN ($1, …)" for download.Together keys: the texts of statements are
// constants, and so is how many keys they take.
var keysIn = func() string {
	names := make([]string, download.Together)
	for i := range names {
		names[i] = "$" + strconv.Itoa(i+1)
	}
	return "IN (" + strings.Join(names, ", ") + ")"
}()

// keyed makes the arguments of keysIn of up to so many keys: the last one again
// for those that are missing. One key that is there once is found once.
func keyed[T any](keys []T, arg func(*T) any) ([]any, error) {
	if len(keys) == 0 || len(keys) > download.Together {
		return nil, fmt.Errorf("%d keys in a statement for 1 to %d", len(keys), download.Together)
	}
	args := make([]any, download.Together)
	for i := range args {
		args[i] = arg(&keys[min(i, len(keys)-1)])
	}
	return args, nil
}

func serialKey(s *ca.Serial) any                   { return s[:] }
func cardKey(n *policy.CardNumber) any             { return string(*n) }
func printKey(f *ca.Fingerprint) any               { return f[:] }
func many[T any](out []*T, err error) ([]T, error) { return values(out), err }

// CertificatesOfSerials implements download.Bulk.
func (t *tx) CertificatesOfSerials(serials []ca.Serial) ([]*issue.Certificate, error) {
	args, err := keyed(serials, serialKey)
	if err != nil {
		return nil, err
	}
	return list(t, "reading certificates", `SELECT `+certificateColumns+` FROM certificates WHERE serial `+keysIn, args, certificateDest)
}

// EntriesOfSerials implements download.Bulk.
func (t *tx) EntriesOfSerials(serials []ca.Serial) ([]revocation.Entry, error) {
	args, err := keyed(serials, serialKey)
	if err != nil {
		return nil, err
	}
	return many(list(t, "reading revocations", `SELECT `+entryColumns+` FROM revocations r WHERE serial `+keysIn+`
		AND NOT EXISTS (SELECT 1 FROM revocations n WHERE n.serial = r.serial AND n.version > r.version)`, args, entryDest))
}

// OnCards implements download.Bulk.
func (t *tx) OnCards(numbers []policy.CardNumber) (cards []*register.Card, standings []issue.Standing, open []policy.CardNumber, err error) {
	args, err := keyed(numbers, cardKey)
	if err != nil {
		return nil, nil, nil, err
	}
	if cards, err = list(t, "reading cards", `SELECT `+cardColumns+` FROM cards WHERE number `+keysIn, args, cardDest); err != nil {
		return nil, nil, nil, err
	}
	if standings, err = many(list(t, "reading standings of cards", `SELECT `+standingColumns+` FROM standings WHERE card `+keysIn, args, standingDest)); err != nil {
		return nil, nil, nil, err
	}
	err = t.each("reading open downloads of cards", `SELECT card FROM downloads WHERE state = 'planned' AND card `+keysIn, args, func(r *sql.Rows) error {
		var n policy.CardNumber
		if err := r.Scan(str(&n)); err != nil {
			return err
		}
		open = append(open, n)
		return nil
	})
	return cards, standings, open, err
}

// rowsTogether is how many rows the statements of RetireAll insert: one statement
// costs about as much as four rows of it.
const rowsTogether = 16

// rowsOf is "($1, …), (…), …" for rowsTogether rows of so many columns.
func rowsOf(columns int) string {
	var b strings.Builder
	for i := range rowsTogether * columns {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	return b.String() + ")"
}

var (
	insertEvents  = `INSERT INTO events (id, at, act, by_who, body, leaf) VALUES ` + rowsOf(6) + ` ON CONFLICT DO NOTHING`
	insertEntries = `INSERT INTO revocations (` + entryColumns + `) VALUES ` + rowsOf(10) + ` ON CONFLICT DO NOTHING`
)

// RetireAll implements download.Bulk. Between its statements it lets others go on,
// who answer relying parties on the same core.
func (t *tx) RetireAll(events []audit.Event, standings []ca.Fingerprint, entries []revocation.Entry) error {
	for some := range slices.Chunk(events, rowsTogether) {
		runtime.Gosched()
		if err := t.appendAll(some); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(standings, download.Together) {
		args, err := keyed(some, printKey)
		if err != nil {
			return err
		}
		n, err := t.exec("dropping standings", `DELETE FROM standings WHERE certificate `+keysIn, args...)
		if err == nil && n != int64(len(some)) {
			err = fmt.Errorf("dropping standings: %d of %d: %w", n, len(some), issue.ErrConflict)
		}
		if err != nil {
			return err
		}
	}
	for some := range slices.Chunk(entries, rowsTogether) {
		runtime.Gosched()
		if err := t.insertEntries(some); err != nil {
			return err
		}
	}
	return nil
}

// appendAll appends up to rowsTogether events: one by one if they are fewer, or one is
// of another act than those that there are many of. Those have a row each and no more.
func (t *tx) appendAll(events []audit.Event) error {
	other := func(e audit.Event) bool {
		return e.Act != audit.CertificateRevoked && e.Act != audit.CertificateSuperseded || len(e.Personal) > 0
	}
	if len(events) < rowsTogether || slices.ContainsFunc(events, other) {
		for _, e := range events {
			if err := t.Append(e); err != nil {
				return err
			}
		}
		return nil
	}
	var args []any
	for _, e := range events {
		r, err := audit.Seal(e)
		if err != nil {
			return err
		}
		args = append(args, text(r.ID), at(r.At), text(r.Act), text(r.By), r.Body, r.Leaf[:])
	}
	n, err := t.exec("inserting events", insertEvents, args...)
	if err == nil && n != rowsTogether {
		err = fmt.Errorf("inserting events: %d of %d: %w", n, rowsTogether, audit.ErrTaken)
	}
	return err
}

// insertEntries adds up to rowsTogether entries: one by one if they are fewer.
func (t *tx) insertEntries(entries []revocation.Entry) error {
	if len(entries) < rowsTogether {
		for _, e := range entries {
			if err := t.InsertRevocation(e); err != nil {
				return err
			}
		}
		return nil
	}
	var args []any
	for _, e := range entries {
		args = append(args, serial(e.Serial), text(e.Issuer), int64(e.Partition), at(e.NotAfter), int64(e.Version), at(e.At),
			int64(e.Reason), text(e.Rule), text(e.Event), bytes(e.Line))
	}
	n, err := t.exec("inserting revocations", insertEntries, args...)
	if err == nil && n != rowsTogether {
		err = fmt.Errorf("inserting revocations: %d of %d: %w", n, rowsTogether, errTaken)
	}
	if err == nil {
		t.revoked = append(t.revoked, entries...)
	}
	return err
}

// massRules are about mass revocations: two people have stated each that is under
// way, over a list, and what names one as its cause is of one that was approved.
func massRules() []rule {
	return []rule{
		{code: "mass.statement", query: `SELECT m.id FROM mass_revocations m
			WHERE NOT EXISTS (SELECT 1 FROM statements s WHERE s.id = m.ordered AND s.act = 'certificates.revoke' AND s.subject = m.id AND s.by_person = m.ordered_by)
				OR m.approved IS NOT NULL AND NOT EXISTS (
					SELECT 1 FROM statements s WHERE s.id = m.approved AND s.act = 'certificates.revoke' AND s.subject = m.id AND s.by_person = m.approved_by)`},
		{code: "mass.list", query: `SELECT m.id FROM mass_revocations m WHERE NOT EXISTS (SELECT 1 FROM mass_lists l WHERE l.id = m.id)`},
		{code: "mass.cause", query: `SELECT r.serial, r.version, r.rule FROM revocations r
			WHERE r.rule LIKE 'revocation.approved:%' AND NOT EXISTS (
				SELECT 1 FROM mass_revocations m WHERE m.id = substr(r.rule, 21) AND m.state <> 'ordered')`},
	}
}
