package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Violation is something that rows say together and that must never be so,
// whatever crashed when.
type Violation struct {
	Code string   // closed list: see [CheckCodes]
	IDs  []string // serials and fingerprints in hexadecimal, identifiers, numbers
}

func (v Violation) String() string { return v.Code + ": " + strings.Join(v.IDs, " ") }

// rule is a query whose every row is a violation. now says that $1 is the time.
type rule struct {
	code  string
	now   bool
	query string
}

var rules = []rule{
	// Standing: exactly one current certificate a place, alive, on a card that
	// may be used.
	{code: "standing.revoked", query: `SELECT s.certificate, c.serial FROM standings s
		JOIN certificates c ON c.fingerprint = s.certificate WHERE EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`},
	{code: "standing.twice", query: `SELECT card, slot, kind, organisation, id_kind FROM standings
		GROUP BY card, slot, kind, organisation, id_kind HAVING count(*) > 1`},
	{code: "standing.place", query: `SELECT s.certificate FROM standings s JOIN certificates c ON c.fingerprint = s.certificate
		WHERE s.card IS DISTINCT FROM c.card OR s.organisation IS DISTINCT FROM c.organisation
			OR s.id_kind IS DISTINCT FROM c.id_kind OR s.slot IS DISTINCT FROM c.slot`},
	{code: "standing.card", now: true, query: `SELECT s.certificate, s.card, k.state FROM standings s
		JOIN certificates c ON c.fingerprint = s.certificate LEFT JOIN cards k ON k.number = s.card
		WHERE s.kind = 'current' AND s.slot IN ('authentication', 'signing') AND c.not_after > $1
			AND (k.state IS NULL OR k.state NOT IN ('active', 'locked'))`},
	{code: "standing.pending", query: `SELECT s.certificate, s.card, c.download FROM standings s
		JOIN certificates c ON c.fingerprint = s.certificate LEFT JOIN downloads d ON d.id = c.download
		WHERE s.kind = 'pending' AND (d.state IS NULL OR d.state <> 'planned')`},

	// A signing certificate is half of an eID: it stands only beside the other
	// half, and does not outlive it.
	{code: "standing.signing", now: true, query: `SELECT s.certificate, s.card FROM standings s JOIN certificates c ON c.fingerprint = s.certificate
		WHERE s.kind = 'current' AND s.slot = 'signing' AND c.not_after > $1 AND NOT EXISTS (
			SELECT 1 FROM standings a JOIN certificates b ON b.fingerprint = a.certificate
			WHERE a.kind = 'current' AND a.slot = 'authentication' AND a.card = s.card AND a.organisation IS NOT DISTINCT FROM s.organisation
				AND a.id_kind IS NOT DISTINCT FROM s.id_kind AND b.not_after >= c.not_after)`},

	{code: "standing.signing-pending", query: `SELECT s.certificate, s.card FROM standings s
		WHERE s.kind = 'pending' AND s.slot = 'signing' AND NOT EXISTS (
			SELECT 1 FROM standings a WHERE a.slot = 'authentication' AND a.card = s.card
				AND a.organisation IS NOT DISTINCT FROM s.organisation AND a.id_kind IS NOT DISTINCT FROM s.id_kind)`},

	// Certificates and intents: nothing signed that was not recorded.
	{code: "certificate.intent", query: `SELECT c.serial, i.state FROM certificates c LEFT JOIN intents i ON i.serial = c.serial
		WHERE i.state IS NULL OR i.state <> 'signed'`},
	{code: "certificate.differs", query: `SELECT c.serial FROM certificates c JOIN intents i ON i.serial = c.serial
		WHERE c.issuer <> i.issuer OR c.partition <> i.partition OR c.profile <> i.profile OR c.key_fingerprint <> i.key_fingerprint
			OR c.not_before <> i.not_before OR c.not_after <> i.not_after
			OR c.slot IS DISTINCT FROM i.slot OR c.card IS DISTINCT FROM i.card OR c.person IS DISTINCT FROM i.person
			OR c.organisation IS DISTINCT FROM i.organisation OR c.id_kind IS DISTINCT FROM i.id_kind OR c.loa IS DISTINCT FROM i.loa
			OR c.order_id IS DISTINCT FROM i.order_id OR c.download IS DISTINCT FROM i.download`},
	// A card's certificate that stands nowhere is dead or lost. Transport
	// certificates and technical ones may live without standing.
	{code: "certificate.stray", now: true, query: `SELECT c.serial, c.card FROM certificates c
		WHERE c.slot IN ('authentication', 'signing') AND c.not_after > $1
			AND NOT EXISTS (SELECT 1 FROM standings s WHERE s.certificate = c.fingerprint)
			AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`},
	{code: "intent.certificate", query: `SELECT i.serial FROM intents i
		WHERE i.state = 'signed' AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.serial = i.serial)`},
	{code: "intent.download", query: `SELECT i.serial, i.download FROM intents i LEFT JOIN downloads d ON d.id = i.download
		WHERE i.state = 'open' AND i.download IS NOT NULL AND (d.state IS NULL OR d.state <> 'planned')`},
	{code: "intent.abandoned", query: `SELECT i.serial FROM intents i
		WHERE i.state = 'abandoned' AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial)`},
	{code: "intent.revoked", query: `SELECT i.serial FROM intents i
		WHERE i.state = 'open' AND EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial)`},

	// Downloads and orders.
	{code: "download.items", query: `SELECT d.id, i.slot, i.state FROM downloads d LEFT JOIN items i ON i.download = d.id
		WHERE d.state = 'installed' AND (i.state IS NULL OR i.state <> 'installed')`},
	{code: "item.certificate", query: `SELECT i.download, i.slot, i.certificate FROM items i
		LEFT JOIN certificates c ON c.fingerprint = i.certificate
		WHERE i.certificate IS NOT NULL AND (c.serial IS NULL OR c.serial <> i.serial)`},
	{code: "item.intent", query: `SELECT i.download, i.slot, i.serial FROM items i
		JOIN downloads d ON d.id = i.download LEFT JOIN intents n ON n.serial = i.serial
		WHERE i.serial IS NOT NULL AND (n.serial IS NULL
			OR d.state = 'planned' AND i.state = 'intended' AND n.state <> 'open')`},
	{code: "order.certificate", query: `SELECT id FROM orders
		WHERE state = 'installed' AND id NOT IN (SELECT order_id FROM certificates WHERE order_id IS NOT NULL)`},

	// Compromised keys: what was decided is carried out, or still in the queue.
	// That a queued certificate is there, the foreign key holds (file.reference).
	{code: "key.standing", query: `SELECT b.fingerprint, s.certificate FROM blocked_keys b
		JOIN certificates c ON c.key_fingerprint = b.fingerprint JOIN standings s ON s.certificate = c.fingerprint
		WHERE NOT EXISTS (SELECT 1 FROM queued_revocations q WHERE q.certificate = c.fingerprint AND q.done_at IS NULL)`},
	{code: "incident.certificate", query: `SELECT v.incident, v.certificate FROM incident_certificates v
		LEFT JOIN certificates c ON c.fingerprint = v.certificate
		WHERE NOT EXISTS (SELECT 1 FROM queued_revocations q WHERE q.certificate = v.certificate)
			AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`},
	{code: "incident.key", query: `SELECT i.id, i.fingerprint FROM incidents i
		WHERE NOT EXISTS (SELECT 1 FROM blocked_keys b WHERE b.fingerprint = i.fingerprint)
			OR NOT EXISTS (SELECT 1 FROM incident_certificates v WHERE v.incident = i.id)`},
	{code: "queue.done", query: `SELECT q.certificate, c.serial FROM queued_revocations q JOIN certificates c ON c.fingerprint = q.certificate
		WHERE q.done_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`},

	// Rights and switches: what two administrators state, they did state. The
	// first two have their role by the founding.
	{code: "grant.statement", query: `SELECT g.person, g.organisation, g.role FROM grants g
		WHERE NOT EXISTS (SELECT 1 FROM statements s WHERE s.id = g.statement AND s.act = 'role.grant' AND s.subject = g.organisation)
			AND NOT EXISTS (SELECT 1 FROM ceremony c WHERE g.statement IS NULL AND g.role = 'administrator'
				AND c.organisation = g.organisation AND g.person IN (c.administrator_1, c.administrator_2))`},
	{code: "organisation.signing", query: `SELECT o.id FROM organisations o WHERE o.signing_allowed = 1
		AND NOT EXISTS (SELECT 1 FROM statements s WHERE s.subject = o.id AND s.act = 'organisation.signing')`},

	// Revocations and the chain.
	{code: "revocation.event", query: `SELECT r.serial, r.version, r.event FROM revocations r
		WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = r.event)`},
	// What CRLs would say of it is of this serial.
	{code: "revocation.line", query: `SELECT r.serial, r.version FROM revocations r WHERE r.line IS NULL OR substr(r.line, 5, 16) <> r.serial`},
	{code: "revocation.version", query: `SELECT r.serial, r.version FROM revocations r
		LEFT JOIN revocations p ON p.serial = r.serial AND p.version = r.version - 1
		WHERE r.version > 1 AND (p.at IS NULL OR p.at <> r.at OR p.issuer <> r.issuer OR p.partition <> r.partition)`},
	{code: "chain.gap", query: `SELECT count(number), max(number) FROM events
		WHERE number IS NOT NULL HAVING count(number) <> max(number)`},
}

