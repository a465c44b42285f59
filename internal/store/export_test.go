package store

import (
	"context"
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
