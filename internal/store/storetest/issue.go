package storetest

import (
	"errors"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
)

func isConflict(err error) bool { return errors.Is(err, issue.ErrConflict) }

func testIntents(t *testing.T, db *store.DB) {
	technical := &issue.Intent{
		Intent: ca.Intent{Serial: Serial(9), Issuer: "root-v1", Profile: "ocsp", NotBefore: T0, NotAfter: T0, Key: ca.KeyFingerprint{1}, TBS: []byte{1}},
		State:  issue.IntentOpen, Owner: "proc_b", Deadline: T0, RecordedAt: T0,
	}
	signing := Intent(3)
	signing.Slot, signing.Download = policy.Signing, "dl_b"
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertIntent(Intent(1)), tx.InsertIntent(Intent(2)), tx.InsertIntent(signing), tx.InsertIntent(technical))
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertIntent(Intent(1)) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Intent(Serial(8)); return err })
	number := func(in *issue.Intent) byte { return in.Serial[15] }
	view(t, db, func(tx *download.Tx) error {
		in, err := tx.Intent(Serial(1))
		same(t, in, err, Intent(1))
		in, err = tx.Intent(Serial(9))
		same(t, in, err, technical)
		list, err := tx.OpenIntents(2)
		same(t, ids(list, number), err, []byte{9, 1})
		for _, c := range []struct {
			download policy.DownloadID
			slot     policy.Slot
			since    time.Time
			want     int
		}{{"", "", T0, 3}, {"", "", T0.Add(2 * time.Second), 2}, {"", "", T0.Add(time.Hour), 0}, {"dl_a", policy.Authentication, T0, 2}, {"dl_b", policy.Signing, T0, 1}, {"dl_b", policy.Authentication, T0, 0}} {
			n, err := tx.CountIntents(Card().Number, c.download, c.slot, c.since)
			same(t, n, err, c.want)
		}
		return nil
	})
	settle := func(owner string, n byte, state issue.IntentState) func(*download.Tx) error {
		return func(tx *download.Tx) error { return tx.SettleIntent(Serial(n), owner, state, T0) }
	}
	refused(t, db, issue.ErrConflict, settle("proc_b", 1, issue.IntentSigned))
	refused(t, db, issue.ErrConflict, settle("proc_a", 8, issue.IntentSigned))
	update(t, db, settle("proc_a", 1, issue.IntentSigned))
	update(t, db, settle("proc_a", 2, issue.IntentAbandoned))
	refused(t, db, issue.ErrConflict, settle("proc_a", 1, issue.IntentSigned))
	refused(t, db, issue.ErrConflict, settle("proc_a", 2, issue.IntentSigned))
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.OpenIntents(10)
		same(t, ids(list, number), err, []byte{9, 3})
		in, err := tx.Intent(Serial(2))
		same(t, in.State, err, issue.IntentAbandoned)
		return nil
	})
}

func testCertificates(t *testing.T, db *store.DB) {
	technical := &issue.Certificate{Issued: ca.Issued{Fingerprint: ca.Fingerprint{9}, Serial: Serial(9), Issuer: "root-v1", Profile: "ocsp",
		NotBefore: T0, NotAfter: T0, Key: ca.KeyFingerprint{1}, DER: []byte{1}}, StoredAt: T0}
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertCertificate(Certificate(2)), tx.InsertCertificate(Certificate(1)), tx.InsertCertificate(technical))
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertCertificate(Certificate(1)) })
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error {
		c := Certificate(3)
		c.Serial = Serial(1)
		return tx.InsertCertificate(c)
	})
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Certificate(ca.Fingerprint{8}); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.CertificateBySerial(Serial(8)); return err })
	view(t, db, func(tx *download.Tx) error {
		c, err := tx.Certificate(ca.Fingerprint{1})
		same(t, c, err, Certificate(1))
		c, err = tx.CertificateBySerial(Serial(9))
		same(t, c, err, technical)
		list, err := tx.CertificatesOfCard(Card().Number)
		same(t, list, err, []*issue.Certificate{Certificate(1), Certificate(2)})
		return nil
	})
}

