package clock

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sigill/internal/clock/clocktest"
	"sigill/policy"
)

// hands is a clock on the wall and one that cannot go back.
type hands struct {
	wall    time.Time
	elapsed time.Duration
}

func (h *hands) pass(d time.Duration) { h.wall, h.elapsed = h.wall.Add(d), h.elapsed+d }

func (h *hands) guard() *Guard {
	return NewGuard(func() time.Time { return h.wall }, func() time.Duration { return h.elapsed })
}

func TestGuard(t *testing.T) {
	const s = time.Second
	type look struct{ pass, set, want time.Duration } // set: how the wall clock is set, after time has passed
	for name, looks := range map[string][]look{
		"runs":                               {{s, 0, 0}, {time.Hour, 0, 0}, {0, 0, 0}},
		"set forward":                        {{s, time.Hour, 0}, {s, 0, 0}},
		"a leap second":                      {{s, -s, 0}, {s, 0, 0}},
		"as much as it may":                  {{s, -2 * s, 0}},
		"set back":                           {{s, -10 * s, 10 * s}, {4 * s, 0, 6 * s}, {5 * s, 0, s}, {2 * s, 0, 0}, {s, 0, 0}},
		"set back and right again":           {{s, -time.Hour, time.Hour}, {s, time.Hour, 0}},
		"set back while nobody looks":        {{time.Minute, -10 * s, 10*s - time.Minute/1000}, {11 * s, 0, 0}},
		"set back twice":                     {{s, -10 * s, 10 * s}, {s, -10 * s, 19 * s}, {20 * s, 0, 0}},
		"forward, then back to where it was": {{s, time.Hour, 0}, {s, -time.Hour, time.Hour}, {time.Hour, 0, 0}},
		"slowed down for a day":              {{24 * time.Hour, -40 * s, 0}},
	} {
		h := &hands{wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		g := h.guard()
		for i, l := range looks {
			h.pass(l.pass)
			h.wall = h.wall.Add(l.set)
			// What has passed may have been a thousandth less.
			if got := g.Behind(); (got > 0) != (l.want > 0) || (got-l.want).Abs() > 100*time.Millisecond {
				t.Errorf("%s, look %d: %v behind, want %v", name, i+1, got, l.want)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	ms := func(n ...int) (out []Answer) {
		for _, each := range n {
			out = append(out, Answer{Source: "a", Offset: time.Duration(each) * time.Millisecond})
		}
		return out
	}
	silent := Answer{Source: "s", Err: errors.New("silent")}
	for name, c := range map[string]struct {
		kernel  Kernel
		answers []Answer
		want    Verdict
		offset  time.Duration
	}{
		"kernel keeps it":              {KernelSynchronised, nil, Good, 0},
		"kernel does not":              {KernelUnsynchronised, nil, Unsynchronised, 0},
		"nobody knows":                 {KernelUnknown, nil, Unknown, 0},
		"a server is believed more":    {KernelUnsynchronised, ms(10), Good, 10 * time.Millisecond},
		"behind by a second":           {KernelSynchronised, ms(1000), Good, time.Second},
		"behind by more":               {KernelSynchronised, ms(1001), Off, 1001 * time.Millisecond},
		"ahead by more":                {KernelSynchronised, ms(-1001), Off, -1001 * time.Millisecond},
		"a minute":                     {KernelSynchronised, ms(60_000), Off, time.Minute},
		"more than a minute":           {KernelSynchronised, ms(-60_001), Far, -60_001 * time.Millisecond},
		"one of three lies":            {KernelSynchronised, ms(1, 900_000, 2), Good, 2 * time.Millisecond},
		"two of three":                 {KernelSynchronised, ms(900_000, 1, 900_001), Far, 900 * time.Second},
		"of two, the one that is near": {KernelSynchronised, ms(900_000, 1), Good, time.Millisecond},
		"who is silent does not count": {KernelSynchronised, append(ms(5), silent, silent), Good, 5 * time.Millisecond},
		"all silent":                   {KernelSynchronised, []Answer{silent, silent}, Unanswered, 0},
	} {
		r := judge(c.kernel, c.answers)
		if r.Verdict != c.want || r.Offset != c.offset || r.Asked != len(c.answers) || r.Text() == "" {
			t.Errorf("%s: %+v, want %s at %v", name, r, c.want, c.offset)
		}
	}
}

func TestAsk(t *testing.T) {
	for _, offset := range []time.Duration{0, 90 * time.Second, -2 * time.Hour} {
		got, err := Ask(t.Context(), clocktest.Server(t, offset, true), time.Now)
		if err != nil || (got-offset).Abs() > 5*time.Second {
			t.Errorf("ahead by %v: %v, %v", offset, got, err)
		}
	}
	// What is compared is the clock that is handed in.
	ours := func() time.Time { return time.Now().Add(-3 * time.Hour) }
	if got, err := Ask(t.Context(), clocktest.Server(t, 0, true), ours); err != nil || (got-3*time.Hour).Abs() > 5*time.Second {
		t.Errorf("our own clock behind: %v, %v", got, err)
	}
	if got, err := Ask(t.Context(), clocktest.Server(t, 0, false), time.Now); err == nil {
		t.Errorf("a server that is not in step was believed: %v", got)
	}
}

// asked is a monitor whose sources say what the test says.
type asked struct {
	*Monitor
	hands
	answers  map[string]Answer
	kernel   Kernel
	recorded []Result
	fails    error
	log      bytes.Buffer
}

func newAsked(t *testing.T, dir string, sources ...string) *asked {
	t.Helper()
	a := &asked{answers: map[string]Answer{}, kernel: KernelSynchronised, hands: hands{wall: time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)}}
	var err error
	a.Monitor, err = New(Config{Dir: dir, Sources: sources, Kernel: func() Kernel { return a.kernel },
		Ask: func(_ context.Context, s string, _ func() time.Time) (time.Duration, error) {
			return a.answers[s].Offset, a.answers[s].Err
		},
		Guard: a.guard(), Now: func() time.Time { return a.wall }, Log: slog.New(slog.NewTextHandler(&a.log, nil)),
		Record: func(_ context.Context, r Result) error {
			a.recorded = append(a.recorded, r)
			return a.fails
		}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A clock that is far off stops issuing until somebody says that it is right again; a
// source that falls silent takes back nothing that it said.
func TestFarOffStopsIssuing(t *testing.T) {
	a := newAsked(t, t.TempDir(), "one")
	step := func(offset time.Duration, err error, want Verdict, modes []policy.Mode, degraded int) {
		t.Helper()
		a.answers["one"] = Answer{Offset: offset, Err: err}
		r := a.Check(t.Context())
		if r.Verdict != want || !slices.Equal(a.Modes(), modes) || len(a.Degraded(true)) != degraded {
			t.Errorf("%+v, modes %v, degraded %q", r, a.Modes(), a.Degraded(true))
		}
	}
	silent, off := errors.New("silent"), []policy.Mode{policy.ModeClockOff}
	step(0, nil, Good, nil, 0)
	step(2*time.Second, nil, Off, nil, 1)
	step(2*time.Minute, nil, Far, off, 1)
	step(0, silent, Unanswered, off, 1)
	step(2*time.Second, nil, Off, nil, 1)
	step(0, silent, Unanswered, nil, 1)
	step(0, nil, Good, nil, 0)
}

func TestSetBackStopsIssuing(t *testing.T) {
	a := newAsked(t, t.TempDir())
	a.Check(t.Context())
	a.pass(time.Minute)
	if m := a.Modes(); len(m) != 0 {
		t.Errorf("modes %v", m)
	}
	a.wall = a.wall.Add(-time.Minute)
	for range 2 {
		if m := a.Modes(); !slices.Equal(m, []policy.Mode{policy.ModeClockBackwards}) || len(a.Degraded(false)) != 1 {
			t.Errorf("set back: modes %v, degraded %q", m, a.Degraded(false))
		}
	}
	a.pass(time.Minute)
	if m := a.Modes(); len(m) != 0 || len(a.Degraded(false)) != 0 {
		t.Errorf("caught up: modes %v, degraded %q", m, a.Degraded(false))
	}
	if n := bytes.Count(a.log.Bytes(), []byte("set back")); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
}

// Where nobody is named to compare with, only who is strict minds a kernel that says no.
func TestKernelThatKeepsNoClock(t *testing.T) {
	a := newAsked(t, t.TempDir())
	a.kernel = KernelUnsynchronised
	a.Check(t.Context())
	if len(a.Degraded(true)) != 1 || len(a.Degraded(false)) != 0 || len(a.Modes()) != 0 {
		t.Errorf("degraded %q and %q, modes %v", a.Degraded(true), a.Degraded(false), a.Modes())
	}
}

// One check of a day is an event, whatever is started again; one that could not be
// recorded is tried again.
func TestRecordedOnceADay(t *testing.T) {
	dir := t.TempDir()
	a := newAsked(t, dir, "one")
	a.fails = errors.New("no database")
	a.Check(t.Context())
	a.fails = nil
	a.Check(t.Context())
	a.Check(t.Context())
	if len(a.recorded) != 2 || a.recorded[1].Verdict != Good {
		t.Errorf("recorded %+v", a.recorded)
	}
	b := newAsked(t, dir, "one")
	b.Check(t.Context())
	b.pass(2 * time.Hour) // past midnight
	b.Check(t.Context())
	b.Check(t.Context())
	if len(b.recorded) != 1 {
		t.Errorf("recorded %+v", b.recorded)
	}
	if text, err := os.ReadFile(filepath.Join(dir, recordFile)); err != nil || string(text) != "2026-03-02\n" {
		t.Errorf("kept %q, %v", text, err)
	}
}

// Run checks every hour, and every minute while something is wrong.
func TestRunChecksMoreOftenWhenItIsWrong(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := newAsked(t, dir, "one")
		var checks atomic.Int64
		a.config.Ask = func(context.Context, string, func() time.Time) (time.Duration, error) {
			if checks.Add(1) < 3 {
				return 2 * time.Minute, nil
			}
			return 0, nil
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		a.Check(ctx)
		go a.Run(ctx)
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		if n := checks.Load(); n != 3 {
			t.Errorf("%d checks in three minutes", n)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := checks.Load(); n != 6 {
			t.Errorf("%d checks after three hours", n)
		}
	})
}
