package app

import (
	"errors"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/clock"
	"sigill/internal/mode"
	"sigill/internal/retention"
	"sigill/orders/issue"
	"sigill/policy"
)

// What is due is erased by the service and by hand, reported, and told in the log; by
// hand only where nobody serves.
func TestRetention(t *testing.T) {
	dir := make1(t, "")
	later := func() time.Time { return time.Now().AddDate(2, 0, 0) }
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	// The first is due in two years, the others not; they bear out the clock of then.
	for _, now := range []time.Time{time.Now(), later().AddDate(0, 0, -50), later()} {
		err = a.DB.Issue().Update(t.Context(), func(tx *issue.Tx) error {
			return issue.Refused(tx, &policy.Refusal{Rule: policy.RoleMissing, Detail: "Åsa"}, audit.RequestRefused, "per_asa", now)
		})
		if err == nil {
			err = a.Sequencer.CatchUp(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, dry := range map[string]bool{"dry": true, "by hand": false} {
		report, err := Retain(t.Context(), dir, Retaining{Dry: dry}, later)
		if dry != (err == nil) {
			t.Errorf("%s beside who holds the installation: %v, %v", name, report, err)
		}
		if dry && report.Count() != 1 {
			t.Errorf("due are %v, want one", report)
		}
	}
	a.retainOnce(t.Context())
	if a.retained.erased.Load() != 0 || a.retained.at.Load() == 0 {
		t.Error("what is not due was erased")
	}
	a.now = later
	if _, err := mode.Begin(dir, mode.Notice{Begun: time.Now(), Until: later(), ReasonSV: "a", ReasonEN: "b"}); err != nil {
		t.Fatal(err)
	}
	a.Modes.Look(t.Context())
	a.retainOnce(t.Context()) // an outage of issuing is none of this
	if n := a.retained.erased.Load(); n != 1 || a.retained.failed.Load() {
		t.Errorf("%d erased, failed %t", n, a.retained.failed.Load())
	}
	if err := a.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum, err := audit.Verify(t.Context(), a.DB.Audit(), nil, func(f audit.Finding) { t.Errorf("the chain: %s", f) })
	if err != nil || sum.Bodies != 1 {
		t.Errorf("%d bodies are gone, %v", sum.Bodies, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	muchLater := func() time.Time { return later().AddDate(2, 0, 0) }
	if report, err := Retain(t.Context(), dir, Retaining{}, muchLater); !errors.Is(err, retention.ErrClock) || report.Count() != 0 {
		t.Errorf("by hand, by a clock that has jumped: %v, %v", report, err)
	}
	if report, err := Retain(t.Context(), dir, Retaining{ClockIsRight: true}, muchLater); err != nil || report.Count() != 2 {
		t.Errorf("by hand: %v, %v", report, err)
	}
}

// A clock that has jumped ahead by years erases nothing, and readiness's metrics tell,
// unless a server of time says that it is right.
func TestRetentionWaitsForTheClock(t *testing.T) {
	dir := make1(t, "")
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	err = a.DB.Issue().Update(t.Context(), func(tx *issue.Tx) error {
		return issue.Refused(tx, &policy.Refusal{Rule: policy.RoleMissing, Detail: "Åsa"}, audit.RequestRefused, "per_asa", time.Now())
	})
	if err == nil {
		err = a.Sequencer.CatchUp(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	a.now = func() time.Time { return time.Now().AddDate(2, 0, 0) }
	a.retainOnce(t.Context())
	if a.retained.erased.Load() != 0 || a.retained.at.Load() != 0 || !a.retained.failed.Load() {
		t.Errorf("%d erased, failed %t", a.retained.erased.Load(), a.retained.failed.Load())
	}
	for _, c := range []struct {
		result clock.Result
		good   bool
	}{{clock.Result{Verdict: clock.Good, Kernel: clock.KernelSynchronised}, false}, {clock.Result{Verdict: clock.Unanswered, Asked: 2}, false},
		{clock.Result{Verdict: clock.Far, Answered: 1}, false}, {clock.Result{Verdict: clock.Off, Answered: 1}, true}, {clock.Result{Verdict: clock.Good, Answered: 1}, true}} {
		if err := believeClock(t.Context(), c.result, a.DB, a.now()); (err == nil) != c.good {
			t.Errorf("%+v: %v", c.result, err)
		}
	}
}
