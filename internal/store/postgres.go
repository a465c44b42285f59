package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"sigill/orders/issue"
)

// SQLSTATEs that decide whether a transaction is tried again.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
)

const (
	// maxTries bounds the attempts of one Update. With a pause that is random
	// and grows, eight clients on one card all came through within ten.
	maxTries = 14
	// maxUnique: a lost race shows as a violated unique constraint too
	// (PostgreSQL manual, 13.5), but so does a row that is simply there.
	maxUnique = 2
	// viewTimeout bounds one statement of a View. A long reader holds back
	// vacuum, and lists are paged.
	viewTimeout = "2000" // milliseconds
)

var postgresDialect = dialect{
	name:     "postgres",
	hasTable: `SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1`,
	connect:  func(url string, _ bool) (*sql.DB, error) { return openPool(url, 2, nil) },
}

func openPool(url string, size int, params map[string]string) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		// pgx masks the password only where it can parse the URL.
		return nil, errors.New("the PostgreSQL URL cannot be read")
	}
	for name, value := range params {
		cfg.RuntimeParams[name] = value
	}
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}

// durableCommits returns what writers set for themselves. A server, database or role whose
// synchronous_commit is off answers a COMMIT before it is durable: a certificate would have
// left, and a head of a log been shown, whose rows a crash of the server takes back. What
// is stronger than on (remote_apply) stays.
func durableCommits(ctx context.Context, url string) (map[string]string, error) {
	pool, err := openPool(url, 1, nil)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	var setting string
	if err := pool.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit')`).Scan(&setting); err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	if setting == "off" {
		return map[string]string{"synchronous_commit": "on"}, nil
	}
	return nil, nil
}

// Risks names settings of the database's server that make what is committed less than
// durable, in words; it is empty for SQLite, where they are this program's.
func (db *DB) Risks(ctx context.Context) ([]string, error) {
	if db.dialect.name != "postgres" {
		return nil, nil
	}
	var out []string
	err := db.view(ctx, func(t *tx) error {
		out = nil
		for _, name := range []string{"fsync", "full_page_writes"} {
			setting := ""
			if _, err := t.one("reading setting", `SELECT current_setting($1)`, []any{name}, &setting); err != nil {
				return err
			}
			if setting == "off" {
				out = append(out, fmt.Sprintf("PostgreSQL's %s is off: after a crash of its machine, certificates that were handed out may be unknown and the logs fork", name))
			}
		}
		return nil
	})
	return out, err
}

// postgres runs each Update in a SERIALIZABLE transaction of its own; the server
// groups their commits itself.
type postgres struct {
	url     string
	writers *sql.DB
	readers *sql.DB
	count   *counters
	start   int64 // position of the write-ahead log when opened

	// beforeCommit, if set, is called when only the commit is left; for tests.
	beforeCommit func(*sql.Conn)
}

func openPostgres(ctx context.Context, url string, cfg Config, count *counters) (engine, error) {
	params, err := durableCommits(ctx, url)
	if err != nil {
		return nil, err
	}
	writers, err := openPool(url, cfg.Writers, params)
	if err != nil {
		return nil, err
	}
	readers, err := openPool(url, cfg.Readers, map[string]string{"statement_timeout": viewTimeout})
	if err != nil {
		return nil, errors.Join(err, writers.Close())
	}
	p := &postgres{url: url, writers: writers, readers: readers, count: count}
	if p.start, err = p.position(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// verdict is what an attempt says about another one.
type verdict int

const (
	final verdict = iota
	lostRace
	duplicate
)

// update implements engine.
func (p *postgres) update(ctx context.Context, fn func(*tx) error) error {
	duplicates := 0
	for try := 1; ; try++ {
		v, err := p.attempt(ctx, fn)
		if v == final {
			return err
		}
		if v == duplicate {
			duplicates++
		}
		if duplicates > maxUnique || try >= maxTries {
			return fmt.Errorf("%w: after %d tries: %w", issue.ErrConflict, try, err)
		}
		p.count.reruns.Add(1)
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// pause waits a random time that grows with the tries: losers that come back at
// once, together, lose again together.
func pause(ctx context.Context, try int) error {
	most := min(time.Millisecond<<try, 200*time.Millisecond)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt runs fn once. Unless the verdict is final nothing was written, for
// certain, and err says why.
func (p *postgres) attempt(ctx context.Context, fn func(*tx) error) (v verdict, err error) {
	conn, err := p.writers.Conn(ctx)
	if err != nil {
		return final, fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close()
	ctx = context.WithoutCancel(ctx)
	sqlTx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		return final, fmt.Errorf("beginning: %w", err)
	}
	t := &tx{ctx: ctx, run: pgRunner{sqlTx}}
	defer func() {
		// After a commit this does nothing; after a panic or Goexit it undoes.
		sqlTx.Rollback()
		p.count.ended(t, v != final || err != nil)
	}()
	if err := t.result(fn(t)); err != nil {
		if t.err == nil {
			return final, err // the closure's own
		}
		if v := judge(t.err); v != final {
			return v, err
		}
		if isBroken(conn) {
			return final, p.unknown(err)
		}
		return final, err
	}
	if p.beforeCommit != nil {
		p.beforeCommit(conn)
	}
	if err := sqlTx.Commit(); err != nil {
		// The server refusing a commit in so many words has rolled back. Any
		// other error, a connection lost above all, says nothing.
		if v := judge(err); v == lostRace {
			return v, fmt.Errorf("committing: %w", err)
		}
		return final, p.unknown(err)
	}
	p.count.commits.Add(1)
	return final, nil
}

func (p *postgres) unknown(err error) error {
	p.count.unknown.Add(1)
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

func judge(err error) verdict {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return final
	}
	switch pgErr.Code {
	case serializationFailure, deadlockDetected:
		return lostRace
	case uniqueViolation:
		return duplicate
	}
	return final
}

// isBroken reports whether the server is no longer at the other end of conn.
func isBroken(conn *sql.Conn) bool {
	closed := true
	err := conn.Raw(func(c any) error {
		if c, ok := c.(*stdlib.Conn); ok {
			closed = c.Conn().IsClosed()
		}
		return nil
	})
	return err != nil || closed
}

// view implements engine.
func (p *postgres) view(ctx context.Context, fn func(*tx) error) error {
	return p.read(ctx, p.readers, fn)
}

// scan implements engine: without the time limit of a View's statements.
func (p *postgres) scan(ctx context.Context, fn func(*tx) error) error {
	return p.read(ctx, p.writers, fn)
}

func (p *postgres) read(ctx context.Context, pool *sql.DB, fn func(*tx) error) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close()
	sqlTx, err := conn.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	defer sqlTx.Rollback()
	p.count.views.Add(1)
	t := &tx{ctx: ctx, run: pgRunner{sqlTx}}
	return t.result(fn(t))
}

// written implements engine.
func (p *postgres) written(ctx context.Context) (int64, error) {
	now, err := p.position(ctx)
	return now - p.start, err
}

func (p *postgres) position(ctx context.Context) (n int64, err error) {
	err = p.readers.QueryRowContext(ctx, `SELECT CAST(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS BIGINT)`).Scan(&n)
	return n, err
}

// close implements engine.
func (p *postgres) close() error { return errors.Join(p.writers.Close(), p.readers.Close()) }

// pgRunner runs statements in a transaction; pgx prepares each text once a
// connection.
type pgRunner struct{ tx *sql.Tx }

func (r pgRunner) exec(ctx context.Context, query string, args []any) (int64, error) {
	res, err := r.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (r pgRunner) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	return r.tx.QueryContext(ctx, query, args...)
}
