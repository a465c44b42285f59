package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/config"
	"sigill/internal/keep"
	"sigill/internal/reconcile"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/internal/witness"
	"sigill/orders/issue"
)

// keepSilent is how long no place may have taken a head before /readyz says so: what
// was done meanwhile would not be missed after a restore.
const keepSilent = 10 * time.Minute

// errNoPlace is why production does not start.
var errNoPlace = errors.New("log.keep and log.witnesses name no place that keeps the heads of the logs: a restore of this machine could not be noticed, so production does not start without one")

// openPlaces returns the places that the configuration names, and the witnesses among
// them. That one does not answer stops no start; that its credentials are not where the
// configuration says does.
func openPlaces(cfg *config.Config) ([]keep.Place, []checkpoint.Witness, error) {
	var places []keep.Place
	for _, name := range slices.Sorted(maps.Keys(cfg.Log.Keep)) {
		to, err := openTarget(cfg, cfg.Log.Keep[name])
		if err != nil {
			return nil, nil, fmt.Errorf("log.keep.%s: %w", name, err)
		}
		places = append(places, keep.NewTarget(name, to))
	}
	var witnesses []checkpoint.Witness
	for _, each := range cfg.Log.Witnesses {
		key, err := checkpoint.NewWitness(each.Key)
		if err != nil {
			return nil, nil, fmt.Errorf("log.witnesses: %w", err)
		}
		client, err := witness.NewClient(each.URL, key)
		if err != nil {
			return nil, nil, fmt.Errorf("log.witnesses: %w", err)
		}
		places, witnesses = append(places, keep.NewWitness(client)), append(witnesses, key)
	}
	return places, witnesses, nil
}

// openKeep makes the keeper of the logs' heads, which says whether anything may be
// numbered.
func (a *App) openKeep() error {
	places, witnesses, err := openPlaces(a.Config)
	if err != nil {
		return err
	}
	a.witnesses = witnesses
	a.Keep, err = keep.New(keep.Config{Places: places, Heads: a.signedHeads, Memory: a.DB, Cosigned: a.cosigned, Changed: a.kept, Now: a.now, Log: a.log})
	if err != nil {
		return err
	}
	a.Sequencer.Hold = a.Keep.Held
	return nil
}

// foundLogs is told that the database went back beneath what this process has itself seen
// of the logs, or has another history now: a fail-over to one that lagged, a restore under
// a running service. From then on nothing is numbered, whatever the places say.
func (a *App) foundLogs(err error) {
	if a.Keep == nil {
		return
	}
	if shrunk, ok := errors.AsType[*translog.ShrunkError](err); ok {
		a.Keep.Found(keep.Restored, &keep.AheadError{Tree: shrunk.Tree, Own: shrunk.Has, Kept: shrunk.Had})
		return
	}
	a.Keep.Found(keep.Forked, err)
}

// mayStart refuses to serve what nobody could ever find out to be old. To make and to
// open such an installation harms nobody.
func mayStart(cfg *config.Config) error {
	if !cfg.Log.Kept() && cfg.Environment == config.Production {
		return errNoPlace
	}
	return nil
}

// held reports whether nothing may be added to the logs.
func (a *App) held() bool { return a.Keep != nil && a.Keep.Held() }

// signedHeads returns the newest heads of both logs. Where one was never signed it is the
// tree as it is: it is signed when it is known that it may be.
func (a *App) signedHeads(ctx context.Context) ([]keep.Head, error) {
	return headsOf(ctx, &a.Logs.Reader, a.Logs.Empty)
}

