package store

import (
	"fmt"
	"strings"
	"time"

	"sigill/internal/audit"
	"sigill/internal/retention"
)

// Retention: see Downloads.
func (db *DB) Retention() Scope[retention.Tx] {
	return Scope[retention.Tx]{db, func(t *tx) *retention.Tx { return &retention.Tx{Acts: t, Holdings: t, Events: t} }}
}

// erasedBy stands where who did something stood, in events that are erased.
const erasedBy = "erased"

// empty is what stands where something was erased: it is there, and says nothing.
var empty = []byte{}

// index notes which persons an event is about or by, if it has personal values or
// tells that somebody logged in or was refused. Of two who did something together
// each is one.
func (t *tx) index(seq int64, e audit.Event) error {
	if len(e.Personal) == 0 && audit.ClassOf(e.Act) != audit.Access {
		return nil
	}
	people := map[string]bool{}
	for by := range strings.SplitSeq(e.By, ",") {
		people[by] = false
	}
	for _, f := range e.Public {
		if f.Name == "person" {
			people[f.Value] = true
		}
	}
	for person, about := range people {
		if !strings.HasPrefix(person, "per_") {
			continue
		}
		_, err := t.exec("inserting person of event", `INSERT INTO event_people (person, event, about) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, person, seq, flag(about))
		if err != nil {
			return err
		}
	}
	return nil
}

// Reached implements retention.Acts.
func (t *tx) Reached(what string) (int64, error) {
	var n int64
	_, err := t.one("reading erasures", `SELECT to_number FROM erasures WHERE what = $1 AND to_number IS NOT NULL
		ORDER BY to_number DESC LIMIT 1`, []any{what}, &n)
	return n, err
}

// NoteErasure implements retention.Acts.
func (t *tx) NoteErasure(event string, e audit.Erasure) error {
	var from, to any
	if e.To > 0 {
		from, to = e.From, e.To
	}
	_, err := t.exec("inserting erasure", `INSERT INTO erasures (event, what, through, from_number, to_number, count)
		VALUES ($1, $2, $3, $4, $5, $6)`, event, e.What, at(e.Through), from, to, e.Count)
	return err
}

// EraseEvents implements retention.Acts.
func (t *tx) EraseEvents(links []audit.Link, bodies bool) error {
	for _, l := range links {
		changed, err := t.exec("erasing personal values", `DELETE FROM event_personal
			WHERE event = (SELECT seq FROM events WHERE number = $1 AND leaf = $2)`, l.Number, l.Leaf[:])
		if err == nil && bodies {
			changed, err = t.exec("erasing event", `UPDATE events SET body = $1, by_who = $2
				WHERE number = $3 AND leaf = $4 AND length(body) > 0`, empty, erasedBy, l.Number, l.Leaf[:])
		}
		if err == nil && changed == 0 {
			err = fmt.Errorf("erasing event %d: %w", l.Number, retention.ErrConflict)
		}
		if err == nil {
			_, err = t.exec("erasing persons of event", `DELETE FROM event_people
				WHERE event = (SELECT seq FROM events WHERE number = $1)`, l.Number)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CardsDue implements retention.Holdings.
func (t *tx) CardsDue(through time.Time, after retention.Card, limit int) ([]retention.Card, error) {
	from := int64(-1 << 62)
	if !after.Expires.IsZero() {
		from = after.Expires.UnixMicro()
	}
	found, err := list(t, "reading cards that are due", `SELECT number, expires_at FROM cards
		WHERE erased_at IS NULL AND holder IS NOT NULL AND expires_at < $1 AND (expires_at, number) > ($2, $3)
		ORDER BY expires_at, number LIMIT $4`, []any{through.UnixMicro(), from, after.Number, int64(limit)},
		func(c *retention.Card) []any { return []any{&c.Number, intoTime{&c.Expires}} })
	return values(found), err
}

// EraseCard implements retention.Holdings. Statements go before certificates: what
// was signed with one is then gone, where it was about this card.
func (t *tx) EraseCard(number string, when time.Time) (retention.Erased, error) {
	var e retention.Erased
	// What is open still is ended by whoever ends what is due; the card waits for it.
	_, err := t.one("counting what is open", `SELECT (SELECT count(*) FROM orders WHERE card = $1 AND state IN ('placed', 'approved'))
		+ (SELECT count(*) FROM downloads WHERE card = $2 AND state = 'planned')
		+ (SELECT count(*) FROM intents WHERE card = $3 AND state = 'open')`, []any{number, number, number}, &e.Left)
	if err != nil || e.Left > 0 {
		return e, err
	}
	for _, each := range []struct {
		what, query string
		args        []any
	}{
		{"statements about orders", `UPDATE statements SET content = $1, signature = $2
			WHERE subject IN (SELECT id FROM orders WHERE card = $3) AND length(content) > 0`, []any{empty, empty, number}},
		{"statements about card", `UPDATE statements SET content = $1, signature = $2
			WHERE subject = $3 AND length(content) > 0`, []any{empty, empty, number}},
		{"plans", `UPDATE downloads SET plan = $1, version = version + 1 WHERE card = $2 AND length(plan) > 0`, []any{empty, number}},
		{"orders", `UPDATE orders SET bytes = $1, version = version + 1 WHERE card = $2 AND length(bytes) > 0`, []any{empty, number}},
	} {
		n, err := t.exec("erasing "+each.what, each.query, each.args...)
		if err != nil {
			return e, err
		}
		e.Rows += n
	}
	if err := t.eraseCertificates(number, &e); err != nil {
		return e, err
	}
	var ended any
	if e.Left == 0 {
		ended = at(when)
	}
	n, err := t.exec("erasing card", `UPDATE cards SET identity = NULL, armed_until = NULL, armed_for = NULL, erased_at = $1, version = version + 1
		WHERE number = $2 AND erased_at IS NULL AND (identity IS NOT NULL OR CAST($3 AS BIGINT) IS NOT NULL)`, ended, number, ended)
	e.Rows += n
	if err == nil && n == 0 && e.Left == 0 {
		err = fmt.Errorf("erasing card: %w", retention.ErrConflict)
	}
	return e, err
}

// signs is the condition under which a certificate must stay: something that is kept
// was signed with it.
const signs = `EXISTS (SELECT 1 FROM certificates c JOIN statements s ON s.certificate = c.fingerprint
	WHERE c.serial = i.serial AND length(s.content) > 0)`

func (t *tx) eraseCertificates(card string, e *retention.Erased) error {
	var from, to *int64
	_, err := t.one("reading numbers of leaves", `SELECT count(l.number), min(l.number), max(l.number) FROM intents i JOIN log_leaves l ON l.serial = i.serial
		WHERE i.card = $1 AND length(i.tbs) > 0 AND NOT `+signs, []any{card}, &e.Numbered, &from, &to)
	if err != nil {
		return err
	}
	if from != nil && to != nil {
		e.From, e.To = *from, *to
	}
	_, err = t.one("counting certificates that stay", `SELECT count(*) FROM intents i WHERE i.card = $1 AND length(i.tbs) > 0 AND `+signs,
		[]any{card}, &e.Left)
	if err != nil {
		return err
	}
	// The certificate of an intent is emptied by the intent that is whole still.
	n, err := t.exec("erasing certificates", `UPDATE certificates SET der = $1 WHERE card = $2 AND serial IN (
		SELECT i.serial FROM intents i WHERE i.card = $3 AND length(i.tbs) > 0 AND NOT `+signs+`)`, empty, card, card)
	if err != nil {
		return err
	}
	e.Rows += n
	e.Certificates, err = t.exec("erasing intents", `UPDATE intents AS i SET tbs = $1 WHERE i.card = $2 AND length(i.tbs) > 0 AND NOT `+signs, empty, card)
	e.Rows += e.Certificates
	return err
}

// ended are statements about neither an order nor a card, on which no right rests:
// roles, organisations and their switches stand as long as they are in force, and who
// gave them is looked for as long.
const ended = `act NOT IN ('order.place', 'order.approve', 'card.handout', 'card.arm', 'card.block') AND length(content) > 0
	AND act NOT IN ('role.grant', 'organisation.create', 'organisation.signing', 'ceremony.found') AND at < `

// EraseStatements implements retention.Holdings.
func (t *tx) EraseStatements(through time.Time, limit int) (int64, error) {
	return t.exec("erasing statements", `UPDATE statements SET content = $1, signature = $2 WHERE id IN (
		SELECT id FROM statements WHERE `+ended+`$3 ORDER BY at, id LIMIT $4)`, empty, empty, through.UnixMicro(), int64(limit))
}

// StatementsDue implements retention.Holdings.
func (t *tx) StatementsDue(through time.Time) (n int64, err error) {
	_, err = t.one("counting statements", `SELECT count(*) FROM statements WHERE `+ended+`$1`, []any{through.UnixMicro()}, &n)
	return n, err
}

// accessActs are the acts whose events retention erases, for SQL.
func accessActs() string {
	var list []string
	for _, act := range audit.Acts() {
		if audit.ClassOf(act) == audit.Access {
			list = append(list, "'"+act+"'")
		}
	}
	return strings.Join(list, ", ")
}

// erasedRules hold what is erased against what was told of it.
func erasedRules() []rule {
	const told = `(SELECT 1 FROM erasures r WHERE r.what = 'cards' AND r.through > k.expires_at)`
	return []rule{
		{code: "erasure.event", query: `SELECT r.event FROM erasures r
			WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = r.event AND e.act = 'retention.erased')`},
		{code: "event.erased", query: `SELECT e.number, e.act FROM events e WHERE length(e.body) = 0 AND (e.number IS NULL
			OR e.act NOT IN (` + accessActs() + `) OR e.by_who <> '` + erasedBy + `'
			OR EXISTS (SELECT 1 FROM event_personal p WHERE p.event = e.seq)
			OR NOT EXISTS (SELECT 1 FROM erasures r WHERE r.what = 'access' AND e.number BETWEEN r.from_number AND r.to_number))`},
		{code: "certificate.erased", query: `SELECT i.serial, i.card FROM intents i LEFT JOIN certificates c ON c.serial = i.serial
			LEFT JOIN cards k ON k.number = i.card
			WHERE length(i.tbs) = 0 AND (k.number IS NULL OR i.state = 'open' OR NOT EXISTS ` + told + `)
				OR (length(i.tbs) = 0) <> (length(c.der) = 0)`},
		{code: "order.erased", query: `SELECT o.id, o.card FROM orders o LEFT JOIN cards k ON k.number = o.card
			WHERE length(o.bytes) = 0 AND (k.number IS NULL OR o.state IN ('placed', 'approved') OR NOT EXISTS ` + told + `)`},
		{code: "download.erased", query: `SELECT d.id, d.card FROM downloads d LEFT JOIN cards k ON k.number = d.card
			WHERE length(d.plan) = 0 AND (k.number IS NULL OR d.state = 'planned' OR NOT EXISTS ` + told + `)`},
		{code: "statement.erased", query: `SELECT s.id, s.act FROM statements s LEFT JOIN orders o ON o.id = s.subject
			LEFT JOIN cards k ON k.number = coalesce(o.card, s.subject)
			WHERE length(s.content) = 0 AND (length(s.signature) > 0 OR k.number IS NOT NULL AND NOT EXISTS ` + told + `
				OR k.number IS NULL AND NOT EXISTS (SELECT 1 FROM erasures r WHERE r.what = 'statements' AND r.through > s.at))`},
		{code: "card.erased", query: `SELECT k.number FROM cards k WHERE k.erased_at IS NOT NULL AND NOT EXISTS ` + told},
		{code: "person.erased", query: `SELECT p.id FROM persons p WHERE p.erased_at IS NOT NULL AND (p.number <> p.id
			OR p.given_name <> '' OR p.surname <> ''
			OR EXISTS (SELECT 1 FROM assignments a WHERE a.person = p.id) OR EXISTS (SELECT 1 FROM person_search s WHERE s.person = p.id)
			OR EXISTS (SELECT 1 FROM grants g WHERE g.person = p.id AND g.ended_at IS NULL))`},
	}
}
