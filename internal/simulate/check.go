package simulate

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/store"
	"sigill/internal/tiles"
	"sigill/internal/token"
	"sigill/policy"
)

func sumOf(der []byte) [32]byte { return sha256.Sum256(der) }

func lower(s string) string { return strings.ToLower(s) }

func errorAs[T error](err error) (T, bool) { return errors.AsType[T](err) }

// model is what the simulation itself remembers of a schedule, to hold against
// what the rows say.
type model struct {
	had        map[place]bool           // a current eID was seen here
	blocked    map[string]bool          // cards
	signed     map[[32]byte]ca.IssuerID // digests, and by whose key
	confirmed  map[string]bool          // downloads that a certificate presented itself to confirm, and which
	superseded map[string]bool          // serials
	refusals   map[string]int           // told, by rule
	before     map[[32]byte]bool        // certificates of the base
	logs       map[tiles.Name]*shown
}

// place is where one eID stands.
type place struct{ card, organisation, kind string }

func (m *model) init() {
	*m = model{had: map[place]bool{}, blocked: map[string]bool{}, signed: map[[32]byte]ca.IssuerID{}, confirmed: map[string]bool{},
		superseded: map[string]bool{}, refusals: map[string]int{}, before: map[[32]byte]bool{},
		logs: map[tiles.Name]*shown{audit.ActTree: {}, audit.CertificateTree: {}}}
}

// rows runs a query over the committed state and calls scan for each row.
func (s *Sim) rows(query string, args []any, scan func(*sql.Rows) error) {
	stmt, err := s.prepared(query)
	if err != nil {
		s.wrong("looking: %v", err)
		return
	}
	rows, err := stmt.Query(args...)
	if err != nil {
		s.wrong("looking: %v", err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			s.wrong("looking: %v", err)
			return
		}
	}
	if err := rows.Err(); err != nil {
		s.wrong("looking: %v", err)
	}
}

