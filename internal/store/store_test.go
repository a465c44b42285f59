package store_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/internal/store/storetest"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.DB { return storetest.SQLite(t) })
}

func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.DB {
		return storetest.New(t, store.Config{URL: store.SharedServer().URL(t)})
	})
}

// both runs a test on either database.
func both(t *testing.T, test func(*testing.T, *store.DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, storetest.New(t, store.Config{URL: store.SharedServer().URL(t)})) })
}

var parameter = regexp.MustCompile(`\$\d+`)

// No statement may read a whole table, nor a whole index unless that holds only
// what is under way, or one row of each list; o and r are the one row of a subquery.
func TestNoStatementScans(t *testing.T) {
	texts := make(map[string]bool)
	var db *store.DB
	storetest.Run(t, func(t *testing.T) *store.DB {
		db = storetest.SQLite(t)
		t.Cleanup(func() {
			for text := range db.Texts() {
				texts[text] = true
			}
		})
		return db
	})
	if len(texts) < 70 {
		t.Fatalf("the suite ran %d statements, fewer than there are", len(texts))
	}
	db = storetest.SQLite(t)
	small := regexp.MustCompile(`^SCAN (o$|r LEFT-JOIN$|CONSTANT ROW|\d+-ROW VALUES CLAUSE|\(subquery|\w+ USING (COVERING )?INDEX (intents_open|downloads_open|events_unnumbered|events_number|orders_open_by_expiry|queued_revocations_open|mass_revocations_open|list_copies_first)$)`)
	for text := range texts {
		if !regexp.MustCompile(`^(SELECT|UPDATE|DELETE|INSERT)`).MatchString(text) {
			continue
		}
		params := parameter.FindAllString(text, -1)
		slices.Sort(params)
		for _, step := range db.Explain(t, text, len(slices.Compact(params))) {
			if step == "SCAN revocations" && strings.Contains(text, "issuer || ''") {
				continue // the full list is most of the table
			}
			if strings.HasPrefix(step, "SCAN") && !small.MatchString(step) {
				t.Errorf("%s\n\tin %s", step, text)
			}
		}
	}
}

