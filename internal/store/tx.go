package store

import (
	"context"
	"database/sql"
	"fmt"

	"sigill/revocation"
)

// runner runs single statements inside a transaction.
type runner interface {
	exec(ctx context.Context, query string, args []any) (int64, error)
	query(ctx context.Context, query string, args []any) (*sql.Rows, error)
}

// tx is one run of a closure. It implements the table interfaces of all domain
// packages, in the files named for them.
//
// After the first error nothing more is sent to the database: PostgreSQL would
// refuse it, and SQLite, which rolls the whole transaction back when the disk is
// full, would run the next statement outside of any transaction and commit it.
type tx struct {
	ctx        context.Context // its end is looked at before each statement; never interrupts one
	run        runner
	err        error // the first error of a statement
	changed    int64 // rows
	statements int64
	revoked    []revocation.Entry // inserted
}

// exec runs a statement and returns how many rows it changed. what is its name
// in errors.
func (t *tx) exec(what, query string, args ...any) (int64, error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	n, err := t.run.exec(context.WithoutCancel(t.ctx), query, args)
	if err != nil {
		return 0, t.fail(what, err)
	}
	t.changed += n
	return n, nil
}

// one runs a query and scans its first row into dest; it reports false if there
// is no row.
func (t *tx) one(what, query string, args []any, dest ...any) (bool, error) {
	found := false
	err := t.each(what, query, args, func(r *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return r.Scan(dest...)
	})
	return found, err
}

// each calls scan for each row of a query. scan must run no other statement: on
// PostgreSQL the connection is busy with this one.
func (t *tx) each(what, query string, args []any, scan func(*sql.Rows) error) error {
	if err := t.ready(); err != nil {
		return err
	}
	rows, err := t.run.query(context.WithoutCancel(t.ctx), query, args)
	if err != nil {
		return t.fail(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return t.fail(what, err)
	}
	if err := rows.Close(); err != nil {
		return t.fail(what, err)
	}
	return nil
}

func (t *tx) ready() error {
	if t.err != nil {
		return fmt.Errorf("after an earlier error: %w", t.err)
	}
	if err := t.ctx.Err(); err != nil {
		return err
	}
	t.statements++
	return nil
}

func (t *tx) fail(what string, err error) error {
	t.err = fmt.Errorf("%s: %w", what, err)
	return t.err
}

// result is the error of a closure that returned err: a statement's error counts
// even if the closure swallowed it, for its write did not happen.
func (t *tx) result(err error) error {
	if err == nil && t.err != nil {
		return t.err
	}
	return err
}
