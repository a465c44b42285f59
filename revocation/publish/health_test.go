package publish_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/revtest"
)

// What an operator is told of lists that do not come.
func TestHealth(t *testing.T) {
	b := newBench(t)
	start := revtest.Start
	worry := func(at time.Time) string { return b.p.Health().Worry(at) }
	if w := worry(start); w != "" {
		t.Errorf("before the first pass: %q", w)
	}
	b.publish(start, 2)
	if h := b.p.Health(); worry(start.Add(30*time.Second)) != "" || !h.Ends.Equal(start.Add(24*time.Hour)) || !h.Behind.IsZero() {
		t.Errorf("%+v: %s", h, worry(start))
	}
	if w := worry(start.Add(2 * time.Minute)); !strings.Contains(w, "last looked at ") {
		t.Errorf("a publisher that hangs: %q", w)
	}
	// A key that refuses, and a revocation that waits for it.
	b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	b.key.Fail(errGone)
	for _, after := range []time.Duration{time.Minute, 90 * time.Second, 150 * time.Second} {
		if _, err := b.p.Publish(t.Context(), start.Add(after)); !errors.Is(err, errGone) {
			t.Fatalf("Publish = %v", err)
		}
	}
	if h := b.p.Health(); h.Behind.Sub(start.Add(time.Minute)).Truncate(time.Second) != 0 || len(h.Trouble) != 1 {
		t.Errorf("%+v", h)
	}
	if w := worry(start.Add(151 * time.Second)); !strings.Contains(w, "lacked a revocation for 1m") || !strings.Contains(w, errGone.Error()) {
		t.Errorf("a list that lacks a revocation: %q", w)
	}
	b.key.Fail(nil)
	b.publish(start.Add(5*time.Minute), 1)
	if h := b.p.Health(); !h.Behind.IsZero() || len(h.Trouble) != 0 || worry(start.Add(5*time.Minute)) != "" {
		t.Errorf("mended: %+v", h)
	}
	// Half of a life has passed and nothing comes.
	b.key.Fail(errGone)
	late := start.Add(12*time.Hour + 15*time.Minute)
	if _, err := b.p.Publish(t.Context(), late); err == nil {
		t.Fatal("published")
	}
	if w := worry(late); !strings.Contains(w, "due at half of its life") {
		t.Errorf("a list past half of its life: %q", w)
	}
}

// What is public may be nothing that relying parties take, and nobody writes over it:
// somebody has to be told, though no revocation waits.
func TestStuckListIsAWorry(t *testing.T) {
	b := newBench(t)
	start := revtest.Start
	b.publish(start, 2)
	good, err := os.ReadFile(b.path(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path(0), append(slices.Clone(good), "xx"...), 0o644); err != nil {
		t.Fatal(err)
	}
	worry := func(after time.Duration) string {
		_, err := b.p.Publish(t.Context(), start.Add(after))
		t.Logf("%v: %v", after, err)
		return b.p.Health().Worry(start.Add(after))
	}
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{10 * time.Minute, false}, {11*time.Minute + 30*time.Second, false}, {13 * time.Minute, true}} {
		if w := worry(c.after); strings.Contains(w, "could not be published for") != c.want {
			t.Errorf("after %v: %q", c.after, w)
		}
	}
	if err := os.WriteFile(b.path(0), good, 0o644); err != nil {
		t.Fatal(err)
	}
	if w := worry(20 * time.Minute); w != "" {
		t.Errorf("in its place again: %q", w)
	}
}

// What was published before there were others to share it with is published for them.
func TestListsOfBeforeAreShared(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	b.restart()
	b.p.Leader = func(context.Context) (bool, error) { return true, nil }
	b.publish(revtest.Start.Add(time.Minute), 2)
	b.publish(revtest.Start.Add(2*time.Minute), 0)
	other := &bench{t: t, Store: b.Store, issuer: b.issuer, key: b.key, dir: t.TempDir()}
	other.restart()
	other.p.Leader = func(context.Context) (bool, error) { return false, nil }
	other.publish(revtest.Start.Add(3*time.Minute), 0)
	if other.number(0) != 2 || other.number(1) != 2 {
		t.Error("the other process has not the same lists")
	}
}
