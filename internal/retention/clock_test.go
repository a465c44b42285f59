package retention_test

import (
	"errors"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/retention"
	"sigill/orders/issue"
)

// A clock is believed when the log has borne it out for 45 days, and not for having
// been believed by those who recorded something under it.
func TestClockThatJumpedIsNotBelieved(t *testing.T) {
	const day = 24 * time.Hour
	s := lived(t)
	begun := s.Now()
	record := func(at time.Time) {
		t.Helper()
		err := s.Store.Issue().Update(t.Context(), func(tx *issue.Tx) error {
			return tx.Events.Append(issue.NewEvent(audit.ClockChecked, at, "system", issue.F("result", "unknown")))
		})
		if err != nil {
			t.Fatal(err)
		}
		s.sequence()
	}
	believed := func(now time.Time) bool {
		t.Helper()
		err := retention.Believe(t.Context(), s.Store.Audit(), now)
		if err != nil && !errors.Is(err, retention.ErrClock) {
			t.Fatal(err)
		}
		return err == nil
	}
	jumped := begun.AddDate(11, 0, 0)
	for _, c := range []struct {
		name    string
		record  time.Time // if set, something is recorded first
		now     time.Time
		believe bool
	}{
		{"new", time.Time{}, begun, true},
		{"a quiet month", time.Time{}, begun.Add(40 * day), true},
		{"a quiet quarter", time.Time{}, begun.Add(91 * day), false},
		{"ahead by eleven years", time.Time{}, jumped, false},
		{"started again", jumped, jumped.Add(time.Hour), false},
		{"a month later", jumped.Add(30 * day), jumped.Add(30 * day), false},
		{"seven weeks later", time.Time{}, jumped.Add(50 * day), true},
	} {
		if !c.record.IsZero() {
			record(c.record)
		}
		if got := believed(c.now); got != c.believe {
			t.Errorf("%s: believed %t", c.name, got)
		}
	}
}
