package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"sigill/internal/clock"
	"sigill/internal/config"
	"sigill/internal/mode"
	"sigill/internal/retention"
	"sigill/internal/store"
	"sigill/policy"
)

const (
	retainEvery = 24 * time.Hour
	// retainWithin is how soon after the start the first run is, at a random minute: not
	// all processes that were started together, and not only those that live for a day.
	retainWithin = time.Hour
)

// retained is what the last run did.
type retained struct {
	at     atomic.Int64 // Unix seconds; 0: none was
	erased atomic.Int64
	failed atomic.Bool
}

func retentionJob(store retention.Store, by string, now func() time.Time) *retention.Job {
	return &retention.Job{Store: store, Now: now, NewID: func() string { return policy.NewID("evt") }, By: by}
}

// retain erases what is due once a day until ctx ends.
func (a *App) retain(ctx context.Context) {
	timer := time.NewTimer(rand.N(retainWithin))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		a.retainOnce(ctx)
		timer.Reset(retainEvery)
	}
}

// retainOnce erases what is due unless the conditions are against writing: what has
// waited for years waits for a day more.
func (a *App) retainOnce(ctx context.Context) {
	if d := a.Modes.MayWork(policy.WorkChange); !d.Allow {
		a.log.Warn("retention waits for a day", "rule", d.Rule)
		return
	}
	if err := believeClock(ctx, a.clock.Result(), a.DB, a.now()); err != nil {
		a.retained.failed.Store(ctx.Err() == nil)
		a.log.Error("retention waits for a day: set the clock, name servers of time in time.sources, or run it by hand", "err", err)
		return
	}
	report, err := retentionJob(mode.Watch(a.Modes, a.DB.Retention()), "system", a.now).Run(ctx)
	a.retained.at.Store(a.now().Unix())
	a.retained.erased.Add(report.Count())
	a.retained.failed.Store(err != nil && ctx.Err() == nil)
	for _, l := range report {
		if l.Count > 0 || l.Left > 0 || l.More {
			a.log.Info("retention", "what", l.What, "through", l.Through, "erased", l.Count, "left", l.Left, "more", l.More)
		}
	}
	if err != nil && ctx.Err() == nil {
		a.log.Error("retention", "err", err)
	}
}

// believeClock returns an error unless a server of time has borne out the clock, or,
// where none has answered, the log does.
func believeClock(ctx context.Context, r clock.Result, db *store.DB, now time.Time) error {
	switch {
	case r.Verdict == clock.Far:
		return fmt.Errorf("%w: %s", retention.ErrClock, r.Text())
	case r.Answered > 0:
		return nil
	}
	return retention.Believe(ctx, db.Audit(), now)
}

func (a *App) retentionMetrics(m metrics) error {
	return errors.Join(
		m.gauge("sigill_retention_last_run_seconds", "When retention last looked what is due, Unix time; 0: not since the start.", nil,
			func() float64 { return float64(a.retained.at.Load()) }),
		m.counter("sigill_retention_erased_total", "What retention has erased since the start.", nil, a.retained.erased.Load),
		m.gauge("sigill_retention_failed", "1 if the last run of retention failed.", nil, func() float64 {
			if a.retained.failed.Load() {
				return 1
			}
			return 0
		}))
}

// Retaining says how [Retain] works.
type Retaining struct {
	// Dry: it only reports.
	Dry bool
	// ClockIsRight: whoever asks has looked at the clock. Without it nothing is erased by
	// a clock that neither a server of time nor the log bears out.
	ClockIsRight bool
}

// Retain erases what is due in the installation in dir, or only reports it. Erasing
// takes the installation's lock: a process that serves erases by itself.
func Retain(ctx context.Context, dir string, how Retaining, now func() time.Time) (report retention.Report, err error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	if !how.Dry {
		lock, taken := lockDir(cfg.Dir)
		if taken != nil {
			return nil, taken
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	db, err := store.Open(ctx, store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	job := retentionJob(db.Retention(), "operator", now)
	if how.Dry {
		return job.DryRun(ctx)
	}
	if !how.ClockIsRight {
		if err := believeClock(ctx, clock.Look(ctx, clockConfig(cfg, now)), db, now()); err != nil {
			return nil, err
		}
	}
	return job.Run(ctx)
}