// headsOf returns the newest heads of both logs as places are brought them. empty signs
// the head of a log without leaves.
func headsOf(ctx context.Context, r *translog.Reader, empty func(tiles.Name) ([]byte, error)) ([]keep.Head, error) {
	var out []keep.Head
	for _, tree := range []tiles.Name{audit.ActTree, audit.CertificateTree} {
		h := keep.Head{Tree: tree, Log: r.Log(tree),
			Size: func(ctx context.Context) (size int64, err error) {
				err = r.Store.View(ctx, func(tx *translog.Tx) error {
					size, err = tiles.Size(tx, tree)
					return err
				})
				return size, err
			},
			Root: func(ctx context.Context, size int64) (root tlog.Hash, err error) {
				err = r.Store.View(ctx, func(tx *translog.Tx) error {
					root, err = tiles.Root(tx, tree, size)
					return err
				})
				return root, err
			},
			Proof: func(ctx context.Context, old, size int64) ([]tlog.Hash, error) {
				return r.Consistency(ctx, tree, old, size)
			},
			Empty: func() ([]byte, error) { return empty(tree) },
		}
		signed, err := r.Head(ctx, tree)
		switch {
		case err == nil:
			h.Checkpoint, h.Note = signed.Checkpoint, signed.Note
		case errors.Is(err, translog.ErrNotFound):
			h.Checkpoint.Origin = h.Log.Origin()
			if h.Checkpoint.Size, err = h.Size(ctx); err == nil {
				h.Checkpoint.Root, err = h.Root(ctx, h.Checkpoint.Size)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("log of %s: %w", tree, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// cosigned stores a head with the signatures of a witness, beside those that it has.
func (a *App) cosigned(ctx context.Context, h keep.Head, lines []byte) error {
	bare, err := h.Log.Bare(h.Note)
	if err != nil {
		return err
	}
	return a.Logs.Reader.Store.Update(ctx, func(tx *translog.Tx) error {
		note := bare
		have, err := tx.Head(h.Tree, translog.Witnessed)
		if err == nil {
			if c, err := h.Log.Open(have); err == nil && c.Size == h.Checkpoint.Size && c.Time.Equal(h.Checkpoint.Time) {
				note = have
			}
		} else if !errors.Is(err, translog.ErrNotFound) {
			return err
		}
		merged, err := h.Log.Merge(note, lines, a.witnesses)
		if err != nil {
			return err
		}
		return tx.PutHead(h.Tree, translog.Witnessed, h.Checkpoint.Size, merged)
	})
}

// Unproven says in sentences what nothing here can prove, because of how the installation
// is configured.
func (a *App) Unproven() []string { return unproven(a.Config) }

func unproven(cfg *config.Config) []string {
	if cfg.Log.Kept() {
		return nil
	}
	return []string{"no place keeps the heads of the logs (log.keep, log.witnesses): a restore of this machine from something old cannot be noticed, nor logs that were written anew"}
}

// kept is told when it turns out that the database is old, or not, or cannot be known to
// be.
func (a *App) kept(was, is keep.State, why error) {
	switch is {
	case keep.Restored:
		a.log.Error("the database is older than what was told outside of it: only reading and revoking go on. Stop, take over what was lost with `sigill reconcile --dir "+
			a.Config.Dir+" --from COPY`, start again", "why", why)
		if err := a.recordRestored(why); err != nil {
			a.log.Error("recording that the database was restored", "err", err)
		}
	case keep.Forked:
		a.log.Error("another history of the logs was told outside than the database has: only reading and revoking go on. Which is true is for people to decide: see \"After a restore\" in docs/AUDIT.md", "why", why)
	case keep.Trusted:
		a.log.Info("the places that keep the logs' heads have seen no more than is here", "before", string(was))
	case keep.Unasked, keep.Alone:
	}
}

// recordRestored makes it an event, once, which gets its number when all that was lost
// has its own.
func (a *App) recordRestored(why error) error {
	ahead, ok := errors.AsType[*keep.AheadError](why)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	place := ""
	for _, s := range a.Keep.Statuses() {
		if s.State == keep.Restored {
			place = s.Name
		}
	}
	own, kept := strconv.FormatInt(ahead.Own, 10), strconv.FormatInt(ahead.Kept, 10)
	return a.DB.Reconcile().Update(ctx, func(tx *reconcile.Tx) error {
		ev := issue.NewEvent(audit.LogRestored, a.now(), "system", issue.F("log", string(ahead.Tree)), issue.F("place", place), issue.F("size", own), issue.F("kept", kept))
		ev.ID = audit.EventID(audit.LogRestored, string(ahead.Tree), own)
		if _, _, found, err := tx.Acts.EventLeaf(ev.ID); err != nil || found {
			return err
		}
		return tx.Events.Append(ev)
	})
}

// technicalLog is the certificate log for certificates of the service itself. A start
// needs them, to answer OCSP and cards, while nothing may be numbered: they are recorded
// with their promise then, which is kept when the hold ends.
type technicalLog struct {
	ca.Log
	held func() bool
}

// Await implements [ca.Log].
func (l technicalLog) Await(ctx context.Context, leaf ca.LogLeaf) error {
	if l.held() {
		return nil
	}
	return l.Log.Await(ctx, leaf)
}

// runKeep brings heads to their places until ctx ends.
func (a *App) runKeep(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() { a.Keep.Run(ctx) })
	wg.Go(func() { a.takeLists(ctx) })
}

// runDownloads does in the background what downloads need. What time alone ends is left
// as it is while the database may be old: what lapsed here may have been confirmed in what
// was lost, and be the only eID that its holder has.
func (a *App) runDownloads(ctx context.Context) {
	failed := func(err error) { a.log.Error("background", "err", err) }
	t := time.NewTicker(recoverEvery)
	defer t.Stop()
	for a.held() {
		if _, err := a.Downloads.Recover(ctx); err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("recovering: %w", err))
		}
		if _, err := a.Downloads.RevokeQueued(ctx); err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("revoking what is queued: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
	a.Downloads.Run(ctx, recoverEvery, failed)
}

// keepDegraded says what is wrong with the places, for /readyz.
func (a *App) keepDegraded() []string {
	var out []string
	state, why := a.Keep.State()
	switch state {
	case keep.Unasked:
		out = append(out, fmt.Sprintf("no place that keeps the logs' heads has answered: only reading and revoking go on: %v", why))
	case keep.Restored:
		out = append(out, fmt.Sprintf("the database is older than what was told outside: only reading and revoking go on until `sigill reconcile`: %v", why))
	case keep.Forked:
		out = append(out, fmt.Sprintf("the logs have another history than was told outside: only reading and revoking go on: %v", why))
	case keep.Trusted, keep.Alone:
	}
	all := a.Keep.Statuses()
	for _, s := range all {
		if errors.Is(s.Err, keep.ErrForgotten) || errors.Is(s.Err, keep.ErrNew) {
			out = append(out, fmt.Sprintf("%s: %v. %s", s.Name, s.Err, acceptHint))
		}
	}
	least := time.Duration(-1)
	for _, s := range all {
		if least < 0 || s.Lag < least {
			least = s.Lag
		}
	}
	if least > keepSilent {
		out = append(out, fmt.Sprintf("no place has taken the newest heads of the logs for %d s: %v", int(least.Seconds()), all[0].Err))
	}
	return out
}

// keepMetrics tell how the places stand.
func (a *App) keepMetrics(m metrics) error {
	var err error
	for _, each := range []keep.State{keep.Alone, keep.Trusted, keep.Unasked, keep.Restored, keep.Forked} {
		err = errors.Join(err, m.gauge("sigill_log_state", "1 for what is known of the logs: alone (nothing is kept elsewhere), trusted, unasked (no place has answered), restored, forked.",
			prometheus.Labels{"state": string(each)}, func() float64 {
				if is, _ := a.Keep.State(); is == each {
					return 1
				}
				return 0
			}))
	}
	for i, s := range a.Keep.Statuses() {
		labels := prometheus.Labels{"place": s.Name}
		err = errors.Join(err,
			m.gauge("sigill_keep_lag_seconds", "Since when a place lacks the newest heads of the logs; 0: it has them.", labels, func() float64 { return a.Keep.Statuses()[i].Lag.Seconds() }),
			m.counter("sigill_keep_failures_total", "Tries to bring heads to a place that failed, since start.", labels, func() int64 { return a.Keep.Statuses()[i].Failed }))
	}
	return err
}
