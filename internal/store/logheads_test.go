package store

import (
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/translog"
)

// withLogs runs fn over an empty database of each kind.
func withLogs(t *testing.T, fn func(t *testing.T, db *DB)) {
	both(t, func(t *testing.T, cfg Config) {
		if err := Create(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		fn(t, db)
	})
}

// A leaf has one number, and a number one leaf, whatever a sequencer believes.
func TestLeafIsNumberedOnce(t *testing.T) {
	withLogs(t, func(t *testing.T, db *DB) {
		var leaves []tlog.Hash
		err := db.update(t.Context(), func(tx *tx) error {
			for i := range 3 {
				s := ca.NewSerial()
				leaf := tlog.RecordHash([]byte{byte(i)})
				leaves = append(leaves, leaf)
				if err := intended(tx, s, []byte{1}); err != nil {
					return err
				}
				if err := tx.insertLeaf(s, ca.LogLeaf{Hash: leaf}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		number := func(first int64, leaves ...tlog.Hash) error {
			return db.update(t.Context(), func(tx *tx) error { return tx.NumberLeaves(first, leaves) })
		}
		if err := number(1, leaves[0]); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name     string
			first    int64
			leaves   []tlog.Hash
			conflict bool
		}{
			{"number is taken", 1, leaves[1:2], true},
			{"leaf has a number", 2, leaves[:1], true},
			{"one of two has a number", 2, []tlog.Hash{leaves[1], leaves[0]}, true},
			{"a number is left out", 3, leaves[1:2], false},
			{"not recorded", 2, []tlog.Hash{{9}}, true},
		} {
			if err := number(c.first, c.leaves...); err == nil || errors.Is(err, audit.ErrConflict) != c.conflict {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err := number(2, leaves[2], leaves[1]); err != nil {
			t.Errorf("the others: %v", err)
		}
	})
}

// A stored head gives way to one of a larger tree, or of the same, and to no other.
func TestHeadsOnlyGrow(t *testing.T) {
	withLogs(t, func(t *testing.T, db *DB) {
		for _, c := range []struct {
			size int64
			note string
			want string
		}{{5, "five", "five"}, {4, "four", "five"}, {5, "five again", "five again"}, {7, "seven", "seven"}, {0, "none", "seven"}} {
			err := db.update(t.Context(), func(tx *tx) error { return tx.PutHead(audit.ActTree, translog.Newest, c.size, []byte(c.note)) })
			if err != nil {
				t.Fatal(err)
			}
			err = db.view(t.Context(), func(tx *tx) error {
				got, err := tx.Head(audit.ActTree, translog.Newest)
				if err == nil && string(got) != c.want {
					t.Errorf("after %d: %q, want %q", c.size, got, c.want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
