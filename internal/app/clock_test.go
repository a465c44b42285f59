package app

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/clock/clocktest"
	"sigill/policy"
)

// A clock that is set back while the service runs stops issuing until it has caught up,
// and nothing that takes back.
func TestClockSetBackWhileServing(t *testing.T) {
	var skew atomic.Int64
	a, err := open(t, make1(t, ""), func() time.Time { return time.Now().Add(time.Duration(skew.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	readiness := func() string {
		w := httptest.NewRecorder()
		a.ready(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Body.String()
	}
	for _, step := range []struct {
		skew time.Duration
		rule policy.Rule
	}{{0, ""}, {-time.Hour, policy.ClockBackwards}, {-time.Minute, policy.ClockBackwards}, {time.Second, ""}, {time.Hour, ""}, {0, policy.ClockBackwards}} {
		skew.Store(int64(step.skew))
		for work, rule := range map[policy.Work]policy.Rule{policy.WorkIssue: step.rule, policy.WorkRevoke: "", policy.WorkConfirm: "", policy.WorkChange: ""} {
			if d := a.Modes.MayWork(work); d.Rule != rule {
				t.Errorf("at %v %s: %+v, want %q", step.skew, work, d, rule)
			}
		}
		if d := a.Downloads.Gate(a.Hierarchy.Issuers[0].ID); d.Rule != step.rule {
			t.Errorf("at %v the gate of downloads: %+v", step.skew, d)
		}
		if told := strings.Contains(readiness(), "set back"); told != (step.rule != "") {
			t.Errorf("at %v readiness: %s", step.skew, readiness())
		}
	}
}

// A clock that servers of time contradict is told by readiness and doctor; by more than
// a minute, nothing is issued. What was found is an event.
func TestClockIsCompared(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration
		rule  policy.Rule
		grade Grade
		text  string
	}{
		"right":    {0, "", Green, ""},
		"off":      {30 * time.Second, "", Yellow, "the clock is off by"},
		"far off":  {-time.Hour, policy.ClockOffset, Red, "the clock is off by"},
		"far back": {time.Hour, policy.ClockOffset, Red, "the clock is off by"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := make1(t, "")
			source := clocktest.Server(t, c.ahead, true)
			file := filepath.Join(dir, "sigill.yaml")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text = []byte(strings.Replace(string(text), "sources: []", `sources: ["`+source+`"]`, 1))
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := open(t, dir, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			a.clock.Check(t.Context())
			if d := a.Modes.MayWork(policy.WorkIssue); d.Rule != c.rule {
				t.Errorf("issuing: %+v, want %q", d, c.rule)
			}
			if d := a.Modes.MayWork(policy.WorkRevoke); !d.Allow {
				t.Errorf("revoking: %+v", d)
			}
			w := httptest.NewRecorder()
			a.ready(w, httptest.NewRequest("GET", "/readyz", nil))
			if told := strings.Contains(w.Body.String(), "the clock"); told != (c.text != "") || !strings.Contains(w.Body.String(), c.text) {
				t.Errorf("readiness: %s", w.Body)
			}
			told := 0
			err = a.DB.Audit().View(t.Context(), func(tx *audit.Tx) error {
				told = 0
				events, err := tx.Unnumbered(100)
				for _, e := range events {
					if e.Act == audit.ClockChecked && strings.Contains(string(e.Body), source) {
						told++
					}
				}
				return err
			})
			if err != nil || told != 1 {
				t.Errorf("%d events tell of it, %v", told, err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			findings, err := Doctor(t.Context(), dir, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range findings {
				found = found || f.Area == "clock" && f.Grade == c.grade && strings.Contains(f.Text, source)
			}
			if !found {
				t.Errorf("doctor: %v", findings)
			}
		})
	}
}
