package register_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sigill/internal/statement"
	"sigill/internal/store"
	"sigill/internal/store/pgtest"
	"sigill/internal/world"
	"sigill/orders/register"
	"sigill/policy"
)

var postgres pgtest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	os.Exit(code)
}

// onBoth runs a test in a world over each database.
func onBoth(t *testing.T, test func(*testing.T, *world.World, *store.DB)) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "sigill.db") },
		"postgres": func(t *testing.T) string { return postgres.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := store.Config{URL: url(t)}
			if err := store.Create(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			db, err := store.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			w, err := world.New(t.Context(), world.Config{Stores: world.StoresOf(db)})
			if err != nil {
				t.Fatal(err)
			}
			test(t, w, db)
		})
	}
}

// atOnce runs calls at the same time and returns their errors.
func atOnce(calls ...func() error) []error {
	errs := make([]error, len(calls))
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, call := range calls {
		all.Go(func() {
			<-start
			errs[i] = call()
		})
	}
	close(start)
	all.Wait()
	return errs
}

func isRefusal(err error, rules ...policy.Rule) bool {
	refusal, ok := errors.AsType[*policy.Refusal](err)
	if !ok {
		return false
	}
	for _, r := range rules {
		if refusal.Rule == r {
			return true
		}
	}
	return false
}

// Two administrators who end each other at the same moment do not leave an
// organisation without one: each read that the other was there.
func TestAdministratorsEndEachOther(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world.World, db *store.DB) {
		ctx := t.Context()
		end := func(by, h *world.Holder) func() error {
			c, err := w.Login(ctx, by)
			if err != nil {
				t.Fatal(err)
			}
			return func() error {
				_, err := w.Register.EndRole(ctx, c, w.Org, h.Person, policy.RoleAdministrator)
				return err
			}
		}
		errs := atOnce(end(w.Admins[0], w.Admins[1]), end(w.Admins[1], w.Admins[0]))
		// Whose role was ended first has none any more.
		if (errs[0] == nil) == (errs[1] == nil) || !isRefusal(errors.Join(errs...), policy.RoleMissing, policy.RoleLast) {
			t.Errorf("%v", errs)
		}
		err := db.Register().View(ctx, func(tx *register.Tx) error {
			grants, err := tx.GrantsFor(w.Org)
			if len(grants) != 1 {
				t.Errorf("%d administrators are left", len(grants))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// The same founding sent many times at once founds one branch; another by the
// same number founds none.
func TestBranchesAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world.World, db *store.DB) {
		ctx := t.Context()
		var mu sync.Mutex
		ids := map[policy.OrganisationID]string{}
		create := func(name string, first, second *world.Holder) func() error {
			document, err := json.Marshal(register.Branch{Number: "5560001009", Name: name, Parent: w.Org})
			if err != nil {
				t.Fatal(err)
			}
			signed, err := w.StateAs(statement.Statement{Act: statement.ActBranch, Subject: register.BranchSubject("5560001009"), Content: register.HashOf(document)}, first, second)
			if err != nil {
				t.Fatal(err)
			}
			c, err := w.Login(ctx, first)
			if err != nil {
				t.Fatal(err)
			}
			return func() error {
				o, err := w.Register.CreateOrganisation(ctx, c, document, signed)
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					ids[o.ID] = o.Name
				}
				return err
			}
		}
		one, two := w.Admins[0], w.Admins[1]
		names := []string{"Folktandvården", "Folktandvården", "Folktandvården", "Trafiken", "Trafiken"}
		errs := atOnce(create(names[0], one, two), create(names[1], one, two), create(names[2], two, one), create(names[3], two, one), create(names[4], one, two))
		if len(ids) != 1 {
			t.Fatalf("%d organisations: %v, %v", len(ids), ids, errs)
		}
		var founded string
		for _, founded = range ids {
		}
		for i, err := range errs {
			if names[i] == founded && err != nil || names[i] != founded && !isRefusal(err, policy.OrganisationKnown) {
				t.Errorf("%s where %s was founded: %v", names[i], founded, err)
			}
		}
	})
}

// A switch that is turned on and off at once stands as one of the two says, and
// nobody gets an error of the database for an answer.
func TestSwitchTurnedAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world.World, db *store.DB) {
		var calls []func() error
		for i := range 6 {
			calls = append(calls, func() error { return w.SetSigning(t.Context(), w.Org, i%2 == 0) })
		}
		for i, err := range atOnce(calls...) {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if err := db.Check(t.Context(), func(v store.Violation) { t.Errorf("%v", v) }); err != nil {
			t.Fatal(err)
		}
	})
}
