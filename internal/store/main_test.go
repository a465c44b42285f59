package store

import (
	"os"
	"testing"

	"sigill/internal/store/pgtest"
)

// server is the PostgreSQL of this binary's tests.
var server pgtest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	server.Stop()
	os.Exit(code)
}

// both runs a test on SQLite and on PostgreSQL, each with an empty database.
func both(t *testing.T, test func(*testing.T, Config)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, Config{URL: "sqlite:" + t.TempDir() + "/sigill.db"})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, Config{URL: server.URL(t)})
	})
}

// opened creates and opens the database of cfg.
func opened(t testing.TB, cfg Config) *DB {
	t.Helper()
	if err := Create(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
