//go:build unix && cgo

package chaos

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// database is a second way to the rows.
type database struct {
	pool *sql.DB
	file string // of SQLite; "": PostgreSQL
}

func openDatabase(t *testing.T, dir, url string) *database {
	t.Helper()
	d := &database{}
	driver, source := "pgx", url
	if url == "" {
		d.file = filepath.Join(dir, "sigill.db")
		driver, source = "sqlite", "file:"+d.file+"?_pragma=busy_timeout(10000)"
	}
	var err error
	if d.pool, err = sql.Open(driver, source); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.pool.Close() })
	return d
}

// fate tells how far a submit came that was killed.
func (d *database) fate(t *testing.T, r request) string {
	t.Helper()
	pool, done := d.frozen(t)
	defer done()
	var open int
	var stored sql.NullInt64
	err := errors.Join(
		pool.QueryRow(`SELECT count(*) FROM intents WHERE download = $1 AND state = 'open'`, r.id).Scan(&open),
		pool.QueryRow(`SELECT max(stored_at) FROM certificates WHERE download = $1`, r.id).Scan(&stored))
	switch {
	case err != nil:
		t.Fatal(err)
	case open > 0:
		return intentOpen
	case stored.Int64 >= r.began.UnixMicro():
		return afterStore
	}
	return beforeRecord
}

// frozen returns the database as the killed server left it. Of SQLite that is a
// copy: opening the file itself would do what is the next server's to do, take
// over what is in the log beside it. PostgreSQL may need a moment to see that the
// client is gone, and to end what it was about.
func (d *database) frozen(t *testing.T) (pool *sql.DB, done func()) {
	t.Helper()
	if d.file == "" {
		d.alone(t)
		return d.pool, func() {}
	}
	dir := t.TempDir()
	for _, end := range []string{"", "-wal"} {
		b, err := os.ReadFile(d.file + end)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err == nil {
			err = os.WriteFile(filepath.Join(dir, "copy.db"+end), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	pool, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	return pool, func() { pool.Close(); os.RemoveAll(dir) }
}

// alone waits until nobody else is connected.
func (d *database) alone(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var others int
		err := d.pool.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&others)
		if err != nil {
			t.Fatal(err)
		}
		if others == 0 {
			return
		}
		<-tick.C
	}
}

// count counts rows.
func (d *database) count(t *testing.T, from string, args ...any) int {
	t.Helper()
	var n int
	if err := d.pool.QueryRow("SELECT count(*) FROM "+from, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// leaves returns leaves in the order of their numbers, which have no gaps; where there
// is a body, the leaf is its hash.
func (d *database) leaves(t *testing.T, query string) (all []tlog.Hash) {
	t.Helper()
	rows, err := d.pool.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var number int
		var leaf, body []byte
		if err := rows.Scan(&number, &leaf, &body); err != nil {
			t.Fatal(err)
		}
		all = append(all, tlog.Hash(leaf))
		if number != len(all) || body != nil && tlog.RecordHash(body) != tlog.Hash(leaf) {
			t.Errorf("row %d of %q has number %d, or its leaf is not that of its body", len(all), query, number)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// issued is what became of a serial that was drawn for a card.
type issued struct {
	serial      []byte
	slot, state string
	revoked     bool
	standing    string // "current", "pending" or none
}

// issuedTo returns all serials that were ever drawn for a card's eIDs.
func (d *database) issuedTo(t *testing.T, card string) (all []issued) {
	t.Helper()
	rows, err := d.pool.Query(`SELECT i.serial, i.slot, i.state, (SELECT count(*) FROM revocations r WHERE r.serial = i.serial),
		COALESCE((SELECT s.kind FROM certificates c JOIN standings s ON s.certificate = c.fingerprint WHERE c.serial = i.serial), '')
		FROM intents i WHERE i.card = $1 AND i.slot <> 'transport' ORDER BY i.recorded_at`, card)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var i issued
		var revoked int
		if err := rows.Scan(&i.serial, &i.slot, &i.state, &revoked, &i.standing); err != nil {
			t.Fatal(err)
		}
		i.revoked = revoked > 0
		all = append(all, i)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// installed returns the orders that a card's downloads carried out, oldest first.
// Those of a signing certificate alone have none, and are left out.
func (d *database) installed(t *testing.T, card string) (all []string) {
	t.Helper()
	rows, err := d.pool.Query(`SELECT order_id FROM downloads WHERE card = $1 AND state = 'installed' AND order_id IS NOT NULL ORDER BY created_at`, card)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var order string
		if err := rows.Scan(&order); err != nil {
			t.Fatal(err)
		}
		all = append(all, order)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
