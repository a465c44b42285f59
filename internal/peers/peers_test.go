package peers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuild builds every program that is pinned here for tests: what it finds missing,
// other tests leave out. `make deps` runs it for what it leaves in the cache. Those for
// benchmarks, which take minutes to build, it builds if SIGILL_PEERS=all.
func TestBuild(t *testing.T) {
	mods, err := filepath.Glob("*.mod")
	if err != nil || len(mods) == 0 {
		t.Fatalf("no module files: %v", err)
	}
	for _, mod := range mods {
		name := strings.TrimSuffix(mod, ".mod")
		t.Run(name, func(t *testing.T) {
			if forBenchmarks(name) && os.Getenv("SIGILL_PEERS") != "all" {
				t.Log("for benchmarks: they build it themselves")
				return
			}
			path := Need(t, name)
			info, err := os.Stat(path)
			if err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%s is no program: %v", path, err)
			}
			again, err := Build(t.Context(), name)
			if err != nil || again != path {
				t.Errorf("built again: %s, %v; was %s", again, err, path)
			}
		})
	}
}

func TestBuildRefusesOthers(t *testing.T) {
	for _, name := range []string{"", "nothing", "../peers", "Versitygw", "versitygw.mod"} {
		if path, err := Build(t.Context(), name); err == nil {
			t.Errorf("Build(%q) = %s", name, path)
		}
	}
}

func TestEachModuleFileNamesOneTool(t *testing.T) {
	mods, _ := filepath.Glob("*.mod")
	for _, mod := range mods {
		text, err := os.ReadFile(mod)
		if err != nil {
			t.Fatal(err)
		}
		tools := 0
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "tool ") {
				tools++
			}
		}
		want := 1
		if len(files(strings.TrimSuffix(mod, ".mod"))) > 2 {
			want = 0 // its program is here
		}
		if tools != want {
			t.Errorf("%s has %d tool directives, want %d", mod, tools, want)
		}
	}
}
