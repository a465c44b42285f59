package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"sigill/internal/api"
	"sigill/internal/audit"
	"sigill/internal/durable"
	"sigill/internal/store"
	"sigill/internal/texts"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// MinClient is the lowest version of sigill-card that is served.
const MinClient = "0.1.0"

// Addresses are where a serving installation listens.
type Addresses struct {
	Status string `json:"status"` // http://…
	Card   string `json:"card"`   // https://…
	Ops    string `json:"ops"`    // http://…
}

const (
	recoverEvery  = 5 * time.Second
	headEvery     = 2 * time.Second
	shutdownGrace = 10 * time.Second
	// lastWords is how long an end may take to make public what was revoked last: until
	// the next start nobody else does it, and a disk that is slow is no reason not to.
	lastWords = 30 * time.Second
)

// Serve runs the installation until ctx ends. It calls ready once everything
// listens and what an earlier process left is recovered.
//
// The listeners are bound before anything is done and answer after everything is:
// a start that fails for a taken port leaves no certificate behind, however often
// it is repeated, and nobody is answered before there is something to answer with.
func (a *App) Serve(ctx context.Context, ready func(Addresses)) error {
	if err := mayStart(a.Config); err != nil {
		return err
	}
	if a.Hierarchy.RootKeyHere() {
		a.log.Warn("the root's key is on this machine: in production it must not be", "dir", a.Hierarchy.RootDir())
	}
	cert := &server{}
	servers, addresses, err := a.listen(cert)
	if err != nil {
		return err
	}
	technical := a.renewals(cert)
	if err := a.prepare(ctx, technical); err != nil {
		closeAll(servers)
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	a.background(ctx, &wg, technical)
	for _, s := range servers {
		wg.Go(func() {
			if err := s.serve(); !errors.Is(err, http.ErrServerClosed) {
				stop(fmt.Errorf("listener %s: %w", s.Listener.Addr(), err))
			}
		})
	}
	ready(addresses)
	<-ctx.Done()
	for _, s := range servers {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		if err := s.Shutdown(grace); err != nil {
			s.Close()
		}
		cancel()
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return a.stopped(context.WithoutCancel(ctx))
}

// prepare recovers what an earlier process left and makes what a first request
// needs: technical certificates, numbered events, CRLs.
func (a *App) prepare(ctx context.Context, technical []renewal) error {
	a.clock.Check(ctx)
	a.Keep.Look(ctx)     // before anything is added to what may be old
	a.takeListsOnce(ctx) // before anybody is told good
	a.Modes.Look(ctx)    // what was announced holds from the first request on
	if _, err := a.Downloads.Recover(ctx); err != nil {
		return fmt.Errorf("recovering what an earlier process left: %w", err)
	}
	a.authorities.look(ctx) // it tells by itself what is wrong
	if err := a.recordConfiguration(ctx); err != nil {
		return err
	}
	// Nobody is answered yet: from here on no revocation of others is missed.
	if err := a.ocsp.tail.Look(ctx); err != nil {
		return err
	}
	if err := a.firstTail(ctx); err != nil {
		return err
	}
	if err := first(ctx, technical); err != nil {
		return err
	}
	if err := a.signersOfBefore(ctx); err != nil {
		return err
	}
	if err := a.Sequencer.CatchUp(ctx); err != nil {
		return err
	}
	_, err := a.Publisher.Publish(ctx, a.now())
	if err == nil {
		return nil
	}
	if !bearable(err) {
		return fmt.Errorf("publishing CRLs: %w", err)
	}
	a.log.Error("publishing CRLs", "err", err)
	return nil
}

// bearable reports whether a start goes on though lists were not published: the clock
// went back by less than what a start refuses, so that what is public is good, or only
// full lists are missing, which no certificate names. The background tries again.
func bearable(err error) bool {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(many.Unwrap(), func(e error) bool { return !bearable(e) })
	}
	list, ok := errors.AsType[*publish.ListError](err)
	return ok && (list.List.Partition == revocation.Whole || errors.Is(err, publish.ErrClock))
}

// stopped numbers the last events, publishes what they revoked, and keeps the
// head of the chain.
func (a *App) stopped(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	err := a.Sequencer.CatchUp(within)
	// A moment later, so that a list that was published just now is not too
	// young to be replaced: what was revoked last is public before we go.
	_, published := a.Publisher.PublishAtOnce(within, a.now().Add(publish.DefaultCRLMinimum))
	err = errors.Join(err, published, a.keepHead(within))
	if a.presence != nil { // nobody waits for what is not answered any more
		err = errors.Join(err, a.DB.DeleteTail(within, a.owner))
	}
	elsewhere, give := context.WithTimeout(ctx, shutdownGrace) // who is away is not waited for
	defer give()
	a.Keep.Drain(elsewhere)
	a.drainMirrors(elsewhere)
	return err
}

// background starts the loops that read what is due.
func (a *App) background(ctx context.Context, wg *sync.WaitGroup, technical []renewal) {
	wg.Go(func() {
		if err := a.Sequencer.Run(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("sequencer ended", "err", err)
		}
	})
	wg.Go(func() { a.keepHeadsFresh(ctx) })
	wg.Go(func() { a.Publisher.Run(ctx) })
	wg.Go(func() { a.ocsp.run(ctx) })
	wg.Go(func() { a.tellTail(ctx) })
	a.runMirrors(ctx, wg)
	a.runKeep(ctx, wg)
	wg.Go(func() { a.runDownloads(ctx) })
	wg.Go(func() {
		a.Downloads.RunMass(ctx, recoverEvery, func(err error) { a.log.Error("background", "err", err) })
	})
	for _, r := range technical {
		wg.Go(func() { r.keep(ctx, a.log) })
	}
	wg.Go(func() { a.watchRootCRL(ctx) })
	wg.Go(func() { a.authorities.run(ctx) })
	wg.Go(func() { a.book.run(ctx) })
	wg.Go(func() { a.Modes.Run(ctx) })
	wg.Go(func() { a.retain(ctx) })
	wg.Go(func() { a.clock.Run(ctx) })
	wg.Go(func() {
		t := time.NewTicker(headEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if err := a.keepHead(ctx); err != nil && ctx.Err() == nil {
					a.log.Error("keeping the head of the chain", "err", err)
				}
			}
		}
	})
}

