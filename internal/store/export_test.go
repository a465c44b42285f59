package store

import (
	"context"
	"fmt"
	"testing"

	"sigill/internal/store/pgtest"
)

// For tests of package store_test.

func SharedServer() *pgtest.Shared { return &server }

// Exec runs one statement in a transaction of its own.
func (db *DB) Exec(t testing.TB, query string, args ...any) {
	t.Helper()
	err := db.update(context.Background(), func(tx *tx) error { _, err := tx.exec(query, query, args...); return err })
	if err != nil {
		t.Fatal(err)
	}
}

// Texts returns the statements that were prepared on SQLite's connections.
func (db *DB) Texts() map[string]bool {
	l := db.engine.(*lite)
	texts := make(map[string]bool)
	sessions := []*session{l.group.s}
	for range cap(l.readers) {
		s := <-l.readers
		if s != nil {
			sessions = append(sessions, s)
		}
		defer func() { l.readers <- s }()
	}
	for _, s := range sessions {
		for text := range s.stmts {
			texts[text] = true
		}
	}
	return texts
}

// Explain returns SQLite's plan of a statement, a line for each step.
func (db *DB) Explain(t testing.TB, query string, args int) []string {
	t.Helper()
	rows, err := db.engine.(*lite).pool.Query("EXPLAIN QUERY PLAN "+query, make([]any, args)...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	return plan
}

// OpenWithPages opens a SQLite database that may grow to so many pages, as a full
// disk would let it.
func OpenWithPages(ctx context.Context, cfg Config, pages int) (*DB, error) {
	cfg.pragmas = []string{fmt.Sprintf("max_page_count(%d)", pages)}
	return Open(ctx, cfg)
}

// GrowTo lets the write connection, until it breaks, grow to so many pages.
func (db *DB) GrowTo(t testing.TB, pages int) {
	t.Helper()
	db.Exec(t, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
}

// Pages returns how many pages the database has.
func (db *DB) Pages(t testing.TB) (n int) {
	t.Helper()
	err := db.view(context.Background(), func(tx *tx) error {
		_, err := tx.one("pages", `PRAGMA page_count`, nil, &n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
