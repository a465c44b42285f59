package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"sigill/orders/issue"
)

func openPG(t *testing.T) (*DB, *postgres) {
	t.Helper()
	db := opened(t, Config{URL: server.URL(t)})
	return db, db.engine.(*postgres)
}

func has(t *testing.T, db *DB, i int) bool {
	t.Helper()
	found := false
	err := db.view(t.Context(), func(tx *tx) error {
		_, err := tx.Idempotency("per_1", "test", fmt.Sprint(i))
		found = err == nil
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// end makes the server end the session of conn, as an operator or a crash would.
func end(t *testing.T, p *postgres, conn *sql.Conn) {
	t.Helper()
	var pid int
	if err := conn.QueryRowContext(context.Background(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	if _, err := p.readers.Exec(`SELECT pg_terminate_backend($1, 5000)`, pid); err != nil {
		t.Fatal(err)
	}
}

// A lost commit is never repeated: it may have happened.
func TestPostgresLostCommit(t *testing.T) {
	db, p := openPG(t)
	runs := 0
	p.beforeCommit = func(conn *sql.Conn) { end(t, p, conn) }
	err := db.update(t.Context(), func(tx *tx) error { runs++; return tx.InsertIdempotency(row(1)) })
	if !errors.Is(err, ErrOutcomeUnknown) || runs != 1 {
		t.Errorf("Update = %v after %d runs, want an unknown outcome after one", err, runs)
	}
	p.beforeCommit = nil
	if has(t, db, 1) {
		t.Error("the row is there")
	}
	if err := db.update(t.Context(), func(tx *tx) error { return tx.InsertIdempotency(row(1)) }); err != nil || !has(t, db, 1) {
		t.Errorf("the next Update = %v", err)
	}
	if s := db.Stats(); s.Unknown != 1 || s.Commits != 1 {
		t.Errorf("stats = %+v", s)
	}
}

// Nor is a transaction whose connection broke.
func TestPostgresBrokenConnection(t *testing.T) {
	db, p := openPG(t)
	runs := 0
	err := db.update(t.Context(), func(tx *tx) error {
		runs++
		var pid int
		if _, err := tx.one("x", `SELECT pg_backend_pid()`, nil, &pid); err != nil {
			return err
		}
		if _, err := p.readers.Exec(`SELECT pg_terminate_backend($1, 5000)`, pid); err != nil {
			return err
		}
		return tx.InsertIdempotency(row(1))
	})
	if !errors.Is(err, ErrOutcomeUnknown) || runs != 1 {
		t.Errorf("Update = %v after %d runs, want an unknown outcome after one", err, runs)
	}
	if has(t, db, 1) {
		t.Error("the row is there")
	}
}

// Two that read what the other writes: one is told to come again and comes
// through, whether the server notices in a statement or at the commit.
func TestPostgresSerializationFailure(t *testing.T) {
	db, _ := openPG(t)
	var both sync.WaitGroup
	both.Add(2)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			first := true
			err := db.update(context.Background(), func(tx *tx) error {
				_, err := tx.Idempotency("per_1", "test", fmt.Sprint(1-i))
				if err != nil && !errors.Is(err, issue.ErrNotFound) {
					return err
				}
				if err := tx.InsertIdempotency(row(i)); err != nil {
					return err
				}
				if first { // neither commits before both have read and written
					first = false
					both.Done()
					both.Wait()
				}
				return nil
			})
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if s := db.Stats(); s.Reruns == 0 || s.Commits != 2 {
		t.Errorf("stats = %+v, want a rerun and two commits", s)
	}
}

// A unique constraint may be violated by a race: twice it is tried again, then it
// is a conflict.
func TestPostgresUniqueViolation(t *testing.T) {
	db, _ := openPG(t)
	runs := 0
	err := db.update(t.Context(), func(tx *tx) error {
		runs++
		_, err := tx.exec("x", `INSERT INTO ceremony (id, officer_1, officer_2, officer_name_1, officer_name_2)
			SELECT 1, CAST(repeat('a', 32) AS BYTEA), CAST(repeat('a', 32) AS BYTEA), 'a', 'b' FROM generate_series(1, 2)`)
		return err
	})
	if !errors.Is(err, issue.ErrConflict) || runs != 1+maxUnique {
		t.Errorf("Update = %v after %d runs, want a conflict after %d", err, runs, 1+maxUnique)
	}
}

// Who never comes through is told that it is a conflict, after a bounded number
// of tries; who is cancelled between two is not kept.
func TestPostgresGivesUp(t *testing.T) {
	db, _ := openPG(t)
	runs := 0
	fail := func(tx *tx) error {
		runs++
		_, err := tx.exec("x", `DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$`)
		return err
	}
	if err := db.update(t.Context(), fail); !errors.Is(err, issue.ErrConflict) || runs != maxTries {
		t.Errorf("Update = %v after %d runs, want a conflict after %d", err, runs, maxTries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runs = 0
	err := db.update(ctx, func(tx *tx) error { cancel(); return fail(tx) })
	if !errors.Is(err, context.Canceled) || runs != 1 {
		t.Errorf("Update = %v after %d runs, want cancelled after one", err, runs)
	}
}

// Lists and reports run outside SERIALIZABLE, read only, and not for long.
func TestPostgresSettings(t *testing.T) {
	db, _ := openPG(t)
	setting := func(name string, run func(context.Context, func(*tx) error) error) (value string) {
		t.Helper()
		err := run(t.Context(), func(tx *tx) error {
			_, err := tx.one("x", `SELECT current_setting($1)`, []any{name}, &value)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, c := range []struct {
		name, setting, want string
		run                 func(context.Context, func(*tx) error) error
	}{
		{"Update", "transaction_isolation", "serializable", db.update},
		{"View", "transaction_isolation", "repeatable read", db.view},
		{"View", "transaction_read_only", "on", db.view},
		{"View", "statement_timeout", "2s", db.view},
		{"Check", "transaction_read_only", "on", db.scan},
		{"Check", "statement_timeout", "0", db.scan},
	} {
		if got := setting(c.setting, c.run); got != c.want {
			t.Errorf("%s: %s = %s, want %s", c.name, c.setting, got, c.want)
		}
	}
}

// Text sorts by its bytes on both databases, whatever the server's collation.
func TestPostgresCollation(t *testing.T) {
	db, _ := openPG(t)
	err := db.scan(t.Context(), func(tx *tx) error {
		return tx.each("x", `SELECT table_name, column_name, collation_name FROM information_schema.columns
			WHERE table_schema = 'public' AND data_type = 'text' AND table_name <> 'schema_migrations'
				AND collation_name IS DISTINCT FROM 'C'`, nil, func(r *sql.Rows) error {
			ids, err := render(r)
			t.Errorf("column without COLLATE: %v", ids)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What was written can be told, for the bench.
func TestWritten(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		db := opened(t, cfg)
		before, err := db.Written(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.update(t.Context(), func(tx *tx) error { return tx.InsertIdempotency(row(1)) }); err != nil {
			t.Fatal(err)
		}
		after, err := db.Written(t.Context())
		if err != nil || after <= before {
			t.Errorf("Written = %d, then %d, %v", before, after, err)
		}
		if s := db.Stats(); s.Commits != 1 || s.Updates != 1 || s.Rows != 1 || s.Statements != 1 {
			t.Errorf("stats = %+v", s)
		}
	})
}

// A commit is durable when it is answered, whatever the database's default says.
func TestCommitsAreDurable(t *testing.T) {
	url := server.URL(t)
	pool, err := openPool(url, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var name string
	if err := pool.QueryRow(`SELECT current_database()`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(`ALTER DATABASE ` + name + ` SET synchronous_commit = off`); err != nil {
		t.Fatal(err)
	}
	db := opened(t, Config{URL: url})
	err = db.update(t.Context(), func(tx *tx) error {
		setting := ""
		_, err := tx.one("reading setting", `SELECT current_setting('synchronous_commit')`, nil, &setting)
		if setting != "on" {
			t.Errorf("synchronous_commit is %s where it is written", setting)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if risks, err := db.Risks(t.Context()); err != nil || len(risks) != 0 {
		t.Errorf("risks %v: %v", risks, err)
	}
	// What only the server decides is told: a crash of its machine would lose it.
	if _, err := pool.Exec(`ALTER SYSTEM SET full_page_writes = off`); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, undo := range []string{`ALTER SYSTEM RESET full_page_writes`, `SELECT pg_reload_conf()`} {
			if _, err := pool.Exec(undo); err != nil {
				t.Error(err)
			}
		}
	}()
	if _, err := pool.Exec(`SELECT pg_reload_conf()`); err != nil {
		t.Fatal(err)
	}
	for setting := ""; setting != "off"; {
		// The server hears of it when it likes; each question gives it time.
		if err := pool.QueryRowContext(t.Context(), `SELECT current_setting('full_page_writes')`).Scan(&setting); err != nil {
			t.Fatal(err)
		}
	}
	if risks, err := db.Risks(t.Context()); err != nil || len(risks) != 1 {
		t.Errorf("risks %v: %v", risks, err)
	}
}
