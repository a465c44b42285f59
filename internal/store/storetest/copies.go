package storetest

import (
	"bytes"
	"errors"
	"testing"

	"sigill/internal/store"
	"sigill/revocation"
)

func testCopies(t *testing.T, db *store.DB) {
	one, two, other := revocation.Copy{Issuer: "i", Scope: "2", Number: 1}, revocation.Copy{Issuer: "i", Scope: "2", Number: 2}, revocation.Copy{Issuer: "i", Scope: "full", Number: 7}
	large := bytes.Repeat([]byte{0, 1, 0xff, 0x80}, 1<<18)
	do := func(fn func(*revocation.Tx) error) error { return db.Revocation().Update(t.Context(), fn) }
	want := func(when string, copies ...revocation.Copy) {
		t.Helper()
		err := db.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
			found, err := tx.Copied()
			is := map[revocation.Copy]bool{}
			for _, c := range found {
				is[c] = true
			}
			if err == nil && (len(found) != len(copies) || len(is) != len(copies)) {
				t.Errorf("%s: copied are %v, want %v", when, found, copies)
			}
			for _, c := range copies {
				if !is[c] {
					t.Errorf("%s: %v is not copied", when, c)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	want("empty")
	if err := do(func(tx *revocation.Tx) error {
		return errors.Join(tx.InsertCopyPart(one, 0, large), tx.InsertCopyPart(one, 1, []byte{7}), tx.InsertCopyPart(other, 0, []byte{8}))
	}); err != nil {
		t.Fatal(err)
	}
	want("inserted", one, other)
	if err := do(func(tx *revocation.Tx) error { return tx.InsertCopyPart(one, 1, []byte{9}) }); err == nil {
		t.Error("a part was inserted twice")
	}
	if err := do(func(tx *revocation.Tx) error { return tx.InsertCopyPart(one, 2, append(large, 1)) }); err == nil {
		t.Error("a part is larger than 1 MiB")
	}
	err := db.Revocation().View(t.Context(), func(tx *revocation.Tx) error {
		part, err := tx.CopyPart(one, 0)
		if err != nil || !bytes.Equal(part, large) {
			t.Errorf("part 0 has %d octets, %v", len(part), err)
		}
		part, err = tx.CopyPart(one, 1)
		same(t, part, err, []byte{7})
		for _, c := range []revocation.Copy{one, two} {
			if _, err := tx.CopyPart(c, 2); !errors.Is(err, revocation.ErrNotFound) {
				t.Errorf("a part that is not there = %v", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// It is replaced in one transaction, or not at all.
	stop := errors.New("stop")
	replace := func(err error) error {
		return do(func(tx *revocation.Tx) error {
			return errors.Join(tx.DeleteCopy("i", "2"), tx.InsertCopyPart(two, 0, []byte{5}), err)
		})
	}
	if err := replace(stop); !errors.Is(err, stop) {
		t.Errorf("Update = %v", err)
	}
	want("undone", one, other)
	if err := replace(nil); err != nil {
		t.Fatal(err)
	}
	want("replaced", two, other)
}

func testTails(t *testing.T, db *store.DB) {
	ctx := t.Context()
	below := func(number int64, want ...string) {
		t.Helper()
		got, err := db.TailsBelow(ctx, number)
		same(t, got, err, want)
	}
	below(1 << 60)
	for _, step := range []struct {
		owner  string
		number int64
	}{{"proc_b", 3}, {"proc_a", 0}, {"proc_c", 9}, {"proc_a", 5}} {
		if err := db.SetTail(ctx, step.owner, step.number); err != nil {
			t.Fatal(err)
		}
	}
	below(3)
	below(4, "proc_b")
	below(6, "proc_a", "proc_b")
	if err := db.DeleteTail(ctx, "proc_b"); err != nil {
		t.Fatal(err)
	}
	below(10, "proc_a", "proc_c")
}
