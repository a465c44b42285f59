// Package bench measures Sigill and prints each figure beside the ceiling that
// was measured in the same run: the same load against a constant answer, or the
// bare operation. Machines differ and are noisy; a figure alone says little.
//
// It owns load and measuring, and changes nothing in what it measures: the real
// services over the real store, with synchronous=FULL.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/logs"
	"sigill/internal/bench/process"
	"sigill/internal/bench/status"
	"sigill/internal/store"
	"sigill/internal/translog"
	"sigill/internal/world"
)

// Figure, Config and Benchmark are what all benchmarks share.
type (
	Figure    = figure.Figure
	Config    = figure.Config
	Benchmark = figure.Benchmark
)

// All returns the benchmarks in the order in which they run.
func All() []Benchmark {
	all, _ := session()
	return all
}

// session returns the benchmarks of one run, which share what some of them need, and
// what is to be called after the last.
func session() (all []Benchmark, end func() error) {
	about, end := status.Benchmarks()
	return append([]Benchmark{
		{Name: "downloads", Help: "complete replacement downloads, 64 holders at once, in process", Run: downloads},
		{Name: "download_p99_ms", Help: "one complete replacement download alone", Run: downloadAlone},
		{Name: "certificates_https", Help: "certificates submitted over mutual TLS and durably stored", Run: certificatesHTTPS},
		{Name: "downloads_tls", Help: "complete replacement downloads by the holders' program over mutual TLS, 360 sessions at once", Run: downloadsTLS},
		{Name: "auditor_certificates", Help: "certificates judged by an auditor, on all cores", Run: auditCertificates},
	}, append(logs.Benchmarks(), about...)...), end
}

// Run runs the benchmarks named, or all.
func Run(ctx context.Context, names []string, c Config, emit func(Figure)) (err error) {
	known, end := session()
	defer func() { err = errors.Join(err, end()) }()
	for _, name := range names {
		if !slices.ContainsFunc(known, func(b Benchmark) bool { return b.Name == name }) {
			var have []string
			for _, b := range known {
				have = append(have, b.Name)
			}
			return fmt.Errorf("no benchmark %q: there are %s", name, strings.Join(have, ", "))
		}
	}
	for _, b := range known {
		if len(names) > 0 && !slices.Contains(names, b.Name) {
			continue
		}
		c.Progress("%s: %s (%d cores)", b.Name, b.Help, runtime.GOMAXPROCS(0))
		if err := b.Run(ctx, c, emit); err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
	}
	return nil
}

// LoadChild is the process that is the load generator of downloads_tls.
const LoadChild = "load"

// Child is one of the processes of a measurement: see [Config.Load] and
// [Config.Child].
func Child(ctx context.Context, kind string, in io.Reader, out io.Writer) error {
	if kind == LoadChild {
		return Load(ctx, in, out)
	}
	return process.Child(ctx, kind, in, out)
}

const holdersAtOnce = 64

// rig is a world with holders who have an eID and an approved renewal.
type rig struct {
	*world.World
	db      *store.DB
	dir     string
	holders []*world.Holder
	// The logs, as the service has them, and what numbers for them.
	logs      *translog.Service
	sequencer *audit.Sequencer
	stop      func()
}

// withoutLog is a rig whose certificates have no log. Events are numbered all the same.
func withoutLog(c *world.Config) { c.Log = nil }

func newRig(ctx context.Context, c Config, holders int, linter ca.Linter, change ...func(*world.Config)) (*rig, error) {
	dir, err := os.MkdirTemp(c.Dir, "sigill-bench-")
	if err != nil {
		return nil, err
	}
	r := &rig{dir: dir}
	if r.db, err = world.OpenStore(ctx, dir); err != nil {
		return nil, err
	}
	if r.sequencer, r.logs, err = world.NewLog(r.db.Audit(), r.db.Translog(), time.Now, 0); err != nil {
		return nil, err
	}
	r.sequencer.Failed = func(err error) { c.Progress("the sequencer failed: %v", err) }
	numbering, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.sequencer.Run(numbering) })
	r.stop = func() { cancel(); wg.Wait() }
	wc := world.Config{Stores: world.StoresOf(r.db), Linter: linter, Log: r.logs}
	for _, f := range change {
		f(&wc)
	}
	if r.World, err = world.New(ctx, wc); err != nil {
		return nil, err
	}
	c.Progress("preparing %d holders with cards and eIDs", holders)
	r.holders = make([]*world.Holder, holders)
	err = figure.Each(holders, holdersAtOnce, func(i int) error {
		h, err := r.NewHolderWithEID(ctx)
		r.holders[i] = h
		return err
	})
	return r, err
}

func (r *rig) close() {
	if r.stop != nil {
		r.stop()
	}
	if r.db != nil {
		r.db.Close()
	}
	os.RemoveAll(r.dir)
}
