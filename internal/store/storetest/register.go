package storetest

import (
	"testing"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

func testOrganisations(t *testing.T, db *store.DB) {
	branch := &register.Organisation{ID: "org_b", Number: "5560000000", Name: "Branch", Parent: "org_a", CreatedAt: T0}
	update(t, db, func(tx *download.Tx) error {
		if err := tx.InsertOrganisation(allowing()); err != nil {
			return err
		}
		return tx.InsertOrganisation(branch)
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error {
		o := Organisation()
		o.ID = "org_c"
		return tx.InsertOrganisation(o)
	})
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Organisation("org_c"); return err })
	testSwitch(t, db, branch)
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.OrganisationByNumber("1"); return err })
	view(t, db, func(tx *download.Tx) error {
		o, err := tx.Organisation("org_a")
		same(t, o, err, allowing())
		o, err = tx.OrganisationByNumber("5560000000")
		same(t, o, err, branch)
		for _, c := range []struct {
			after policy.OrganisationID
			limit int
			want  []policy.OrganisationID
		}{{"", 10, []policy.OrganisationID{"org_a", "org_b"}}, {"", 1, []policy.OrganisationID{"org_a"}}, {"org_a", 1, []policy.OrganisationID{"org_b"}}, {"org_b", 1, []policy.OrganisationID{}}} {
			list, err := tx.ListOrganisations(c.after, c.limit)
			same(t, ids(list, func(o *register.Organisation) policy.OrganisationID { return o.ID }), err, c.want)
		}
		return nil
	})
}

// allowing is the organisation with its switch on.
func allowing() *register.Organisation {
	o := Organisation()
	o.SigningAllowed = true
	return o
}

// testSwitch turns a branch's switch on and off again; each way is refused when it
// stands so already, and another organisation's stays as it is.
func testSwitch(t *testing.T, db *store.DB, branch *register.Organisation) {
	for _, allowed := range []bool{true, false} {
		refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.SetSigningAllowed(branch.ID, !allowed) })
		update(t, db, func(tx *download.Tx) error { return tx.SetSigningAllowed(branch.ID, allowed) })
		view(t, db, func(tx *download.Tx) error {
			want := *branch
			want.SigningAllowed = allowed
			o, err := tx.Organisation(branch.ID)
			same(t, o, err, &want)
			o, err = tx.Organisation("org_a")
			same(t, o, err, allowing())
			return nil
		})
	}
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.SetSigningAllowed("org_c", true) })
}

func testPeople(t *testing.T, db *store.DB) {
	a := &register.Assignment{Person: "per_a", Organisation: "org_a", HSAID: "SE2321000016-1", Email: "a@example.org", UPN: "a@ad", SID: "S-1", EndsAt: T0.AddDate(1, 0, 0), UpdatedAt: T0}
	bare := &register.Assignment{Person: "per_a", Organisation: "org_a", HSAID: "SE2321000016-2", UpdatedAt: T0}
	With(t, db, func(tx *download.Tx) error { return tx.PutAssignment(a) })
	other := Person()
	other.ID, other.Number, other.Protected = "per_b", "197001011230", true
	update(t, db, func(tx *download.Tx) error { return tx.InsertPerson(other) })
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error {
		p := Person()
		p.ID = "per_c"
		return tx.InsertPerson(p)
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error {
		return tx.PutAssignment(&register.Assignment{Person: "per_b", Organisation: "org_a", HSAID: a.HSAID, UpdatedAt: T0})
	})
	for _, taken := range []register.Assignment{{UPN: "A@AD"}, {SID: a.SID}} { // another's account, whatever its case
		taken.Person, taken.Organisation, taken.HSAID, taken.UpdatedAt = "per_b", "org_a", "SE2321000016-9", T0
		refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.PutAssignment(&taken) })
	}
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Person("per_c"); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.PersonByNumber("1"); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Assignment("per_b", "org_a"); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.AssignmentByHSAID("x"); return err })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { return tx.PutPerson(&register.Person{ID: "per_c"}) })
	view(t, db, func(tx *download.Tx) error {
		p, err := tx.Person("per_a")
		same(t, p, err, Person())
		p, err = tx.PersonByNumber(other.Number)
		same(t, p, err, other)
		got, err := tx.Assignment("per_a", "org_a")
		same(t, got, err, a)
		got, err = tx.AssignmentByHSAID(a.HSAID)
		same(t, got, err, a)
		return nil
	})
	update(t, db, func(tx *download.Tx) error { return tx.PutAssignment(bare) })
	view(t, db, func(tx *download.Tx) error {
		got, err := tx.Assignment("per_a", "org_a")
		same(t, got, err, bare)
		return nil
	})
}

