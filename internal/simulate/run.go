package simulate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/cryptotest"

	"sigill/internal/audit"
	"sigill/internal/service"
	"sigill/internal/translog"
	"sigill/internal/wire"
	"sigill/policy"
	"sigill/revocation"
)

// Options alter a schedule, so that a test may plant a mistake that the
// simulation has to find.
type Options struct {
	// Trace gets every line as it is written; nil: nowhere.
	Trace io.Writer
	// Wire alters how a process is wired.
	Wire func(*service.Config)
	// Stores stands between the services and their stores.
	Stores func(service.Stores) service.Stores
	// Ledger stands between the publisher and its store.
	Ledger func(revocation.Store) revocation.Store
	// Events and Logs stand between the sequencer, or the logs, and their store.
	Events func(audit.Store) audit.Store
	Logs   func(translog.Store) translog.Store
	// Answer may alter what a server answers to a route.
	Answer func(route string, body []byte) []byte
	// Steps bounds a schedule; 0: as the seed says.
	Steps int
	// Rates are the faults and how often each strikes; nil: as the seed says.
	Rates map[Fault]float64
}

func (o Options) wire(c *service.Config) {
	if o.Wire != nil {
		o.Wire(c)
	}
}

// Result is what became of a schedule.
type Result struct {
	Seed      uint64
	Steps     int
	Hash      string // of the trace
	Faults    map[Fault]int
	Killed    map[string]int // where processes were killed
	Ends      map[string]int // how what actors did ended
	Violation string         // empty: none
	Step      int            // of the violation
	Tail      []string
}

// Error returns what was found wrong with all that is needed to see it again, or
// nil.
func (r Result) Error() error {
	if r.Violation == "" {
		return nil
	}
	return fmt.Errorf("seed %d, step %d: %s\nthe last lines of its trace:\n%s\nagain: make simulate SEED=%d",
		r.Seed, r.Step, r.Violation, strings.Join(r.Tail, "\n"), r.Seed)
}

// Run makes the schedule of a seed.
func (b *Base) Run(seed uint64, o Options) (Result, error) {
	cryptotest.SetGlobalRandom(b.T, seed)
	s := &Sim{Options: o, seed: seed, base: b, rng: rand.New(rand.NewPCG(seed, 0x5161)), clock: epoch.AddDate(0, 1, 0),
		counts: map[Fault]int{}, at: map[string]int{}, ends: map[string]int{}, hash: newHash(), statements: map[string]*sql.Stmt{}, out: o.Trace}
	s.model.init()
	dir, err := os.MkdirTemp(b.dir, "schedule-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	s.dir = dir
	if err := s.open(); err != nil {
		return Result{}, errors.Join(err, s.close())
	}
	b.sim = s
	defer func() { b.sim = nil }()
	s.chooseFaults()
	if err := s.cast(); err != nil {
		return Result{}, errors.Join(err, s.close())
	}
	steps := o.Steps
	if steps == 0 {
		steps = 120 + s.rng.IntN(380)
	}
	s.run(steps)
	err = s.finish()
	r := Result{Seed: seed, Steps: s.step, Hash: fmt.Sprintf("%x", s.hash.Sum(nil)), Faults: s.counts, Killed: s.at, Ends: s.ends,
		Violation: s.violation, Step: s.failedAt, Tail: s.lines}
	return r, errors.Join(err, s.close())
}

func (s *Sim) open() error {
	ctx := context.Background()
	if err := s.base.copyTo(s.dir); err != nil {
		return err
	}
	var err error
	if s.db, err = s.base.open(ctx, s.dir, s.now); err != nil {
		return err
	}
	if s.raw, err = sql.Open("sqlite", "file:"+filepath.Join(s.dir, "sigill.db")+"?_busy_timeout=5000"); err != nil {
		return err
	}
	s.raw.SetMaxOpenConns(1)
	s.world = s.base.world.Fork(s.stores())
	s.rows(`SELECT certificate FROM standings`, nil, func(r *sql.Rows) error {
		var fp []byte
		err := r.Scan(&fp)
		s.before[[32]byte(fp)] = true
		return err
	})
	return nil
}

func (s *Sim) close() error {
	var err error
	if s.raw != nil {
		err = s.raw.Close()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return err
}

// cast chooses who takes part.
func (s *Sim) cast() error {
	people := s.rng.Perm(len(s.base.people))[:1+s.rng.IntN(3)]
	for i, n := range people {
		s.holders = append(s.holders, newHolder(s.base.people[n], fmt.Sprint("holder", i)))
	}
	s.procs = make([]*process, 1+s.rng.IntN(5)/4) // one in five has two
	for i := range s.procs {
		s.spawn(fmt.Sprint("server", i), s.supervise(i))
	}
	s.spawn("sequencer", s.number)
	s.spawn("publisher", s.publish)
	s.spawn("renewals", s.renew)
	s.spawn("administrators", s.administrate)
	for _, h := range s.holders {
		s.spawn(h.name, s.live(h))
		if s.drawAt(CardShared) {
			s.spawn(h.name+"'s other client", s.live(h))
		}
	}
	s.checkStep() // what there was before
	return s.begin()
}

// begin lets most holders have an order before anything goes wrong.
func (s *Sim) begin() error {
	p, err := s.start("server before")
	if err != nil {
		return err
	}
	s.world.Services, s.calm = p.services, true
	for _, h := range s.holders {
		if !s.chance(.8) {
			continue
		}
		if what, err := s.order(context.Background(), s.world, h); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	s.calm = false
	return nil
}

// ruled reports whether an error is a refusal by one of the rules.
func ruled(err error, rules ...policy.Rule) bool {
	// A log-in that every certificate on the card was refused for has a refusal of
	// each: the holder reads them all.
	switch e := err.(type) {
	case nil:
		return false
	case *wire.Problem:
		return slices.Contains(rules, policy.Rule(e.Rule))
	case interface{ Unwrap() error }:
		return ruled(e.Unwrap(), rules...)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return ruled(err, rules...) })
	}
	return false
}
