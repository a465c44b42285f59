package logs

import (
	"slices"
	"testing"

	"sigill/internal/bench/figure"
)

// Every figure is measured, over a small log.
func TestBenchmarks(t *testing.T) {
	var names []string
	for _, b := range Benchmarks() {
		err := b.Run(t.Context(), figure.Config{Amount: 700, Dir: t.TempDir(), Progress: func(string, ...any) {}}, func(f figure.Figure) {
			if f.Value <= 0 || f.Ceiling <= 0 || f.Note == "" {
				t.Errorf("%+v", f)
			}
			names = append(names, f.Name)
		})
		if err != nil {
			t.Fatalf("%s: %v", b.Name, err)
		}
	}
	if want := []string{"log_leaves", "log_proof_p99_ms", "log_octets_per_leaf"}; !slices.Equal(names, want) {
		t.Errorf("figures %v, want %v", names, want)
	}
}
