// Package bench measures Sigill and prints each figure beside the ceiling that
// was measured in the same run: the same load against a constant answer, or the
// bare operation. Machines differ and are noisy; a figure alone says little.
//
// It owns load and measuring, and changes nothing in what it measures: the real
// services over the real store, with synchronous=FULL.
package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/internal/world"
)

// Figure is one measurement.
type Figure struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Ceiling float64 `json:"ceiling"`
	// Ratio is Value/Ceiling, or the reverse where less is better.
	Ratio float64 `json:"ratio"`
	Note  string  `json:"note,omitempty"`
}

// Config says how much is done.
type Config struct {
	// Scale multiplies the amounts of the quick form; 1 is the quick form.
	Scale int
	// Amount, if set, replaces the amounts, for tests.
	Amount int
	// Dir is where databases are made; it decides what fsync costs.
	Dir string
	// Time, if set, is how long downloads_tls goes on, to see whether memory
	// does.
	Time time.Duration
	// Load makes the command whose process runs [Load]; nil: the load generator
	// of downloads_tls runs in this process.
	Load     func(context.Context) *exec.Cmd
	Progress func(format string, args ...any)
}

// Benchmark measures one or more figures.
type Benchmark struct {
	Name string
	Help string
	Run  func(ctx context.Context, c Config, emit func(Figure)) error
}

// All returns the benchmarks in the order in which they run.
func All() []Benchmark {
	return []Benchmark{
		{"downloads", "complete replacement downloads, 64 holders at once, in process", downloads},
		{"download_p99_ms", "one complete replacement download alone", downloadAlone},
		{"certificates_https", "certificates submitted over mutual TLS and durably stored", certificatesHTTPS},
		{"downloads_tls", "complete replacement downloads by the holders' program over mutual TLS, 360 sessions at once", downloadsTLS},
	}
}

// Run runs the benchmarks named, or all.
func Run(ctx context.Context, names []string, c Config, emit func(Figure)) error {
	known := All()
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

// amount is how many of a thing are done.
func (c Config) amount(quick int) int {
	if c.Amount > 0 {
		return c.Amount
	}
	return quick * max(c.Scale, 1)
}

const holdersAtOnce = 64

// rig is a world with holders who have an eID and an approved renewal.
type rig struct {
	*world.World
	db      *store.DB
	dir     string
	holders []*world.Holder
}

func newRig(ctx context.Context, c Config, holders int, linter ca.Linter, change ...func(*world.Config)) (*rig, error) {
	dir, err := os.MkdirTemp(c.Dir, "sigill-bench-")
	if err != nil {
		return nil, err
	}
	r := &rig{dir: dir}
	if r.db, err = world.OpenStore(ctx, dir); err != nil {
		return nil, err
	}
	wc := world.Config{Stores: world.StoresOf(r.db), Linter: linter}
	for _, f := range change {
		f(&wc)
	}
	if r.World, err = world.New(ctx, wc); err != nil {
		return nil, err
	}
	c.Progress("preparing %d holders with cards and eIDs", holders)
	r.holders = make([]*world.Holder, holders)
	err = each(holders, holdersAtOnce, func(i int) error {
		h, err := r.NewHolderWithEID(ctx)
		r.holders[i] = h
		return err
	})
	return r, err
}

func (r *rig) close() {
	if r.db != nil {
		r.db.Close()
	}
	os.RemoveAll(r.dir)
}

// each calls fn for 0 … n−1 from workers goroutines and returns the first error.
func each(n, workers int, fn func(i int) error) error {
	var next atomic.Int64
	var first error
	var once sync.Once
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(i); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return first
}

// percentile returns the value below which p of the durations lie, in
// milliseconds.
func percentile(list []time.Duration, p float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	i := min(int(float64(len(sorted))*p), len(sorted)-1)
	return float64(sorted[i].Microseconds()) / 1000
}
