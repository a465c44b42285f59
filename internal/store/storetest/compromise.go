package storetest

import (
	"errors"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
)

func testBlockedKeys(t *testing.T, db *store.DB) {
	k := issue.BlockedKey{Fingerprint: ca.KeyFingerprint{1}, Cause: issue.ByProof, By: "per_a", At: T0}
	update(t, db, func(tx *download.Tx) error { return tx.BlockKey(k) })
	other := k
	other.Cause = issue.ByIncident
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.BlockKey(other) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.BlockedKey(ca.KeyFingerprint{2}); return err })
	view(t, db, func(tx *download.Tx) error {
		got, err := tx.BlockedKey(k.Fingerprint)
		same(t, got, err, &k)
		return nil
	})
	if err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
		return tx.BlockKey(issue.BlockedKey{Fingerprint: ca.KeyFingerprint{3}, Cause: "whim", By: "per_a", At: T0})
	}); err == nil {
		t.Error("a cause that is none was taken")
	}
}

// Incident returns the incident n of key n: certified on Card, proved on the card
// whose number ends in n.
func Incident(n byte) *issue.Incident {
	return &issue.Incident{ID: issue.IncidentID("inc_" + string('a'+rune(n))), Kind: issue.KeyCopied, Fingerprint: ca.KeyFingerprint{n},
		Card: Card().Number, ProvedOn: policy.CardNumber("975200000000000009" + string('0'+rune(n))), Login: ca.Fingerprint{n + 1}, Download: "dl_a", At: T0}
}

func testIncidents(t *testing.T, db *store.DB) {
	technical := Incident(3)
	technical.Card, technical.Download = "", ""
	involved := []issue.Involved{{Certificate: ca.Fingerprint{1}, Role: issue.Carries}, {Certificate: ca.Fingerprint{2}, Role: issue.LogIn}}
	other := Organisation()
	other.ID, other.Number = "org_b", "2321000024"
	foreign := Certificate(4)
	foreign.Organisation, foreign.Card = "org_b", "9752000000000000044"
	With(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertOrganisation(other), tx.InsertCertificate(Certificate(1)), tx.InsertCertificate(Certificate(2)), tx.InsertCertificate(foreign))
	})
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertIncident(Incident(2), nil), tx.InsertIncident(Incident(1), involved),
			tx.InsertIncident(technical, []issue.Involved{{Certificate: ca.Fingerprint{4}, Role: issue.Carries}}))
	})
	again := Incident(1)
	again.ID = "inc_again"
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertIncident(again, nil) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, _, err := tx.Incident("inc_x"); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error {
		_, err := tx.IncidentOf(ca.KeyFingerprint{1}, Incident(2).ProvedOn)
		return err
	})
	view(t, db, func(tx *download.Tx) error {
		got, with, err := tx.Incident(Incident(1).ID)
		same(t, got, err, Incident(1))
		same(t, with, err, involved)
		got, err = tx.IncidentOf(ca.KeyFingerprint{3}, technical.ProvedOn)
		same(t, got, err, technical)
		list, err := tx.IncidentsOfOrganisation("org_a", "", 10)
		same(t, list, err, []*issue.Incident{Incident(1), Incident(2)}) // by the owner of the card
		list, err = tx.IncidentsOfOrganisation("org_a", Incident(1).ID, 10)
		same(t, list, err, []*issue.Incident{Incident(2)})
		list, err = tx.IncidentsOfOrganisation("org_b", "", 10)
		same(t, list, err, []*issue.Incident{technical}) // by who ordered what is on the card
		list, err = tx.IncidentsOfOrganisation("org_a", "", 1)
		same(t, list, err, []*issue.Incident{Incident(1)})
		return nil
	})
}

func testQueue(t *testing.T, db *store.DB) {
	at := func(n byte, minute time.Duration) issue.Queued {
		return issue.Queued{Certificate: ca.Fingerprint{n}, Fingerprint: ca.KeyFingerprint{n}, By: "per_a", QueuedAt: T0.Add(minute * time.Minute)}
	}
	update(t, db, func(tx *download.Tx) error {
		for n := range byte(3) {
			if err := tx.InsertCertificate(Certificate(n + 1)); err != nil {
				return err
			}
		}
		return errors.Join(tx.Queue(at(1, 2)), tx.Queue(at(2, 1)), tx.Queue(at(3, 1)))
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.Queue(at(1, 9)) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Queued(ca.Fingerprint{9}); return err })
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.SettleQueued(ca.Fingerprint{9}, T0) })
	number := func(q *issue.Queued) byte { return q.Certificate[0] }
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.QueuedOpen(10)
		same(t, ids(list, number), err, []byte{2, 3, 1})
		list, err = tx.QueuedOpen(2)
		same(t, ids(list, number), err, []byte{2, 3})
		return nil
	})
	done := T0.Add(time.Hour)
	update(t, db, func(tx *download.Tx) error { return tx.SettleQueued(ca.Fingerprint{2}, done) })
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.SettleQueued(ca.Fingerprint{2}, done) })
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.QueuedOpen(10)
		same(t, ids(list, number), err, []byte{3, 1})
		got, err := tx.Queued(ca.Fingerprint{2})
		want := at(2, 1)
		want.DoneAt = done
		same(t, got, err, &want)
		return nil
	})
	if err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return tx.Queue(at(9, 1)) }); err == nil {
		t.Error("a certificate that is not there was queued")
	}
}

func testPopulation(t *testing.T, db *store.DB) {
	twin := Certificate(3)
	twin.Key = Certificate(1).Key
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.InsertCertificate(twin), tx.InsertCertificate(Certificate(2)), tx.InsertCertificate(Certificate(1)))
	})
	number := func(c *issue.Certificate) byte { return c.Fingerprint[0] }
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.CertificatesOfKey(twin.Key)
		same(t, list, err, []*issue.Certificate{Certificate(1), twin})
		list, err = tx.CertificatesOfKey(ca.KeyFingerprint{9})
		same(t, ids(list, number), err, []byte{})
		list, err = tx.CertificatesAfter(ca.Fingerprint{}, 2)
		same(t, ids(list, number), err, []byte{1, 2})
		list, err = tx.CertificatesAfter(ca.Fingerprint{2}, 2)
		same(t, ids(list, number), err, []byte{3})
		return nil
	})
}
