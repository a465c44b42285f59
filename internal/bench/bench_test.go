package bench

import (
	"strings"
	"testing"
)

// TestFigures runs every benchmark with a handful of holders. It asserts that
// the figures are measured and complete, never how fast anything is.
func TestFigures(t *testing.T) {
	c := Config{Amount: 8, Dir: t.TempDir(), Progress: t.Logf}
	got := map[string]Figure{}
	if err := Run(t.Context(), nil, c, func(f Figure) { got[f.Name] = f }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"downloads", "download_p99_ms", "certificates_https", "certificates_https_no_lint"} {
		f, ok := got[name]
		if !ok || f.Value <= 0 || f.Ceiling <= 0 || f.Ratio <= 0 || f.Unit == "" || f.Note == "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if note := got["downloads"].Note; !strings.Contains(note, "per download 5.0 transactions") {
		t.Errorf("a download is to take five writing transactions: %s", note)
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
	if err := each(b.N, holdersAtOnce, func(i int) error { return r.Fetch(ctx, r.holders[i], orders[i]) }); err != nil {
		b.Fatal(err)
	}
}
