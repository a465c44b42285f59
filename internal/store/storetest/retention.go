package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/retention"
	"sigill/internal/store"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/privacy"
	"sigill/orders/register"
	"sigill/policy"
)

func retained(t *testing.T, db *store.DB, want error, fn func(*retention.Tx) error) {
	t.Helper()
	if err := db.Retention().Update(t.Context(), fn); !errors.Is(err, want) {
		t.Fatalf("Update = %v, want %v", err, want)
	}
}

func testErasing(t *testing.T, db *store.DB) {
	update(t, db, func(tx *download.Tx) error {
		return errors.Join(tx.Events.Append(Refusal("evt_a")), tx.Events.Append(Imported("evt_b")), tx.Events.Append(Refusal("evt_c")))
	})
	links := link(t, db, 3)
	e := audit.Erasure{What: "access", Through: T0, From: 1, To: 1, Count: 1}
	retained(t, db, nil, func(tx *retention.Tx) error {
		if n, err := tx.Reached("access"); n != 0 || err != nil {
			t.Errorf("reached %d, %v", n, err)
		}
		later := e
		later.What, later.From, later.To = "records", 2, 2
		return errors.Join(tx.EraseEvents(links[:1], true), tx.EraseEvents(links[1:2], false), tx.NoteErasure("evt_x", e), tx.NoteErasure("evt_y", later),
			tx.NoteErasure("evt_z", audit.Erasure{What: "access", Through: T0, Count: 7}))
	})
	wrong := links[2]
	wrong.Leaf[0] ^= 1
	// Erased already, of another leaf, and not there.
	for _, again := range [][]audit.Link{links[:1], {wrong}, {{Number: 9}}} {
		retained(t, db, retention.ErrConflict, func(tx *retention.Tx) error { return tx.EraseEvents(again, true) })
	}
	retained(t, db, nil, func(tx *retention.Tx) error {
		for what, want := range map[string]int64{"access": 1, "records": 2, "cards": 0} {
			if n, err := tx.Reached(what); n != want || err != nil {
				t.Errorf("%s reached %d, %v, want %d", what, n, err, want)
			}
		}
		records, got, err := tx.Linked(0, 10)
		same(t, got, err, links)
		if len(records[0].Body) != 0 || records[0].By != "erased" || len(records[0].Personal) != 0 || len(records[1].Body) == 0 || len(records[1].Personal) != 0 ||
			len(records[2].Body) == 0 || len(records[2].Personal) != 1 {
			t.Errorf("after it %+v", records)
		}
		return err
	})
}

func testErasingCards(t *testing.T, db *store.DB) {
	card := string(Card().Number)
	cardWithStatements(t, db, card)
	expires := Card().ExpiresAt
	retained(t, db, nil, func(tx *retention.Tx) error {
		for _, c := range []struct {
			through time.Time
			after   retention.Card
			want    int
		}{{expires, retention.Card{}, 0}, {expires.Add(1000), retention.Card{}, 1}, {expires.Add(1000), retention.Card{Number: card, Expires: expires}, 0}} {
			if due, err := tx.CardsDue(c.through, c.after, 5); len(due) != c.want || err != nil {
				t.Errorf("due before %v after %+v: %v, %v", c.through, c.after, due, err)
			}
		}
		e, err := tx.EraseCard(card, T0)
		if e.Left == 0 || e.Rows != 0 {
			t.Errorf("with an open download %+v is erased", e)
		}
		return err
	})
	update(t, db, func(tx *download.Tx) error {
		d, _, err := tx.Download("dl_a")
		order, orderErr := tx.Orders.Order("ord_a")
		if err = errors.Join(err, orderErr); err != nil {
			return err
		}
		d.State, d.EndedAt, order.State = policy.DownloadLapsed, T0, policy.OrderExpired
		return errors.Join(tx.PutDownload(d), tx.Orders.PutOrder(order))
	})
	erased := func(want retention.Erased) {
		t.Helper()
		retained(t, db, nil, func(tx *retention.Tx) error {
			e, err := tx.EraseCard(card, T0)
			if e != want {
				t.Errorf("erased %+v, want %+v", e, want)
			}
			return err
		})
	}
	// Two statements, order, plan, and certificate 1 with its intent; 2 and 3 signed what is kept.
	erased(retention.Erased{Rows: 6, Certificates: 1, Left: 2})
	erased(retention.Erased{Left: 2})
	retained(t, db, nil, func(tx *retention.Tx) error {
		if n, err := tx.StatementsDue(T0); n != 0 || err != nil {
			t.Errorf("%d statements, %v", n, err)
		}
		n, err := tx.StatementsDue(T0.Add(time.Second))
		gone, goneErr := tx.EraseStatements(T0.Add(time.Second), 10)
		if n != 1 || gone != 1 {
			t.Errorf("%d statements were due, %d went, want the one on which no right rests", n, gone)
		}
		return errors.Join(err, goneErr)
	})
	erased(retention.Erased{Rows: 2, Certificates: 1, Left: 1})
	leftOfCard(t, db)
}

