package download_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/policy"
)

// scene is a world over a real SQLite store, with a clock that the test moves,
// the keys' own memory of what they signed, and a second way into the database.
type scene struct {
	*world.World
	t      *testing.T
	faults *fault.Injector
	store  *store.DB
	raw    *sql.DB
	views  service.Stores
	skew   *atomic.Int64
}

func newScene(t *testing.T, change ...func(*world.Config)) *scene {
	t.Helper()
	dir := t.TempDir()
	db, err := world.OpenStore(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	raw, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "sigill.db")+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	s := &scene{t: t, faults: new(fault.Injector), store: db, raw: raw, views: world.StoresOf(db), skew: new(atomic.Int64)}
	c := world.Config{Stores: s.faults.Stores(s.views), Wrap: s.faults.Wrap, Now: func() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }}
	for _, f := range change {
		wrap := c.Wrap
		f(&c)
		if outer := c.Wrap; wrap != nil && outer == nil {
			c.Wrap = wrap
		}
	}
	if s.World, err = world.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.faults.Clear()
	return s
}

// behind puts a signer between the CA and the key that the scene records.
func (s *scene) behind(outer func(ca.IssuerID, crypto.Signer) crypto.Signer) func(ca.IssuerID, crypto.Signer) crypto.Signer {
	return func(id ca.IssuerID, key crypto.Signer) crypto.Signer { return outer(id, s.faults.Wrap(id, key)) }
}

// pass lets time go by.
func (s *scene) pass(d time.Duration) { s.skew.Add(int64(d)) }

func (s *scene) holder() *world.Holder {
	s.t.Helper()
	h, err := s.NewHolder(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func (s *scene) holderWithEID() *world.Holder {
	s.t.Helper()
	h, err := s.NewHolderWithEID(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func (s *scene) order(h *world.Holder, kind policy.OrderType) policy.OrderID {
	s.t.Helper()
	id, err := s.Order(s.t.Context(), h, kind)
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// rows counts the rows that a condition meets.
func (s *scene) rows(table, where string, args ...any) int {
	s.t.Helper()
	var n int
	if !strings.Contains(table, "WHERE") {
		table += " WHERE " + where
	}
	if err := s.raw.QueryRow("SELECT count(*) FROM "+table, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// exec changes the database behind everybody's back.
func (s *scene) exec(query string, args ...any) {
	s.t.Helper()
	r, err := s.raw.Exec(query, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	if n, _ := r.RowsAffected(); n == 0 {
		s.t.Fatalf("%s changed no row", query)
	}
}

// current counts the holder's authentication certificates that stand as current
// and are not revoked: the working eIDs.
func (s *scene) current(h *world.Holder) int {
	s.t.Helper()
	return s.rows(`standings s JOIN certificates c ON c.fingerprint = s.certificate`, `s.card = ? AND s.slot = 'authentication'
		AND s.kind = 'current' AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`, string(h.Card))
}

// refused fails the test unless err is a refusal by rule, and unless it was
// recorded before it was told.
func (s *scene) refused(err error, rule policy.Rule) {
	s.t.Helper()
	refusal, ok := errors.AsType[*policy.Refusal](err)
	if !ok || refusal.Rule != rule {
		s.t.Fatalf("got %v, want a refusal by %s", err, rule)
	}
	if s.rows("events", "act IN ('request.refused', 'key.refused') AND instr(body, ?) > 0", string(rule)) == 0 {
		s.t.Fatalf("refusal by %s was told and not recorded", rule)
	}
}

// impossible are states that the rows may never be in together.
var impossible = map[string]string{
	"a revoked certificate stands": `standings s JOIN certificates c ON c.fingerprint = s.certificate
		WHERE EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`,
	"a certificate has no signed intent": `certificates c
		WHERE NOT EXISTS (SELECT 1 FROM intents i WHERE i.serial = c.serial AND i.state = 'signed')`,
	"a signed intent has no certificate": `intents i WHERE i.state = 'signed'
		AND NOT EXISTS (SELECT 1 FROM certificates c WHERE c.serial = i.serial)`,
	"an abandoned intent is not revoked": `intents i WHERE i.state = 'abandoned'
		AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial)`,
	"a serial without intent is revoked": `revocations r WHERE NOT EXISTS (SELECT 1 FROM intents i WHERE i.serial = r.serial)`,
	"a certificate of a card stands nowhere and is not revoked": `certificates c WHERE c.card IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM standings s WHERE s.certificate = c.fingerprint)
		AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`,
	"something is pending without an open download": `standings s JOIN certificates c ON c.fingerprint = s.certificate
		WHERE s.kind = 'pending' AND NOT EXISTS (SELECT 1 FROM downloads d WHERE d.id = c.download AND d.state = 'planned')`,
	"an installed download has an order that is not": `downloads d JOIN orders o ON o.id = d.order_id
		WHERE (d.state = 'installed') AND o.state <> 'installed'`,
	"a revocation has no event": `revocations r WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = r.event)`,
}

// check is what must be true after every step.
func (s *scene) check() {
	s.t.Helper()
	for what, where := range impossible {
		if n := s.rows(where, "TRUE"); n != 0 {
			s.t.Errorf("%s: %d", what, n)
		}
	}
}

// truth compares the database with what the issuing key remembers. Whatever the
// key ever signed is an intent that the database knows; and all of them are
// revoked but those whose certificate stands.
func (s *scene) truth() {
	s.t.Helper()
	rows, err := s.raw.Query(`SELECT i.tbs, i.state, EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial),
		EXISTS (SELECT 1 FROM certificates c JOIN standings s ON s.certificate = c.fingerprint WHERE c.serial = i.serial AND s.kind = 'current')
		FROM intents i WHERE i.issuer = ?`, string(world.PersonCA))
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	type fate struct {
		state            string
		revoked, current bool
	}
	known := map[[32]byte]fate{}
	for rows.Next() {
		var tbs []byte
		var f fate
		if err := rows.Scan(&tbs, &f.state, &f.revoked, &f.current); err != nil {
			s.t.Fatal(err)
		}
		known[sha256.Sum256(tbs)] = f
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	seen := map[[32]byte]bool{}
	for _, digest := range s.faults.Signed(world.PersonCA) {
		d := [32]byte(bytes.Clone(digest))
		f, ok := known[d]
		switch {
		case !ok:
			s.t.Errorf("the key signed %x, which the database does not know", d[:8])
		case seen[d]:
			s.t.Errorf("the key signed %x twice", d[:8])
		case f.revoked == f.current:
			s.t.Errorf("signed %x: state %s, revoked %t, current %t", d[:8], f.state, f.revoked, f.current)
		}
		seen[d] = true
	}
	if n := s.rows("intents", "issuer = ? AND state = 'open'", string(world.PersonCA)); n != 0 {
		s.t.Errorf("%d intents are open", n)
	}
}
