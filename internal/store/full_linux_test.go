package store_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sigill/internal/mode"
	"sigill/internal/service"
	"sigill/internal/store"
	small "sigill/internal/world"
	"sigill/policy"
)

// A real file system that somebody else fills to the last octet: the errors that
// SQLite makes of it are understood, and the reserve is room enough to block a
// card. It needs the right to mount one.
func TestFullFileSystemKeepsRevoking(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("no file system of a known size can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	db, err := small.OpenStore(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var skew atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	reserve := mode.File{Path: filepath.Join(dir, "disk.reserve"), Size: 4 << 20}
	k, err := mode.New(mode.Config{Dir: dir, Full: store.IsFull, Log: slog.New(slog.DiscardHandler), Now: now,
		Disk: mode.Disk{Paths: []string{dir}, Free: mode.Free, StopBelow: 8 << 20, Reserve: reserve, ReserveSize: reserve.Size}})
	if err != nil {
		t.Fatal(err)
	}
	k.Look(ctx)
	if !reserve.Held() {
		t.Fatal("the reserve was not taken")
	}
	stores := service.Stores{Downloads: mode.Watch(k, db.Downloads()), Orders: mode.Watch(k, db.Orders()),
		Register: mode.Watch(k, db.Register()), Issue: mode.Watch(k, db.Issue())}
	w, err := small.New(ctx, small.Config{Stores: stores, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	w.Downloads.Gate = k.MayIssue
	lost := holder(t, w)
	var holders []*small.Holder
	var orders []policy.OrderID
	for range 60 {
		h := holder(t, w)
		holders, orders = append(holders, h), append(orders, renewal(t, w, h))
	}
	others := filepath.Join(dir, "others")
	occupy(t, others)

	// Room that the log has already is used first; sooner or later there is none.
	at := -1
	for i, h := range holders {
		if err := w.Fetch(ctx, h, orders[i]); store.IsFull(err) {
			at = i
			break
		} else if err != nil {
			t.Fatalf("on a full disk, an error that is not understood: %v", err)
		}
	}
	if at < 0 {
		t.Fatal("the disk was never full")
	}
	if k.Modes()[0] != policy.ModeDiskLow || reserve.Held() {
		t.Fatalf("modes %v, reserve %t", k.Modes(), reserve.Held())
	}
	last := len(holders) - 1
	if _, err := w.Begin(ctx, holders[last], orders[last]); !isRefusal(err, policy.ServiceRevokeOnly) {
		t.Errorf("Begin on a full disk: %v", err)
	}
	c, err := w.Login(ctx, lost)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Downloads.BlockCard(ctx, c, lost.Card, "lost"); err != nil {
		t.Fatalf("blocking a card on a full disk: %v", err)
	}

	if err := os.Remove(others); err != nil {
		t.Fatal(err)
	}
	skew.Add(int64(time.Minute))
	k.Look(ctx)
	if k.Modes()[0] != policy.ModeNormal || !reserve.Held() {
		t.Errorf("there is room: modes %v, reserve %t", k.Modes(), reserve.Held())
	}
	if _, err := w.Downloads.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.Resume(ctx, holders[at], orders[at]); err != nil {
		t.Errorf("the interrupted download does not go on: %v", err)
	}
	if err := db.Check(ctx, func(v store.Violation) { t.Errorf("violation: %v", v) }); err != nil {
		t.Fatal(err)
	}
}

func isRefusal(err error, rule policy.Rule) bool {
	r, ok := errors.AsType[*policy.Refusal](err)
	return ok && r.Rule == rule
}

// occupy takes all space that is left.
func occupy(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<16); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
