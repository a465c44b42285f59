package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/store"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// Mass returns a mass revocation that person a has ordered, and the statement.
func Mass(id download.MassID) (*download.Mass, *register.Statement) {
	m := &download.Mass{ID: id, Organisation: "org_a", Kind: download.BySerial, Reason: ca.KeyCompromise, Entries: 3, Document: []byte(`{"a":1}`),
		State: download.MassOrdered, Ordered: policy.StatementID("st_1" + id), OrderedBy: "per_a", OrderedAt: T0, Version: 1}
	return m, massStatement(m.Ordered, id, "per_a")
}

func massStatement(id policy.StatementID, about download.MassID, by policy.PersonID) *register.Statement {
	return &register.Statement{ID: id, Act: "certificates.revoke", Subject: string(about), By: by, Certificate: ca.Fingerprint{1}, Content: []byte("c"), Signature: []byte("s"), At: T0}
}

// Approved lets person b approve a mass revocation.
func Approved(m *download.Mass) *register.Statement {
	m.State, m.Approved, m.ApprovedBy, m.ApprovedAt = download.MassApproved, policy.StatementID("st_2"+m.ID), "per_b", T0.Add(time.Minute)
	return massStatement(m.Approved, m.ID, "per_b")
}

// Second is another person.
func Second() *register.Person {
	p := Person()
	p.ID, p.Number = "per_b", "198001011254"
	return p
}

func testMass(t *testing.T, db *store.DB) {
	m, ordered := Mass("mrv_b")
	list := []byte("4a\n5a\n")
	With(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertPerson(Second()), tx.InsertStatement(ordered), tx.InsertMass(m, list))
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertMass(m, list) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Mass("mrv_x"); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.MassList("mrv_x"); return err })
	view(t, db, func(tx *download.Tx) error {
		got, err := tx.Mass("mrv_b")
		same(t, got, err, m)
		octets, err := tx.MassList("mrv_b")
		same(t, octets, err, list)
		open, err := tx.MassesOf("", "", 10)
		same(t, len(open), err, 0)
		return nil
	})
	old := *m
	update(t, db, func(tx *download.Tx) error {
		st := Approved(m)
		m.Done, m.Revoked, m.Failed = 2, 1, []int{0, 1}
		return errors.Join(tx.InsertStatement(st), tx.PutMass(m))
	})
	if m.Version != 2 {
		t.Errorf("version %d", m.Version)
	}
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.PutMass(&old) })
	later, ordered := Mass("mrv_a")
	approved := Approved(later)
	later.ApprovedAt = T0.Add(time.Hour)
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertStatement(ordered), tx.InsertStatement(approved), tx.InsertMass(later, list))
	})
	view(t, db, func(tx *download.Tx) error {
		open, err := tx.MassesOf("", "", 10)
		same(t, open, err, []*download.Mass{m, later}) // by the time of their approval
		all, err := tx.MassesOf("org_a", "", 10)
		same(t, all, err, []*download.Mass{later, m})
		all, err = tx.MassesOf("org_a", "mrv_a", 10)
		same(t, all, err, []*download.Mass{m})
		none, err := tx.MassesOf("org_b", "", 10)
		same(t, len(none), err, 0)
		return nil
	})
	for name, spoil := range map[string]func(*download.Mass){
		"who ordered approves":    func(m *download.Mass) { m.ApprovedBy = m.OrderedBy },
		"done beyond the list":    func(m *download.Mass) { m.Done = 4 },
		"finished before its end": func(m *download.Mass) { m.State, m.FinishedAt, m.Failed = download.MassFinished, T0, nil },
		"finished with one left":  func(m *download.Mass) { m.State, m.FinishedAt, m.Done = download.MassFinished, T0, 3 },
		"finished at no time":     func(m *download.Mass) { m.State, m.Done, m.Failed = download.MassFinished, 3, nil },
		"begun before its approval": func(m *download.Mass) {
			m.State, m.Approved, m.ApprovedBy, m.ApprovedAt = download.MassOrdered, "", "", time.Time{}
		},
	} {
		wrong := *m
		spoil(&wrong)
		if err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return tx.PutMass(&wrong) }); err == nil {
			t.Errorf("%s: it was written", name)
		}
	}
	update(t, db, func(tx *download.Tx) error {
		m.State, m.FinishedAt, m.Done, m.Failed = download.MassFinished, T0, 3, nil
		return tx.PutMass(m)
	})
}

