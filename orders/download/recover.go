package download

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/policy"
)

// batch bounds how much one pass of a background job reads.
const batch = 100

// Recover gives up every open intent whose owner is dead or whose deadline has
// passed, and returns how many. It presumes that what was not recorded has
// happened: the serial is revoked, and the next attempt draws a new one. It is
// safe beside living processes: the change open → abandoned is guarded, and a
// signer who comes too late destroys what it signed.
func (s *Service) Recover(ctx context.Context) (int, error) {
	total := 0
	for {
		var open []*issue.Intent
		err := s.Store.View(ctx, func(tx *Tx) error {
			var err error
			open, err = tx.OpenIntents(batch)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("reading open intents: %w", err)
		}
		n := 0
		var failed []error
		for _, in := range open {
			switch err := s.recover(ctx, in); {
			case err == nil:
				n++
			case !errors.Is(err, ErrBusy): // the others are not to wait for it
				failed = append(failed, err)
			}
			if ctx.Err() != nil {
				return total + n, ctx.Err()
			}
		}
		total += n
		if n == 0 || len(open) < batch || failed != nil {
			return total, errors.Join(failed...)
		}
	}
}

// recover gives an intent up unless its owner lives and has time left.
func (s *Service) recover(ctx context.Context, in *issue.Intent) error {
	if !s.Dead(in.Owner) && s.now().Before(in.Deadline) {
		return fmt.Errorf("intent %s: %w", in.Serial, ErrBusy)
	}
	return s.giveUp(ctx, in)
}

// giveUp abandons an intent if it is still open, and lets its item be planned
// again with a new challenge.
func (s *Service) giveUp(ctx context.Context, in *issue.Intent) error {
	err := s.Store.Update(ctx, func(tx *Tx) error {
		now := s.now()
		current, err := tx.Intent(in.Serial)
		if errors.Is(err, issue.ErrNotFound) {
			return nil // recording it had not been committed
		} else if err != nil {
			return err
		}
		if current.State != issue.IntentOpen {
			return nil
		}
		if err := issue.Abandon(tx.issue(), current, "intent.abandoned", now); err != nil {
			return err
		}
		if current.Download == "" {
			return nil
		}
		_, items, err := tx.Download(current.Download)
		if err != nil {
			return err
		}
		it := (&State{Items: items}).Item(current.Slot)
		if it == nil || it.State != policy.ItemIntended || it.Serial != in.Serial {
			return nil
		}
		it.State, it.Serial = policy.ItemPlanned, ca.Serial{}
		challenge(it, now)
		return tx.PutItem(it)
	})
	if err != nil {
		return fmt.Errorf("giving up intent %s: %w", in.Serial, err)
	}
	return nil
}

// EndDue ends what time alone ends: downloads that lapsed, orders that nobody
// fetched. It returns how many.
func (s *Service) EndDue(ctx context.Context) (int, error) {
	lapsed, err := s.lapseDue(ctx)
	expired, err2 := s.expireOrders(ctx)
	return lapsed + expired, errors.Join(err, err2)
}

func (s *Service) lapseDue(ctx context.Context) (int, error) {
	due, err := s.openLong(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading open downloads: %w", err)
	}
	n := 0
	var failed []error
	for _, id := range due {
		switch lapsed, err := s.lapse(ctx, id); {
		case ctx.Err() != nil:
			return n, ctx.Err()
		case err != nil: // the others are not to wait for it
			failed = append(failed, fmt.Errorf("download %s: %w", id, err))
		case lapsed:
			n++
		}
	}
	return n, errors.Join(failed...)
}

// openLong returns the downloads that were begun long enough ago to be due, if
// nothing of them is under way. It reads them all: those with a pending
// certificate stay for a day, and however many they are, they must not hide the
// younger ones behind them from which nothing will come.
func (s *Service) openLong(ctx context.Context) ([]policy.DownloadID, error) {
	var due []policy.DownloadID
	err := s.Store.View(ctx, func(tx *Tx) error {
		due = nil
		before := s.now().Add(-min(lapseAfter, s.PendingTTL))
		for limit := batch; ; limit *= 2 {
			list, err := tx.OpenDownloadsBefore(before, limit)
			if err != nil {
				return err
			}
			if len(list) == limit {
				continue
			}
			for _, d := range list {
				due = append(due, d.ID)
			}
			return nil
		}
	})
	return due, err
}

func (s *Service) lapse(ctx context.Context, id policy.DownloadID) (bool, error) {
	lapsed := false
	err := s.Store.Update(ctx, func(tx *Tx) error {
		lapsed = false
		d, items, err := tx.Download(id)
		if err != nil {
			return err
		}
		if d.State != policy.DownloadPlanned || !s.lapsed(d, items, s.now()) {
			return nil
		}
		card, err := tx.Card(d.Card)
		if err != nil {
			return err
		}
		lapsed = true
		return s.end(tx, card, d, items, policy.DownloadLapsed, "system")
	})
	return lapsed, err
}

// expireOrders ends orders that were not fetched in time. One that is being
// fetched right now is left to its download.
func (s *Service) expireOrders(ctx context.Context) (int, error) {
	n := 0
	err := s.Store.Update(ctx, func(tx *Tx) error {
		n = 0
		due, err := ordersDue(tx, s.now())
		if err != nil {
			return err
		}
		for _, o := range due {
			d, _, err := tx.OpenDownloadOfCard(o.Card)
			if err == nil && d.Order == o.ID {
				continue
			} else if err != nil && !errors.Is(err, issue.ErrNotFound) {
				return err
			}
			o.State = policy.OrderExpired
			if err := tx.Orders.PutOrder(o); err != nil {
				return err
			}
			if err := tx.Events.Append(issue.NewEvent(audit.OrderExpired, s.now(), "system", issue.F("order", string(o.ID)),
				issue.F("card", string(o.Card)))); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("expiring orders: %w", err)
	}
	return n, nil
}

// ordersDue returns a batch of expired orders, and more only if that many are
// being fetched right now: those must not hide the others.
func ordersDue(tx *Tx, now time.Time) ([]*orders.Order, error) {
	for limit := batch; ; limit *= 2 {
		list, err := tx.OrdersExpiredAt(now, limit)
		if err != nil || len(list) < limit {
			return list, err
		}
		fetched := 0
		for _, o := range list {
			if d, _, err := tx.OpenDownloadOfCard(o.Card); err == nil && d.Order == o.ID {
				fetched++
			}
		}
		if fetched < limit {
			return list, nil
		}
	}
}

// Run recovers, ends what is due and revokes what is queued until ctx ends,
// reporting what fails.
func (s *Service) Run(ctx context.Context, every time.Duration, report func(error)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if _, err := s.Recover(ctx); err != nil && ctx.Err() == nil {
			report(fmt.Errorf("recovering: %w", err))
		}
		if _, err := s.EndDue(ctx); err != nil && ctx.Err() == nil {
			report(fmt.Errorf("ending what is due: %w", err))
		}
		if _, err := s.RevokeQueued(ctx); err != nil && ctx.Err() == nil {
			report(fmt.Errorf("revoking what is queued: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