// sqliteRules look for damage to the file itself.
var sqliteRules = []rule{
	{code: "file.damaged", query: `SELECT * FROM pragma_quick_check WHERE quick_check <> 'ok'`},
	{code: "file.reference", query: `SELECT "table", rowid, parent FROM pragma_foreign_key_check`},
}

// allRules are those of every database.
func allRules() []rule { return slices.Concat(rules, erasedRules(), massRules()) }

// CheckCodes returns the codes of all violations that Check looks for, in order.
func CheckCodes() []string {
	var codes []string
	for _, r := range append(allRules(), sqliteRules...) {
		codes = append(codes, r.code)
	}
	return codes
}

// Check calls found for each violation in one snapshot of the database, and
// returns an error if it could not look. It reads everything: at millions of
// certificates it takes minutes, and on PostgreSQL holds back vacuum for as long.
func (db *DB) Check(ctx context.Context, found func(Violation)) error {
	return db.CheckEach(ctx, func(string, int, int) {}, found)
}

// CheckEach is Check that tells which rule it begins with, after how many of them all:
// over millions of rows one may take minutes.
func (db *DB) CheckEach(ctx context.Context, begins func(rule string, done, total int), found func(Violation)) error {
	all := allRules()
	if db.dialect.name == "sqlite" {
		all = append(all, sqliteRules...)
	}
	now := db.now().UnixMicro()
	return db.scan(ctx, func(t *tx) error {
		for i, r := range all {
			begins(r.code, i, len(all))
			var args []any
			if r.now {
				args = []any{now}
			}
			err := t.each("check "+r.code, r.query, args, func(rows *sql.Rows) error {
				ids, err := render(rows)
				if err == nil {
					found(Violation{r.code, ids})
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// render returns the columns of a row as text.
func render(rows *sql.Rows) ([]string, error) {
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	ids := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			ids[i] = "-"
		case []byte:
			ids[i] = hex.EncodeToString(v)
		default:
			ids[i] = fmt.Sprint(v)
		}
	}
	return ids, nil
}
