package store_test

import (
	"errors"
	"testing"

	"sigill/internal/store"
	"sigill/internal/store/storetest"
	"sigill/orders/download"
	"sigill/revocation"
)

// What an Update revokes is told after its commit and before it returns, and what
// was rolled back is not told.
func TestRevokedIsTold(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/sigill.db" },
		"postgres": func(t *testing.T) string { return store.SharedServer().URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			var told []revocation.Entry
			var db *store.DB
			db = storetest.New(t, store.Config{URL: url(t), Revoked: func(all []revocation.Entry) {
				for _, e := range all {
					// Another reader sees it already.
					err := db.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
						if _, revoked, err := tx.Revocation(e.Serial); !revoked || err != nil {
							t.Errorf("told of %v, which is not committed: %v", e.Serial, err)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
				told = append(told, all...)
			}})
			refused := errors.New("refused")
			insert := func(n byte, then error) error {
				return db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
					e := storetest.Entry(n, 1)
					if err := errors.Join(tx.Revocations.InsertRevocation(e), tx.Events.Append(storetest.Event(e.Event))); err != nil {
						return err
					}
					return then
				})
			}
			if err := insert(1, nil); err != nil {
				t.Fatal(err)
			}
			if err := insert(2, refused); !errors.Is(err, refused) {
				t.Fatal(err)
			}
			if err := insert(1, nil); err == nil {
				t.Fatal("inserted twice")
			}
			if err := db.Downloads().Update(t.Context(), func(*download.Tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if len(told) != 1 || told[0].Serial != storetest.Serial(1) {
				t.Errorf("told of %v", told)
			}
		})
	}
}
