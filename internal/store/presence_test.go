package store

import (
	"errors"
	"testing"
)

// TestPresence: who announced itself lives until it says so, or until its
// connection ends, as it does when the process dies. One that only lost its
// connection announces itself again.
func TestPresence(t *testing.T) {
	cfg := Config{URL: server.URL(t)}
	db := opened(t, cfg)
	other, err := Open(t.Context(), cfg) // another process
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	announce := func(db *DB, owner string) *Presence {
		t.Helper()
		p, err := db.Announce(t.Context(), owner, func(err error) { t.Errorf("%s: %v", owner, err) })
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := announce(db, "proc_a"), announce(other, "proc_b")
	defer b.Close()
	want := func(when string, by *Presence, owner string, dead bool) {
		t.Helper()
		if got, err := by.Dead(t.Context(), owner); err != nil || got != dead {
			t.Errorf("%s: %s is dead = %t, %v; want %t", when, owner, got, err, dead)
		}
	}
	for _, by := range []*Presence{a, b} {
		want("both there", by, "proc_a", false)
		want("both there", by, "proc_b", false)
		want("never there", by, "proc_c", true)
	}
	a.mu.Lock() // its keeper must not be faster
	end(t, db.engine.(*postgres), a.conn)
	want("connection gone", b, "proc_a", true)
	a.mu.Unlock()
	if err := a.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("announced again", b, "proc_a", false)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	want("closed", b, "proc_a", true)
	want("closed", b, "proc_b", false)
}

// TestPresenceIsOfItsDatabase: another database of the same server has other
// processes.
func TestPresenceIsOfItsDatabase(t *testing.T) {
	one, two := opened(t, Config{URL: server.URL(t)}), opened(t, Config{URL: server.URL(t)})
	a, err := one.Announce(t.Context(), "proc_a", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := two.Announce(t.Context(), "proc_b", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if dead, err := b.Dead(t.Context(), "proc_a"); err != nil || !dead {
		t.Errorf("in another database proc_a is dead = %t, %v", dead, err)
	}
}

func TestSQLiteIsNotShared(t *testing.T) {
	db := opened(t, Config{URL: "sqlite:" + t.TempDir() + "/sigill.db"})
	if _, err := db.Announce(t.Context(), "proc_a", func(error) {}); !errors.Is(err, ErrNotShared) {
		t.Errorf("Announce = %v", err)
	}
}

// TestLead: of those that ask, one leads, until it closes its presence or its
// connection ends; in something else another may.
func TestLead(t *testing.T) {
	cfg := Config{URL: server.URL(t)}
	db := opened(t, cfg)
	other, err := Open(t.Context(), cfg) // another process
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	a, err := db.Announce(t.Context(), "proc_a", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	b, err := other.Announce(t.Context(), "proc_b", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	want := func(when string, p *Presence, what string, leads bool) {
		t.Helper()
		if got, err := p.Lead(t.Context(), what); err != nil || got != leads {
			t.Errorf("%s: %s leads in %s = %t, %v; want %t", when, p.owner, what, got, err, leads)
		}
	}
	want("first", a, "lists", true)
	want("second", b, "lists", false)
	want("again", a, "lists", true)
	want("in something else", b, "letters", true)
	want("in something else", a, "letters", false)

	// The server ends the connection: the next one leads, and the one before notices
	// when it renews its presence.
	a.mu.Lock() // its keeper must not be faster
	end(t, db.engine.(*postgres), a.conn)
	want("connection gone", b, "lists", true)
	a.mu.Unlock()
	if err := a.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("announced again", a, "lists", false)

	if err := b.Close(); err != nil {
		t.Error(err)
	}
	want("closed", a, "lists", true)
	want("closed", a, "letters", true)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	want("closed itself", a, "lists", false)
}
