package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sigill/internal/mode"
	"sigill/internal/service"
	"sigill/internal/store"
	small "sigill/internal/world"
	"sigill/orders/register"
	"sigill/policy"
)

// A disk that is full in the middle of a download: issuing stops by rule at once,
// a card is blocked with the space that was kept for that, and when there is room
// again the download goes on from where it stopped.
func TestFullDiskKeepsRevoking(t *testing.T) {
	ctx := t.Context()
	cfg := store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "sigill.db")}
	if err := store.Create(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	const first = 1500 // pages
	db, err := store.OpenWithPages(ctx, cfg, first)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var skew atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	reserve := &pages{t: t, db: db, held: true}
	k, err := mode.New(mode.Config{Dir: t.TempDir(), Full: store.IsFull, Log: slog.New(slog.DiscardHandler), Now: now,
		Disk: mode.Disk{Paths: []string{"/"}, Free: func(string) (uint64, error) { return 1 << 30, nil }, StopBelow: 1 << 20, Reserve: reserve, ReserveSize: 1 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	stores := service.Stores{Downloads: mode.Watch(k, db.Downloads()), Orders: mode.Watch(k, db.Orders()),
		Register: mode.Watch(k, db.Register()), Issue: mode.Watch(k, db.Issue())}
	w, err := small.New(ctx, small.Config{Stores: stores, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	w.Downloads.Gate = k.MayIssue
	lost, other, h := holder(t, w), holder(t, w), holder(t, w)
	order, waits := renewal(t, w, h), renewal(t, w, other)
	st, err := w.Begin(ctx, h, order)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db)
	if k.MayIssue(small.PersonCA).Allow {
		// The filling went past the watch; the next write finds no room.
		if _, err := w.Submit(ctx, h, st); !store.IsFull(err) {
			t.Fatalf("Submit on a full disk: %v", err)
		}
	}
	if reserve.held {
		t.Fatal("the reserve was not given back")
	}

	// Nothing new; by rule, and without a record that would need room.
	_, err = w.Begin(ctx, other, waits)
	if r, ok := errors.AsType[*policy.Refusal](err); !ok || r.Rule != policy.ServiceRevokeOnly {
		t.Fatalf("Begin on a full disk: %v", err)
	}
	if _, err = w.Submit(ctx, h, st); err == nil {
		t.Fatal("a certificate was issued on a full disk")
	}

	// But taking back.
	c, err := w.Login(ctx, lost)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Downloads.BlockCard(ctx, c, lost.Card, "lost"); err != nil {
		t.Fatalf("blocking a card on a full disk: %v", err)
	}
	if _, err := w.Login(ctx, lost); err == nil {
		t.Fatal("a blocked card logs in")
	}

	// There is room again.
	db.GrowTo(t, 10*first)
	k.Look(ctx)
	if k.MayIssue(small.PersonCA).Allow {
		t.Error("issuing goes on at once, although a write just found no room")
	}
	skew.Add(int64(time.Minute))
	k.Look(ctx)
	if d := k.MayIssue(small.PersonCA); !d.Allow || !reserve.held {
		t.Fatalf("there is room: %+v, reserve %t", d, reserve.held)
	}
	if _, err := w.Downloads.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.Resume(ctx, h, order); err != nil {
		t.Fatalf("the interrupted download does not go on: %v", err)
	}
	if h.Certificate().Order != order {
		t.Error("the holder has the old eID")
	}
	if err := w.Fetch(ctx, other, waits); err != nil {
		t.Errorf("the next download: %v", err)
	}
	if err := db.Check(ctx, func(v store.Violation) { t.Errorf("violation: %v", v) }); err != nil {
		t.Fatal(err)
	}
}

// pages is a reserve of space made of pages that the database may not use.
type pages struct {
	t    *testing.T
	db   *store.DB
	held bool
}

func (p *pages) Held() bool  { return p.held }
func (p *pages) Make() error { p.held = true; return nil }
func (p *pages) Release() error {
	p.held = false
	// The store may be in the middle of passing its writer on: as the file
	// system would, the room is there when the next one writes.
	p.db.GrowTo(p.t, p.db.Pages(p.t)+64)
	return nil
}

// fill writes until there is no room, behind everybody's back.
func fill(t *testing.T, db *store.DB) {
	t.Helper()
	for _, size := range []int{100, 1} { // rows of many, then of few pages
		for i := 0; ; i++ {
			err := db.Register().Update(t.Context(), func(tx *register.Tx) error {
				for j := range size {
					row := register.Idempotency{Caller: "per_1", Operation: fmt.Sprintf("fill %d", size), Key: fmt.Sprintf("%01000d", i*size+j), Result: "r", At: time.UnixMicro(1)}
					if err := tx.InsertIdempotency(row); err != nil {
						return err
					}
				}
				return nil
			})
			if store.IsFull(err) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func holder(t *testing.T, w *small.World) *small.Holder {
	t.Helper()
	h, err := w.NewHolderWithEID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func renewal(t *testing.T, w *small.World, h *small.Holder) policy.OrderID {
	t.Helper()
	id, err := w.Order(t.Context(), h, policy.OrderRenewal)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestIsFull(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		full bool
	}{
		"nothing":            {nil, false},
		"another":            {errors.New("disk full"), false},
		"of the system":      {fmt.Errorf("writing: %w", syscall.ENOSPC), true},
		"PostgreSQL's":       {fmt.Errorf("commit: %w", &pgconn.PgError{Code: "53100"}), true},
		"PostgreSQL's other": {&pgconn.PgError{Code: "53200"}, false},
		"of unknown outcome": {fmt.Errorf("%w: %w", store.ErrOutcomeUnknown, syscall.ENOSPC), true},
	} {
		if got := store.IsFull(c.err); got != c.full {
			t.Errorf("%s: IsFull = %t", name, got)
		}
	}
}
