package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"sigill/ca/crl"
	"sigill/internal/adminclient"
	"sigill/internal/keys"
	"sigill/internal/statement"
	"sigill/internal/terminal"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// serverFlags name the server and whom to believe that it is it.
type serverFlags struct {
	Server string `default:"https://127.0.0.1:8444" env:"SIGILL_SERVER" placeholder:"URL" help:"The card listener. Default: ${default}."`
	CA     string `name:"ca" env:"SIGILL_CA" placeholder:"FILE" help:"Root certificate (PEM or DER) that the server's must lead to. Default: the root of --dir."`
	Dir    string `default:"./sigill-data" env:"SIGILL_DIR" help:"Installation whose root and log of acts are trusted if --ca is not given: their public keys, and nothing else of it is read."`
	PINFD  int    `name:"pin-fd" default:"-1" placeholder:"N" help:"Read PINs from file descriptor N, one a line, when they would be asked for."`
}

// ownCard names the caller's card too.
type ownCard struct {
	serverFlags
	Identity  string `required:"" env:"SIGILL_IDENTITY" placeholder:"CARD" help:"Your card: soft:FILE, or pkcs11:module-path=FILE;token=LABEL."`
	LoginWith string `placeholder:"ID" help:"Log in with this object of the card (sigill-card --json list), where it has eIDs of several organisations. Default: the newest that is accepted."`
}

// yesFlag is for what can't be undone.
type yesFlag struct {
	Yes bool `help:"Do it without asking."`
}

// waitFlag is for what revokes.
type waitFlag struct {
	Wait bool `help:"Wait, 10 seconds at the most, until whoever asks sees what is revoked: OCSP of every process, and the CRL."`
}

// on makes the client wait, and tell on the standard error what came of it. It is
// called before the first request.
func (w waitFlag) on(g *globals, c *adminclient.Client) {
	if !w.Wait {
		return
	}
	c.Seen = func(v wire.Visible) {
		if v.Visible {
			fmt.Fprintln(g.stderr, "Whoever asks sees it.")
			return
		}
		fmt.Fprintf(g.stderr, "It is done, but not everybody sees it yet: %s.\n", clean(v.Why))
	}
}

// session is one run of a command: the server, the cards that were opened, one
// reader of the input for PINs and answers.
type session struct {
	*globals
	flags serverFlags
	roots *x509.CertPool
	in    *bufio.Reader
	pins  [][]byte // read from --pin-fd so far
	fd    *bufio.Reader
	cards []token.Card
}

// open prepares a session. Close it.
func (f serverFlags) open(g *globals) (*session, error) {
	file := f.CA
	if file == "" {
		file = (&keys.Hierarchy{Dir: f.Dir}).CertificatePath(keys.RootID)
	}
	certs, err := readCertificates(file)
	if errors.Is(err, fs.ErrNotExist) && f.CA == "" {
		return nil, usageError{fmt.Sprintf("no root certificate in %s: name one by --ca, or the installation by --dir", f.Dir)}
	} else if err != nil {
		return nil, err
	}
	s := &session{globals: g, flags: f, roots: x509.NewCertPool(), in: bufio.NewReader(g.stdin)}
	for _, c := range certs {
		s.roots.AddCert(c)
	}
	return s, nil
}

// close closes the cards and forgets PINs.
func (s *session) close() error {
	var err error
	for _, c := range s.cards {
		err = errors.Join(err, c.Close())
	}
	for _, pin := range s.pins {
		clear(pin)
	}
	return err
}

// client opens a card and returns a client that logs in with it.
func (s *session) client(card string) (*adminclient.Client, error) {
	opened, err := s.card(card)
	if err != nil {
		return nil, err
	}
	return &adminclient.Client{Server: s.flags.Server, Roots: s.roots, Card: opened, Language: s.lang}, nil
}

func (s *session) card(name string) (token.Card, error) {
	if !strings.HasPrefix(name, "soft:") && !strings.HasPrefix(name, "pkcs11:") {
		return nil, usageError{fmt.Sprintf("%q is no card: soft:FILE, or pkcs11:module-path=FILE;token=LABEL", name)}
	}
	index := len(s.cards)
	c, err := token.Open(s.ctx, name, func(ctx context.Context, slot policy.Slot) ([]byte, error) { return s.pin(ctx, index, name) })
	if err != nil {
		return nil, err
	}
	s.cards = append(s.cards, c)
	return c, nil
}