func testSearch(t *testing.T, db *store.DB) {
	With(t, db, func(tx *download.Tx) error {
		o := Organisation()
		o.ID, o.Number = "org_b", "5560000000"
		if err := tx.InsertOrganisation(o); err != nil {
			return err
		}
		for i, name := range []struct{ given, sur string }{{"Karin", "Åberg"}, {"Kári", "Andersson"}, {"ÖRJAN", "Nilsson  Ek"}} {
			p := &register.Person{ID: policy.PersonID("per_" + string('x'+rune(i))), Number: policy.PersonNumber("19700101000" + string('0'+rune(i))),
				NumberKind: policy.Personnummer, GivenName: name.given, Surname: name.sur, CreatedAt: T0}
			if err := tx.InsertPerson(p); err != nil {
				return err
			}
			for _, org := range []policy.OrganisationID{"org_a", "org_b"}[:1+i%2] {
				err := tx.PutAssignment(&register.Assignment{Person: p.ID, Organisation: org, HSAID: policy.HSAID("SE5560000000-" + string('A'+rune(i))), UpdatedAt: T0})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	search := func(org policy.OrganisationID, prefix string, after policy.HSAID, limit int, want string) {
		t.Helper()
		view(t, db, func(tx *download.Tx) error {
			list, err := tx.SearchPeople(org, prefix, after, limit)
			got := ""
			for _, a := range list {
				got += string(a.Person[4:])
			}
			if err != nil || got != want {
				t.Errorf("SearchPeople(%s, %q, %q, %d) = %q, %v, want %q", org, prefix, after, limit, got, err, want)
			}
			return nil
		})
	}
	search("org_a", "", "", 10, "xyz")
	search("org_a", "", "SE5560000000-A", 1, "y")
	search("org_a", "ka", "", 10, "xy")
	search("org_a", "KA", "", 1, "x")
	search("org_a", "ka", "SE5560000000-A", 10, "y")
	search("org_a", "aberg", "", 10, "x")
	search("org_a", "Åb", "", 10, "x")
	search("org_a", "a\u030ab", "", 10, "x")
	search("org_a", "örjan nilsson ek", "", 10, "z")
	search("org_a", "nilsson ek Ö", "", 10, "z")
	search("org_a", "se5560000000-c", "", 10, "z")
	search("org_a", "197001010001", "", 10, "y")
	search("org_a", "arin", "", 10, "")
	search("org_a", "%", "", 10, "")
	search("org_b", "", "", 10, "y")
	search("org_b", "karin", "", 10, "")
	update(t, db, func(tx *download.Tx) error {
		return tx.PutPerson(&register.Person{ID: "per_y", GivenName: "Björn", Surname: "Andersson", Protected: true})
	})
	search("org_b", "kari", "", 10, "")
	search("org_b", "bjorn", "", 10, "y")
	search("org_a", "bjorn", "", 10, "y")
}

func testGrants(t *testing.T, db *store.DB) {
	g := register.Grant{Person: "per_a", Organisation: "org_a", Role: policy.RoleAdministrator, Statement: "st_a", GrantedAt: T0}
	reader := register.Grant{Person: "per_a", Organisation: "org_a", Role: policy.RoleReader, GrantedAt: T0}
	With(t, db, func(tx *download.Tx) error {
		if err := tx.InsertGrant(g); err != nil {
			return err
		}
		return tx.InsertGrant(reader)
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertGrant(g) })
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.GrantsOf("per_a")
		same(t, list, err, []register.Grant{g, reader})
		list, err = tx.GrantsFor("org_a")
		same(t, list, err, []register.Grant{g, reader})
		list, err = tx.GrantsFor("org_b")
		same(t, list, err, nil)
		return nil
	})
	update(t, db, func(tx *download.Tx) error { return tx.EndGrant("per_a", "org_a", g.Role, T0) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { return tx.EndGrant("per_a", "org_a", g.Role, T0) })
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.GrantsOf("per_a")
		same(t, list, err, []register.Grant{reader})
		return nil
	})
	update(t, db, func(tx *download.Tx) error { return tx.InsertGrant(g) })
}

func testCards(t *testing.T, db *store.DB) {
	With(t, db, nil)
	blank := &register.Card{Number: "9752000000000000002", Product: "none", Kind: policy.Reserve, Organisation: "org_a", State: policy.CardOrdered, ExpiresAt: T0}
	armed := &register.Card{Number: "9752000000000000003", Product: "7XX", Kind: policy.Ordinary, Organisation: "org_a", State: policy.CardActive, Holder: "per_a",
		ExpiresAt: T0, ArmedUntil: T0, ArmedFor: "dl_a", Identity: "passport"}
	update(t, db, func(tx *download.Tx) error {
		if err := tx.InsertCard(blank); err != nil {
			return err
		}
		return tx.InsertCard(armed)
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertCard(Card()) })
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Card("x"); return err })
	number := func(c *register.Card) policy.CardNumber { return c.Number }
	view(t, db, func(tx *download.Tx) error {
		c, err := tx.Card(blank.Number)
		same(t, c, err, blank)
		c, err = tx.Card(armed.Number)
		same(t, c, err, armed)
		list, err := tx.CardsOfHolder("per_a")
		same(t, ids(list, number), err, []policy.CardNumber{Card().Number, armed.Number})
		list, err = tx.ListCards("org_a", Card().Number, 1)
		same(t, ids(list, number), err, []policy.CardNumber{blank.Number})
		return nil
	})
	update(t, db, func(tx *download.Tx) error {
		c, err := tx.Card(armed.Number)
		if err != nil {
			return err
		}
		old := *c
		c.State, c.ArmedUntil, c.ArmedFor, c.Identity = policy.CardLocked, T0.AddDate(1, 0, 0), "", ""
		if err := tx.PutCard(c); err != nil {
			return err
		}
		stored, err := tx.Card(armed.Number)
		same(t, stored, err, c)
		if err := tx.PutCard(&old); !isConflict(err) {
			t.Errorf("putting an old version = %v", err)
		}
		return nil
	})
}