func testBulk(t *testing.T, db *store.DB) {
	d, items := Download()
	With(t, db, func(tx *download.Tx) error {
		var errs []error
		for n := byte(1); n <= 3; n++ {
			errs = append(errs, tx.InsertCertificate(Certificate(n)))
		}
		return errors.Join(append(errs, tx.InsertDownload(d, items), tx.PutStanding(Standing(1, issue.Current)),
			tx.Revocations.InsertRevocation(Entry(2, 1)), tx.Revocations.InsertRevocation(Entry(2, 2)))...)
	})
	view(t, db, func(tx *download.Tx) error {
		serials := []ca.Serial{Serial(1), Serial(2), Serial(9)}
		certs, err := tx.CertificatesOfSerials(serials)
		slices.SortFunc(certs, func(a, b *issue.Certificate) int { return int(a.Serial[15]) - int(b.Serial[15]) })
		same(t, certs, err, []*issue.Certificate{Certificate(1), Certificate(2)})
		entries, err := tx.EntriesOfSerials(serials)
		same(t, entries, err, []revocation.Entry{Entry(2, 2)})
		cards, standings, open, err := tx.OnCards([]policy.CardNumber{Card().Number, "9752000000000000099"})
		if len(cards) != 1 || cards[0].Number != Card().Number || len(standings) != 1 || standings[0] != Standing(1, issue.Current) || !slices.Equal(open, []policy.CardNumber{Card().Number}) {
			t.Errorf("on the card: %+v, %+v, %v, %v", cards, standings, open, err)
		}
		return err
	})
	for _, n := range []int{0, download.Together + 1} {
		if err := db.Downloads().View(t.Context(), func(tx *download.Tx) error { _, err := tx.CertificatesOfSerials(make([]ca.Serial, n)); return err }); err == nil {
			t.Errorf("%d keys were taken", n)
		}
	}
	retireAll(t, db)
}

// retireAll writes more rows than a statement takes, and all of them or none.
func retireAll(t *testing.T, db *store.DB) {
	t.Helper()
	var events []audit.Event
	var entries []revocation.Entry
	for n := byte(20); n < 60; n++ {
		e := Entry(n, 1)
		e.Event = fmt.Sprintf("evt_m%d", n)
		entries, events = append(entries, e), append(events, Event(e.Event))
	}
	events = append(events, Refusal("evt_personal"))
	standings := []ca.Fingerprint{{1}}
	for name, fn := range map[string]func(tx *download.Tx) error{
		"a standing that is not there": func(tx *download.Tx) error { return tx.RetireAll(events, []ca.Fingerprint{{1}, {7}}, entries) },
		"an entry twice":               func(tx *download.Tx) error { return tx.RetireAll(nil, nil, append(entries[:16:16], entries[3:19]...)) },
		"an event twice":               func(tx *download.Tx) error { return tx.RetireAll(append(events[:16:16], events[3:19]...), nil, nil) },
	} {
		if err := db.Downloads().Update(t.Context(), fn); err == nil {
			t.Errorf("%s: it was written", name)
		}
	}
	update(t, db, func(tx *download.Tx) error { return tx.RetireAll(events, standings, entries) })
	view(t, db, func(tx *download.Tx) error {
		for _, e := range entries {
			got, revoked, err := tx.Revocations.Revocation(e.Serial)
			if same(t, got, err, e); !revoked {
				t.Errorf("%s is not revoked", e.Serial)
			}
		}
		_, err := tx.Standing(ca.Fingerprint{1})
		if !errors.Is(err, issue.ErrNotFound) {
			t.Errorf("the standing: %v", err)
		}
		return nil
	})
	if err := db.Audit().View(t.Context(), func(tx *audit.Tx) error {
		all, err := tx.Unnumbered(1000)
		if len(all) < len(events) {
			t.Errorf("%d events", len(all))
		}
		for i, r := range all[len(all)-len(events):] { // in their order
			if r.ID != events[i].ID {
				t.Errorf("event %d is %s, want %s", i, r.ID, events[i].ID)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
