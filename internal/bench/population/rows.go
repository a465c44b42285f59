package population

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver; the store, which fills no tables in bulk, uses it too
)

// table collects rows of one table and inserts them many at a time.
type table struct {
	name    string
	columns []string
	full    *sql.Stmt // inserts rowsAtOnce rows
	args    []any
	conn    *sql.Conn
	rows    int64
}

// rowsAtOnce is how many rows one statement inserts: more make it no faster.
const rowsAtOnce = 32

// writer fills a database that nobody else has open.
type writer struct {
	db     *sql.DB
	conn   *sql.Conn
	tables []*table
}

// Without a log and without fsync: a database that is left half filled is thrown
// away. The page cache holds what of the indices is written in random order.
var bulk = []string{
	`PRAGMA journal_mode = OFF`, `PRAGMA synchronous = OFF`, `PRAGMA locking_mode = EXCLUSIVE`,
	`PRAGMA foreign_keys = OFF`, `PRAGMA cache_size = -1048576`, `PRAGMA temp_store = MEMORY`,
}

func openWriter(ctx context.Context, dir string) (w *writer, err error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.Join(dir, "sigill.db")}).EscapedPath(), RawQuery: "mode=rw&_dqs=0"}
	w = &writer{}
	if w.db, err = sql.Open("sqlite", u.String()); err != nil {
		return nil, err
	}
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return nil, errors.Join(err, w.db.Close())
	}
	for _, pragma := range bulk {
		if _, err := w.conn.ExecContext(ctx, pragma); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", pragma, err), w.db.Close())
		}
	}
	return w, nil
}

// table prepares inserting into a table.
func (w *writer) table(ctx context.Context, name, columns string) (*table, error) {
	t := &table{name: name, columns: strings.Split(strings.ReplaceAll(columns, " ", ""), ","), conn: w.conn}
	var err error
	t.full, err = w.conn.PrepareContext(ctx, t.insert(rowsAtOnce))
	w.tables = append(w.tables, t)
	return t, err
}

func (t *table) insert(rows int) string {
	one := "(?" + strings.Repeat(", ?", len(t.columns)-1) + ")"
	return "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES " + one + strings.Repeat(", "+one, rows-1)
}

// add inserts a row, at once or with later ones.
func (t *table) add(ctx context.Context, values ...any) error {
	if len(values) != len(t.columns) {
		return fmt.Errorf("%s: %d values for %d columns", t.name, len(values), len(t.columns))
	}
	t.rows++
	if t.args = append(t.args, values...); len(t.args) < rowsAtOnce*len(t.columns) {
		return nil
	}
	_, err := t.full.ExecContext(ctx, t.args...)
	t.args = t.args[:0]
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return nil
}

// flush inserts what is left.
func (t *table) flush(ctx context.Context) error {
	if len(t.args) == 0 {
		return nil
	}
	_, err := t.conn.ExecContext(ctx, t.insert(len(t.args)/len(t.columns)), t.args...)
	t.args = t.args[:0]
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return nil
}

// do runs a statement.
func (w *writer) do(ctx context.Context, query string) error {
	_, err := w.conn.ExecContext(ctx, query)
	if err != nil {
		return fmt.Errorf("%.40s: %w", query, err)
	}
	return nil
}

// flush inserts what is left in every table.
func (w *writer) flush(ctx context.Context) error {
	for _, t := range w.tables {
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// finish brings the database to how a service leaves one, durably.
func (w *writer) finish(ctx context.Context) error {
	for _, t := range w.tables {
		if err := t.full.Close(); err != nil {
			return err
		}
	}
	for _, step := range []string{`PRAGMA locking_mode = NORMAL`, `PRAGMA journal_mode = WAL`} {
		if err := w.do(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() error { return errors.Join(w.conn.Close(), w.db.Close()) }

// sync makes a file durable.
func sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
