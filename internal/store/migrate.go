package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations
var files embed.FS

// migration is one file of migrations/DIALECT. Files are forward only and never
// change once released: a database remembers the hash of each that it ran.
type migration struct {
	version int64
	sum     string // SHA-256, hexadecimal
}

// migrations returns the migrations of d in ascending order.
func migrations(d dialect) ([]migration, error) {
	dir := path.Join("migrations", d.name)
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var out []migration
	for _, e := range entries {
		b, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number: %w", e.Name(), err)
		}
		sum := sha256.Sum256(b)
		out = append(out, migration{version, hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(out, func(a, b migration) int { return int(a.version - b.version) })
	return out, nil
}

// Create makes the database of cfg with the newest schema. It refuses one that
// exists: a file for SQLite, the schema table for PostgreSQL (whose empty
// database an administrator has made).
func Create(ctx context.Context, cfg Config) error {
	d, where, err := parse(cfg.URL)
	if err != nil {
		return err
	}
	pool, err := d.connect(where, true)
	if err != nil {
		return err
	}
	defer pool.Close()
	exists, err := versionTable{d: d}.TableExists(ctx, pool)
	if err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	if exists {
		return errors.New("creating database: it exists already")
	}
	_, _, err = migrate(ctx, d, pool)
	return err
}

// Migrate brings the database of cfg to the newest schema and returns the
// versions before and after. It refuses a database that [Create] did not make.
func Migrate(ctx context.Context, cfg Config) (from, to int64, err error) {
	d, where, err := parse(cfg.URL)
	if err != nil {
		return 0, 0, err
	}
	pool, err := d.connect(where, false)
	if err != nil {
		return 0, 0, err
	}
	defer pool.Close()
	if err := checkSchema(ctx, d, pool); err != nil && !errors.Is(err, errOlder) {
		return 0, 0, err
	}
	return migrate(ctx, d, pool)
}

func migrate(ctx context.Context, d dialect, pool *sql.DB) (from, to int64, err error) {
	known, err := migrations(d)
	if err != nil {
		return 0, 0, err
	}
	dir, err := fs.Sub(files, path.Join("migrations", d.name))
	if err != nil {
		return 0, 0, err
	}
	p, err := goose.NewProvider(goose.DialectCustom, pool, dir, goose.WithStore(versionTable{d, known}),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return 0, 0, fmt.Errorf("migrating: %w", err)
	}
	if from, err = p.GetDBVersion(ctx); err != nil {
		return 0, 0, fmt.Errorf("migrating: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return from, from, fmt.Errorf("migrating: %w", err)
	}
	to, err = p.GetDBVersion(ctx)
	return from, to, err
}

// errOlder is the one difference that Migrate removes.
var errOlder = errors.New("the database has an older schema than this program; run sigill migrate")

// checkSchema compares the migrations that the database ran with the known ones.
func checkSchema(ctx context.Context, d dialect, pool *sql.DB) error {
	known, err := migrations(d)
	if err != nil {
		return err
	}
	exists, err := versionTable{d: d}.TableExists(ctx, pool)
	if err != nil {
		return fmt.Errorf("reading schema version: %w", err)
	}
	if !exists {
		return errors.New("this is not a database of sigill: it has no schema version; run sigill init")
	}
	rows, err := pool.QueryContext(ctx, `SELECT version, checksum FROM schema_migrations WHERE version > 0 ORDER BY version`)
	if err != nil {
		return fmt.Errorf("reading schema version: %w", err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var ran migration
		if err := rows.Scan(&ran.version, &ran.sum); err != nil {
			return fmt.Errorf("reading schema version: %w", err)
		}
		if n >= len(known) || ran.version > known[len(known)-1].version {
			return fmt.Errorf("the database has schema version %d, which this program does not know; run a newer sigill", ran.version)
		}
		if ran != known[n] {
			return fmt.Errorf("migration %d of the database is not the one of this program (checksum %.12s, want %.12s)", ran.version, ran.sum, known[n].sum)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading schema version: %w", err)
	}
	if n < len(known) {
		return errOlder
	}
	return nil
}

// versionTable is goose's memory of what ran, with a checksum for each version,
// written in the transaction of the migration itself.
type versionTable struct {
	d     dialect
	known []migration
}

var _ database.StoreExtender = versionTable{}

// Tablename implements [database.Store].
func (versionTable) Tablename() string { return "schema_migrations" }

// TableExists implements [database.StoreExtender].
func (v versionTable) TableExists(ctx context.Context, db database.DBTxConn) (bool, error) {
	var n int
	err := db.QueryRowContext(ctx, v.d.hasTable, v.Tablename()).Scan(&n)
	return n > 0, err
}

// CreateVersionTable implements [database.Store].
func (versionTable) CreateVersionTable(ctx context.Context, db database.DBTxConn) error {
	_, err := db.ExecContext(ctx, `CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY NOT NULL, checksum TEXT NOT NULL)`)
	return err
}

// Insert implements [database.Store].
func (v versionTable) Insert(ctx context.Context, db database.DBTxConn, req database.InsertRequest) error {
	sum := "" // of version 0, the empty database
	for _, m := range v.known {
		if m.version == req.Version {
			sum = m.sum
		}
	}
	_, err := db.ExecContext(ctx, `INSERT INTO schema_migrations (version, checksum) VALUES ($1, $2)`, req.Version, sum)
	return err
}

// Delete implements [database.Store]. Going down is a restore.
func (versionTable) Delete(context.Context, database.DBTxConn, int64) error {
	return database.ErrNotImplemented
}

// GetMigration implements [database.Store].
func (versionTable) GetMigration(ctx context.Context, db database.DBTxConn, version int64) (*database.GetMigrationResult, error) {
	var n int
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM schema_migrations WHERE version = $1`, version).Scan(&n)
	if err == nil && n == 0 {
		err = database.ErrVersionNotFound
	}
	return &database.GetMigrationResult{IsApplied: n > 0}, err
}

// GetLatestVersion implements [database.Store].
func (versionTable) GetLatestVersion(ctx context.Context, db database.DBTxConn) (int64, error) {
	var version sql.NullInt64
	err := db.QueryRowContext(ctx, `SELECT max(version) FROM schema_migrations`).Scan(&version)
	if err == nil && !version.Valid {
		err = database.ErrVersionNotFound
	}
	return version.Int64, err
}

// ListMigrations implements [database.Store].
func (versionTable) ListMigrations(ctx context.Context, db database.DBTxConn) ([]*database.ListMigrationsResult, error) {
	rows, err := db.QueryContext(ctx, `SELECT version FROM schema_migrations ORDER BY version DESC`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*database.ListMigrationsResult
	for rows.Next() {
		m := &database.ListMigrationsResult{IsApplied: true}
		if err := rows.Scan(&m.Version); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}
