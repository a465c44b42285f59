package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"modernc.org/sqlite"
)

var sqliteDialect = dialect{
	name:     "sqlite",
	hasTable: `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1`,
	connect: func(path string, create bool) (*sql.DB, error) {
		if create {
			// Nobody but the service's account may read whom cards belong
			// to; SQLite gives its log files the same mode.
			f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
			if err != nil {
				return nil, fmt.Errorf("creating database: %w", err)
			}
			if err := f.Close(); err != nil {
				return nil, fmt.Errorf("creating database: %w", err)
			}
		} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no database: %w; run sigill init", err)
		} else if err != nil {
			return nil, fmt.Errorf("opening database: %w", err)
		}
		return sql.Open("sqlite", sqliteDSN(path))
	},
}

// sqliteDSN holds the settings that each connection must have; a PRAGMA sent to
// a pool would reach one of its connections only.
func sqliteDSN(path string, more ...string) string {
	v := url.Values{
		"mode":          {"rw"}, // a missing file is an error, never a new database
		"_busy_timeout": {"5000"},
		"_foreign_keys": {"1"},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_dqs":          {"0"},
		"_defensive":    {"1"},
	}
	for _, pragma := range more {
		v.Add("_pragma", pragma)
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: v.Encode()}
	return u.String()
}

// lite is SQLite: one writer with group commit, and readers beside it.
//
// The log is copied into the database by SQLite itself, by the commit that finds
// a thousand pages in it: that waits for no reader and costs the writer one part
// in sixteen. A reader that stays holds the copying back and lets the log grow,
// but holds nobody up; Views are short, and only Check is long.
type lite struct {
	*group
	writers *sql.DB
	pool    *sql.DB
	readers chan *session // nil: a reader that is not connected yet
	pages   int64         // bytes of a page
}

func openSQLite(ctx context.Context, path string, cfg Config, count *counters) (engine, error) {
	// What is erased is overwritten: SQLite otherwise leaves names in free space, for
	// whoever reads the file, and copies it to every backup.
	writers, err := sql.Open("sqlite", sqliteDSN(path, append([]string{"secure_delete(1)"}, cfg.pragmas...)...))
	if err != nil {
		return nil, err
	}
	pool, err := sql.Open("sqlite", sqliteDSN(path, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, writers.Close())
	}
	l := &lite{writers: writers, pool: pool, readers: make(chan *session, cfg.Readers)}
	l.group = &group{count: count, open: func() (*session, error) { return newSession(context.Background(), writers) }}
	for range cfg.Readers {
		l.readers <- nil
	}
	if err := l.group.ready(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if err := l.group.s.conn.QueryRowContext(ctx, `PRAGMA page_size`).Scan(&l.pages); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// view implements engine.
func (l *lite) view(ctx context.Context, fn func(*tx) error) error {
	var s *session
	var ok bool
	select {
	case s, ok = <-l.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !ok {
		return ErrClosed
	}
	sound := false
	defer func() {
		if !sound && s != nil {
			s.discard()
			s = nil
		}
		l.readers <- s
	}()
	if s == nil {
		var err error
		if s, err = newSession(ctx, l.pool); err != nil {
			return err
		}
	}
	l.count.views.Add(1)
	if err := s.do(`BEGIN`); err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	t := &tx{ctx: ctx, run: s}
	err := t.result(fn(t))
	sound = s.do(`ROLLBACK`) == nil
	return err
}

// scan implements engine: a snapshot of SQLite holds nobody up.
func (l *lite) scan(ctx context.Context, fn func(*tx) error) error { return l.view(ctx, fn) }

// written implements engine. The writer's own counter is asked for between two
// groups; a connection that broke takes its count with it.
func (l *lite) written(ctx context.Context) (int64, error) {
	m := &member{turn: make(chan turn, 1)}
	if err := l.enter(ctx, m); err != nil {
		return 0, err
	}
	defer l.pass()
	if err := l.ready(); err != nil {
		return 0, err
	}
	var pages int
	err := l.s.conn.Raw(func(c any) (err error) {
		status, ok := c.(sqlite.DBStatus)
		if !ok {
			return fmt.Errorf("%T has no counters", c)
		}
		pages, _, err = status.Status(sqlite.DBStatusCacheWrite, false)
		return err
	})
	return int64(pages) * l.pages, err
}

// close implements engine. It waits for the transactions under way.
func (l *lite) close() error {
	err := l.group.close()
	if errors.Is(err, ErrClosed) {
		return err
	}
	for range cap(l.readers) {
		if s := <-l.readers; s != nil {
			err = errors.Join(err, s.discard())
		}
	}
	close(l.readers)
	return errors.Join(err, l.pool.Close(), l.writers.Close())
}
