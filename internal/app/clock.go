package app

import (
	"context"
	"strings"
	"time"

	"sigill/internal/audit"
	"sigill/internal/clock"
	"sigill/internal/config"
	"sigill/orders/issue"
	"sigill/policy"
)

// openClock makes what judges the clock. It has not looked yet.
func (a *App) openClock() (err error) {
	c := clockConfig(a.Config, a.now)
	c.Guard, c.Record, c.Log = clock.NewGuard(a.now, nil), a.recordClock, a.log
	a.clock, err = clock.New(c)
	return err
}

func clockConfig(cfg *config.Config, now func() time.Time) clock.Config {
	return clock.Config{Dir: cfg.Dir, Sources: cfg.Time.Sources, Kernel: clock.ReadKernel, Ask: clock.Ask, Now: now}
}

// recordClock makes a check of the clock an event.
func (a *App) recordClock(ctx context.Context, r clock.Result) error {
	offset := ""
	if r.Source != "" {
		offset = r.Offset.String()
	}
	return a.DB.Issue().Update(ctx, func(tx *issue.Tx) error {
		return tx.Events.Append(issue.NewEvent(audit.ClockChecked, r.At, "system", issue.F("result", string(r.Verdict)),
			issue.F("kernel", string(r.Kernel)), issue.F("source", r.Source), issue.F("offset", offset)))
	})
}

// clockDegraded is what readiness says of the clock. That nobody keeps the clock of a
// machine on which somebody tries the program is his affair.
func (a *App) clockDegraded() []string {
	return a.clock.Degraded(a.Config.Environment == config.Production)
}

func (a *App) clockMetrics(m metrics) error {
	return m.gauge("sigill_clock_offset_seconds", "How far the clock is behind what servers of time say, at the last check; 0 if none is configured.", nil,
		func() float64 { return a.clock.Result().Offset.Seconds() })
}

// clockFindings say what the clock is, asked now.
func clockFindings(ctx context.Context, cfg *config.Config, now func() time.Time, say sayer) {
	r := clock.Look(ctx, clockConfig(cfg, now))
	grade := Yellow
	switch r.Verdict {
	case clock.Good:
		grade = Green
	case clock.Far:
		grade = Red
	case clock.Unsynchronised, clock.Unanswered:
		if cfg.Environment == config.Production {
			grade = Red
		}
	}
	say(grade, "clock", "%s%s", strings.TrimSuffix(r.Text(), "."), stops(r))
}

func stops(r clock.Result) string {
	if r.Verdict == clock.Far {
		return ": nothing is issued (" + string(policy.ClockOffset) + ")"
	}
	return ""
}