func testCeremony(t *testing.T, db *store.DB) {
	With(t, db, nil)
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Ceremony(); return err })
	c := &register.Ceremony{Officers: [2]ca.Fingerprint{{1}, {2}}, OfficerNames: [2]string{"Ö", "B"}}
	update(t, db, func(tx *download.Tx) error { return tx.PutCeremony(c) })
	for range 2 {
		view(t, db, func(tx *download.Tx) error { got, err := tx.Ceremony(); same(t, got, err, c); return nil })
		c.Organisation, c.Administrators[0], c.ClosedAt = "org_a", "per_a", T0
		update(t, db, func(tx *download.Tx) error { return tx.PutCeremony(c) })
	}
}

func testIdempotency(t *testing.T, db *store.DB) {
	i := register.Idempotency{Caller: "per_a", Operation: "order", Key: "k", Request: [32]byte{1}, Result: "ord_a", At: T0}
	update(t, db, func(tx *download.Tx) error { return tx.InsertIdempotency(i) })
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertIdempotency(i) })
	view(t, db, func(tx *download.Tx) error {
		got, err := tx.Idempotency("per_a", "order", "k")
		same(t, got, err, &i)
		return nil
	})
	// The scope of a key is its caller and operation.
	for _, scope := range [][3]string{{"per_b", "order", "k"}, {"per_a", "approve", "k"}, {"per_a", "order", "l"}} {
		refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Idempotency(scope[0], scope[1], scope[2]); return err })
	}
}

func testStatements(t *testing.T, db *store.DB) {
	With(t, db, nil)
	officer := &register.Statement{ID: "st_b", Act: "order.place", Subject: "ord_a", Certificate: ca.Fingerprint{1}, Content: []byte("c"), Signature: []byte("s"), At: T0}
	second := &register.Statement{ID: "st_a", Act: "order.approve", Subject: "ord_a", By: "per_a", Certificate: ca.Fingerprint{1}, Content: []byte("d"), Signature: []byte("s"), At: T0.Add(1000)}
	update(t, db, func(tx *download.Tx) error {
		if err := tx.InsertStatement(second); err != nil {
			return err
		}
		return tx.InsertStatement(officer)
	})
	refused(t, db, issue.ErrConflict, func(tx *download.Tx) error { return tx.InsertStatement(officer) })
	view(t, db, func(tx *download.Tx) error {
		list, err := tx.StatementsAbout("ord_a")
		same(t, list, err, []*register.Statement{officer, second})
		list, err = tx.StatementsAbout("ord_b")
		same(t, list, err, nil)
		return nil
	})
}
