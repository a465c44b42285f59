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
	"sigill/internal/bench/figure"
	"sigill/internal/bench/population"
	results "sigill/internal/bench/table"
)

type benchCmd struct {
	Run        benchRunCmd        `cmd:"" default:"withargs" help:"Measure. The default."`
	Population benchPopulationCmd `cmd:"" help:"Make a TEST installation with millions of certificates, for measuring."`
	Table      benchTableCmd      `cmd:"" help:"Make a table in Markdown of what bench --json printed."`
	Child      benchChildCmd      `cmd:"" hidden:"" help:"Be one of the processes of a measurement."`
}

type benchRunCmd struct {
	Names      []string      `arg:"" optional:"" name:"name" help:"Benchmarks to run. Default: all."`
	Scale      int           `default:"1" help:"Multiply the amounts of the quick form."`
	Time       time.Duration `help:"How long downloads_tls goes on, to see whether memory grows; 0: the quick form."`
	Population string        `help:"Directory made by bench population, to measure status over; what is measured there revokes some of its certificates. Default: one is made."`
	Dir        string        `help:"Where to make the databases; it decides what fsync costs. Default: the directory for temporary files."`
}

func (c *benchRunCmd) Help() string {
	text := "Each figure is printed beside the ceiling measured in the same run: the same load against a\nconstant answer, or the bare operation.\n\n"
	for _, b := range bench.All() {
		text += fmt.Sprintf("  %-22s %s\n", b.Name, b.Help)
	}
	return text
}

func (c *benchRunCmd) Run(g *globals) error {
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
	load := func(ctx context.Context) *exec.Cmd { return child(ctx, bench.LoadChild) }
	e := json.NewEncoder(g.stdout)
	e.SetEscapeHTML(false)
	return bench.Run(g.ctx, c.Names, bench.Config{Scale: c.Scale, Dir: dir, Time: c.Time, Population: c.Population, Load: load, Child: child,
		Progress: func(format string, args ...any) { fmt.Fprintf(g.stderr, format+" …\n", args...) }},
		func(f bench.Figure) {
			if g.json {
				e.Encode(f)
				return
			}
			fmt.Fprintf(g.stdout, "%-28s %10.1f %-4s ceiling %10.1f  ratio %.2f\n    %s\n", f.Name, f.Value, f.Unit, f.Ceiling, f.Ratio, f.Note)
		})
}

// child makes the command that runs this program as one of the processes of a
// measurement.
func child(ctx context.Context, kind string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return exec.CommandContext(ctx, self, "bench", "child", kind)
}

type benchChildCmd struct {
	Kind string `arg:""`
}

func (c *benchChildCmd) Run(g *globals) error { return bench.Child(g.ctx, c.Kind, g.stdin, g.stdout) }

type benchPopulationCmd struct {
	Dir        string `required:"" help:"Directory of the new installation; it must not exist, or be empty."`
	Certs      int    `default:"1000000" help:"How many certificates."`
	Revoked    int    `default:"100000" help:"How many of them are revoked."`
	Partitions int    `default:"256" help:"How many partitions the CRL has."`
}

func (c *benchPopulationCmd) Help() string {
	return `A new TEST installation of the past 90 days: an organisation founded by two officers, holders with
cards, and certificates for them, with keys of their own, signed by the issuing CA over bytes that the
real issuer has built. Orders, statements and the events of issuing are left out. sigill doctor and
sigill audit verify find nothing wrong in it. A certificate takes about 3 kB, a revocation 1.5 kB.`
}

func (c *benchPopulationCmd) Run(g *globals) error {
	made, err := population.Make(g.ctx, population.Options{Dir: c.Dir, Certs: c.Certs, Revoked: c.Revoked, Partitions: c.Partitions,
		Progress: func(p population.Progress) { fmt.Fprintln(g.stderr, p) }})
	if err != nil {
		return err
	}
	return g.print(made, fmt.Sprintf("%d certificates, %d revoked, in %d partitions: %d rows in %s, %.0f a second; %.0f MB\n",
		made.Certs, made.Revoked, made.Partitions, made.Rows, made.Took.Round(time.Second/10), made.RowsPerSecond, figure.Mega(made.Octets)))
}

type benchTableCmd struct {
	Into string `help:"File whose part between <!-- results --> and <!-- end --> is replaced. Default: print."`
}

func (c *benchTableCmd) Help() string {
	return "Reads figures, as `sigill --json bench` prints them, from standard input. The machine it names is this one."
}

func (c *benchTableCmd) Run(g *globals) error {
	text, err := results.Make(g.stdin, time.Now(), results.Machine())
	if err != nil {
		return err
	}
	if c.Into == "" {
		_, err = fmt.Fprint(g.stdout, text)
		return err
	}
	return results.Into(c.Into, text)
}