// cardWithStatements gives a card an open download, three certificates, and statements that
// the first two of them have signed.
func cardWithStatements(t *testing.T, db *store.DB, card string) {
	t.Helper()
	sign := func(id policy.StatementID, act, subject string, by byte) *register.Statement {
		return &register.Statement{ID: id, Act: act, Subject: subject, By: "per_a", Certificate: ca.Fingerprint{by}, Content: []byte("c"), Signature: []byte("s"), At: T0}
	}
	With(t, db, func(tx *download.Tx) error {
		d, items := Download()
		errs := []error{tx.InsertDownload(d, items)}
		for n := byte(1); n <= 3; n++ {
			in := Intent(n)
			errs = append(errs, tx.InsertIntent(in), tx.SettleIntent(in.Serial, in.Owner, issue.IntentSigned, T0), tx.InsertCertificate(Certificate(n)))
		}
		return errors.Join(append(errs, tx.InsertStatement(sign("st_1", "order.place", "ord_a", 1)), tx.InsertStatement(sign("st_2", "card.handout", card, 1)),
			tx.InsertStatement(sign("st_3", "key.block", "key:1", 2)), tx.InsertStatement(sign("st_4", "role.grant", "org_a", 3)))...)
	})
}

// leftOfCard: of what was erased the rows are left, and all of the third certificate.
func leftOfCard(t *testing.T, db *store.DB) {
	t.Helper()
	view(t, db, func(tx *download.Tx) error {
		order, err := tx.Orders.Order("ord_a")
		d, _, err2 := tx.Download("dl_a")
		if err = errors.Join(err, err2); err != nil {
			return err
		}
		if len(order.Bytes) != 0 || len(d.Plan) != 0 || d.PlanHash == [32]byte{} {
			t.Errorf("left are %q and %q", order.Bytes, d.Plan)
		}
		for n, want := range map[byte]bool{1: false, 2: false, 3: true} {
			c, err := tx.Certificate(ca.Fingerprint{n})
			in, err2 := tx.Intent(Serial(n))
			if err = errors.Join(err, err2); err != nil {
				return err
			}
			if len(c.DER) > 0 != want || len(in.TBS) > 0 != want {
				t.Errorf("certificate %d: %d octets, intent %d", n, len(c.DER), len(in.TBS))
			}
		}
		return nil
	})
}

