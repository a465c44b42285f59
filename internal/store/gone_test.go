package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sigill/internal/store"
	"sigill/internal/store/storetest"
	"sigill/orders"
	"sigill/orders/privacy"
)

// What was erased is not in the file any more, also not in what SQLite calls free.
func TestErasedIsOverwritten(t *testing.T) {
	const secret = "Hemligsson"
	path := filepath.Join(t.TempDir(), "sigill.db")
	cfg := store.Config{URL: "sqlite:" + path}
	db := storetest.New(t, cfg)
	var ids []string
	for i := range 200 {
		ids = append(ids, fmt.Sprintf("evt_%d", i))
		e := storetest.Imported(ids[i])
		for k := range e.Personal {
			e.Personal[k].Value = secret
		}
		person := storetest.Person()
		person.Surname = secret
		err := db.Orders().Update(t.Context(), func(tx *orders.Tx) error {
			if i == 0 {
				if err := tx.InsertPerson(person); err != nil {
					return err
				}
			}
			return tx.Events.Append(e)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	there := func() int { // once the database is closed all is in one file
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path + "-wal"); err == nil {
			t.Error("there is a log beside the database")
		}
		return bytes.Count(file, []byte(secret))
	}
	if n := there(); n < len(ids) {
		t.Fatalf("it stands in the file %d times", n)
	}
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	err = db.Privacy().Update(t.Context(), func(tx *privacy.Tx) error {
		if err := tx.ErasePerson(storetest.Person().ID, storetest.T0); err != nil {
			return err
		}
		_, err := tx.EraseValues(ids)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := there(); n != 0 {
		t.Errorf("after it was erased it stands in the file %d times", n)
	}
}