func violations(t *testing.T, db *store.DB) []string {
	t.Helper()
	found := []string{}
	err := db.Check(t.Context(), func(v store.Violation) { found = append(found, v.String()) })
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// world is a database in which everything is as it should be: certificate 1
// current, installed by an order; 2 superseded; intent 3 open in an open
// download; 4 pending in it; 5 abandoned.
func world(t *testing.T, db *store.DB) {
	t.Helper()
	storetest.With(t, db, func(tx *download.Tx) error {
		var errs []error
		do := func(err error) { errs = append(errs, err) }
		order, err := tx.Orders.Order("ord_a")
		do(err)
		first, items := storetest.Download()
		first.State, first.EndedAt = policy.DownloadInstalled, storetest.T0
		items[0].State, items[0].Serial, items[0].Certificate = policy.ItemInstalled, storetest.Serial(1), ca.Fingerprint{1}
		do(tx.InsertDownload(first, items))
		second, items := storetest.Download()
		second.ID, second.Order = "dl_b", ""
		items[0].Download, items[0].State, items[0].Serial, items[0].Certificate = "dl_b", policy.ItemSigned, storetest.Serial(4), ca.Fingerprint{4}
		items = append(items, &download.Item{Download: "dl_b", Slot: policy.Signing, State: policy.ItemIntended, Serial: storetest.Serial(3)})
		do(tx.InsertDownload(second, items))
		order.State = policy.OrderInstalled
		do(tx.Orders.PutOrder(order))
		for n := byte(1); n <= 5; n++ {
			in, c := storetest.Intent(n), storetest.Certificate(n)
			if n == 3 || n == 4 {
				in.Download, c.Download = "dl_b", "dl_b"
			}
			do(tx.InsertIntent(in))
			switch n {
			case 1, 2, 4:
				do(tx.SettleIntent(in.Serial, in.Owner, issue.IntentSigned, storetest.T0))
				do(tx.InsertCertificate(c))
			case 5:
				do(tx.SettleIntent(in.Serial, in.Owner, issue.IntentAbandoned, storetest.T0))
			}
		}
		do(tx.PutStanding(storetest.Standing(1, issue.Current)))
		do(tx.PutStanding(storetest.Standing(4, issue.Pending)))
		for _, n := range []byte{2, 5} {
			do(tx.Revocations.InsertRevocation(storetest.Entry(n, 1)))
			do(tx.Events.Append(storetest.Event(storetest.EventID(n, 1))))
		}
		return errors.Join(errs...)
	})
}

// incident: a second card, logged in with certificate 2, which is revoked, proved
// that it has the key of certificate 1, which stands.
func incident(tx *download.Tx) error {
	i := storetest.Incident(1)
	if _, err := issue.Compromised(&tx.Tx.Tx.Tx, i.Fingerprint, issue.ByIncident, "card:x", storetest.T0); err != nil {
		return err
	}
	return errors.Join(tx.Queue(issue.Queued{Certificate: ca.Fingerprint{2}, Fingerprint: i.Fingerprint, By: "card:x", QueuedAt: storetest.T0}),
		tx.InsertIncident(i, []issue.Involved{{Certificate: ca.Fingerprint{1}, Role: issue.Carries}, {Certificate: ca.Fingerprint{2}, Role: issue.LogIn}}))
}

// stated is a statement of an act about a subject.
func stated(act, subject string) *register.Statement {
	return &register.Statement{ID: "st_x", Act: act, Subject: subject, By: "per_a", Certificate: ca.Fingerprint{1}, Content: []byte("c"), Signature: []byte("s"), At: storetest.T0}
}

// roles gives a person one role by the founding, and another by a statement about
// an organisation.
func roles(tx *download.Tx, about string) error {
	g := register.Grant{Person: "per_a", Organisation: "org_a", Role: policy.RoleAdministrator, GrantedAt: storetest.T0}
	reader := g
	reader.Role, reader.Statement = policy.RoleReader, "st_x"
	return errors.Join(tx.PutCeremony(&register.Ceremony{Organisation: "org_a", Officers: [2]ca.Fingerprint{{1}, {2}}, OfficerNames: [2]string{"a", "b"},
		Administrators: [2]policy.PersonID{"per_a", ""}}), tx.InsertGrant(g), tx.InsertStatement(stated("role.grant", about)), tx.InsertGrant(reader))
}

// checkCase is what is done to the world, and what is found then.
type checkCase struct {
	name string
	fn   func(*download.Tx) error
	sql  string
	want []string
}

func TestCheck(t *testing.T) {
	serial := func(n byte) string { return storetest.Serial(n).String() }
	finger := func(n byte) string { return ca.Fingerprint{n}.String() }
	card := string(storetest.Card().Number)
	revoke := func(n byte) func(*download.Tx) error {
		return func(tx *download.Tx) error {
			e := storetest.Entry(n, 1)
			return errors.Join(tx.Revocations.InsertRevocation(e), tx.Events.Append(storetest.Event(e.Event)))
		}
	}
	cases := []checkCase{
		{name: "nothing"},
		{name: "current revoked", fn: revoke(1), want: []string{"standing.revoked: " + finger(1) + " " + serial(1)}},
		{name: "open intent revoked", fn: revoke(3), want: []string{"intent.revoked: " + serial(3)}},
		{name: "two at a place", sql: `DROP INDEX standings_place; UPDATE standings SET kind = 'current'`,
			want: []string{"standing.twice: " + card + " authentication current org_a hsa-id"}},
		{name: "place of another", sql: `UPDATE standings SET slot = 'signing' WHERE kind = 'current'`, want: []string{"standing.place: " + finger(1), "standing.signing: " + finger(1) + " " + card}},
		{name: "signing without its eID", sql: `UPDATE standings SET slot = 'signing', id_kind = 'person-id' WHERE kind = 'pending'`,
			want: []string{"standing.place: " + finger(4), "standing.signing-pending: " + finger(4) + " " + card}},
		{name: "blocked card", sql: `UPDATE cards SET state = 'blocked'`, want: []string{"standing.card: " + finger(1) + " " + card + " blocked"}},
		{name: "locked card", sql: `UPDATE cards SET state = 'locked'`},
		{name: "pending of an ended download", sql: `UPDATE downloads SET state = 'lapsed', ended_at = 1 WHERE id = 'dl_b'`,
			want: []string{"intent.download: " + serial(3) + " dl_b", "standing.pending: " + finger(4) + " " + card + " dl_b"}},
		{name: "certificate without intent", sql: `DELETE FROM intents WHERE card IS NOT NULL AND serial = (SELECT serial FROM certificates WHERE stored_at = (SELECT max(stored_at) FROM certificates))`,
			want: []string{"certificate.intent: " + serial(4) + " -", "item.intent: dl_b authentication " + serial(4)}},
		{name: "certificate of an open intent", sql: `UPDATE intents SET state = 'open', settled_at = NULL WHERE download = 'dl_b'`,
			want: []string{"certificate.intent: " + serial(4) + " open"}},
		{name: "certificate of another intent", sql: `UPDATE certificates SET partition = 7 WHERE download = 'dl_b'`, want: []string{"certificate.differs: " + serial(4)}},
		{name: "certificate for another", sql: `UPDATE certificates SET person = NULL WHERE download = 'dl_b'`, want: []string{"certificate.differs: " + serial(4)}},
		{name: "certificate forgotten", sql: `DELETE FROM standings WHERE kind = 'current'`, want: []string{"certificate.stray: " + serial(1) + " " + card}},
		{name: "superseding forgotten", sql: `DELETE FROM revocations WHERE event = '` + storetest.EventID(2, 1) + `'`, want: []string{"certificate.stray: " + serial(2) + " " + card}},
		{name: "signature lost", sql: `UPDATE intents SET state = 'signed', settled_at = 1 WHERE state = 'open'`,
			want: []string{"intent.certificate: " + serial(3), "item.intent: dl_b signing " + serial(3)}},
		{name: "abandoned and alive", sql: `DELETE FROM revocations WHERE event = '` + storetest.EventID(5, 1) + `'`, want: []string{"intent.abandoned: " + serial(5)}},
		{name: "installed in part", sql: `UPDATE items SET state = 'signed' WHERE download = 'dl_a'`, want: []string{"download.items: dl_a authentication signed"}},
		{name: "installed without items", sql: `DELETE FROM items WHERE download = 'dl_a'`, want: []string{"download.items: dl_a - -"}},
		{name: "item of another certificate", sql: `UPDATE items SET certificate = (SELECT certificate FROM items WHERE download = 'dl_a') WHERE slot = 'authentication' AND download = 'dl_b'`,
			want: []string{"item.certificate: dl_b authentication " + finger(1)}},
		{name: "order without certificate", sql: `UPDATE certificates SET order_id = NULL; UPDATE intents SET order_id = NULL`, want: []string{"order.certificate: ord_a"}},
		{name: "untold revocation", sql: `UPDATE revocations SET event = 'evt_x' WHERE event = '` + storetest.EventID(5, 1) + `'`, want: []string{"revocation.event: " + serial(5) + " 1 evt_x"}},
		{name: "revocation without line", sql: `UPDATE revocations SET line = NULL WHERE event = '` + storetest.EventID(5, 1) + `'`, want: []string{"revocation.line: " + serial(5) + " 1"}},
		{name: "another's line", sql: `UPDATE revocations SET line = (SELECT line FROM revocations r WHERE r.event = '` + storetest.EventID(2, 1) + `') WHERE event = '` + storetest.EventID(5, 1) + `'`,
			want: []string{"revocation.line: " + serial(5) + " 1"}},
		{name: "moved revocation", fn: func(tx *download.Tx) error {
			e := storetest.Entry(5, 2)
			e.At = e.At.Add(time.Second)
			return errors.Join(tx.Revocations.InsertRevocation(e), tx.Events.Append(storetest.Event(e.Event)))
		}, want: []string{"revocation.version: " + serial(5) + " 2"}},
		{name: "blocked and queued", fn: func(tx *download.Tx) error {
			_, err := issue.Compromised(&tx.Tx.Tx.Tx, ca.KeyFingerprint{1}, issue.ByProof, "per_a", storetest.T0)
			return err
		}},
		{name: "blocked and forgotten", fn: func(tx *download.Tx) error {
			return tx.BlockKey(issue.BlockedKey{Fingerprint: ca.KeyFingerprint{4}, Cause: issue.ByProof, By: "per_a", At: storetest.T0})
		}, want: []string{"key.standing: 04" + strings.Repeat("00", 31) + " " + finger(4)}},
		{name: "queue settled and not revoked", fn: func(tx *download.Tx) error {
			_, err := issue.Compromised(&tx.Tx.Tx.Tx, ca.KeyFingerprint{1}, issue.ByProof, "per_a", storetest.T0)
			return errors.Join(err, tx.SettleQueued(ca.Fingerprint{1}, storetest.T0))
		}, want: []string{"key.standing: 01" + strings.Repeat("00", 31) + " " + finger(1), "queue.done: " + finger(1) + " " + serial(1)}},
		{name: "incident of both", fn: incident},
		{name: "incident of revoked and queued", fn: incident, sql: `DELETE FROM queued_revocations WHERE certificate = (SELECT certificate FROM incident_certificates WHERE role = 'login')`},
		{name: "incident not dealt with", fn: incident, sql: `DELETE FROM queued_revocations`,
			want: []string{"incident.certificate: inc_b " + finger(1), "key.standing: 01" + strings.Repeat("00", 31) + " " + finger(1)}},
		{name: "incident of no certificate", fn: incident, sql: `DELETE FROM incident_certificates; DELETE FROM queued_revocations; DELETE FROM blocked_keys`,
			want: []string{"incident.key: inc_b 01" + strings.Repeat("00", 31)}},
		{name: "roles of the founding and by statement", fn: func(tx *download.Tx) error { return roles(tx, "org_a") }},
		{name: "role without statement", fn: func(tx *download.Tx) error { return roles(tx, "org_a") },
			sql:  `UPDATE ceremony SET administrator_1 = NULL; UPDATE statements SET act = 'order.place'`,
			want: []string{"grant.statement: per_a org_a administrator", "grant.statement: per_a org_a reader"}},
		{name: "role by a statement about another", fn: func(tx *download.Tx) error { return roles(tx, "org_b") }, want: []string{"grant.statement: per_a org_a reader"}},
		{name: "switch by statement", fn: func(tx *download.Tx) error {
			return errors.Join(tx.SetSigningAllowed("org_a", true), tx.InsertStatement(stated("organisation.signing", "org_a")))
		}},
		{name: "switch without statement", fn: func(tx *download.Tx) error { return tx.SetSigningAllowed("org_a", true) }, want: []string{"organisation.signing: org_a"}},
		{name: "gap", sql: `UPDATE events SET number = 2, hash = leaf WHERE id = '` + storetest.EventID(5, 1) + `'`, want: []string{"chain.gap: 1 2"}},
	}
	cases = append(append(cases, erasedCases()...), massCases()...)
	proved := make(map[string]bool)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, db *store.DB) {
				world(t, db)
				if c.fn != nil {
					if err := db.Downloads().Update(t.Context(), c.fn); err != nil {
						t.Fatal(err)
					}
				}
				for _, s := range strings.Split(c.sql, "; ") {
					if s != "" {
						db.Exec(t, s)
					}
				}
				if got := violations(t, db); !slices.Equal(got, c.want) {
					t.Errorf("violations:\n got %q\nwant %q", got, c.want)
				}
				for _, w := range c.want {
					code, _, _ := strings.Cut(w, ":")
					proved[code] = true
				}
			})
		})
	}
	for _, code := range store.CheckCodes() {
		if !proved[code] && !strings.HasPrefix(code, "file.") {
			t.Errorf("no case has %s", code)
		}
	}
}

// A certificate that has expired may stand where it stood.
func TestCheckKnowsExpiry(t *testing.T) {
	now := storetest.T0
	db := storetest.New(t, store.Config{URL: "sqlite:" + t.TempDir() + "/x.db", Now: func() time.Time { return now }})
	world(t, db)
	db.Exec(t, `DELETE FROM standings WHERE kind = 'current'`)
	if got := violations(t, db); len(got) != 1 {
		t.Errorf("before expiry: %q", got)
	}
	now = storetest.Intent(1).NotAfter
	if got := violations(t, db); len(got) != 0 {
		t.Errorf("after expiry: %q", got)
	}
}