func testStandings(t *testing.T, db *store.DB) {
	transport := issue.Standing{Place: issue.Place{Card: Card().Number, Slot: policy.Transport}, Kind: issue.Current, Certificate: ca.Fingerprint{3}, Since: T0}
	update(t, db, func(tx *download.Tx) error {
		for n := range byte(5) {
			if err := tx.InsertCertificate(Certificate(n + 1)); err != nil {
				return err
			}
		}
		return errors.Join(tx.PutStanding(Standing(1, issue.Current)), tx.PutStanding(Standing(2, issue.Pending)), tx.PutStanding(transport))
	})
	// One of a kind at a place, also where the place has no organisation; and
	// one place for a certificate.
	for _, s := range []issue.Standing{Standing(4, issue.Current), Standing(4, issue.Pending),
		{Place: transport.Place, Kind: issue.Current, Certificate: ca.Fingerprint{4}, Since: T0},
		{Place: transport.Place, Kind: issue.Pending, Certificate: ca.Fingerprint{1}, Since: T0}} {
		refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.PutStanding(s) })
	}
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.DropStanding(ca.Fingerprint{5}) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Standing(ca.Fingerprint{5}); return err })
	view(t, db, func(tx *download.Tx) error {
		s, err := tx.Standing(ca.Fingerprint{3})
		same(t, s, err, &transport)
		list, err := tx.StandingsOfCard(Card().Number)
		same(t, list, err, []issue.Standing{Standing(1, issue.Current), Standing(2, issue.Pending), transport})
		return nil
	})
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.DropStanding(ca.Fingerprint{1}), tx.DropStanding(ca.Fingerprint{2}), tx.PutStanding(Standing(2, issue.Current)))
	})
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.StandingsOfCard(Card().Number)
		same(t, list, err, []issue.Standing{Standing(2, issue.Current), transport})
		return nil
	})
}

func testKeys(t *testing.T, db *store.DB) {
	k := issue.KeySeen{Fingerprint: ca.KeyFingerprint{1}, Card: Card().Number, Download: "dl_a", Slot: policy.Signing, Verdict: "key.weak", SeenAt: T0}
	technical := issue.KeySeen{Fingerprint: ca.KeyFingerprint{2}, Verdict: "admitted", SeenAt: T0}
	update(t, db, func(tx *download.Tx) error { return errors.Join(tx.MarkKey(k), tx.MarkKey(technical)) })
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.MarkKey(k) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.KeySeen(ca.KeyFingerprint{3}); return err })
	view(t, db, func(tx *download.Tx) error {
		got, err := tx.KeySeen(k.Fingerprint)
		same(t, got, err, &k)
		got, err = tx.KeySeen(technical.Fingerprint)
		same(t, got, err, &technical)
		return nil
	})
}

func testOrders(t *testing.T, db *store.DB) {
	With(t, db, nil)
	second := Order()
	second.ID, second.PlacedAt, second.State, second.PlacedBy, second.ExpiresAt = "ord_b", T0.Add(time.Second), policy.OrderApproved, "", time.Time{}
	done := Order()
	done.ID, done.PlacedAt, done.State, done.Rule = "ord_c", T0.Add(2*time.Second), policy.OrderRefused, "order.no"
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.Orders.InsertOrder(second), tx.Orders.InsertOrder(done))
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.Orders.InsertOrder(Order()) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Orders.Order("x"); return err })
	id := func(o *orders.Order) policy.OrderID { return o.ID }
	view(t, db, func(tx *download.Tx) error {
		o, err := tx.Orders.Order("ord_a")
		same(t, o, err, Order())
		o, err = tx.Orders.Order("ord_b")
		same(t, o, err, second)
		list, err := tx.Orders.OpenOrdersOfCard(Card().Number)
		same(t, ids(list, id), err, []policy.OrderID{"ord_a", "ord_b"})
		list, err = tx.Orders.ListOrders("org_a", "", time.Time{}, 2)
		same(t, ids(list, id), err, []policy.OrderID{"ord_c", "ord_b"})
		list, err = tx.Orders.ListOrders("org_a", "", second.PlacedAt, 2)
		same(t, ids(list, id), err, []policy.OrderID{"ord_a"})
		list, err = tx.Orders.ListOrders("org_a", policy.OrderApproved, time.Time{}, 2)
		same(t, ids(list, id), err, []policy.OrderID{"ord_b"})
		list, err = tx.Orders.ListOrders("org_b", "", time.Time{}, 2)
		same(t, ids(list, id), err, []policy.OrderID{})
		return nil
	})
	update(t, db, func(tx *download.Tx) error {
		o, err := tx.Orders.Order("ord_a")
		if err != nil {
			return err
		}
		old := *o
		o.State = policy.OrderWithdrawn
		o.Bytes = []byte("never written")
		if err := tx.Orders.PutOrder(o); err != nil {
			return err
		}
		stored, err := tx.Orders.Order("ord_a")
		want := Order()
		want.State, want.Version = policy.OrderWithdrawn, 1
		same(t, stored, err, want)
		if err := tx.Orders.PutOrder(&old); !isConflict(err) {
			t.Errorf("putting an old version = %v", err)
		}
		return nil
	})
}
