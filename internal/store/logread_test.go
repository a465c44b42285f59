package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/orders/register"
)

// What auditors read: in the order of numbers, with what is erased empty, and no further
// than where a row is missing.
func TestLogRead(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		ctx := t.Context()
		if err := Create(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		db, err := Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var serials []ca.Serial
		err = db.update(ctx, func(tx *tx) (err error) {
			serials, err = logged(tx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		list, err := db.LoggedCertificates(ctx, 0, 100)
		if err != nil || len(list) != 4 {
			t.Fatalf("%d certificates, %v: number 5 is missing", len(list), err)
		}
		for i, c := range list {
			if c.Serial != serials[3-i] || c.Issuer != "i" || c.Milliseconds != int64(1003-i) || (len(c.TBS) == 0) != (i == 2) || (string(c.DER) == "der") != (i == 1) {
				t.Errorf("certificate %d is %+v", i, c)
			}
		}
		if list, err = db.LoggedCertificates(ctx, 1, 2); err != nil || len(list) != 2 || list[0].Serial != serials[2] {
			t.Errorf("from the second on: %+v, %v", list, err)
		}
		if list, err = db.LoggedCertificates(ctx, 4, 2); err != nil || len(list) != 0 {
			t.Errorf("from what is missing on: %+v, %v", list, err)
		}
		bodies, err := db.LoggedActs(ctx, 0, 100)
		if err != nil || len(bodies) != 4 || string(bodies[0]) != "b\x01" || len(bodies[2]) != 0 || string(bodies[3]) != "b\x04" {
			t.Errorf("acts: %q, %v", bodies, err)
		}
		if bodies, err = db.LoggedActs(ctx, 3, 1); err != nil || len(bodies) != 1 || string(bodies[0]) != "b\x04" {
			t.Errorf("the fourth act: %q, %v", bodies, err)
		}
	})
}

// logged writes leaves and events whose numbers are the other way round than the rows;
// the third is erased, and the fifth is not there.
func logged(tx *tx) (serials []ca.Serial, err error) {
	for i, number := range []int64{4, 3, 2, 1, 6} {
		s := ca.NewSerial()
		serials = append(serials, s)
		tbs := []byte{byte(number)}
		if number == 3 {
			tbs = []byte{}
		}
		if err := intended(tx, s, tbs); err != nil {
			return nil, err
		}
		if number == 2 {
			if err := released(tx, [32]byte{2}, s); err != nil {
				return nil, err
			}
		}
		leaf := [32]byte{byte(number)}
		if _, err := tx.exec("leaf", `INSERT INTO log_leaves (serial, leaf, at, number) VALUES ($1, $2, $3, $4)`, s[:], leaf[:], int64(1000+i), number); err != nil {
			return nil, err
		}
		body := []byte{'b', byte(number)}
		if number == 3 {
			body = []byte{}
		}
		if _, err := tx.exec("event", `INSERT INTO events (id, at, act, by_who, body, leaf, number, hash) VALUES ($1, 1, 'init', 'x', $2, $3, $4, $3)`,
			"evt_"+string('a'+rune(i)), body, leaf[:], number); err != nil {
			return nil, err
		}
	}
	return serials, nil
}

// intended writes an intent of which only its content matters.
func intended(tx *tx, s ca.Serial, tbs []byte) error {
	key := [32]byte{1}
	_, err := tx.exec("intent", `INSERT INTO intents (serial, issuer, partition, profile, not_before, not_after, key_fingerprint, tbs, state, owner, deadline, recorded_at)
		VALUES ($1, 'i', 0, 'p', 1, 2, $2, $3, 'open', 'o', 3, 4)`, s[:], key[:], tbs)
	return err
}

// released writes a certificate of which only its octets matter.
func released(tx *tx, fingerprint [32]byte, s ca.Serial) error {
	key := [32]byte{1}
	_, err := tx.exec("certificate", `INSERT INTO certificates (fingerprint, serial, issuer, partition, profile, not_before, not_after, key_fingerprint, der, stored_at)
		VALUES ($1, $2, 'i', 0, 'p', 1, 2, $3, $4, 5)`, fingerprint[:], s[:], key[:], []byte("der"))
	return err
}

func TestEvidence(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		ctx := t.Context()
		if err := Create(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		db, err := Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Evidence(ctx, "ord_none"); !errors.Is(err, issue.ErrNotFound) {
			t.Errorf("no order: %v", err)
		}
		err = db.update(ctx, func(tx *tx) error {
			for _, query := range []string{
				`INSERT INTO organisations (id, number, name, signing_allowed, created_at) VALUES ('org_a', '5560000001', 'A', 0, 1)`,
				`INSERT INTO persons (id, number, number_kind, given_name, surname, protected, created_at) VALUES ('per_a', '197001019990', 'personnummer', 'A', 'B', 0, 1)`,
				`INSERT INTO cards (number, product, kind, organisation, state, holder, expires_at, version) VALUES ('9752000000000000017', 'p', 'ordinary', 'org_a', 'active', 'per_a', 9, 1)`,
			} {
				if _, err := tx.exec("row", query); err != nil {
					return err
				}
			}
			if _, err := tx.exec("order", `INSERT INTO orders (id, type, organisation, person, card, id_kind, loa, state, bytes, placed_at, version)
				VALUES ('ord_a', 'ordinary', 'org_a', 'per_a', '9752000000000000017', 'hsa-id', 3, 'placed', $1, 1, 1)`, []byte("document")); err != nil {
				return err
			}
			return errors.Join(released(tx, [32]byte{2}, ca.NewSerial()),
				tx.InsertStatement(&register.Statement{ID: "st_b", Act: "order.approve", Subject: "ord_a", By: "per_a", Certificate: ca.Fingerprint{3}, Content: []byte("c2"), Signature: []byte("s2"), At: time.UnixMicro(3)}),
				tx.InsertStatement(&register.Statement{ID: "st_a", Act: "order.place", Subject: "ord_a", By: "per_a", Certificate: ca.Fingerprint{2}, Content: []byte("c1"), Signature: []byte("s1"), At: time.UnixMicro(2)}),
				tx.InsertStatement(&register.Statement{ID: "st_c", Act: "order.place", Subject: "ord_b", By: "per_a", Certificate: ca.Fingerprint{2}, Content: []byte("c3"), Signature: []byte("s3"), At: time.UnixMicro(1)}))
		})
		if err != nil {
			t.Fatal(err)
		}
		e, err := db.Evidence(ctx, "ord_a")
		if err != nil || string(e.Order) != "document" || len(e.Statements) != 2 {
			t.Fatalf("%+v, %v", e, err)
		}
		var got []string
		for _, s := range e.Statements {
			got = append(got, string(s.Content), string(s.Signature), string(s.Certificate))
		}
		if want := []string{"c1", "s1", "der", "c2", "s2", ""}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if s, err := db.SignedStatement(ctx, "st_c"); err != nil || string(s.Content) != "c3" || string(s.Signature) != "s3" || string(s.Certificate) != "der" {
			t.Errorf("a statement: %+v, %v", s, err)
		}
		if _, err := db.SignedStatement(ctx, "st_none"); !errors.Is(err, issue.ErrNotFound) {
			t.Errorf("no statement: %v", err)
		}
	})
}
