// Package store keeps the records of the domain in SQLite or PostgreSQL, with one
// set of statements for both. It owns schema, migrations, transactions and the
// check of what the rows say together ([DB.Check]).
//
// It decides nothing: no permission, no rule, no clock; times and identifiers
// come in as arguments, and what a state may become is asked of it only as a
// constraint that backs what the domain believes. Its central rule is that no
// result of a closure, a refusal included, is told before the commit that makes
// it true ([Scope.Update]).
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/revocation"
)

// ErrOutcomeUnknown is returned by Update when the commit was asked for and its
// answer was an error or did not come: the transaction may or may not be
// durable. Read the state again before anything else is done.
var ErrOutcomeUnknown = errors.New("store: outcome of the commit is unknown")

// ErrClosed is returned after [DB.Close].
var ErrClosed = errors.New("store: closed")

// Config says which database to open.
type Config struct {
	// URL is "sqlite:PATH" or "postgres://…".
	URL string
	// Readers is how many Views run at once; 0 means 4.
	Readers int
	// Writers is how many Updates run at once on PostgreSQL; 0 means 16.
	// SQLite has one writer, which groups them.
	Writers int
	// Now is the clock by which Check judges whether a certificate has expired;
	// nil means time.Now. Nothing else in this package reads a clock.
	Now func() time.Time

	// Revoked, if set, is called with what an Update has revoked: after its
	// commit, also one whose outcome is unknown, and before Update returns, from
	// the goroutine that called it. Whatever was remembered of these serials must
	// be forgotten by then. It must not begin a transaction.
	Revoked func([]revocation.Entry)

	// pragmas are set on each write connection, for tests of full disks.
	pragmas []string
}

// engine is what differs between the databases.
type engine interface {
	update(ctx context.Context, fn func(*tx) error) error
	view(ctx context.Context, fn func(*tx) error) error
	// scan runs fn like view, for reads of any length.
	scan(ctx context.Context, fn func(*tx) error) error
	// written returns the bytes written ahead since the database was opened.
	written(ctx context.Context) (int64, error)
	close() error
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine
	dialect dialect
	now     func() time.Time
	count   *counters
	revoked func([]revocation.Entry)
}

// Open opens the database of cfg. It never migrates: it refuses a database that
// is missing, whose schema is older or newer than this program's, or whose
// migrations were not the ones this program holds.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	d, where, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	pool, err := d.connect(where, false)
	if err != nil {
		return nil, err
	}
	err = checkSchema(ctx, d, pool)
	pool.Close()
	if err != nil {
		return nil, err
	}
	db := &DB{dialect: d, now: cfg.Now, count: new(counters), revoked: cfg.Revoked}
	if db.now == nil {
		db.now = time.Now
	}
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	if cfg.Writers <= 0 {
		cfg.Writers = 16
	}
	if d.name == "sqlite" {
		db.engine, err = openSQLite(ctx, where, cfg, db.count)
	} else {
		db.engine, err = openPostgres(ctx, where, cfg, db.count)
	}
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	return db, nil
}

// Close waits for the transactions under way and closes the database.
func (db *DB) Close() error { return db.close() }

// parse splits a database URL into its dialect and what the driver is given.
func parse(url string) (dialect, string, error) {
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok && path != "" {
		return sqliteDialect, path, nil
	}
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		return postgresDialect, url, nil
	}
	// The URL may hold a password: it is not repeated.
	return dialect{}, "", errors.New(`database URL is neither "sqlite:PATH" nor "postgres://…"`)
}

// dialect holds what differs between the databases outside transactions.
type dialect struct {
	name     string
	hasTable string // counts the tables named $1
	connect  func(where string, create bool) (*sql.DB, error)
}

// Scope runs transactions whose closures see the database as a T.
type Scope[T any] struct {
	db *DB
	of func(*tx) *T
}

// Update runs fn in one serializable transaction and commits if fn returns nil.
// It may call fn more than once. Concurrent closures may share one durable
// commit, never each other's failure: fn returning an error or panicking undoes
// fn's writes alone. Every result, fn's own error and its panic included, is
// handed out after that commit. When ctx ends before fn runs, so does the wait;
// once fn runs it is not interrupted.
//
// An error that is [ErrOutcomeUnknown] says that the transaction may have been
// committed; with every other one nothing was written.
func (s Scope[T]) Update(ctx context.Context, fn func(*T) error) error {
	var last *tx // the run that was, or may have been, committed
	err := s.db.update(ctx, func(t *tx) error {
		last = t
		return fn(s.of(t))
	})
	if s.db.revoked != nil && last != nil && len(last.revoked) > 0 && (err == nil || errors.Is(err, ErrOutcomeUnknown)) {
		s.db.revoked(last.revoked)
	}
	return err
}

// View runs fn in a read-only snapshot; a write in it is an error.
func (s Scope[T]) View(ctx context.Context, fn func(*T) error) error {
	return s.db.view(ctx, func(t *tx) error { return fn(s.of(t)) })
}

// Downloads, Orders, Register, Issue, Revocation and Audit return the scopes of
// the packages they are named for, all over the same tables.
func (db *DB) Downloads() Scope[download.Tx] { return Scope[download.Tx]{db, downloads} }

// Orders: see Downloads.
func (db *DB) Orders() Scope[orders.Tx] {
	return Scope[orders.Tx]{db, func(t *tx) *orders.Tx { v := ordersOf(t); return &v }}
}

// Register: see Downloads.
func (db *DB) Register() Scope[register.Tx] {
	return Scope[register.Tx]{db, func(t *tx) *register.Tx { v := registerOf(t); return &v }}
}

// Issue: see Downloads.
func (db *DB) Issue() Scope[issue.Tx] {
	return Scope[issue.Tx]{db, func(t *tx) *issue.Tx { v := issueOf(t); return &v }}
}

// Revocation: see Downloads.
func (db *DB) Revocation() Scope[revocation.Tx] { return Scope[revocation.Tx]{db, revocations} }

// Audit: see Downloads.
func (db *DB) Audit() Scope[audit.Tx] { return Scope[audit.Tx]{db, log} }

func issueOf(t *tx) issue.Tx {
	return issue.Tx{Intents: t, Certificates: t, Standings: t, Keys: t, Compromises: t, RevocationQueue: t, Population: t,
		Revocations: t, Events: t}
}

func registerOf(t *tx) register.Tx {
	return register.Tx{Tx: issueOf(t), Organisations: t, People: t, Grants: t, Cards: t,
		Ceremonies: t, Idempotencies: t, Statements: t}
}

func ordersOf(t *tx) orders.Tx { return orders.Tx{Tx: registerOf(t), Orders: t} }

func downloads(t *tx) *download.Tx {
	return &download.Tx{Tx: ordersOf(t), Downloads: t, Due: t, Masses: t, Bulk: t}
}

func revocations(t *tx) *revocation.Tx {
	return &revocation.Tx{Ledger: t, Statuses: t, Publications: t, Entries: t, Copies: t}
}

func log(t *tx) *audit.Tx { return &audit.Tx{Log: t, Trees: t} }
