package clock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/beevik/ntp"

	"sigill/internal/durable"
	"sigill/policy"
)

const (
	// checkEvery is how often the clock is checked; worseEvery where it was not good,
	// so that nothing is held up for longer than it must.
	checkEvery = time.Hour
	worseEvery = time.Minute
	askWithin  = 5 * time.Second
	// recordFile holds the day of which a check is an event.
	recordFile = "clock.recorded"
)

// Ask asks a server of time by SNTP (RFC 4330, RFC 5905) how far ahead of now it is.
// Nothing about the answer is authenticated.
func Ask(ctx context.Context, source string, now func() time.Time) (time.Duration, error) {
	dialer := net.Dialer{Timeout: askWithin} // for the name as well: a start waits for it
	r, err := ntp.QueryWithOptions(source, ntp.QueryOptions{Timeout: askWithin, GetSystemTime: now,
		Dialer: func(_, remote string) (net.Conn, error) { return dialer.DialContext(ctx, "udp", remote) }})
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return 0, fmt.Errorf("asking %s for the time: %w", source, err)
	}
	return r.ClockOffset, nil
}

// Config is what a Monitor needs. All fields but Sources and Record must be set.
type Config struct {
	// Dir is where it is kept which day's check was recorded.
	Dir     string
	Sources []string
	Kernel  func() Kernel
	Ask     func(ctx context.Context, source string, now func() time.Time) (time.Duration, error)
	Guard   *Guard
	// Record makes a result an event; nil: not recorded. It is asked once a day, and
	// again if it fails.
	Record func(context.Context, Result) error
	Log    *slog.Logger
	Now    func() time.Time
}

// Monitor checks the clock again and again. Check and Run are one goroutine's; the
// rest is safe for concurrent use.
type Monitor struct {
	config Config

	mu      sync.Mutex
	result  Result
	far     bool // the last answer that there was, was far
	stepped bool
}

// New returns a Monitor that has not checked yet.
func New(c Config) (*Monitor, error) {
	if c.Dir == "" || c.Kernel == nil || c.Ask == nil || c.Guard == nil || c.Log == nil || c.Now == nil {
		return nil, errors.New("clock: directory, kernel, sources, guard, log or clock is missing")
	}
	return &Monitor{config: c}, nil
}

// Look asks the kernel and all sources at once, and returns what they say together. It
// changes and records nothing.
func Look(ctx context.Context, c Config) Result {
	answers := make([]Answer, len(c.Sources))
	var wg sync.WaitGroup
	for i, source := range c.Sources {
		wg.Go(func() {
			offset, err := c.Ask(ctx, source, c.Now)
			answers[i] = Answer{source, offset, err}
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a.Err != nil && c.Log != nil {
			c.Log.Warn("source of time", "source", a.Source, "err", a.Err)
		}
	}
	r := judge(c.Kernel(), answers)
	r.At = c.Now().UTC()
	return r
}

// Check checks once and returns the result.
func (m *Monitor) Check(ctx context.Context) Result {
	r := Look(ctx, m.config)
	m.mu.Lock()
	was := m.result.Verdict
	m.result = r
	if r.Answered > 0 { // silence takes back nothing that was heard
		m.far = r.Verdict == Far
	}
	m.mu.Unlock()
	if r.Verdict != was {
		level := slog.LevelInfo
		if r.Verdict != Good && r.Verdict != Unknown {
			level = slog.LevelWarn
		}
		m.config.Log.Log(ctx, level, "clock", "result", r.Verdict, "kernel", r.Kernel, "source", r.Source, "offset", r.Offset)
	}
	m.record(ctx, r)
	return r
}

// record makes the first result of each day an event.
func (m *Monitor) record(ctx context.Context, r Result) {
	path := filepath.Join(m.config.Dir, recordFile)
	day := r.At.Format(time.DateOnly)
	last, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.config.Log.Error("reading when the clock was recorded", "err", err)
		return
	}
	if m.config.Record == nil || strings.TrimSpace(string(last)) >= day {
		return
	}
	if err = m.config.Record(ctx, r); err == nil {
		err = durable.WriteFile(path, []byte(day+"\n"), 0o600)
	}
	if err != nil {
		m.config.Log.Error("recording the clock", "err", err)
	}
}

// Run checks until ctx ends; the first check has been made.
func (m *Monitor) Run(ctx context.Context) {
	for {
		every := checkEvery
		if v := m.Result().Verdict; v != Good && v != Unknown {
			every = worseEvery
		}
		t := time.NewTimer(every)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
			m.Check(ctx)
		}
	}
}

// Result returns what the last check found.
func (m *Monitor) Result() Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.result
}

// Modes returns the modes that the clock is a reason for. The guard looks each time.
func (m *Monitor) Modes() []policy.Mode {
	behind := m.config.Guard.Behind()
	m.mu.Lock()
	defer m.mu.Unlock()
	if stepped := behind > 0; stepped != m.stepped {
		m.stepped = stepped
		if stepped {
			m.config.Log.Error("the clock was set back: nothing is issued until it has caught up", "behind", behind)
		} else {
			m.config.Log.Info("the clock has caught up")
		}
	}
	var out []policy.Mode
	if m.stepped {
		out = append(out, policy.ModeClockBackwards)
	}
	if m.far {
		out = append(out, policy.ModeClockOff)
	}
	return out
}

// Degraded returns what somebody must see to. strict: a kernel that keeps no clock is
// a reason too; where it is not, only servers of time that are configured are.
func (m *Monitor) Degraded(strict bool) []string {
	var out []string
	if behind := m.config.Guard.Behind(); behind > 0 {
		out = append(out, fmt.Sprintf("the clock was set back and is %v behind what it has shown", behind.Round(time.Second)))
	}
	switch r := m.Result(); r.Verdict {
	case Off, Far, Unanswered:
		out = append(out, r.Text())
	case Unsynchronised:
		if strict {
			out = append(out, r.Text())
		}
	}
	return out
}