func (s *Sim) prepared(query string) (*sql.Stmt, error) {
	if stmt := s.statements[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.raw.Prepare(query)
	if err == nil {
		s.statements[query] = stmt
	}
	return stmt, err
}

func (s *Sim) text(query string, args ...any) string {
	out := ""
	s.rows(query, args, func(r *sql.Rows) error { return r.Scan(&out) })
	return out
}

func (s *Sim) count(from string, args ...any) int {
	n := 0
	s.rows("SELECT count(*) FROM "+from, args, func(r *sql.Rows) error { return r.Scan(&n) })
	return n
}

// signing is called before the key of an issuing CA signs digest.
func (s *Sim) signing(issuer ca.IssuerID, digest []byte) {
	d := [32]byte(digest)
	if s.signed[d] != "" {
		s.wrong("the issuing key is asked to sign the same twice")
	}
	s.signed[d] = issuer
	var known []byte
	s.rows(`SELECT serial, tbs, state FROM intents WHERE issuer = ? ORDER BY recorded_at DESC LIMIT 20`, []any{string(issuer)}, func(r *sql.Rows) error {
		var serial, tbs []byte
		var state string
		if err := r.Scan(&serial, &tbs, &state); err != nil || sha256.Sum256(tbs) != d {
			return err
		}
		known = serial
		if state != "open" {
			s.ends["signed too late"]++ // and will lose the guard
		}
		return nil
	})
	if known == nil {
		s.wrong("the issuing key is asked to sign what the database does not know")
		return
	}
	s.inLog(known)
}

// confirming is called when a certificate presents itself to confirm a download.
func (s *Sim) confirming(download string, der []byte) {
	fp := sumOf(der)
	s.confirmed[download], s.confirmed[download+" by "+hex.EncodeToString(fp[:])] = true, true
}

// deleting is called before a client deletes an object from a card.
func (s *Sim) deleting(h *holder, o *cardObject) {
	if o.key == nil {
		return // remains of something
	}
	s.rows(`SELECT s.kind, c.der FROM standings s JOIN certificates c ON c.fingerprint = s.certificate WHERE s.card = ?`, []any{h.card.number}, func(r *sql.Rows) error {
		var kind string
		var der []byte
		if err := r.Scan(&kind, &der); err != nil {
			return err
		}
		cert, err := x509.ParseCertificate(der)
		if err == nil && token.SameKey(o.public, cert.PublicKey) {
			s.wrong("%s: the client deletes the key of a %s certificate from the card", h.name, kind)
		}
		return err
	})
}

// checkStep looks at the rows of the holders' cards after something was committed.
func (s *Sim) checkStep() {
	s.checks++
	current := map[place]int{}
	s.rows(`SELECT s.card, s.organisation, s.id_kind, s.kind, s.slot, s.certificate, COALESCE(c.download, ''), k.state,
		EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)
		FROM standings s JOIN certificates c ON c.fingerprint = s.certificate JOIN cards k ON k.number = s.card
		WHERE s.slot <> 'transport' AND s.card IN (`+s.cards()+`)`, nil, func(r *sql.Rows) error {
		var p place
		var st standing
		var fp []byte
		if err := r.Scan(&p.card, &p.organisation, &p.kind, &st.kind, &st.slot, &fp, &st.download, &st.state, &st.revoked); err != nil {
			return err
		}
		st.fp = [32]byte(fp)
		s.checkStanding(p, st)
		if st.kind == "current" && st.slot == "authentication" {
			current[p]++
		}
		return nil
	})
	for _, h := range s.holders {
		s.checkHolder(h, current)
	}
	s.checkSuperseded(current)
	s.checkLogs()
	if s.checks%s.stride() == 0 {
		s.checkAll()
	}
}

// stride is how many commits lie between two looks at everything.
func (s *Sim) stride() int { return 97 }

func (s *Sim) cards() string {
	var list []string
	for _, h := range s.holders {
		list = append(list, "'"+h.card.number+"'")
	}
	return strings.Join(list, ", ")
}

// standing is a certificate that stands, and what else is known of it.
type standing struct {
	kind, slot, download string
	state                string // of the card
	fp                   [32]byte
	revoked              bool
}

func (s *Sim) checkStanding(p place, st standing) {
	presented := st.download
	if st.slot == "authentication" {
		presented += " by " + hex.EncodeToString(st.fp[:])
	}
	switch {
	case st.revoked:
		s.wrong("a %s %s certificate on %s is revoked", st.kind, st.slot, p.card)
	case st.state == "blocked":
		s.wrong("a %s %s certificate stands on %s, which is blocked", st.kind, st.slot, p.card)
	case st.kind != "current":
	case !s.confirmed[presented] && !s.before[st.fp]:
		s.wrong("a %s certificate on %s is current and never presented itself to confirm", st.slot, p.card)
	default:
		if st.slot == "authentication" {
			s.had[p] = true
		}
		for _, h := range s.holders {
			if h.card.number == p.card && !h.card.holds(st.fp) {
				s.wrong("%s: the server holds a %s certificate for current that is not on the card with its key", h.name, st.slot)
			}
		}
	}
}

// checkHolder: who had an eID has exactly one, unless somebody ended it; and a
// blocked card stays so, with nothing on it that is good.
func (s *Sim) checkHolder(h *holder, current map[place]int) {
	for _, p := range slices.SortedFunc(maps.Keys(s.had), func(a, b place) int { return cmp.Compare(a.organisation, b.organisation) }) {
		if p.card != h.card.number {
			continue
		}
		if n := current[p]; n > 1 || n == 0 && !h.mayEnd(policy.OrganisationID(p.organisation)) {
			s.wrong("%s has %d current eIDs of %s", h.name, n, p.organisation)
		}
	}
	if !h.ended[everyOne] {
		return
	}
	state := s.text(`SELECT state FROM cards WHERE number = ?`, h.card.number)
	if state == "blocked" {
		s.blocked[h.card.number] = true
	}
	if !s.blocked[h.card.number] {
		return
	}
	if state != "blocked" {
		s.wrong("%s: the card was blocked and is %s", h.name, state)
	}
	for _, q := range [][2]string{
		{"certificate that is good", `certificates c WHERE c.card = ? AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`},
		{"open intent", `intents WHERE card = ? AND state = 'open'`},
		{"open download", `downloads WHERE card = ? AND state = 'planned'`},
		{"open order", `orders WHERE card = ? AND state IN ('placed', 'approved')`},
	} {
		if n := s.count(q[1], h.card.number); n != 0 {
			s.wrong("%s: the card is blocked and has %d %s", h.name, n, q[0])
		}
	}
}

// checkSuperseded: an eID is superseded only in the moment in which another, that
// presented itself, has taken its place.
func (s *Sim) checkSuperseded(current map[place]int) {
	s.rows(`SELECT hex(r.serial), c.card, c.organisation, c.id_kind FROM revocations r JOIN certificates c ON c.serial = r.serial
		WHERE r.rule = 'confirm.superseded' AND c.slot = 'authentication' AND c.card IN (`+s.cards()+`)`, nil, func(r *sql.Rows) error {
		var serial string
		var p place
		if err := r.Scan(&serial, &p.card, &p.organisation, &p.kind); err != nil {
			return err
		}
		if s.superseded[serial] {
			return nil
		}
		s.superseded[serial] = true
		if current[p] != 1 {
			s.wrong("an eID on %s was superseded by nothing", p.card)
		}
		return nil
	})
}

// list returns the texts that a query finds.
func (s *Sim) list(query string, args ...any) (all []string) {
	s.rows(query, args, func(r *sql.Rows) error {
		var text string
		err := r.Scan(&text)
		all = append(all, text)
		return err
	})
	return all
}

// recovered: what was overdue when recovery began is not open when it has gone
// through.
func (s *Sim) recovered(overdue []string) {
	for _, serial := range overdue {
		if s.count(`intents WHERE hex(serial) = ? AND state = 'open'`, serial) != 0 {
			s.wrong("intent %s is open after recovery, past its deadline", serial)
		}
	}
}

// endedDue: what time alone ends has ended when that job has gone through.
func (s *Sim) endedDue(begun time.Time) {
	if n := s.count(`standings WHERE kind = 'pending' AND since < ?`, begun.Add(-pendingTTL).UnixMicro()); n != 0 {
		s.wrong("%d certificates are pending after their time", n)
	}
	if n := s.count(`downloads d WHERE d.state = 'planned' AND d.created_at < ?`, begun.Add(-pendingTTL).UnixMicro()); n != 0 {
		s.wrong("%d downloads are open after their time", n)
	}
}

// revokedQueued: what was queued for a compromised key when that job began is
// revoked when it has gone through.
func (s *Sim) revokedQueued(queued []string) {
	for _, fp := range queued {
		if s.count(`certificates c JOIN revocations r ON r.serial = c.serial WHERE hex(c.fingerprint) = ?`, fp) == 0 {
			s.wrong("certificate %s of a compromised key was queued and is not revoked", fp)
		}
	}
}

// pendingTTL is how long a certificate may be pending, as the services have it.
const pendingTTL = 24 * time.Hour

// checkAll is what the operator's check looks for, and what tests look for beside.
func (s *Sim) checkAll() {
	err := s.db.Check(s.base.T.Context(), func(v store.Violation) { s.wrong("check: %v", v) })
	if err != nil {
		s.wrong("check: %v", err)
	}
	s.checkTrees()
	s.checkPromises()
	for _, q := range [][2]string{
		{"serial without intent is revoked", `revocations r WHERE NOT EXISTS (SELECT 1 FROM intents i WHERE i.serial = r.serial)`},
		{"installed download has an order that is not", `downloads d JOIN orders o ON o.id = d.order_id
			WHERE d.state = 'installed' AND o.state <> 'installed'`},
		{"installed order has no installed download", `orders o WHERE o.state = 'installed'
			AND NOT EXISTS (SELECT 1 FROM downloads d WHERE d.order_id = o.id AND d.state = 'installed')`},
	} {
		if n := s.count(q[1]); n != 0 {
			s.wrong("%d times: %s", n, q[0])
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(s.refusals)) {
		told := s.refusals[rule]
		if policy.Rule(rule) == policy.LoginUnknown || policy.Rule(rule).OfService() {
			continue // anybody can make such a certificate, and rows with them; and what is wrong with the service says nothing of who asked
		}
		// Of each rule and caller the first ten of a minute are recorded.
		if n := s.count(`events WHERE act IN ('request.refused', 'login.refused', 'key.refused') AND instr(body, ?) > 0`, fmt.Sprintf("%q", rule)); n < min(told, 10) {
			s.wrong("%d refusals by %s were told and %d recorded", told, rule, n)
		}
	}
}
