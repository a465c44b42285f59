package demo

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigill/internal/app"
	"sigill/internal/bureau"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/loopback"
	"sigill/internal/wire"
)

// Options say how the demo is played.
type Options struct {
	// Dir keeps everything; it must not exist or be empty.
	Dir string
	// Program is the path of the sigill program, for the serving child.
	Program string
	// Database is "postgres://…" of an empty database, or empty: SQLite in Dir.
	Database string
	Out      io.Writer
	// Stay leaves the service running until ctx ends, to look around.
	Stay bool
}

// demo is one playing.
type demo struct {
	story
	Options
	ctx   context.Context
	at    app.Addresses
	roots *x509.CertPool
	root  *x509.Certificate
	h     *keys.Hierarchy

	bureau *bureau.Bureau
	org    string
	admins [2]*person
	åsa    *person
	göran  *person
	märta  *person
	child  *exec.Cmd

	// Of the update: what was replaced, what replaced it, by which download.
	old, new *wire.Certificate
	download string
}

// Run plays the demo. It ends early when Out takes no more, with that error.
func Run(ctx context.Context, o Options) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	o.Out = listened{o.Out, end}
	err := play(ctx, o)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause // what follows from it is not worth telling
	}
	return err
}

func play(ctx context.Context, o Options) (err error) {
	began := time.Now()
	d := &demo{story: story{out: o.Out}, Options: o, ctx: ctx}
	d.tell("Sigill, the demo. Everything below happens for real, in %s:\na serving process, cards made of software, TLS, OCSP, CRLs.", o.Dir)
	if err := d.hierarchy(); err != nil {
		return fmt.Errorf("chapter %d: %w", d.chapter, err)
	}
	stop, err := d.serve()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, chapter := range []func() error{d.bootstrap, d.people, d.firstEID, d.update, d.several, d.lost, d.relyingParties, d.refused} {
		if err := chapter(); err != nil {
			return fmt.Errorf("chapter %d: %w", d.chapter, err)
		}
	}
	if err := d.keep(); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nThat was all of it, in %.1f seconds.\n", time.Since(began).Seconds())
	if o.Stay {
		d.lookAround()
		<-ctx.Done()
	}
	return nil
}

// hierarchy makes the installation.
func (d *demo) hierarchy() error {
	d.begin("A TEST hierarchy comes to be")
	addresses, err := loopback.Free(3)
	if err != nil {
		return err
	}
	s := config.Defaults()
	s.Organisation, s.Partitions = "Sigill Demo", 4
	s.Status, s.Card, s.Ops, s.StatusURL = addresses[0], addresses[1], addresses[2], "http://"+addresses[0]
	if d.Database != "" {
		s.Database = d.Database
	}
	s.Bureaus = map[string]string{bureauName: filepath.Join("bureau", "public.pem")}
	if d.bureau, err = bureau.New(); err != nil {
		return err
	}
	public, err := d.bureau.PublicPEM()
	if err != nil {
		return err
	}
	// The bureau's key is registered before the installation is opened for the
	// first time; afterwards it is a line in sigill.yaml.
	_, err = app.Init(d.ctx, app.InitOptions{Dir: d.Dir, Settings: s, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Files: map[string][]byte{filepath.Join("bureau", "public.pem"): public}})
	if err != nil {
		return err
	}
	// Its private key is kept so that who looks around can have cards made. A
	// real bureau's key is not here.
	private, err := d.bureau.PrivatePEM()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.Dir, "bureau", "key.pem"), private, 0o600); err != nil {
		return err
	}
	if d.h, err = keys.Load(d.Dir); err != nil {
		return err
	}
	d.root = d.h.Root.Certificate
	d.roots = x509.NewCertPool()
	d.roots.AddCert(d.root)
	d.fact("%s (%s), its key in a directory of its own: %s", d.root.Subject.CommonName, keyKind(d.root), rel(d.Dir, d.h.RootDir()))
	for _, each := range d.h.Issuers {
		_, err := each.Certificate.Verify(x509.VerifyOptions{Roots: d.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil {
			return fmt.Errorf("%s: %w", each.ID, err)
		}
		d.fact("%s (%s) below it, verified", each.Certificate.Subject.CommonName, keyKind(each.Certificate))
	}
	list, err := d.h.RootCRL()
	if err != nil {
		return err
	}
	d.fact("the root's CRL, number %v, until %s", list.Number, list.NextUpdate.Format(time.DateOnly))
	return nil
}

func rel(base, path string) string {
	if r, err := filepath.Rel(base, path); err == nil {
		return r
	}
	return path
}

// serve starts the service as a child process and waits until it is ready.
func (d *demo) serve() (stop func() error, err error) {
	log, err := os.Create(filepath.Join(d.Dir, "serve.log"))
	if err != nil {
		return nil, err
	}
	d.child = exec.CommandContext(d.ctx, d.Program, "serve", "--dir", d.Dir, "--json")
	d.child.Stderr = log
	d.child.Cancel = func() error { return d.child.Process.Signal(os.Interrupt) }
	d.child.WaitDelay = 20 * time.Second
	out, err := d.child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.child.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		defer log.Close()
		d.child.Process.Signal(os.Interrupt)
		if err := d.child.Wait(); err != nil && d.ctx.Err() == nil {
			return fmt.Errorf("sigill serve: %w (its log: %s)", err, log.Name())
		}
		return nil
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &d.at)
	}
	if err != nil {
		told, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("sigill serve did not start: %w\n%s", err, told), stop())
	}
	d.tell("sigill serve (process %d) listens: cards %s, status %s", d.child.Process.Pid, d.at.Card, d.at.Status)
	return stop, nil
}

// problem returns the problem document that an error carries, and an error if
// there is none.
func problem(err error) (*wire.Problem, error) {
	p, ok := errors.AsType[*wire.Problem](err)
	if !ok {
		return nil, fmt.Errorf("the demo expected a refusal, got: %v", err)
	}
	return p, nil
}

// refusedBy tells the refusal err and returns an error if it is not by rule.
func (d *demo) refusedBy(err error, rule, what string) error {
	p, err := problem(err)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if p.Rule != rule {
		return fmt.Errorf("%s: refused by %q, expected %q: %w", what, p.Rule, rule, p)
	}
	d.fact("%s: refused, %s (“%s”)", what, p.Rule, p.Title)
	return nil
}
