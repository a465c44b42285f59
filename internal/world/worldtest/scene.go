// Package worldtest is a world for tests: over a real store, SQLite or PostgreSQL,
// with faults, a clock that the test moves, the keys' own memory of what they
// signed, and a second way into the database.
//
// It knows no rule: it says what the rows are and what may never be together.
package worldtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/internal/translog"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/policy"
)

// Scene is a world and what a test needs to look behind it. Its methods fail the
// test they are used in.
type Scene struct {
	*world.World
	T      testing.TB // the test that fails; a subtest may put itself here
	Faults *fault.Injector
	Store  *store.DB
	Views  service.Stores // without faults
	skew   *atomic.Int64
	// Logs and Sequencer are there in a world with logs (see [Logged]).
	Logs      *translog.Service
	Sequencer *audit.Sequencer

	raw      *sql.DB
	postgres bool // raw is PostgreSQL
}

// New makes a world on the tests' database (see [Main]); change may alter how.
func New(t testing.TB, change ...func(*Scene, *world.Config)) *Scene {
	t.Helper()
	return open(t, chosen(t), world.New, change)
}

// Bare makes a world in which the ceremony has not begun.
func Bare(t testing.TB, change ...func(*Scene, *world.Config)) *Scene {
	t.Helper()
	return open(t, chosen(t), world.Bare, change)
}

// On makes a world on the empty PostgreSQL database at url, or on a SQLite of its
// own if url is empty.
func On(t testing.TB, url string, change ...func(*Scene, *world.Config)) *Scene {
	t.Helper()
	return open(t, url, world.New, change)
}

