package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigill/internal/app"
	"sigill/internal/auditor"
	"sigill/internal/auditor/remote"
	"sigill/internal/reconcile"
)

type reconcileCmd struct {
	Dir       string   `default:"./sigill-data" env:"SIGILL_DIR" help:"The installation that was restored. Nothing may serve it meanwhile."`
	From      string   `required:"" placeholder:"COPY" help:"Where all of both logs is: a directory that sigill log export has made, the directory of another installation of the same logs (the disk that was given up), or the https:// address of a card listener that still has them."`
	CA        string   `name:"ca" placeholder:"FILE" help:"With an address: the root certificate that the server's must lead to. Default: the root of --dir."`
	Identity  string   `env:"SIGILL_IDENTITY" placeholder:"CARD" help:"With an address: the card of an auditor, soft:FILE or pkcs11:module-path=FILE;token=LABEL."`
	LoginWith string   `placeholder:"ID" help:"Log in with this object of the card. Default: the newest that is accepted."`
	PINFD     int      `name:"pin-fd" default:"-1" placeholder:"N" help:"Read PINs from file descriptor N, one a line, when they would be asked for."`
	Without   []string `sep:"none" placeholder:"PLACE" help:"A place that keeps heads and is gone for ever: it need not answer. What only it has seen stays unknown."`
	yesFlag
}

// Help implements kong.HelpProvider.
func (reconcileCmd) Help() string {
	return `For an installation whose database was restored from a backup, and that therefore only
reads and revokes. Without --yes it says what it would do and changes nothing.

The copy is first held against the heads that were kept elsewhere: it must be what the
logs have signed, and have all of it. Then every number since the backup is taken over:
certificates that nobody has any more are revoked and never made again, what was revoked,
blocked, ended or withdrawn is so again, and the next lists go above those that are public.
Cut off at any moment, it goes on when it is started again.

  sigill reconcile --dir ./sigill-data --from /mnt/auditor/copy
  sigill reconcile --dir ./sigill-data --from /mnt/auditor/copy --yes`
}

func (c *reconcileCmd) Run(g *globals) (err error) {
	p := progress{to: g.stderr, now: time.Now, next: time.Now().Add(progressEvery)}
	o := app.ReconcileOptions{From: c.From, Do: c.Yes, Silent: c.Without, Now: time.Now, Log: g.log(), Progress: p.at}
	if strings.Contains(c.From, "://") {
		get, done, err := c.remote(g)
		if err != nil {
			return err
		}
		defer done()
		o.Get = get
	}
	r, err := app.Reconcile(g.ctx, c.Dir, o)
	if err != nil {
		return err
	}
	return g.print(r, reconciledText(r))
}

// remote logs in where the copy is.
func (c *reconcileCmd) remote(g *globals) (reconcile.Get, func(), error) {
	if !strings.HasPrefix(c.From, "https://") || c.Identity == "" {
		return nil, nil, usageError{"--from: an address is https://…, and takes an auditor's card (--identity)"}
	}
	s, err := serverFlags{Server: c.From, CA: c.CA, Dir: c.Dir, PINFD: c.PINFD}.open(g)
	if err != nil {
		return nil, nil, err
	}
	card, err := s.card(c.Identity)
	if err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	with, err := ownCard{LoginWith: c.LoginWith}.object()
	if err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	from, err := remote.Open(g.ctx, remote.Login{Server: c.From, Roots: s.roots, Card: card, With: with, Language: s.lang})
	if err != nil {
		return nil, nil, errors.Join(err, s.close())
	}
	get := func(ctx context.Context, address string) ([]byte, error) {
		answer, err := from.Get(ctx, address)
		if errors.Is(err, auditor.ErrErased) {
			err = errors.Join(reconcile.ErrErased, err)
		}
		return answer, err
	}
	return get, func() { from.Close(); s.close() }, nil
}