// HeadFile is where the newest head of the event chain is kept, outside the
// database: who cuts the chain's tail in the database has to find this too.
const HeadFile = "heads"

func (a *App) keepHead(ctx context.Context) error {
	head, err := audit.ReadHead(ctx, a.DB.Audit(), a.now())
	if err != nil || head.Number == 0 {
		return err
	}
	path := a.Config.Path(HeadFile)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	kept, err := audit.ParseHeads(old)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if n := len(kept); n > 0 && kept[n-1].Number >= head.Number {
		return nil
	}
	const keep = 50
	lines := bytes.SplitAfter(old, []byte("\n"))
	if len(lines) > keep {
		lines = lines[len(lines)-keep:]
	}
	return durable.WriteFile(path, append(bytes.Join(lines, nil), head.String()+"\n"...), 0o644)
}

// listener is a server that listens already.
type listener struct {
	*http.Server
	net.Listener
	tls *tls.Config
}

func (l *listener) serve() error {
	if l.tls != nil {
		return l.Server.Serve(tls.NewListener(l.Listener, l.tls))
	}
	return l.Server.Serve(l.Listener)
}

// Close closes the server and with it the listener.
func (l *listener) Close() error { return l.Server.Close() }

// closeAll closes listeners that never served.
func closeAll(all []*listener) {
	for _, l := range all {
		l.Listener.Close()
	}
}

// listen binds every listener before any serves, so that a taken port is an
// error at start.
func (a *App) listen(cert *server) ([]*listener, Addresses, error) {
	status, err := a.status()
	if err != nil {
		return nil, Addresses{}, err
	}
	card, err := a.card()
	if err != nil {
		return nil, Addresses{}, err
	}
	ops, err := a.ops()
	if err != nil {
		return nil, Addresses{}, err
	}
	var out []*listener
	bind := func(name, address string, server *http.Server, t *tls.Config) (string, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return "", fmt.Errorf("listener %s: %w: choose another address in %s", name, err, a.Config.Path("sigill.yaml"))
		}
		out = append(out, &listener{Listener: l, tls: t, Server: server})
		return l.Addr().String(), nil
	}
	at := Addresses{}
	hardened := api.TLS(&tls.Config{GetCertificate: cert.get, NextProtos: []string{"http/1.1"}})
	for _, each := range []struct {
		name, address, scheme string
		server                *http.Server
		tls                   *tls.Config
		to                    *string
	}{
		{"status", a.Config.Listen.Status, "http://", a.statusServer(status), nil, &at.Status},
		{"card", a.Config.Listen.Card, "https://", api.NewServer(card), hardened, &at.Card},
		{"ops", a.Config.Listen.Ops, "http://", api.NewServer(ops), nil, &at.Ops},
	} {
		address, err := bind(each.name, each.address, each.server, each.tls)
		if err != nil {
			closeAll(out)
			return nil, at, err
		}
		*each.to = each.scheme + address
	}
	return out, at, nil
}

func (a *App) card() (http.Handler, error) {
	catalogue, err := texts.Load()
	if err != nil {
		return nil, err
	}
	logs, err := a.auditing()
	if err != nil {
		return nil, err
	}
	return api.New(api.Config{Register: a.Register, Orders: a.Orders, Downloads: a.Downloads, Privacy: a.Privacy, Texts: catalogue, Log: a.log,
		MinClient: MinClient, Unknown: store.ErrOutcomeUnknown, Conditions: a.Modes, Lane: a.turn, Seen: a.seen, Logs: logs, Receipts: a.Logs,
		IssuerCertificate: func(id string) []byte {
			for _, each := range a.Hierarchy.Issuers {
				if string(each.ID) == id {
					return each.Certificate.Raw
				}
			}
			return nil
		}}), nil
}
