package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/reconcile"
	"sigill/internal/store"
)

var errCut = errors.New("the process is gone")

// onceStore lets one transaction through, and then the process is gone: before it hears
// of that one's commit, or when it begins the next.
type onceStore struct {
	store.Scope[reconcile.Tx]
	deaf bool
	used bool
}

func (s *onceStore) Update(ctx context.Context, fn func(*reconcile.Tx) error) error {
	if s.used {
		return errCut
	}
	s.used = true
	if err := s.Scope.Update(ctx, fn); err != nil || !s.deaf {
		return err
	}
	return errCut
}

// step goes on with a reconciliation by one transaction, and reports whether there was
// nothing left but to finish.
func (b *backup) step(from string, deaf bool) bool {
	b.t.Helper()
	ctx := b.t.Context()
	in, err := openQuiet(ctx, b.dir, true)
	b.must(err)
	defer in.Close()
	o := ReconcileOptions{From: from, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	get, closing, err := copyOf(ctx, in, o)
	b.must(err)
	defer closing()
	source, err := reconcile.OpenSource(ctx, get, in.logs())
	b.must(err)
	var issuers []reconcile.Issuer
	for _, each := range in.hierarchy.Issuers {
		issuers = append(issuers, reconcile.Issuer{ID: each.ID, Certificate: each.Certificate})
	}
	r, err := reconcile.New(reconcile.Config{Store: &onceStore{Scope: in.db.Reconcile(), deaf: deaf}, Source: source, Issuers: issuers,
		Partitions: in.config.Partitions, Now: time.Now, Batch: 3})
	b.must(err)
	plan, err := r.Plan(ctx)
	b.must(err)
	err = r.Run(ctx, nil)
	if err != nil && !errors.Is(err, errCut) {
		b.t.Fatal(err)
	}
	return plan.Nothing()
}

// TestReconcileCutOff: the process that takes over is killed after each of its
// transactions, in both ways; in the end all is as if it had not been.
func TestReconcileCutOff(t *testing.T) {
	b := newBackup(t, "\n  keep: {}\n")
	b.serve()
	l := b.before()
	b.stop()
	old, last := t.TempDir(), filepath.Join(t.TempDir(), "last")
	b.copyDatabase(old)
	b.serve()
	b.after(l)
	b.stop()
	copyTree(t, b.dir, last)
	everything, wasRevoked := book(t, filepath.Join(last, "sigill.db"))
	known, _ := book(t, filepath.Join(old, "sigill.db"))
	theirs := (&backup{t: t, dir: last}).acts()

	for _, deaf := range []bool{false, true} {
		b.restore(old)
		steps := 1
		for ; !b.step(last, deaf); steps++ {
			if steps > 1000 {
				t.Fatal("it never comes to an end")
			}
		}
		b.step(last, false)
		if steps < 20 {
			t.Errorf("it took %d transactions only", steps)
		}
		b.sound()
		is, revoked := book(t, filepath.Join(b.dir, "sigill.db"))
		for serial := range everything {
			_, isRevoked := revoked[serial]
			r, was := wasRevoked[serial]
			switch {
			case is[serial] == nil:
				t.Errorf("serial %s is unknown", serial)
			case (was || known[serial] == nil) && !isRevoked:
				t.Errorf("serial %s is not revoked", serial)
			case was && (!revoked[serial].At.Equal(r.At) || revoked[serial].Reason != r.Reason || revoked[serial].Event != r.Event):
				t.Errorf("serial %s is revoked by %+v, was by %+v", serial, revoked[serial], r)
			case !was && known[serial] != nil && isRevoked:
				t.Errorf("serial %s is revoked for nothing: %+v", serial, revoked[serial])
			}
		}
		if ours := b.acts(); !slices.Equal(ours, theirs) {
			t.Errorf("%d acts are here, the copy has %d", len(ours), len(theirs))
		}
		reconciled := 0
		db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(b.dir, "sigill.db")})
		b.must(err)
		b.must(db.Audit().View(t.Context(), func(tx *audit.Tx) error {
			reconciled = 0
			events, err := tx.Unnumbered(1000)
			for _, e := range events {
				if e.Act == audit.LogReconciled {
					reconciled++
				}
			}
			return err
		}))
		b.must(db.Close())
		if reconciled != 1 {
			t.Errorf("it is told %d times", reconciled)
		}
	}
}