// reconciledText tells what was, or would be, done.
func reconciledText(r *app.Reconciled) string {
	var b strings.Builder
	done := "Would take over"
	if r.Done {
		done = "Took over"
	}
	fmt.Fprintf(&b, "%s %d acts (from %d on) and %d leaves of certificates (from %d on).\n",
		done, r.Acts.To-r.Acts.From, r.Acts.From, r.Certificates.To-r.Certificates.From, r.Certificates.From)
	for _, act := range slices.Sorted(maps.Keys(r.ByAct)) {
		fmt.Fprintf(&b, "  %-26s %d\n", clean(act), r.ByAct[act])
	}
	fmt.Fprintf(&b, "%d serials of which nothing but the leaf is left are revoked, if no act did already:\n", len(r.Lost))
	for _, serial := range r.Lost {
		fmt.Fprintf(&b, "  %s\n", serial)
	}
	for _, person := range r.Again {
		fmt.Fprintf(&b, "Erased since the backup, and there again: %s. Erase again: sigill person erase --help\n", clean(person))
	}
	for _, id := range r.Unfinished {
		fmt.Fprintf(&b, "A mass revocation was approved and is not known to be finished: %s. Its list is in no log: order it again, from the file that it was ordered from: sigill revocation order --help\n", clean(id))
	}
	switch {
	case !r.Done:
		b.WriteString("Nothing was changed. With --yes it is done.\n")
	default:
		fmt.Fprintf(&b, "%d revocations were known from public lists alone. Start the service; then look with `sigill doctor` and `sigill audit verify`.\n", r.Listed)
	}
	return b.String()
}

type logExportCmd struct {
	dirFlag
	Out string `required:"" placeholder:"DIR" help:"Where the copy is, or is to be. Of an older copy only what has grown is written."`
}

// Help implements kong.HelpProvider.
func (logExportCmd) Help() string {
	return `Writes both logs as files: their signed heads, the acts in bundles, the entries of the
certificate log. It may run while the installation is served, as often as wanted. From
such a copy, kept elsewhere, a restored installation is brought up to date
(sigill reconcile). What retention has erased by then is written as erased, with its hash, so
that the copy still proves the rest; what an older copy has of it stays there. sigill log
verify-copy reads all of a copy and says what it has. It has the names and numbers that stand in certificates: keep it as
the database is kept.`
}

func (c *logExportCmd) Run(g *globals) error {
	s, err := app.ExportLogs(g.ctx, c.Dir, c.Out, g.log())
	if err != nil {
		return err
	}
	return g.print(map[string]int64{"acts": s.Acts.Size, "certificates": s.Certificates.Size},
		fmt.Sprintf("%s has %d acts and %d certificates.\n", c.Out, s.Acts.Size, s.Certificates.Size))
}

type logVerifyCopyCmd struct {
	dirFlag
	Copy string `arg:"" placeholder:"COPY" help:"A directory that sigill log export has written."`
}

// Help implements kong.HelpProvider.
func (logVerifyCopyCmd) Help() string {
	return `Reads all of a copy and holds every act, every certificate and every hash that stands for
what was erased against the heads that the logs have signed. Of --dir only the logs' public
keys are used. It says how much was erased when it was copied: a database that lacks one of
these cannot be brought up to date from this copy.

  sigill log verify-copy /mnt/auditor/copy --dir ./sigill-data`
}

func (c *logVerifyCopyCmd) Run(g *globals) error {
	held, err := app.VerifyCopy(g.ctx, c.Dir, c.Copy)
	if err != nil {
		return fmt.Errorf("the copy in %s does not prove what it shows: %w", c.Copy, err)
	}
	text := ""
	for _, each := range []struct {
		what string
		log  reconcile.HeldLog
	}{{"acts", held.Acts}, {"certificates", held.Certificates}} {
		text += fmt.Sprintf("%d %s lead to the root that was signed", each.log.Size, each.what)
		if each.log.Erased > 0 {
			text += fmt.Sprintf("; %d of them were erased when they were copied, the last with index %d: for databases that have no more than %d it is not enough",
				each.log.Erased, each.log.Last, each.log.Last)
		}
		text += "\n"
	}
	return g.print(held, text)
}
