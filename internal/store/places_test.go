package store

import (
	"maps"
	"testing"

	"sigill/internal/audit"
	"sigill/internal/tiles"
)

// What a place has had is remembered, and never becomes less but by who accepts it.
func TestPlacesAreRemembered(t *testing.T) {
	withLogs(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		is := func(acts, certificates int64) {
			t.Helper()
			all, err := db.Remembered(ctx)
			if err != nil || len(all) != 1 || !maps.Equal(all["one"], map[tiles.Name]int64{audit.ActTree: acts, audit.CertificateTree: certificates}) {
				t.Errorf("remembered %v, %v, want %d and %d", all, err, acts, certificates)
			}
		}
		if all, err := db.Remembered(ctx); err != nil || len(all) != 0 {
			t.Errorf("at first: %v, %v", all, err)
		}
		for _, c := range []struct{ acts, certificates, wantActs, wantCertificates int64 }{{0, 0, 0, 0}, {5, 2, 5, 2}, {4, 3, 5, 3}, {0, 0, 5, 3}} {
			if err := db.Remember(ctx, "one", map[tiles.Name]int64{audit.ActTree: c.acts, audit.CertificateTree: c.certificates}); err != nil {
				t.Fatal(err)
			}
			is(c.wantActs, c.wantCertificates)
		}
		if err := db.update(ctx, func(tx *tx) error {
			return tx.AcceptPlace("one", map[tiles.Name]int64{audit.ActTree: 1, audit.CertificateTree: 0})
		}); err != nil {
			t.Fatal(err)
		}
		is(1, 0)
	})
}
