package app

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
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

// watch makes the keeper of modes, which sees the errors of every store that the
// domain is given.
func (a *App) watch() error {
	d := a.Config.Disk
	disk := mode.Disk{Paths: []string{a.Config.Dir}, Free: mode.Free, StopBelow: uint64(d.StopIssuingBelow)}
	beside := a.Config.Dir
	if path, ok := strings.CutPrefix(a.Config.DatabaseURL(), "sqlite:"); ok {
		if beside = filepath.Dir(path); beside != a.Config.Dir {
			disk.Paths = append(disk.Paths, beside)
		}
	}
	if d.Reserve > 0 {
		disk.Reserve, disk.ReserveSize = mode.File{Path: filepath.Join(beside, reserveFile), Size: uint64(d.Reserve)}, uint64(d.Reserve)
	}
	var err error
	a.Modes, err = mode.New(mode.Config{Dir: a.Config.Dir, Disk: disk, Full: store.IsFull, Record: a.recordOutage, Log: a.log, Now: a.now,
		Failing: func() []ca.IssuerID { return a.Downloads.FailingIssuers() }})
	return err
}

// stores are the store's views, with the keeper of modes looking on.
func (a *App) stores() service.Stores {
	return service.Stores{Downloads: mode.Watch(a.Modes, a.DB.Downloads()), Orders: mode.Watch(a.Modes, a.DB.Orders()),
		Register: mode.Watch(a.Modes, a.DB.Register()), Issue: mode.Watch(a.Modes, a.DB.Issue())}
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
		issue.F("reason-sv", n.ReasonSV), issue.F("reason-en", n.ReasonEN)}
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
