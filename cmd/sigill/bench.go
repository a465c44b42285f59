package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"sigill/internal/bench"
)

type benchCmd struct {
	Names []string      `arg:"" optional:"" name:"name" help:"Benchmarks to run. Default: all."`
	Scale int           `default:"1" help:"Multiply the amounts of the quick form."`
	Time  time.Duration `help:"How long downloads_tls goes on, to see whether memory grows; 0: the quick form."`
	Load  bool          `hidden:"" help:"Be the load generator of downloads_tls."`
	Dir   string        `help:"Where to make the databases; it decides what fsync costs. Default: the directory for temporary files."`
}

func (c *benchCmd) Help() string {
	text := "Each figure is printed beside the ceiling measured in the same run: the same load against a\nconstant answer, or the bare operation.\n\n"
	for _, b := range bench.All() {
		text += fmt.Sprintf("  %-22s %s\n", b.Name, b.Help)
	}
	return text
}

func (c *benchCmd) Run(g *globals) error {
	if c.Load {
		return bench.Load(g.ctx, g.stdin, g.stdout)
	}
	if c.Scale < 1 {
		return usageError{"--scale is 1 or more"}
	}
	all := bench.All()
	for _, name := range c.Names {
		if !slices.ContainsFunc(all, func(b bench.Benchmark) bool { return b.Name == name }) {
			return usageError{fmt.Sprintf("no benchmark %q: sigill bench --help names them", name)}
		}
	}
	dir := c.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	e := json.NewEncoder(g.stdout)
	return bench.Run(g.ctx, c.Names, bench.Config{Scale: c.Scale, Dir: dir, Time: c.Time, Load: loader,
		Progress: func(format string, args ...any) { fmt.Fprintf(g.stderr, format+" …\n", args...) }},
		func(f bench.Figure) {
			if g.json {
				e.Encode(f)
				return
			}
			fmt.Fprintf(g.stdout, "%-28s %10.1f %-4s ceiling %10.1f  ratio %.2f\n    %s\n", f.Name, f.Value, f.Unit, f.Ceiling, f.Ratio, f.Note)
		})
}

// loader makes the command that runs this program as load generator.
func loader(ctx context.Context) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return exec.CommandContext(ctx, self, "bench", "--load")
}