// run opens session and card, calls fn and closes them.
func (o ownCard) run(g *globals, fn func(*session, *adminclient.Client) error) error {
	s, err := o.open(g)
	if err != nil {
		return err
	}
	c, err := s.client(o.Identity)
	if err != nil {
		return errors.Join(err, s.close())
	}
	if c.LoginWith, err = o.object(); err != nil {
		return errors.Join(err, s.close())
	}
	return errors.Join(fn(s, c), s.close())
}

// object is --login-with; nil: none was named.
func (o ownCard) object() ([]byte, error) {
	id, err := hex.DecodeString(o.LoginWith)
	if err != nil {
		return nil, usageError{"--login-with is an object's id in hexadecimal"}
	}
	if len(id) == 0 {
		return nil, nil
	}
	return id, nil
}

// pin returns the PIN of the card that was opened as number index. The card
// zeroes what it gets.
func (s *session) pin(ctx context.Context, index int, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.flags.PINFD < 0 {
		return s.prompt(ctx, name)
	}
	if s.fd == nil {
		var err error
		if s.fd, err = terminal.OpenPINs(s.flags.PINFD, s.in); errors.Is(err, terminal.ErrNotOpen) {
			return nil, usageError{fmt.Sprintf("--pin-fd %d: %s", s.flags.PINFD, err)}
		} else if err != nil {
			return nil, fmt.Errorf("--pin-fd %d: %w", s.flags.PINFD, err)
		}
	}
	for len(s.pins) <= index {
		pin, err := terminal.ReadPIN(s.fd)
		if err != nil {
			return nil, fmt.Errorf("--pin-fd %d: line %d is no PIN", s.flags.PINFD, len(s.pins)+1)
		}
		s.pins = append(s.pins, pin)
	}
	return bytes.Clone(s.pins[index]), nil
}

// prompt asks for a PIN on the terminal.
func (s *session) prompt(ctx context.Context, name string) ([]byte, error) {
	pin, err := terminal.AskPIN(ctx, s.stdin, s.stderr, "PIN of "+clean(name))
	if errors.Is(err, terminal.ErrNone) {
		return nil, errors.New("there is no terminal to ask for the PIN on: use --pin-fd")
	}
	return pin, err
}

// confirm shows what would be done and asks; only an explicit yes is one.
func (s *session) confirm(yes yesFlag, would string) error {
	fmt.Fprintf(s.stderr, "%s\n", strings.TrimRight(would, "\n"))
	if yes.Yes {
		return nil
	}
	fmt.Fprint(s.stderr, "Do it? [y/N] ")
	ok, err := terminal.Yes(s.ctx, s.in)
	if ok || err != nil {
		return err
	}
	fmt.Fprintln(s.stderr, "Nothing was done.")
	return errTold
}

// organisation returns the one that was named, or the caller's only one.
func (s *session) organisation(c *adminclient.Client, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	me, err := c.WhoAmI(s.ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, r := range me.Roles {
		if len(found) == 0 || found[len(found)-1] != r.Organisation {
			found = append(found, r.Organisation)
		}
	}
	if len(found) != 1 {
		return "", usageError{fmt.Sprintf("name the organisation by --org: you have roles in %d (`sigill whoami` lists them)", len(found))}
	}
	return found[0], nil
}

// states signs st with the caller's card and, during the bootstrap, with the
// second officer's.
func (s *session) states(c *adminclient.Client, second string, st statement.Statement) ([]wire.Statement, error) {
	clients := []*adminclient.Client{c}
	if second != "" {
		other, err := s.client(second)
		if err != nil {
			return nil, err
		}
		clients = append(clients, other)
	}
	var out []wire.Statement
	for _, c := range clients {
		signed, err := c.Sign(s.ctx, st)
		if err != nil {
			return nil, err
		}
		out = append(out, signed)
	}
	return out, nil
}

// clean is for every text that is not the program's own.
func clean(text string) string { return terminal.Clean(text) }

// table lays rows out in columns; the first row is the heading.
func table(rows ...[]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, clean(cell))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}

// facts lays out pairs of name and value; pairs without a value are left out.
func facts(pairs ...string) string {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, []string{"  " + pairs[i], pairs[i+1]})
		}
	}
	return table(rows...)
}

// moment writes a time for people.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func momentOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return moment(*t)
}

// maxInput bounds files and answers that are read: the largest are lists.
const maxInput = crl.MaxOctets

// readInput reads a file, "-" being the standard input.
func readInput(g *globals, name string) ([]byte, error) {
	var r io.Reader = g.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("larger than %d MiB", maxInput>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// readCertificates reads certificates in PEM, or one in DER.
func readCertificates(name string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		return out, nil
	}
	c, err := x509.ParseCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("%s is no certificate, in PEM or DER", name)
	}
	return []*x509.Certificate{c}, nil
}
