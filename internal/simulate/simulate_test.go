package simulate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// What the environment says:
//
//	SIGILL_SIMULATE_TIME  how long TestSimulate runs; default 10 s, and 60 s with
//	                      SIGILL_REQUIRE=1
//	SIGILL_SIMULATE_FROM  the first seed; default 1
//	SIGILL_SIMULATE_SEED  this seed alone, with its whole trace
const (
	envTime   = "SIGILL_SIMULATE_TIME"
	envFrom   = "SIGILL_SIMULATE_FROM"
	envSeed   = "SIGILL_SIMULATE_SEED"
	envWorker = "SIGILL_SIMULATE_WORKER" // "2/3": every third seed, from the second on
	envOut    = "SIGILL_SIMULATE_OUT"    // the file for what a process of its own found
)

// atLeast is how many schedules a run makes even if its time is over, and more, up
// to atMost, until every kind of fault has had its turn.
const (
	atLeast = 100
	atMost  = 1000
)

func number(t *testing.T, name string, fallback uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func budget(t *testing.T) time.Duration {
	t.Helper()
	text := cmp.Or(os.Getenv(envTime), map[bool]string{true: "60s", false: "10s"}[os.Getenv("SIGILL_REQUIRE") == "1"])
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", envTime, err)
	}
	return d
}

// statistics are sums over schedules.
type statistics struct {
	Schedules, Steps int
	Faults           map[Fault]int
	Killed, Ends     map[string]int
	Failed           string // the first violation
}

func newStatistics() *statistics {
	return &statistics{Faults: map[Fault]int{}, Killed: map[string]int{}, Ends: map[string]int{}}
}

func (st *statistics) add(r Result) {
	st.Schedules++
	st.Steps += r.Steps
	sum(st.Faults, r.Faults)
	sum(st.Killed, r.Killed)
	sum(st.Ends, r.Ends)
	if err := r.Error(); err != nil && st.Failed == "" {
		st.Failed = err.Error()
	}
}

func (st *statistics) merge(other *statistics) {
	st.Schedules += other.Schedules
	st.Steps += other.Steps
	sum(st.Faults, other.Faults)
	sum(st.Killed, other.Killed)
	sum(st.Ends, other.Ends)
	st.Failed = cmp.Or(st.Failed, other.Failed)
}

func sum[K comparable](into, from map[K]int) {
	for k, n := range from {
		into[k] += n
	}
}

// tooFew reports whether one of n workers has to go on.
func (st *statistics) tooFew(n int) bool {
	return st.Schedules*n < atLeast || st.Schedules*n < atMost && len(st.Faults) < len(Faults())
}

func (st *statistics) injected() (n int) {
	for _, k := range st.Faults {
		n += k
	}
	return n
}

func list[K cmp.Ordered](t *testing.T, title string, counts map[K]int) {
	t.Helper()
	t.Log(title)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%8d %v", counts[k], k)
	}
}

// TestSimulate makes schedules until its time is over, on every processor.
func TestSimulate(t *testing.T) {
	if os.Getenv(envWorker) != "" {
		work(t)
		return
	}
	if seed := os.Getenv(envSeed); seed != "" {
		r, err := NewBase(t).Run(number(t, envSeed, 0), Options{Trace: os.Stdout})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Error(); err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %s: %d steps, nothing wrong, trace %s", seed, r.Steps, r.Hash)
		return
	}
	begin := time.Now()
	all := inParallel(t)
	spent := time.Since(begin)
	t.Logf("%d schedules, %d steps, %d faults, %.1f schedules a second", all.Schedules, all.Steps, all.injected(), float64(all.Schedules)/spent.Seconds())
	list(t, "faults:", all.Faults)
	list(t, "server processes killed before:", all.Killed)
	list(t, "how things ended:", all.Ends)
	if all.Failed != "" {
		t.Fatal(all.Failed)
	}
	if all.Schedules < atLeast {
		t.Errorf("only %d schedules", all.Schedules)
	}
	for _, f := range Faults() {
		if all.Faults[f] == 0 {
			t.Errorf("never injected: %s", f)
		}
	}
	for _, step := range []string{"client = confirmed", "at last: client = confirmed"} {
		if all.Ends[step] == 0 {
			t.Errorf("never reached: %s", step)
		}
	}
}

// inParallel lets one process per processor make schedules: the randomness of a
// schedule is a whole process's.
func inParallel(t *testing.T) *statistics {
	t.Helper()
	n := runtime.GOMAXPROCS(0)
	results := make([]*statistics, n)
	var wg sync.WaitGroup
	for i := range n {
		out := fmt.Sprintf("%s/worker-%d.json", t.TempDir(), i)
		wg.Go(func() {
			said, err := again(t, "^TestSimulate$", fmt.Sprintf("%s=%d/%d", envWorker, i, n), envOut+"="+out).CombinedOutput()
			text, readErr := os.ReadFile(out)
			st := newStatistics()
			if err != nil || readErr != nil || json.Unmarshal(text, st) != nil {
				st.Failed = fmt.Sprintf("worker %d: %v\n%s", i, err, said)
			}
			results[i] = st
		})
	}
	wg.Wait()
	all := newStatistics()
	for _, st := range results {
		all.merge(st)
	}
	return all
}

// work is one of the processes of TestSimulate.
func work(t *testing.T) {
	debug.SetGCPercent(400) // memory is small, and much of it short-lived
	var i, n uint64
	if _, err := fmt.Sscanf(os.Getenv(envWorker), "%d/%d", &i, &n); err != nil || n == 0 {
		t.Fatalf("%s: %v", envWorker, err)
	}
	from, end := number(t, envFrom, 1), time.Now().Add(budget(t))
	b, st := NewBase(t), newStatistics()
	for seed := from + i; st.Failed == "" && (time.Now().Before(end) || st.tooFew(int(n))); seed += n {
		r, err := b.Run(seed, Options{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		st.add(r)
	}
	text, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv(envOut), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSameSeedSameTrace: a schedule is its seed's, to the byte, whatever ran before
// it and in whichever process; and another seed makes another one.
func TestSameSeedSameTrace(t *testing.T) {
	const seeds = 10
	if out := os.Getenv(envOut); out != "" { // in a process of its own, last one first
		b, text := NewBase(t), ""
		for seed := uint64(seeds); seed > 0; seed-- {
			r, err := b.Run(seed-1, Options{})
			if err != nil {
				t.Fatal(err)
			}
			text = r.Hash + "\n" + text
		}
		if err := os.WriteFile(out, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	seen := map[string]uint64{}
	trace := func(b *Base, seed uint64) string {
		t.Helper()
		r, err := b.Run(seed, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Hash
	}
	hashes, b := "", NewBase(t)
	for seed := range uint64(seeds) {
		hash := trace(b, seed)
		if other, ok := seen[hash]; ok {
			t.Errorf("seeds %d and %d have one trace", other, seed)
		}
		seen[hash] = seed
		hashes += hash + "\n"
	}
	out := t.TempDir() + "/hashes"
	if said, err := again(t, "^TestSameSeedSameTrace$", envOut+"="+out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != hashes {
		t.Errorf("traces here:\n%sin another process:\n%s", hashes, text)
	}
}

// again is this program once more, for one test.
func again(t *testing.T, run string, env ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run="+run, "-test.timeout=0")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}
