package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// testResults: what becomes of a closure's error, panic and cancelled context.
func testResults(t *testing.T, db *store.DB) {
	own := errors.New("own")
	there := func(want bool) {
		t.Helper()
		view(t, db, func(tx *download.Tx) error {
			_, err := tx.Organisation("org_a")
			if (err == nil) != want {
				t.Errorf("the organisation is there: %v, want %v", err == nil, want)
			}
			return nil
		})
	}
	insert := func(tx *download.Tx) error { return tx.InsertOrganisation(Organisation()) }
	err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return errors.Join(insert(tx), own) })
	if !errors.Is(err, own) {
		t.Errorf("Update = %v, want the closure's error", err)
	}
	there(false)
	func() {
		defer func() {
			if r := recover(); r != own {
				t.Errorf("recovered %v, want %v", r, own)
			}
		}()
		db.Downloads().Update(t.Context(), func(tx *download.Tx) error { insert(tx); panic(own) })
	}()
	there(false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = db.Downloads().Update(ctx, func(tx *download.Tx) error { t.Error("ran"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want cancelled", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = db.Downloads().Update(ctx, func(tx *download.Tx) error { cancel(); return insert(tx) })
	if err != nil {
		t.Errorf("Update with a context that ended in it = %v", err)
	}
	there(true)
	// A write that is refused by a constraint is an error even if the closure
	// goes on, and nothing after it is written.
	err = db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
		o := Organisation()
		o.ID, o.Number, o.Parent = "org_b", "1", "org_x"
		tx.InsertOrganisation(o)
		o.Parent = ""
		tx.InsertOrganisation(o)
		return nil
	})
	if err == nil || errors.Is(err, store.ErrOutcomeUnknown) {
		t.Errorf("Update with a swallowed error = %v", err)
	}
	refused(t, db, issue.ErrNotFound, func(tx *download.Tx) error { _, err := tx.Organisation("org_b"); return err })
}

// testViews: a View sees one moment and cannot write.
func testViews(t *testing.T, db *store.DB) {
	view(t, db, func(tx *download.Tx) error {
		if _, err := tx.Organisation("org_a"); !errors.Is(err, issue.ErrNotFound) {
			t.Errorf("before: %v", err)
		}
		update(t, db, func(tx *download.Tx) error { return tx.InsertOrganisation(Organisation()) })
		if _, err := tx.Organisation("org_a"); !errors.Is(err, issue.ErrNotFound) {
			t.Errorf("a View saw a later commit: %v", err)
		}
		return nil
	})
	err := db.Downloads().View(t.Context(), func(tx *download.Tx) error {
		o := Organisation()
		o.ID, o.Number = "org_b", "1"
		return tx.InsertOrganisation(o)
	})
	if err == nil {
		t.Error("a View wrote")
	}
	own := errors.New("own")
	for range 20 { // more than there are connections
		if err := db.Downloads().View(t.Context(), func(tx *download.Tx) error { return own }); err != own {
			t.Errorf("View = %v, want the closure's error", err)
		}
		func() {
			defer func() { recover() }()
			db.Downloads().View(t.Context(), func(tx *download.Tx) error { panic(own) })
		}()
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = db.Downloads().View(ctx, func(tx *download.Tx) error { cancel(); _, err := tx.Organisation("org_a"); return err })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("View with a context that ended in it = %v", err)
	}
}

// testRaces: eight clients raise the version of one card; none is lost.
func testRaces(t *testing.T, db *store.DB) {
	With(t, db, nil)
	const clients, rounds = 8, 10
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for j := range rounds {
				err := db.Downloads().Update(context.Background(), func(tx *download.Tx) error {
					c, err := tx.Card(Card().Number)
					if err != nil {
						return err
					}
					if err := tx.MarkKey(issue.KeySeen{Fingerprint: ca.KeyFingerprint{1, byte(i), byte(j)}, Verdict: "admitted", SeenAt: T0}); err != nil {
						return err
					}
					c.Identity = fmt.Sprint(i)
					return tx.PutCard(c)
				})
				if err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	view(t, db, func(tx *download.Tx) error {
		c, err := tx.Card(Card().Number)
		same(t, c.Version, err, clients*rounds)
		return nil
	})
	// And for one place there is one winner; the losers are told so.
	won := make(chan int, clients)
	for i := range clients {
		wg.Go(func() {
			d, items := Download()
			d.ID = policy.DownloadID(fmt.Sprint("dl_", i))
			for _, item := range items {
				item.Download = d.ID
			}
			err := db.Downloads().Update(context.Background(), func(tx *download.Tx) error { return tx.InsertDownload(d, items) })
			if err == nil {
				won <- i
			} else if !isConflict(err) {
				t.Errorf("client %d: %v, want a conflict", i, err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d downloads of one card were begun", len(won))
	}
}

// testStates: each state that the domain knows fits the schema.
func testStates(t *testing.T, db *store.DB) {
	With(t, db, nil)
	try := func(what string, fn func(*download.Tx) error) {
		t.Helper()
		rolledBack := errors.New("rolled back")
		err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error { return cmp.Or(fn(tx), rolledBack) })
		if !errors.Is(err, rolledBack) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, s := range []policy.CardState{policy.CardOrdered, policy.CardSent, policy.CardActive, policy.CardLocked, policy.CardBlocked, policy.CardScrapped, policy.CardExpired} {
		try(string(s), func(tx *download.Tx) error { c := Card(); c.State = s; return tx.PutCard(c) })
	}
	for _, s := range []policy.OrderState{policy.OrderPlaced, policy.OrderApproved, policy.OrderInstalled, policy.OrderWithdrawn, policy.OrderRefused, policy.OrderExpired} {
		for _, typ := range []policy.OrderType{policy.OrderOrdinary, policy.OrderReserve3, policy.OrderReserve2, policy.OrderExtra, policy.OrderUpdate, policy.OrderRenewal} {
			try(string(s), func(tx *download.Tx) error {
				o := Order()
				o.ID, o.Type, o.State = "ord_b", typ, s
				if s == policy.OrderRefused {
					o.Rule = "r"
				}
				return tx.Orders.InsertOrder(o)
			})
		}
	}
	for _, s := range []policy.DownloadState{policy.DownloadPlanned, policy.DownloadInstalled, policy.DownloadAbandoned, policy.DownloadLapsed} {
		try(string(s), func(tx *download.Tx) error {
			d, items := Download()
			if d.State = s; s != policy.DownloadPlanned {
				d.EndedAt = T0
			}
			return tx.InsertDownload(d, items)
		})
	}
	for _, r := range []policy.Role{policy.RoleAdministrator, policy.RoleReserve, policy.RoleReader} {
		try(string(r), func(tx *download.Tx) error {
			return tx.InsertGrant(register.Grant{Person: "per_a", Organisation: "org_a", Role: r, GrantedAt: T0})
		})
	}
	for _, p := range []policy.Provenance{policy.Attested, policy.Personalised, policy.Session} {
		for _, k := range []policy.IDKind{policy.ByHSAID, policy.ByPersonNumber} {
			try(string(p), func(tx *download.Tx) error {
				in := Intent(1)
				in.Provenance, in.IDKind, in.LoA = p, k, 2
				return tx.InsertIntent(in)
			})
		}
	}
	for r := ca.Reason(0); r < 10; r++ {
		if strings.HasPrefix(r.String(), "reason(") {
			continue
		}
		try(r.String(), func(tx *download.Tx) error { e := Entry(1, 1); e.Reason = r; return tx.Revocations.InsertRevocation(e) })
	}
	testIncoherent(t, db)
}

// testIncoherent: what no state allows does not fit the schema.
func testIncoherent(t *testing.T, db *store.DB) {
	for what, fn := range map[string]func(*download.Tx) error{
		"active card without holder": func(tx *download.Tx) error { c := Card(); c.Holder = ""; return tx.PutCard(c) },
		"unknown card state":         func(tx *download.Tx) error { c := Card(); c.State = "lost"; return tx.PutCard(c) },
		"rule without refusal":       func(tx *download.Tx) error { o := Order(); o.Rule = "r"; return tx.Orders.PutOrder(o) },
		"LoA 4":                      func(tx *download.Tx) error { in := Intent(1); in.LoA = 4; return tx.InsertIntent(in) },
		"settled without time": func(tx *download.Tx) error {
			in := Intent(1)
			in.State = issue.IntentSigned
			return tx.InsertIntent(in)
		},
		"no serial": func(tx *download.Tx) error { in := Intent(1); in.Serial = ca.Serial{}; return tx.InsertIntent(in) },
		"no time":   func(tx *download.Tx) error { in := Intent(1); in.RecordedAt = time.Time{}; return tx.InsertIntent(in) },
		"installed without end": func(tx *download.Tx) error {
			d, i := Download()
			d.State = policy.DownloadInstalled
			return tx.InsertDownload(d, i)
		},
		"ended but open": func(tx *download.Tx) error { d, i := Download(); d.EndedAt = T0; return tx.InsertDownload(d, i) },
		"intended without serial": func(tx *download.Tx) error {
			d, i := Download()
			i[0].State = policy.ItemIntended
			return tx.InsertDownload(d, i)
		},
		"planned with serial": func(tx *download.Tx) error {
			d, i := Download()
			i[0].Serial = Serial(1)
			return tx.InsertDownload(d, i)
		},
		"signed without certificate": func(tx *download.Tx) error {
			d, i := Download()
			i[0].State, i[0].Serial = policy.ItemSigned, Serial(1)
			return tx.InsertDownload(d, i)
		},
		"standing of no certificate": func(tx *download.Tx) error { return tx.PutStanding(Standing(1, issue.Current)) },
		"version 0":                  func(tx *download.Tx) error { return tx.Revocations.InsertRevocation(Entry(1, 0)) },
	} {
		if err := db.Downloads().Update(t.Context(), fn); err == nil || errors.Is(err, issue.ErrConflict) {
			t.Errorf("%s: Update = %v, want a violated constraint", what, err)
		}
	}
}
