package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/lanes"
	"sigill/internal/mode"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

const (
	// placesPerCore: a request that issues waits for the commit that it shares
	// with others most of its time, and the more share it the less it costs.
	placesPerCore = 16
	// queueMost bounds the requests that wait for their turn: each is a
	// connection, with its buffers.
	queueMost = 10_000
)

// reserveFile is beside the database.
const reserveFile = "disk.reserve"

// disk says which file systems are watched, and where space is kept: beside the
// database, or with one on another machine in the installation's directory.
func disk(cfg *config.Config) mode.Disk {
	d := cfg.Disk
	out := mode.Disk{Paths: []string{cfg.Dir}, Free: mode.Free, StopBelow: uint64(d.StopIssuingBelow)}
	beside := cfg.Dir
	if path, ok := strings.CutPrefix(cfg.DatabaseURL(), "sqlite:"); ok {
		if beside = filepath.Dir(path); beside != cfg.Dir {
			out.Paths = append(out.Paths, beside)
		}
	}
	if d.Reserve > 0 {
		out.Reserve, out.ReserveSize = mode.File{Path: filepath.Join(beside, reserveFile), Size: uint64(d.Reserve)}, uint64(d.Reserve)
	}
	return out
}

// relieve makes room for a start on a full disk. SQLite needs some before it reads a
// row, and without a start nothing could be revoked and no status served.
func (a *App) relieve() error {
	gave, err := disk(a.Config).Relieve()
	if gave && err == nil {
		a.log.Error("hardly room to write: the reserve of space was given back, so that the service can start", "octets", uint64(a.Config.Disk.Reserve))
	}
	if err != nil {
		return fmt.Errorf("looking for room on the disk: %w", err)
	}
	return nil
}

// watch makes the keeper of modes, which sees the errors of every store that the
// domain is given.
func (a *App) watch() error {
	var err error
	a.Modes, err = mode.New(mode.Config{Dir: a.Config.Dir, Disk: disk(a.Config), Full: store.IsFull, Record: a.recordOutage, Log: a.log, Now: a.now,
		Failing: func() []ca.IssuerID { return a.Downloads.FailingIssuers() }, Clock: a.clock.Modes, Ended: a.authorities.ids, Restored: a.held})
	return err
}

// stores are the store's views, with the keeper of modes looking on.
func (a *App) stores() service.Stores {
	return service.Stores{Downloads: mode.Watch(a.Modes, a.DB.Downloads()), Orders: mode.Watch(a.Modes, a.DB.Orders()),
		Register: mode.Watch(a.Modes, a.DB.Register()), Issue: mode.Watch(a.Modes, a.DB.Issue()),
		Privacy: mode.Watch(a.Modes, a.DB.Privacy())}
}

// recordOutage makes events of an outage's beginning and end. Who could write the
// file had the account that the installation belongs to, or root.
func (a *App) recordOutage(ctx context.Context, act mode.Act, n mode.Notice) error {
	name := audit.OutageBegun
	if act == mode.Ended {
		name = audit.OutageEnded
	}
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	fields := []audit.Field{issue.F("outage", n.ID), issue.F("account", n.By), issue.F("begun", at(n.Begun)), issue.F("until", at(n.Until)),
		{Name: "reason-sv", Value: n.ReasonSV}, {Name: "reason-en", Value: n.ReasonEN}} // as announced, and not cut
	if act == mode.Ended {
		fields = append(fields, issue.F("ended", at(n.Ended)))
	}
	return mode.Watch(a.Modes, a.DB.Issue()).Update(ctx, func(tx *issue.Tx) error {
		return tx.Events.Append(issue.NewEvent(name, a.now(), "operator", fields...))
	})
}

// lane makes the lane of those who issue.
func (a *App) lane() error {
	c := a.Config.Capacity
	places := c.IssuingAtOnce
	if places == 0 {
		places = placesPerCore * runtime.GOMAXPROCS(0)
	}
	var err error
	a.Lane, err = lanes.New(lanes.Config{Places: places, Reserved: c.Reserved, Wait: time.Duration(c.Wait), Queue: queueMost})
	return err
}

// turn runs fn in the caller's turn.
func (a *App) turn(ctx context.Context, c register.Caller, fn func() error) error {
	return a.Lane.Do(ctx, a.precedence.has(ctx, c.Organisation), fn)
}

// precedence knows which organisations go first: those whose numbers are
// configured, and the branches below them. Numbers and branches never change, so
// that what was found once holds.
type precedence struct {
	numbers []string
	view    func(ctx context.Context, fn func(*register.Tx) error) error
	failed  func(error)

	mu    sync.Mutex
	known map[policy.OrganisationID]bool
}

// has reports whether an organisation goes first. Where that cannot be read it
// does not: its caller waits as others do.
func (p *precedence) has(ctx context.Context, id policy.OrganisationID) bool {
	if len(p.numbers) == 0 || id == "" {
		return false
	}
	p.mu.Lock()
	first, ok := p.known[id]
	p.mu.Unlock()
	if ok {
		return first
	}
	first, err := p.read(ctx, id)
	if err != nil {
		p.failed(err)
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[policy.OrganisationID]bool{}
	}
	p.known[id] = first
	return first
}

func (p *precedence) read(ctx context.Context, id policy.OrganisationID) (first bool, err error) {
	err = p.view(ctx, func(tx *register.Tx) error {
		first = false
		for at, depth := id, 0; at != "" && depth < register.MaxBranchDepth && !first; depth++ {
			o, err := tx.Organisation(at)
			if errors.Is(err, issue.ErrNotFound) {
				return nil
			} else if err != nil {
				return err
			}
			first, at = slices.Contains(p.numbers, o.Number), o.Parent
		}
		return nil
	})
	return first, err
}

// conditionFindings tell an outage that was announced and room that is missing.
func conditionFindings(cfg *config.Config, now time.Time, say sayer) {
	n, err := mode.ReadNotice(cfg.Dir)
	switch {
	case err != nil:
		say(Red, "outage", "%s: while it cannot be read nothing is issued", err)
	case n.Active() && now.After(n.Until):
		say(Yellow, "outage", "%s was expected to be over at %s and is in effect: nothing is issued until `sigill outage end`", n.ID, n.Until.Format(time.RFC3339))
	case n.Active():
		say(Yellow, "outage", "%s is in effect and expected to be over at %s: nothing is issued", n.ID, n.Until.Format(time.RFC3339))
	}
	d := disk(cfg)
	for _, path := range d.Paths {
		free, err := d.Free(path)
		grade := Green
		switch {
		case err != nil:
			say(Yellow, "disk", "%s: %s", path, err)
			continue
		case free < d.StopBelow:
			grade = Red
		case free < 2*d.StopBelow:
			grade = Yellow
		}
		say(grade, "disk", "%d MiB are free at %s; below %s nothing is issued", free>>20, path, cfg.Disk.StopIssuingBelow)
	}
}
