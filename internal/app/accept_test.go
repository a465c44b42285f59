package app

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/keep"
)

// TestEmptiedPlaceAfterARestore: who restores a database and empties the place that would
// tell does not have it believed. Who replaces a place says so, while it is served, and
// the log of acts tells of it.
func TestEmptiedPlaceAfterARestore(t *testing.T) {
	at := t.TempDir()
	b := newBackup(t, fmt.Sprintf("\n  keep: {elsewhere: {directory: %q}}\n", at))
	b.serve()
	b.stop()
	old := t.TempDir()
	b.copyDatabase(old)
	b.serve()
	b.holder()
	b.stop()

	b.restore(old)
	another := t.TempDir()
	b.configure(at, another)
	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Unasked || !errors.Is(why, keep.ErrForgotten) {
		t.Fatalf("with the place emptied it is %s, %v", state, why)
	}
	if _, ready := get(t, b.at.Ops+"/readyz"); !strings.Contains(ready, "sigill log accept") {
		t.Errorf("readyz: %s", ready)
	}
	if files, err := filepath.Glob(filepath.Join(another, "log", "*", "*")); err != nil || len(files) > 0 {
		t.Errorf("it was filled: %v, %v", files, err)
	}
	o := AcceptOptions{Place: "nowhere", Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if _, err := AcceptPlace(t.Context(), b.dir, o); err == nil {
		t.Error("a place that nobody names was accepted")
	}
	o.Place = "elsewhere"
	if told, err := AcceptPlace(t.Context(), b.dir, o); err != nil || told.Done || told.Had[audit.ActTree] == 0 || told.Has[audit.ActTree] != 0 {
		t.Errorf("told %+v, %v", told, err)
	}
	o.Do = true
	done, err := AcceptPlace(t.Context(), b.dir, o)
	b.must(err)
	if !done.Done {
		t.Errorf("%+v", done)
	}
	b.eventually("it is trusted", func() bool { return !b.app.held() })
	b.eventually("the place has heads", func() bool {
		files, _ := filepath.Glob(filepath.Join(another, "log", "*", "*"))
		return len(files) > 0
	})
	b.stop()
	if _, err := AcceptPlace(t.Context(), b.dir, o); err == nil {
		t.Error("a place that knows everything was accepted")
	}
	if !slices.Contains(b.acts(), audit.LogAccepted) {
		t.Error("no act tells of it")
	}
}
