package store_test

import (
	"errors"
	"reflect"
	"testing"

	"sigill/internal/store"
	"sigill/internal/store/storetest"
	"sigill/orders/download"
	"sigill/revocation"
)

// massCases are what Check finds of mass revocations.
func massCases() []checkCase {
	make := func(tx *download.Tx) error {
		m, ordered := storetest.Mass("mrv_a")
		approved := storetest.Approved(m)
		return errors.Join(tx.InsertPerson(storetest.Second()), tx.InsertStatement(ordered), tx.InsertStatement(approved), tx.InsertMass(m, []byte("4a\n")))
	}
	cause := `UPDATE revocations SET rule = 'revocation.approved:mrv_a' WHERE event = '` + storetest.EventID(5, 1) + `'`
	serial := storetest.Serial(5).String()
	return []checkCase{
		{name: "mass revocation", fn: make, sql: cause},
		{name: "order by another", fn: make, sql: `UPDATE statements SET by_person = 'per_b' WHERE id = 'st_1mrv_a'`, want: []string{"mass.statement: mrv_a"}},
		{name: "approval of another act", fn: make, sql: `UPDATE statements SET act = 'order.place' WHERE id = 'st_2mrv_a'`, want: []string{"mass.statement: mrv_a"}},
		{name: "approval of another list", fn: make, sql: `UPDATE statements SET subject = 'mrv_b' WHERE id = 'st_2mrv_a'`, want: []string{"mass.statement: mrv_a"}},
		{name: "mass revocation without list", fn: make, sql: `DELETE FROM mass_lists`, want: []string{"mass.list: mrv_a"}},
		{name: "revoked by no list", sql: cause, want: []string{"mass.cause: " + serial + " 1 revocation.approved:mrv_a"}},
		{name: "revoked before it was approved", fn: make, sql: cause + `; UPDATE mass_revocations SET state = 'ordered', approved = NULL, approved_by = NULL, approved_at = NULL`,
			want: []string{"mass.cause: " + serial + " 1 revocation.approved:mrv_a"}},
	}
}

// What many statements' worth of rows revoke at once is told like everything else:
// answers in memory are forgotten by it.
func TestRetireAllTellsWhatItRevoked(t *testing.T) {
	var told []revocation.Entry
	db := storetest.New(t, store.Config{URL: "sqlite:" + t.TempDir() + "/x.db", Revoked: func(e []revocation.Entry) { told = append(told, e...) }})
	var entries []revocation.Entry
	for n := byte(20); n < 57; n++ {
		entries = append(entries, storetest.Entry(n, 1))
	}
	if err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return tx.RetireAll(nil, nil, entries) }); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(told, entries) {
		t.Errorf("%d of %d entries were told", len(told), len(entries))
	}
}
