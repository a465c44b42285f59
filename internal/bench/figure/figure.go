// Package figure is what benchmarks have in common: what a measurement is, how much
// is done for one, and counting the memory and time of processes.
//
// It measures nothing by itself and knows nothing of what is measured.
package figure

import (
	"context"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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

// More is a figure of which more is better.
func More(name string, value float64, unit string, ceiling float64, note string) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Ceiling: ceiling, Ratio: value / ceiling, Note: note}
}

// Less is a figure of which less is better.
func Less(name string, value float64, unit string, ceiling float64, note string) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Ceiling: ceiling, Ratio: ceiling / value, Note: note}
}

// Config says how much is done.
type Config struct {
	// Scale multiplies the amounts of the quick form; 1 is the quick form.
	Scale int
	// Amount, if set, replaces the amounts, for tests.
	Amount int
	// Dir is where databases are made; it decides what fsync costs.
	Dir string
	// Population is the directory of a population that is there already; empty:
	// those who need one make one below Dir.
	Population string
	// Time, if set, is how long downloads_tls goes on, to see whether memory
	// does.
	Time time.Duration
	// Load makes the command whose process is the load generator of
	// downloads_tls; nil: it runs in this process.
	Load func(context.Context) *exec.Cmd
	// Child makes the command of a process that is one side of a measurement of
	// status.
	Child    func(ctx context.Context, kind string) *exec.Cmd
	Progress func(format string, args ...any)
}

// Many is how many of a thing are done.
func (c Config) Many(quick int) int {
	if c.Amount > 0 {
		return c.Amount
	}
	return quick * max(c.Scale, 1)
}

// Benchmark measures one or more figures.
type Benchmark struct {
	Name string
	Help string
	Run  func(ctx context.Context, c Config, emit func(Figure)) error
}

// Each calls fn for 0 … n−1 from workers goroutines and returns the first error.
func Each(n, workers int, fn func(i int) error) error {
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

// Percentile returns the value below which p of the durations lie, in
// milliseconds.
func Percentile(list []time.Duration, p float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	i := min(int(float64(len(sorted))*p), len(sorted)-1)
	return Milli(sorted[i])
}

// Milli returns milliseconds.
func Milli(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Mega returns megabytes.
func Mega(octets int64) float64 { return float64(octets) / 1e6 }

// Median returns the middle one.
func Median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
