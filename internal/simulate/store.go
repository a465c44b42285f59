package simulate

import (
	"context"
	"fmt"
	"time"

	"sigill/internal/audit"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// transactions are one view of a store.
type transactions[T any] interface {
	Update(context.Context, func(*T) error) error
	View(context.Context, func(*T) error) error
}

// scoped is a view of a store that fails as the schedule says.
type scoped[T any] struct {
	s    *Sim
	name string
	next transactions[T]
}

// Update implements the stores of the services.
func (v scoped[T]) Update(ctx context.Context, fn func(*T) error) error {
	s := v.s
	s.point("tx " + v.name)
	if err := s.alive(); err != nil {
		return err
	}
	f := s.draw(StoreBusy, StoreRolledBack, StoreLost, StoreUnsure, StoreAgain, StoreFull)
	if f == StoreFull {
		d := s.between(time.Second, 5*time.Minute)
		s.diskFull = s.clock.Add(d)
		s.lasts(d)
	}
	if f == StoreBusy {
		return fmt.Errorf("beginning: %w", errInjected)
	}
	if f == StoreAgain { // as after a conflict of two transactions
		v.next.Update(ctx, func(tx *T) error {
			fn(tx)
			return errInjected
		})
	}
	err := v.next.Update(ctx, func(tx *T) error {
		if err := fn(tx); err != nil {
			return err
		}
		switch {
		case s.full():
			return errFull
		case f == StoreRolledBack || f == StoreUnsure:
			return fmt.Errorf("%w: %s", errInjected, f)
		}
		return nil
	})
	s.dirty = s.dirty || err == nil
	s.note("tx "+v.name, outcome(err))
	if f == StoreLost && err == nil || f == StoreUnsure && err != nil {
		return fmt.Errorf("%w: %w", store.ErrOutcomeUnknown, errInjected)
	}
	return err
}

// View implements the stores of the services.
func (v scoped[T]) View(ctx context.Context, fn func(*T) error) error {
	s := v.s
	s.point("view " + v.name)
	if err := s.alive(); err != nil {
		return err
	}
	if s.drawAt(StoreUnread) {
		return fmt.Errorf("reading: %w", errInjected)
	}
	return v.next.View(ctx, fn)
}

// full reports whether the disk has no room now.
func (s *Sim) full() bool { return !s.calm && s.clock.Before(s.diskFull) }

// alive is an error if the process whose code runs was killed.
func (s *Sim) alive() error {
	if a := s.current; a != nil && (a.proc == nil || !a.proc.alive) {
		return errDead
	}
	return nil
}

// stores returns the views that services work in.
func (s *Sim) stores() service.Stores {
	all := service.Stores{
		Downloads: scoped[download.Tx]{s, "download", s.db.Downloads()},
		Orders:    scoped[orders.Tx]{s, "orders", s.db.Orders()},
		Register:  scoped[register.Tx]{s, "register", s.db.Register()},
		Issue:     scoped[issue.Tx]{s, "issue", s.db.Issue()},
	}
	if s.Options.Stores != nil {
		return s.Options.Stores(all)
	}
	return all
}

func (s *Sim) auditStore() audit.Store {
	var events audit.Store = scoped[audit.Tx]{s, "audit", s.db.Audit()}
	if s.Options.Events != nil {
		events = s.Options.Events(events)
	}
	return events
}

func (s *Sim) ledger() revocation.Store {
	var ledger revocation.Store = scoped[revocation.Tx]{s, "revocation", s.db.Revocation()}
	if s.Options.Ledger != nil {
		ledger = s.Options.Ledger(ledger)
	}
	return ledger
}

// outcome names an error in a trace.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if refusal, ok := asRefusal(err); ok {
		return "refused " + string(refusal.Rule)
	}
	return err.Error()
}

func asRefusal(err error) (*policy.Refusal, bool) {
	return errorAs[*policy.Refusal](err)
}
