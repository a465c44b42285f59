// Command sigill is the certificate authority and issuance backend: it makes an
// installation and serves it, and it is the administrators' client of its API.
//
// Only init, serve, migrate, doctor, audit, outage, retention and bench open the
// installation's directory; every other noun goes through the API with the caller's own card,
// so that who runs the machine is not above the rules. This package wires flags,
// signals and exit codes and holds no rules.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"sigill/internal/wire"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // refused or failed
	exitUsage  = 2 // wrong use
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// cli is the command line.
type cli struct {
	JSON bool   `name:"json" help:"Print data as JSON, one document."`
	Lang string `enum:"sv,en," default:"" help:"Language of the server's texts: sv or en. Default: from the environment."`

	Init      initCmd      `cmd:"" group:"service" help:"Make a TEST installation: keys, database, configuration. Never overwrites."`
	Serve     serveCmd     `cmd:"" group:"service" help:"Serve an installation until interrupted."`
	Demo      demoCmd      `cmd:"" group:"service" help:"Play the whole journey in a fresh installation and tell it as a story."`
	Migrate   migrateCmd   `cmd:"" group:"service" help:"Bring the database to this program's schema. Back up first: there is no way down."`
	Doctor    doctorCmd    `cmd:"" group:"service" help:"Examine an installation: database, event chain, CRLs, certificates."`
	Audit     auditCmd     `cmd:"" group:"service" help:"Verify what was done."`
	CA        caCmd        `cmd:"" name:"ca" group:"service" help:"What the CAs may issue."`
	Log       logCmd       `cmd:"" group:"service" help:"The transparency logs: their keys."`
	Reconcile reconcileCmd `cmd:"" group:"service" help:"Bring a restored database up to date from a copy of the logs. Says what it would do; with --yes it does it."`
	Check     checkCmd     `cmd:"" group:"service" help:"Look at a status service from outside: lists, OCSP, certificates, claims. Exit 0, 1 with warnings, 2 with failures."`
	Config    configCmd    `cmd:"" group:"service" help:"Print sigill.yaml with every key explained."`
	Outage    outageCmd    `cmd:"" group:"service" help:"Announce planned work: issuing stops, revoking and status go on."`
	Retention retentionCmd `cmd:"" group:"service" help:"What has been kept long enough: show it, erase it."`
	Bench     benchCmd     `cmd:"" group:"service" help:"Measure, with the ceiling beside each figure."`
	Witness   witnessCmd   `cmd:"" group:"service" help:"Be a witness of others' logs: see that they only grow, and say so."`
	Version   versionCmd   `cmd:"" group:"service" help:"Print the version."`

	nouns
}

// globals is what a command works with.
type globals struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool
	lang           string
}

// log returns the operators' log: JSON lines on stderr.
func (g *globals) log() *slog.Logger { return g.logFrom(slog.LevelInfo) }

// logFrom is log with all that is at least of a level.
func (g *globals) logFrom(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(g.stderr, &slog.HandlerOptions{Level: level}))
}

// print writes v as JSON if that is asked for, and text otherwise.
func (g *globals) print(v any, text string) error {
	if !g.json {
		_, err := io.WriteString(g.stdout, text)
		return err
	}
	e := json.NewEncoder(g.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// errTold is a failure whose reasons have been printed already.
var errTold = errors.New("told")

// exitError is a failure with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// usageError is wrong use: exit 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

const description = `Sigill: certificate authority and issuance backend for professional eID cards.

  sigill demo                     the whole journey in a minute
  sigill init --dir D             make an installation
  sigill serve --dir D            serve it
  sigill <noun> <verb> --help     what administrators do, with their own cards`

// stopParsing ends kong's parser where it would end the process.
type stopParsing struct{ code int }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	var flags cli
	defer func() {
		if stop, ok := recover().(stopParsing); ok {
			code = stop.code
		}
	}()
	parser, err := kong.New(&flags, kong.Name("sigill"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ExplicitGroups([]kong.Group{{Key: "service", Title: "The service"}, {Key: "nouns", Title: "Administration, with your own card"}}),
		kong.Exit(func(code int) { panic(stopParsing{code}) }))
	if err != nil {
		fmt.Fprintln(stderr, "sigill:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "sigill: %s\nTry `sigill --help`.\n", err)
		return exitUsage
	}
	g := &globals{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, json: flags.JSON, lang: language(flags.Lang, os.Getenv)}
	return report(stderr, parsed.Run(g))
}

// report prints an error and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	if use, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(stderr, "sigill:", use)
		return exitUsage
	}
	if !errors.Is(err, errTold) {
		fmt.Fprintln(stderr, "sigill:", told(err))
	}
	if own, ok := errors.AsType[exitError](err); ok {
		return own.code
	}
	return exitFailed
}

// told is the text of an error for people. What the server sent stays on its line
// and steers no terminal; what stands around it, and how lines are divided by this
// program, is kept.
func told(err error) string {
	text := err.Error()
	if p, ok := errors.AsType[*wire.Problem](err); ok {
		text = strings.ReplaceAll(text, p.Error(), clean(p.Error()))
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// language follows the flag, then the usual environment, then Swedish.
func language(flag string, getenv func(string) string) string {
	if flag != "" {
		return flag
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := getenv(name); len(v) >= 2 {
			if v[:2] == "sv" || v[:2] == "en" {
				return v[:2]
			}
			return "en"
		}
	}
	return "sv"
}

// version of this program; the build information tells the commit.
const version = "0.1.0"

type versionCmd struct{}

func (versionCmd) Run(g *globals) error {
	commit := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return g.print(map[string]string{"version": version, "commit": commit}, fmt.Sprintf("sigill %s (commit %s)\n", version, commit))
}
