package status_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sigill/internal/bench/figure"
	"sigill/internal/bench/process"
	"sigill/internal/bench/status"
)

// asChild makes this test's program one of the processes of a measurement.
const asChild = "SIGILL_BENCH_CHILD"

func TestMain(m *testing.M) {
	kind := os.Getenv(asChild)
	if kind == "" {
		os.Exit(m.Run())
	}
	if err := process.Child(context.Background(), kind, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, kind+":", err)
		os.Exit(1)
	}
}

// others need programs that are built from the network's modules, which takes minutes.
var others = []string{"peers_ocsp", "peers_crl"}

// TestFigures runs every benchmark of status over a population of hundreds. It asserts
// that the figures are measured and complete, never how fast anything is.
func TestFigures(t *testing.T) {
	c := figure.Config{Amount: 12, Dir: t.TempDir(), Progress: t.Logf, Child: func(ctx context.Context, kind string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), asChild+"="+kind)
		return cmd
	}}
	all, end := status.Benchmarks()
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(c.Dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}()
	got := map[string]figure.Figure{}
	for _, b := range all {
		if slices.Contains(others, b.Name) && os.Getenv("SIGILL_PEERS") != "all" {
			continue
		}
		if err := b.Run(t.Context(), c, func(f figure.Figure) { got[f.Name] = f; t.Logf("%+v", f) }); err != nil {
			t.Fatalf("%s: %v", b.Name, err)
		}
	}
	want := []string{"crl_partition_12k_ms", "crl_full_1m_ms", "start_ms", "ocsp_cached_get", "ocsp_cached_post", "ocsp_uniform_get", "ocsp_fresh",
		"ocsp_fresh_in_process", "revoke_to_ocsp_p99_ms", "revoke_to_ocsp_other_p99_ms", "revoke_to_crl_ms", "revoke_one_by_one", "mass_revocation_100k_s", "ocsp_p99_during_mass_ms"}
	if figure.Peak() > 0 && figure.ResetPeak() == nil {
		want = append(want, "crl_full_1m_peak_mb", "ocsp_resident_mb")
	}
	if server, err := exec.LookPath("postgres"); err == nil {
		t.Log(server)
		want = append(want, "revoke_to_ocsp_postgres_p99_ms", "revoke_to_ocsp_postgres_other_p99_ms")
	}
	if os.Getenv("SIGILL_PEERS") == "all" {
		want = append(want, "peer_cfssl_get", "peer_cfssl_post", "peer_openssl_ocsp", "peer_stepca_crl_ms")
	}
	for _, name := range want {
		f, ok := got[name]
		if !ok || f.Value <= 0 || f.Ceiling <= 0 || f.Ratio <= 0 || f.Unit == "" || f.Note == "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// A process that can't begin says why, and a kind that there is none of is refused.
func TestChildTellsWhy(t *testing.T) {
	for kind, want := range map[string]string{process.Serve: "sigill.yaml", process.Other: "sigill.yaml", "nothing": "no process"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), asChild+"="+kind)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(in, "{\"dir\":%q}\n", t.TempDir())
		in.Close()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %s, %v; want %q", kind, out, err, want)
		}
	}
}
