package storetest

import (
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
)

func testDownloads(t *testing.T, db *store.DB) {
	d, items := Download()
	items = append(items, &download.Item{Download: "dl_a", Slot: policy.Signing, State: policy.ItemPlanned})
	With(t, db, func(tx *download.Tx) error { return tx.InsertDownload(d, items) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, _, err := tx.Download("x"); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, _, err := tx.OpenDownloadOfCard("x"); return err })
	view(t, db, func(tx *download.Tx) error {
		got, list, err := tx.Download("dl_a")
		same(t, got, err, d)
		same(t, list, err, items)
		got, list, err = tx.OpenDownloadOfCard(Card().Number)
		same(t, got, err, d)
		same(t, list, err, items)
		return nil
	})
	update(t, db, func(tx *download.Tx) error {
		d, items, err := tx.Download("dl_a")
		if err != nil {
			return err
		}
		oldDownload, oldItem := *d, *items[0]
		d.Plan, d.PlanHash = []byte(`{"b":1}`), [32]byte{7}
		items[0].State, items[0].Serial, items[0].Challenge = policy.ItemIntended, Serial(1), [32]byte{3}
		for range 2 {
			if err := tx.PutDownload(d); err != nil {
				return err
			}
			if err := tx.PutItem(items[0]); err != nil {
				return err
			}
			d.State, d.EndedAt, d.CleanedAt = policy.DownloadInstalled, T0, T0
			items[0].State, items[0].Certificate = policy.ItemInstalled, ca.Fingerprint{1}
		}
		got, list, err := tx.Download("dl_a")
		same(t, got, err, d)
		same(t, list, err, items)
		if err := tx.PutDownload(&oldDownload); !isConflict(err) {
			t.Errorf("putting an old download = %v", err)
		}
		if err := tx.PutItem(&oldItem); !isConflict(err) {
			t.Errorf("putting an old item = %v", err)
		}
		return nil
	})
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, _, err := tx.OpenDownloadOfCard(Card().Number); return err })
	uncleaned := func(tx *download.Tx) error { _, _, err := tx.UncleanedOfCard(Card().Number); return err }
	refused(t, db, issue.ErrNotFound, uncleaned) // installed, and reported clean
	update(t, db, func(tx *download.Tx) error {
		d, _, err := tx.Download("dl_a")
		if err != nil {
			return err
		}
		d.CleanedAt = time.Time{}
		return tx.PutDownload(d)
	})
	view(t, db, func(tx *download.Tx) error {
		got, list, err := tx.UncleanedOfCard(Card().Number)
		if err != nil || got.ID != "dl_a" || len(list) != len(items) {
			t.Errorf("UncleanedOfCard = %+v, %d items, %v", got, len(list), err)
		}
		return nil
	})
}

func testOneDownload(t *testing.T, db *store.DB) {
	d, items := Download()
	With(t, db, func(tx *download.Tx) error { return tx.InsertDownload(d, items) })
	second, _ := Download()
	second.ID, second.Order = "dl_b", ""
	insert := func(tx *download.Tx) error { return tx.InsertDownload(second, nil) }
	refused(t, db, issue.ErrConflict, insert)
	update(t, db, func(tx *download.Tx) error {
		d, _, err := tx.Download("dl_a")
		if err != nil {
			return err
		}
		d.State, d.EndedAt = policy.DownloadAbandoned, T0
		return tx.PutDownload(d)
	})
	update(t, db, insert)
	view(t, db, func(tx *download.Tx) error {
		got, list, err := tx.OpenDownloadOfCard(Card().Number)
		same(t, got, err, second)
		same(t, list, err, nil)
		return nil
	})
}

func testDue(t *testing.T, db *store.DB) {
	d, items := Download()
	With(t, db, func(tx *download.Tx) error {
		o := Order()
		o.ID, o.State = "ord_b", policy.OrderWithdrawn
		if err := tx.Orders.InsertOrder(o); err != nil {
			return err
		}
		return tx.InsertDownload(d, items)
	})
	view(t, db, func(tx *download.Tx) error {
		for _, c := range []struct {
			before time.Time
			limit  int
			want   int
		}{{T0, 9, 0}, {T0.Add(time.Second), 9, 1}, {T0.Add(time.Second), 0, 0}} {
			list, err := tx.OpenDownloadsBefore(c.before, c.limit)
			same(t, len(list), err, c.want)
		}
		expiry := Order().ExpiresAt
		for _, c := range []struct {
			at    time.Time
			limit int
			want  []policy.OrderID
		}{{expiry.Add(-time.Second), 9, []policy.OrderID{}}, {expiry, 9, []policy.OrderID{"ord_a"}}, {expiry, 0, []policy.OrderID{}}} {
			list, err := tx.OrdersExpiredAt(c.at, c.limit)
			same(t, ids(list, func(o *orders.Order) policy.OrderID { return o.ID }), err, c.want)
		}
		return nil
	})
}
