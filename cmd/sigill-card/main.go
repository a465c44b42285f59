// Command sigill-card is the card holder's program: it shows what is on the
// card, logs in with it, fetches an ordered eID to it, and reports it lost.
//
// It wires flags, card, client and terminal together and holds no rules: the
// protocol is in internal/cardclient, the card in internal/token.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/alecthomas/kong"

	"sigill/internal/token"
)

// version is what the server compares with the lowest one it serves.
const version = "0.1.0"

const (
	exitDone   = 0
	exitFailed = 1 // refused or failed
	exitUsage  = 2 // wrong use
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// cli is the command line.
type cli struct {
	Card      string `env:"SIGILL_CARD" placeholder:"NAME" help:"${card}"`
	Server    string `env:"SIGILL_SERVER" placeholder:"URL" help:"${server}"`
	CA        string `name:"ca" env:"SIGILL_CA" placeholder:"FILE" help:"${ca}"`
	PINFD     int    `name:"pin-fd" default:"-1" placeholder:"N" help:"${pinfd}"`
	LoginWith string `placeholder:"ID" help:"${loginwith}"`
	Lang      string `enum:"sv,en," default:"" help:"${lang}"`
	JSON      bool   `name:"json" help:"${json}"`

	List       listCmd       `cmd:"" help:"${list}"`
	Login      loginCmd      `cmd:"" help:"${login}"`
	Fetch      fetchCmd      `cmd:"" help:"${fetch}"`
	SignCert   signCertCmd   `cmd:"" help:"${signcert}"`
	Sweep      sweepCmd      `cmd:"" help:"${sweep}"`
	Abandon    abandonCmd    `cmd:"" help:"${abandon}"`
	ReportLoss reportLossCmd `cmd:"" help:"${reportloss}"`
	SelfTest   selfTestCmd   `cmd:"" help:"${selftest}"`
	Version    versionCmd    `cmd:"" help:"${version}"`
}

// app is what a command works with.
type app struct {
	ctx   context.Context
	flags *cli
	lang  string
	in    *bufio.Reader
	stdin io.Reader
	out   io.Writer // results
	notes io.Writer // progress, questions, errors
	pins  *pinReader
}

// usageError is wrong use: exit 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// errTold is a failure whose reasons have been printed already.
var errTold = errors.New("told")

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	lang := language(args, os.Getenv)
	var flags cli
	exited := -1
	parser, err := kong.New(&flags,
		kong.Name("sigill-card"), kong.Description(say(lang, "description")), kong.Vars(helpTexts(lang)),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, "sigill-card:", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // help was asked for and printed
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "sigill-card: %v\n%s\n", err, say(lang, "seehelp"))
		return exitUsage
	}
	a := &app{ctx: ctx, flags: &flags, lang: lang, in: bufio.NewReader(stdin), stdin: stdin, out: stdout, notes: stderr}
	a.pins = &pinReader{app: a}
	defer a.pins.forget()
	err = command.Run(a)
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "sigill-card: %s\n%s\n", usage.text, a.say("seehelp"))
		return exitUsage
	case errors.Is(err, errTold):
		return exitFailed
	default:
		fmt.Fprintln(stderr, "sigill-card:", a.explain(err))
		return exitFailed
	}
}

// language is --lang, or what the environment prefers, or English. It is looked
// for before the flags are parsed, because help and errors of parsing are in it.
func language(args []string, getenv func(string) string) string {
	for i, arg := range args {
		value, ok := strings.CutPrefix(arg, "--lang=")
		if arg == "--lang" && i+1 < len(args) {
			value, ok = args[i+1], true
		}
		if ok && (value == "sv" || value == "en") {
			return value
		}
	}
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := getenv(name); value != "" {
			if strings.HasPrefix(value, "sv") {
				return "sv"
			}
			break
		}
	}
	return "en"
}

func (a *app) say(key string, args ...any) string { return say(a.lang, key, args...) }

// note prints progress.
func (a *app) note(key string, args ...any) { fmt.Fprintln(a.notes, a.say(key, args...)) }

// openCard opens the card of --card.
func (a *app) openCard() (token.Card, error) {
	name := a.flags.Card
	switch {
	case name == "":
		return nil, usageError{a.say("nocard")}
	case strings.HasPrefix(name, "pkcs11:"):
		if _, err := token.ParseURI(name); err != nil {
			return nil, usageError{err.Error()}
		}
	case !strings.HasPrefix(name, "soft:"):
		return nil, usageError{a.say("nocard")}
	}
	return token.Open(a.ctx, name, a.pins.PIN)
}