func testPersons(t *testing.T, db *store.DB) {
	// In the form that ids have: a refusal holds no other.
	const a, c = "per_aaaaaaaaaaaaaaaaaaaaaaaa", "per_cccccccccccccccccccccccc"
	told := func(id, by, about string) audit.Event {
		e := Refusal(id)
		e.By = by
		if about != "" {
			e.Public = append(e.Public, audit.Field{Name: "person", Value: about})
		}
		return e
	}
	With(t, db, func(tx *download.Tx) error {
		own := &register.Assignment{Person: "per_a", Organisation: "org_a", HSAID: "SE2321000016-A", Email: "a@b.example", UpdatedAt: T0}
		d, items := Download()
		ended := register.Grant{Person: "per_a", Organisation: "org_a", Role: policy.RoleReader, GrantedAt: T0, EndedAt: T0}
		errs := []error{tx.PutAssignment(own), tx.InsertDownload(d, items), tx.InsertGrant(ended)}
		for _, e := range []audit.Event{told("evt_a", a, ""), told("evt_b", "per_b,"+a, c), told("evt_c", "per_b", a), told("evt_d", "per_b", ""), Event("evt_e")} {
			errs = append(errs, tx.Events.Append(e))
		}
		return errors.Join(errs...)
	})
	in := func(want error, fn func(*privacy.Tx) error) {
		t.Helper()
		private(t, db, want, fn)
	}
	in(nil, func(tx *privacy.Tx) error {
		assignments, err := tx.AssignmentsOf("per_a")
		grants, err2 := tx.AllGrantsOf("per_a")
		all, err3 := tx.OrdersOfCard(Card().Number)
		downloads, err4 := tx.DownloadsOfCard(Card().Number)
		signed, err5 := tx.StatementsBy(ca.Fingerprint{1})
		if len(assignments) != 1 || len(grants) != 1 || len(all) != 1 || len(downloads) != 1 || len(signed) != 0 {
			t.Errorf("held: %v, %v, %v, %v, %v", assignments, grants, all, downloads, signed)
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
	in(nil, func(tx *privacy.Tx) error {
		first, err := tx.EventsOf(a, "", 2)
		same(t, ids(first, func(e privacy.Told) string { return e.ID }), err, []string{"evt_c", "evt_b"})
		if !first[0].About || first[1].About || len(first[0].Personal) != 1 || first[0].Personal[0].Name != "detail" {
			t.Errorf("told: %+v", first)
		}
		rest, err := tx.EventsOf(a, "evt_b", 2)
		same(t, ids(rest, func(e privacy.Told) string { return e.ID }), err, []string{"evt_a"})
		n, err := tx.EraseValues([]string{"evt_a", "evt_c", "evt_e", "evt_x"})
		if n != 2 || err != nil {
			t.Errorf("%d lost their values, %v", n, err)
		}
		first, err = tx.EventsOf(a, "", 9)
		if i := slices.IndexFunc(first, func(e privacy.Told) bool { return len(e.Personal) > 0 }); len(first) != 3 || i != 1 {
			t.Errorf("after it %+v", first)
		}
		return err
	})
	personIsErased(t, db)
}

// private runs fn, which must end with an error that is want.
func private(t *testing.T, db *store.DB, want error, fn func(*privacy.Tx) error) {
	t.Helper()
	if err := db.Privacy().Update(t.Context(), fn); !errors.Is(err, want) {
		t.Fatalf("Update = %v, want %v", err, want)
	}
}

// personIsErased erases the person, once; the number can be imported anew.
func personIsErased(t *testing.T, db *store.DB) {
	t.Helper()
	in := func(want error, fn func(*privacy.Tx) error) {
		t.Helper()
		private(t, db, want, fn)
	}
	in(nil, func(tx *privacy.Tx) error {
		if at, err := tx.ErasedAt("per_a"); !at.IsZero() || err != nil {
			t.Errorf("erased at %v, %v", at, err)
		}
		return tx.ErasePerson("per_a", T0)
	})
	in(issue.ErrConflict, func(tx *privacy.Tx) error { return tx.ErasePerson("per_a", T0) })
	in(issue.ErrConflict, func(tx *privacy.Tx) error { return tx.ErasePerson("per_x", T0) })
	in(issue.ErrNotFound, func(tx *privacy.Tx) error { _, err := tx.ErasedAt("per_x"); return err })
	in(nil, func(tx *privacy.Tx) error {
		at, err := tx.ErasedAt("per_a")
		same(t, at, err, T0)
		p, err := tx.Person("per_a")
		if err == nil && (p.GivenName != "" || p.Surname != "" || string(p.Number) != "per_a") {
			t.Errorf("left is %+v", p)
		}
		again := Person()
		again.ID = "per_n"
		return errors.Join(err, tx.InsertPerson(again))
	})
}
