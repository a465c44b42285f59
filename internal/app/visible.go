package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sigill/internal/api"
	"sigill/revocation"
)

// How long a caller waits until what he revoked is seen everywhere, and how often that
// is looked for.
const (
	visibleWithin = 10 * time.Second
	visibleEvery  = 50 * time.Millisecond
	// tellEvery is how often a process writes down how far it has seen.
	tellEvery = 250 * time.Millisecond
	// margin is how many numbers before the act belong to what is waited for too:
	// an act that is repeated because its answer was lost revokes nothing more.
	margin = 1000
)

var _ api.Seen = (*App)(nil).seen

// seen does an act and waits until what it revoked is seen by whoever asks: all
// processes on the database have taken it out of their caches of OCSP answers, and the
// lists that it belongs in are published. missing says what was not so in the end.
//
// Nothing of it is needed for the revocation to be right: it is committed before the
// wait begins, and reaches everybody without it.
func (a *App) seen(ctx context.Context, act func() error) (missing string, err error) {
	before, head := a.headNumber(ctx)
	if err := act(); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, visibleWithin)
	defer cancel()
	if head != nil {
		return "the store did not answer", nil
	}
	w := &waiting{App: a}
	if err := w.begin(ctx, max(0, before-margin)); err != nil {
		a.log.Error("waiting until a revocation is visible", "err", err)
		return "it has no number yet", nil
	}
	t := time.NewTicker(visibleEvery)
	defer t.Stop()
	for {
		missing, err := w.missing(ctx)
		if err == nil && missing == "" {
			return "", nil
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("waiting until a revocation is visible", "err", err)
		}
		if missing != "" {
			w.last = missing
		}
		select {
		case <-ctx.Done():
			if w.last == "" {
				w.last = "the store did not answer"
			}
			return w.last, nil
		case <-t.C:
		}
	}
}

// waiting is one wait.
type waiting struct {
	*App
	through int64                     // the act's numbers, and perhaps others'
	lists   map[revocation.List]int64 // that are to contain what is numbered up to there
	last    string
}

func (a *App) headNumber(ctx context.Context) (n int64, err error) {
	err = a.DB.Revocation().View(ctx, func(tx *revocation.Tx) (err error) {
		n, err = tx.HeadNumber()
		return err
	})
	return n, err
}

// begin gives what is committed its numbers, and finds out what to wait for: what is
// numbered above after.
func (w *waiting) begin(ctx context.Context, after int64) error {
	if err := w.Sequencer.CatchUp(ctx); err != nil {
		return err
	}
	return w.DB.Revocation().View(ctx, func(tx *revocation.Tx) (err error) {
		w.lists = map[revocation.List]int64{} // View may call again
		if w.through, err = tx.HeadNumber(); err != nil {
			return err
		}
		for at := after; ; {
			found, err := tx.NumberedEntries(at, margin)
			if err != nil {
				return err
			}
			for i := range found {
				w.lists[revocation.List{Issuer: found[i].Issuer, Partition: found[i].Partition}] = found[i].Number
			}
			if len(found) < margin {
				return nil
			}
			at = found[len(found)-1].Number
		}
	})
}

// missing says who has not seen it, or which list does not contain it; "": nothing.
func (w *waiting) missing(ctx context.Context) (string, error) {
	if w.ocsp.tail.Through() < w.through {
		return "this process has not seen it in the ledger", nil
	}
	if w.presence != nil {
		behind, err := w.DB.TailsBelow(ctx, w.through)
		if err != nil {
			return "", err
		}
		for _, owner := range behind {
			if owner != w.owner && !w.dead(owner) {
				return fmt.Sprintf("process %s has not seen it: it may answer good from memory", owner), nil
			}
		}
	}
	missing := ""
	err := w.DB.Revocation().View(ctx, func(tx *revocation.Tx) error {
		missing = ""
		for list, number := range w.lists {
			p, err := tx.NewestPublication(list.Issuer, list.Scope(), revocation.Published)
			if err != nil && !errors.Is(err, revocation.ErrNotFound) {
				return err
			}
			if err != nil || p.Through < number {
				missing = fmt.Sprintf("CRL %s does not have it", list)
				return nil
			}
		}
		return nil
	})
	return missing, err
}

// tellTail writes down for the others how far this process has seen what is revoked,
// whenever that has changed, until ctx ends.
func (a *App) tellTail(ctx context.Context) {
	if a.presence == nil {
		return
	}
	told := int64(-1)
	t := time.NewTicker(tellEvery)
	defer t.Stop()
	for {
		if n := a.ocsp.tail.Through(); n != told {
			if err := a.DB.SetTail(ctx, a.owner, n); err == nil {
				told = n
			} else if ctx.Err() == nil {
				a.log.Error("telling how far this process has seen", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// firstTail makes others count on this process, before anybody is answered, and
// forgets who has ended.
func (a *App) firstTail(ctx context.Context) error {
	if a.presence == nil {
		return nil
	}
	owners, err := a.DB.TailsBelow(ctx, math.MaxInt64)
	if err != nil {
		return err
	}
	for _, owner := range owners {
		if !a.dead(owner) {
			continue
		}
		if err := a.DB.DeleteTail(ctx, owner); err != nil {
			return err
		}
	}
	return a.DB.SetTail(ctx, a.owner, a.ocsp.tail.Through())
}
