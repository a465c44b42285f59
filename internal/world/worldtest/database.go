package worldtest

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sigill/internal/store"
	"sigill/internal/store/pgtest"
)

// serverVariable is where Main tells New of its PostgreSQL.
const serverVariable = "SIGILL_TEST_SERVER"

// Main runs the tests of a package whose worlds are to be on the database that
// SIGILL_TEST_DB names: sqlite, which it is by default, or postgres. Call it in
// TestMain.
func Main(m *testing.M) (code int) {
	if os.Getenv("SIGILL_TEST_DB") != "postgres" {
		return m.Run()
	}
	server, err := pgtest.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	os.Setenv(serverVariable, server.URL())
	return m.Run()
}

// chosen returns the address of a new database of the kind that was chosen for
// the tests; "" for SQLite.
func chosen(t testing.TB) string {
	t.Helper()
	if os.Getenv("SIGILL_TEST_DB") != "postgres" {
		return ""
	}
	server := os.Getenv(serverVariable)
	if server == "" {
		t.Fatal("SIGILL_TEST_DB=postgres: the TestMain of this package does not call worldtest.Main")
	}
	url, err := pgtest.Empty(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// databases makes the database of a world, and opens it twice: as the service
// does, and for a test that looks and changes behind everybody's back.
func databases(t testing.TB, url string) (db *store.DB, raw *sql.DB, err error) {
	driver, behind := "pgx", url
	if url == "" {
		path := filepath.Join(t.TempDir(), "sigill.db")
		driver, behind, url = "sqlite", "file:"+path+"?_busy_timeout=5000", "sqlite:"+path
	} else {
		// Behind the back of foreign keys too, as SQLite does.
		behind += "&session_replication_role=replica"
		// What stops here are closures and signatures; the database's machine
		// never does, and need not wait for its disk.
		url += "&synchronous_commit=off"
	}
	cfg := store.Config{URL: url}
	if err := store.Create(t.Context(), cfg); err != nil {
		return nil, nil, err
	}
	if db, err = store.Open(t.Context(), cfg); err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { db.Close() })
	if raw, err = sql.Open(driver, behind); err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { raw.Close() })
	if driver == "pgx" {
		_, err = raw.Exec(spellings)
	}
	return db, raw, err
}

// spellings let PostgreSQL take what tests write for SQLite.
const spellings = `
	CREATE DOMAIN blob AS bytea;
	CREATE FUNCTION instr(bytea, text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT position(convert_to($2, 'UTF8') IN $1) $$;
	CREATE FUNCTION hex(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(encode($1, 'hex')) $$;
	CREATE FUNCTION unhex(text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT decode($1, 'hex') $$;
	CREATE VIEW sqlite_schema AS SELECT 'table' AS type, tablename AS name FROM pg_tables WHERE schemaname = current_schema();`

// query writes the places of arguments as the database wants them.
func (s *Scene) query(text string) string {
	if !s.postgres {
		return text
	}
	parts := strings.Split(text, "?")
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(p)
	}
	return b.String()
}
