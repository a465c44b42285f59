package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigill/internal/bench/figure"
)

// TestFigures runs every benchmark of issuing with a handful of holders. It asserts that
// the figures are measured and complete, never how fast anything is.
func TestFigures(t *testing.T) {
	c := Config{Amount: 8, Dir: t.TempDir(), Progress: t.Logf, Load: func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), asLoad+"=1")
		return cmd
	}}
	got := map[string]Figure{}
	// Those of package status are tested there.
	issuing := []string{"downloads", "download_p99_ms", "certificates_https", "downloads_tls"}
	if err := Run(t.Context(), issuing, c, func(f Figure) { got[f.Name] = f }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"downloads", "download_p99_ms", "certificates_https", "certificates_https_no_lint", "certificates_https_no_log", "downloads_log_share",
		"downloads_tls", "downloads_tls_per_day", "downloads_tls_p99_ms", "downloads_tls_cpu_ms", "downloads_tls_database_kb"} {
		f, ok := got[name]
		// So few downloads may find room in the pages that are there.
		roomy := name == "downloads_tls_database_kb" && f.Value == 0
		if !ok || f.Value <= 0 && !roomy || f.Ceiling <= 0 || f.Ratio <= 0 || f.Unit == "" || f.Note == "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
	// Five of its own (TestDownloadCutOffAnywhere counts them), and its share of the log's
	// two, which is all of them where nobody shares.
	if note := got["downloads"].Note; !regexp.MustCompile(`per download [5-7]\.\d transactions`).MatchString(note) {
		t.Errorf("a download is to take five writing transactions and the log's: %s", note)
	}
}

// TestLongRun repeats downloads for a moment, cards wearing out on the way, with
// the load generator in this process.
func TestLongRun(t *testing.T) {
	got := map[string]Figure{}
	c := Config{Amount: 2, Time: time.Nanosecond, Dir: t.TempDir(), Progress: t.Logf}
	r, err := newTLSRig(t.Context(), c, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var sum phase
	first := r.holders[0].Card
	for i := range usesOfCard + 1 {
		runs, err := r.ordered(t.Context(), 0, 2)
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.run(job{Runs: runs, AtOnce: 2})
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		sum.add(p)
	}
	if r.holders[0].Card == first || sum.runs != 2*(usesOfCard+1) || len(sum.Times) != sum.runs || sum.connections < 2 || sum.requests < 5 {
		t.Errorf("%+v", sum)
	}
	r.c.Time = time.Second
	if sum, err = r.long(t.Context(), 2, sum, func(f Figure) { got[f.Name] = f }); err != nil {
		t.Fatal(err)
	}
	if f := got["downloads_tls_resident_mb"]; figure.Resident() > 0 && (f.Value <= 0 || f.Ceiling <= 0 || f.Note == "") {
		t.Errorf("%+v", f)
	}
}

// asLoad makes this test's program the load generator.
const asLoad = "SIGILL_BENCH_LOAD"

func TestMain(m *testing.M) {
	if os.Getenv(asLoad) == "" {
		os.Exit(m.Run())
	}
	if err := Load(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestUnknownBenchmark(t *testing.T) {
	err := Run(t.Context(), []string{"nothing"}, Config{}, func(Figure) {})
	if err == nil || !strings.Contains(err.Error(), "downloads") {
		t.Errorf("Run = %v, want an error that names the benchmarks", err)
	}
}

func BenchmarkDownloads(b *testing.B) {
	ctx := b.Context()
	r, err := newRig(ctx, Config{Dir: b.TempDir(), Progress: b.Logf}, b.N, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer r.close()
	orders, err := r.renewals(ctx, b.N)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	if err := figure.Each(b.N, holdersAtOnce, func(i int) error { return r.Fetch(ctx, r.holders[i], orders[i]) }); err != nil {
		b.Fatal(err)
	}
}
