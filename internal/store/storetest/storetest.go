// Package storetest holds the conformance suite of the store, one suite for both
// databases, and the records that it and other tests begin with.
package storetest

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/audit"
	"sigill/internal/store"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// SQLite returns a new database in a temporary directory.
func SQLite(t testing.TB) *store.DB {
	t.Helper()
	return New(t, store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "sigill.db")})
}

// New creates and opens the database of cfg and closes it with the test.
func New(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return T0 }
	}
	if err := store.Create(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Run runs the suite; open returns an empty database.
func Run(t *testing.T, open func(*testing.T) *store.DB) {
	for name, test := range map[string]func(*testing.T, *store.DB){
		"organisations": testOrganisations, "people": testPeople, "search": testSearch, "grants": testGrants,
		"cards": testCards, "ceremony": testCeremony, "idempotency": testIdempotency, "statements": testStatements,
		"orders": testOrders, "intents": testIntents, "certificates": testCertificates, "standings": testStandings,
		"keys": testKeys, "blocked keys": testBlockedKeys, "incidents": testIncidents, "queue": testQueue, "mass": testMass, "bulk": testBulk, "population": testPopulation,
		"downloads": testDownloads, "due": testDue,
		"revocations": testRevocations, "status": testStatus, "publications": testPublications, "entries": testEntries, "copies": testCopies, "tails": testTails,
		"events": testEvents, "chain": testChain, "erasing": testErasing, "erasing cards": testErasingCards, "persons": testPersons,
		"results": testResults, "views": testViews, "races": testRaces, "one download a card": testOneDownload,
		"states": testStates,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// T0 is the time at which the records here are made.
var T0 = time.Date(2026, 3, 1, 12, 0, 0, 123000, time.UTC)

// Records that others refer to. Each call returns new ones.

func Organisation() *register.Organisation {
	return &register.Organisation{ID: "org_a", Number: "2321000016", Name: "Region Å", CreatedAt: T0}
}

func Person() *register.Person {
	return &register.Person{ID: "per_a", Number: "198001011239", NumberKind: policy.Personnummer,
		GivenName: "Åsa Märta", Surname: "Öberg", CreatedAt: T0}
}

func Card() *register.Card {
	return &register.Card{Number: "9752000000000000001", Product: "6XX", Kind: policy.Ordinary, Organisation: "org_a",
		State: policy.CardActive, Holder: "per_a", ExpiresAt: T0.AddDate(5, 0, 0)}
}

func Order() *orders.Order {
	return &orders.Order{ID: "ord_a", Type: policy.OrderOrdinary, Organisation: "org_a", Person: "per_a", Card: Card().Number,
		IDKind: policy.ByHSAID, LoA: 3, State: policy.OrderPlaced, Bytes: []byte(`{"a":1}`), PlacedBy: "per_a",
		PlacedAt: T0, ExpiresAt: T0.AddDate(0, 1, 0)}
}

func Download() (*download.Download, []*download.Item) {
	d := &download.Download{ID: "dl_a", Card: Card().Number, Order: "ord_a", Holder: "per_a", Login: ca.Fingerprint{9},
		State: policy.DownloadPlanned, Plan: []byte("{}"), PlanHash: [32]byte{1}, CreatedAt: T0}
	return d, []*download.Item{{Download: "dl_a", Slot: policy.Authentication, State: policy.ItemPlanned,
		Challenge: [32]byte{2}, ChallengeExpires: T0.Add(10 * time.Minute)}}
}

func Binding() issue.Binding {
	return issue.Binding{Slot: policy.Authentication, Card: Card().Number, Person: "per_a", Organisation: "org_a",
		IDKind: policy.ByHSAID, LoA: 3, Order: "ord_a", Download: "dl_a", Provenance: policy.Session}
}

func Serial(n byte) ca.Serial { return ca.Serial{0x40, 15: n} }

func Intent(n byte) *issue.Intent {
	return &issue.Intent{
		Intent: ca.Intent{Serial: Serial(n), Issuer: "person-hsa-id-3-v1", Partition: 2, Profile: "authentication",
			NotBefore: T0, NotAfter: T0.AddDate(2, 0, 0), Key: ca.KeyFingerprint{n}, TBS: []byte{0x30, n}},
		Binding: Binding(), State: issue.IntentOpen, Owner: "proc_a", Deadline: T0.Add(time.Minute), RecordedAt: T0.Add(time.Duration(n) * time.Second),
	}
}

func Certificate(n byte) *issue.Certificate {
	in := Intent(n)
	return &issue.Certificate{
		Issued: ca.Issued{Fingerprint: ca.Fingerprint{n}, Serial: in.Serial, Issuer: in.Issuer, Partition: in.Partition, Profile: in.Profile,
			NotBefore: in.NotBefore, NotAfter: in.NotAfter, Key: in.Key, DER: []byte{0x30, 0x80, n}},
		Binding: in.Binding, StoredAt: T0.Add(time.Duration(n) * time.Second),
	}
}

func Standing(n byte, kind issue.StandingKind) issue.Standing {
	b := Binding()
	return issue.Standing{Place: issue.Place{Card: b.Card, Organisation: b.Organisation, IDKind: b.IDKind, Slot: b.Slot}, Kind: kind, Certificate: ca.Fingerprint{n}, Since: T0}
}

func Entry(n byte, version int) revocation.Entry {
	in := Intent(n)
	line, err := crl.EncodeRevoked(crl.Revoked{Serial: in.Serial, At: T0, Reason: ca.Superseded})
	if err != nil {
		panic(err) // not of this serial and this reason
	}
	return revocation.Entry{Serial: in.Serial, Issuer: in.Issuer, Partition: in.Partition, NotAfter: in.NotAfter, Version: version,
		At: T0, Reason: ca.Superseded, Rule: "confirm.superseded", Event: EventID(n, version), Line: line}
}

// EventID names the event of an Entry.
func EventID(n byte, version int) string {
	return "evt_" + string('a'+rune(n)) + string('0'+rune(version))
}

// Event is an event without personal fields.
func Event(id string) audit.Event {
	return audit.Event{ID: id, At: T0, Act: audit.CertificateRevoked, By: "system", Public: []audit.Field{{Name: "serial", Value: "40"},
		{Name: "issuer", Value: "test"}, {Name: "reason", Value: "superseded"}, {Name: "rule", Value: "test"}, {Name: "partition", Value: "0"}}}
}

// Refusal is an event with a personal field.
func Refusal(id string) audit.Event {
	return audit.Event{ID: id, At: T0, Act: audit.RequestRefused, By: "system", Public: []audit.Field{{Name: "rule", Value: "test"}},
		Personal: []audit.Field{{Name: "detail", Value: "Åsa, 198001011239"}}}
}

// Imported is an event with several personal fields.
func Imported(id string) audit.Event {
	e := audit.Event{ID: id, At: T0, Act: audit.PersonImported, By: "system",
		Public: []audit.Field{{Name: "person", Value: "per_1"}, {Name: "organisation", Value: "org_1"}, {Name: "result", Value: "created"}}}
	for _, name := range []string{"number", "givenName", "surname", "hsaId", "email", "upn", "sid", "protected", "endsAt"} {
		e.Personal = append(e.Personal, audit.Field{Name: name, Value: "Åsa's " + name})
	}
	return e
}

// Base inserts organisation, person, card, order.
func Base(tx *orders.Tx) error {
	return errors.Join(tx.InsertOrganisation(Organisation()), tx.InsertPerson(Person()), tx.InsertCard(Card()), tx.Orders.InsertOrder(Order()))
}

// With inserts Base, one after the other for its errors.
func With(t *testing.T, db *store.DB, fn func(*download.Tx) error) {
	t.Helper()
	update(t, db, func(tx *download.Tx) error { return Base(&tx.Tx) })
	if fn != nil {
		update(t, db, fn)
	}
}

func update(t *testing.T, db *store.DB, fn func(*download.Tx) error) {
	t.Helper()
	if err := db.Downloads().Update(t.Context(), fn); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func view(t *testing.T, db *store.DB, fn func(*download.Tx) error) {
	t.Helper()
	if err := db.Downloads().View(t.Context(), fn); err != nil {
		t.Fatalf("View: %v", err)
	}
}

// refused wants fn to fail as want, and nothing of it to be kept.
func refused(t *testing.T, db *store.DB, want error, fn func(*download.Tx) error) {
	t.Helper()
	if err := db.Downloads().Update(t.Context(), fn); !errors.Is(err, want) {
		t.Errorf("Update = %v, want %v", err, want)
	}
}

// same compares a record that was read with the one that was written.
func same[T any](t *testing.T, got T, err error, want T) {
	t.Helper()
	if err != nil {
		t.Errorf("reading %T: %v", want, err)
	} else if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// ids projects a list to what identifies its elements.
func ids[T any, K any](list []T, key func(T) K) []K {
	out := []K{}
	for _, v := range list {
		out = append(out, key(v))
	}
	return out
}