func open(t testing.TB, url string, make func(context.Context, world.Config) (*world.World, error), change []func(*Scene, *world.Config)) *Scene {
	t.Helper()
	db, raw, err := databases(t, url)
	if err != nil {
		t.Fatal(err)
	}
	s := &Scene{T: t, Faults: new(fault.Injector), Store: db, raw: raw, postgres: url != "", Views: world.StoresOf(db), skew: new(atomic.Int64)}
	c := world.Config{Stores: s.Faults.Stores(s.Views), Wrap: s.Faults.Wrap, Now: s.Now}
	for _, f := range change {
		f(s, &c)
	}
	if s.World, err = make(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.Faults.Clear()
	return s
}

// Logged gives a world its logs. What they write goes through the faults too.
func Logged(s *Scene, c *world.Config) { LoggedFor(0)(s, c) }

// LoggedFor is Logged with logs that are not waited for longer than patience.
func LoggedFor(patience time.Duration) func(*Scene, *world.Config) {
	return func(s *Scene, c *world.Config) { logged(s, c, patience) }
}

func logged(s *Scene, c *world.Config, patience time.Duration) {
	s.T.Helper()
	var err error
	a, l := s.Faults.Logs(s.Store.Audit(), s.Store.Translog())
	if s.Sequencer, s.Logs, err = world.NewLog(a, l, s.Now, patience); err != nil {
		s.T.Fatal(err)
	}
	c.Log = s.Logs
}

// Now is the world's clock.
func (s *Scene) Now() time.Time { return time.Now().Add(time.Duration(s.skew.Load())) }

// Pass lets time go by.
func (s *Scene) Pass(d time.Duration) { s.skew.Add(int64(d)) }

// Person returns a person with a card that was handed out, and no eID.
func (s *Scene) Person() *world.Holder {
	s.T.Helper()
	h, err := s.NewHolder(s.T.Context())
	if err != nil {
		s.T.Fatal(err)
	}
	return h
}

// Holder returns a person with an eID.
func (s *Scene) Holder() *world.Holder {
	s.T.Helper()
	h, err := s.NewHolderWithEID(s.T.Context())
	if err != nil {
		s.T.Fatal(err)
	}
	return h
}

// Ordered returns an order that waits to be fetched.
func (s *Scene) Ordered(h *world.Holder, kind policy.OrderType) policy.OrderID {
	s.T.Helper()
	id, err := s.Order(s.T.Context(), h, kind)
	if err != nil {
		s.T.Fatal(err)
	}
	return id
}

// Rows counts the rows that a condition meets.
func (s *Scene) Rows(table, where string, args ...any) int {
	s.T.Helper()
	var n int
	if !strings.Contains(table, "WHERE") {
		table += " WHERE " + where
	}
	if err := s.raw.QueryRow(s.query("SELECT count(*) FROM "+table), args...).Scan(&n); err != nil {
		s.T.Fatal(err)
	}
	return n
}

// Exec changes the database behind everybody's back.
func (s *Scene) Exec(query string, args ...any) {
	s.T.Helper()
	r, err := s.raw.Exec(s.query(query), args...)
	if err != nil {
		s.T.Fatal(err)
	}
	if n, _ := r.RowsAffected(); n == 0 {
		s.T.Fatalf("%s changed no row", query)
	}
}

// Working counts the holder's authentication certificates that stand as current
// and are not revoked: the working eIDs.
func (s *Scene) Working(h *world.Holder) int {
	s.T.Helper()
	return s.Rows(`standings s JOIN certificates c ON c.fingerprint = s.certificate`, `s.card = ? AND s.slot = 'authentication'
		AND s.kind = 'current' AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial)`, string(h.Card))
}

// Refused fails the test unless err is a refusal by rule, and unless it was
// recorded before it was told.
func (s *Scene) Refused(err error, rule policy.Rule) {
	s.T.Helper()
	refusal, ok := errors.AsType[*policy.Refusal](err)
	if !ok || refusal.Rule != rule {
		s.T.Fatalf("got %v, want a refusal by %s", err, rule)
	}
	if s.Rows("events", "act IN ('request.refused', 'login.refused', 'key.refused') AND instr(body, ?) > 0", string(rule)) == 0 {
		s.T.Fatalf("refusal by %s was told and not recorded", rule)
	}
}

// impossible are states that the rows may never be in together, beside those that
// the store itself looks for.
func impossible() map[string]string {
	return map[string]string{
		"a serial without intent is revoked": `revocations r WHERE NOT EXISTS (SELECT 1 FROM intents i WHERE i.serial = r.serial)`,
		"an installed download has an order that is not": `downloads d JOIN orders o ON o.id = d.order_id
			WHERE d.state = 'installed' AND o.state <> 'installed'`,
		"an installed order has no installed download": `orders o WHERE o.state = 'installed'
			AND NOT EXISTS (SELECT 1 FROM downloads d WHERE d.order_id = o.id AND d.state = 'installed')`,
	}
}

// Sound is what must be true after every step.
func (s *Scene) Sound() {
	s.T.Helper()
	if err := s.Store.Check(context.Background(), func(v store.Violation) { s.T.Errorf("violation: %v", v) }); err != nil {
		s.T.Fatal(err)
	}
	for what, where := range impossible() {
		if n := s.Rows(where, "TRUE"); n != 0 {
			s.T.Errorf("%s: %d", what, n)
		}
	}
}

// Truth compares the database with what the issuing key remembers. Whatever the
// key ever signed is an intent that the database knows; and all of them are
// revoked but those whose certificate stands.
func (s *Scene) Truth() {
	s.T.Helper()
	rows, err := s.raw.Query(s.query(`SELECT i.tbs, i.state, EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial),
		EXISTS (SELECT 1 FROM certificates c JOIN standings s ON s.certificate = c.fingerprint WHERE c.serial = i.serial AND s.kind = 'current')
		FROM intents i WHERE i.issuer = ?`), string(world.PersonCA))
	if err != nil {
		s.T.Fatal(err)
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
			s.T.Fatal(err)
		}
		known[sha256.Sum256(tbs)] = f
	}
	if err := rows.Err(); err != nil {
		s.T.Fatal(err)
	}
	seen := map[[32]byte]bool{}
	for _, digest := range s.Faults.Signed(world.PersonCA) {
		d := [32]byte(bytes.Clone(digest))
		f, ok := known[d]
		switch {
		case !ok:
			s.T.Errorf("the key signed %x, which the database does not know", d[:8])
		case seen[d]:
			s.T.Errorf("the key signed %x twice", d[:8])
		case f.revoked == f.current:
			s.T.Errorf("signed %x: state %s, revoked %t, current %t", d[:8], f.state, f.revoked, f.current)
		}
		seen[d] = true
	}
	if n := s.Rows("intents", "issuer = ? AND state = 'open'", string(world.PersonCA)); n != 0 {
		s.T.Errorf("%d intents are open", n)
	}
}
