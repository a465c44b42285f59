package store

import (
	"context"
	"testing"
)

// What SQLite promises depends on settings of each connection, and one that it
// does not know it ignores: so the connections themselves are asked. With less
// than FULL a power cut may take back the intent of a serial that was signed
// already, after which nobody would know what to revoke.
func TestSQLiteSettings(t *testing.T) {
	db, _ := openLite(t)
	t.Run("opened", func(t *testing.T) { settings(t, db) })
	// A broken connection is replaced by another one, which must be no weaker.
	if err := db.engine.(*lite).group.s.discard(); err != nil {
		t.Fatal(err)
	}
	db.engine.(*lite).group.s = nil
	t.Run("reconnected", func(t *testing.T) { settings(t, db) })
}

func settings(t *testing.T, db *DB) {
	t.Helper()
	type run = func(context.Context, func(*tx) error) error
	for _, c := range []struct {
		name string
		run  run
		want map[string]string
	}{
		{"Update", db.update, map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "query_only": "0"}},
		{"View", db.view, map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "query_only": "1"}},
		{"Check", db.scan, map[string]string{"journal_mode": "wal", "query_only": "1"}},
	} {
		for name, want := range c.want {
			var got string
			err := c.run(t.Context(), func(tx *tx) error {
				_, err := tx.one("x", "PRAGMA "+name, nil, &got)
				return err
			})
			if err != nil || got != want {
				t.Errorf("%s: %s = %q, want %q (%v)", c.name, name, got, want, err)
			}
		}
	}
}
