package app

import (
	"testing"
	"time"

	"sigill/internal/store"
)

// TestDeadOwners: with the directory's lock every other owner of an intent is
// dead; on a shared database the one that announced itself lives until it ends.
func TestDeadOwners(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if a.dead(a.owner) || !a.dead("proc_other") {
		t.Errorf("SQLite: itself dead = %t, another dead = %t", a.dead(a.owner), a.dead("proc_other"))
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}

	url := postgres.URL(t)
	if a, err = open(t, make1(t, url), time.Now); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	other, err := store.Open(t.Context(), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	p, err := other.Announce(t.Context(), "proc_other", func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if a.dead(a.owner) || a.dead("proc_other") || !a.dead("proc_third") {
		t.Errorf("PostgreSQL: itself dead = %t, another dead = %t, one never there dead = %t", a.dead(a.owner), a.dead("proc_other"), a.dead("proc_third"))
	}
	if dead, err := p.Dead(t.Context(), a.owner); err != nil || dead {
		t.Errorf("to another this one is dead = %t, %v", dead, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if !a.dead("proc_other") {
		t.Error("PostgreSQL: who ended is not dead")
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// TestDeadOwnersCannotBeAsked: what is not known is not called dead.
func TestDeadOwnersCannotBeAsked(t *testing.T) {
	a, err := open(t, make1(t, postgres.URL(t)), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a.dead("proc_other") {
		t.Error("without a database another process is called dead")
	}
}
