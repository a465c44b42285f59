package translog

import (
	"context"
	"errors"
	"fmt"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
)

// ErrNotYet says that an act is committed and no stored head covers it.
var ErrNotYet = errors.New("the act is not in the log yet")

// errUnnumbered is ErrNotYet of an act that nobody has numbered.
var errUnnumbered = fmt.Errorf("%w: it has no number", ErrNotYet)

// Receipt is an act with the proof that it is in the log of acts. Who has the log's
// public key checks it without the log.
type Receipt struct {
	Act   []byte // the event's body: its leaf
	Proof []byte // C2SP tlog-proof
}

// Receipt returns the receipt of a committed event, and waits as long as ctx lasts, and
// no longer than a leaf may take, for its place in the log. It is [ErrNotYet] at once
// where nothing is numbered now or no head can be signed, and ErrNotFound if there is no
// such event or its body was erased.
//
// Who waits does the work, as in [Service.Await], and one pass is for all whose acts were
// committed before it began.
func (s *Service) Receipt(ctx context.Context, event string) (*Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Patience)
	defer cancel()
	wait := s.config.Wait(ctx)
	defer wait.Stop()
	need := s.begun.Load() + 1 // the one under way may have begun before the act was committed
	baton := s.baton
	var looks looks
	read := true
	for {
		if read {
			r, err := s.ReceiptNow(ctx, event)
			if !errors.Is(err, ErrNotYet) {
				return r, err
			}
		}
		woken, over := wait.Next(baton, nil)
		if over != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotYet, over)
		}
		baton = s.baton
		read = woken != Looks || looks.due(s, need)
		if woken == Passes {
			moved, failed := s.passSince(ctx, need)
			<-s.baton
			if failed != nil {
				return nil, fmt.Errorf("%w: %w", ErrNotYet, failed)
			}
			r, err := s.ReceiptNow(ctx, event)
			if !errors.Is(err, ErrNotYet) || moved == 0 && errors.Is(err, errUnnumbered) {
				return r, err
			}
			read = false // it was, just now
			if need = s.begun.Load() + 1; !errors.Is(err, errUnnumbered) {
				baton = nil // another process has numbered it and signs the head
			}
		}
	}
}

// passSince runs a pass unless one that was not begun before the need-th has ended well;
// then moved is -1. The caller holds the baton.
func (s *Service) passSince(ctx context.Context, need int64) (moved int, err error) {
	if s.ended.Load() >= need {
		return -1, nil
	}
	return s.pass(ctx)
}

// pass runs a pass, for all that was committed before it. The caller holds the baton.
func (s *Service) pass(ctx context.Context) (moved int, err error) {
	n := s.begun.Add(1)
	defer s.over.Store(n)
	if moved, err = s.config.Pass(context.WithoutCancel(ctx)); err == nil { // others wait for it too
		s.ended.Store(n)
	}
	return moved, err
}

// ReceiptNow returns the receipt of a committed event, or at once [ErrNotYet]: under the
// newest head that witnesses have signed, if that covers it, or else the newest. So a
// receipt that is asked for again later has their word too.
func (r Reader) ReceiptNow(ctx context.Context, event string) (*Receipt, error) {
	out := &Receipt{}
	err := r.Store.View(ctx, func(tx *Tx) error {
		body, number, err := tx.EventNumbered(event)
		switch {
		case err != nil:
			return err
		case len(body) == 0:
			return ErrNotFound
		case number == 0:
			return errUnnumbered
		}
		head, err := r.head(tx, audit.ActTree, Witnessed)
		if errors.Is(err, ErrNotFound) || err == nil && number > head.Size {
			head, err = r.head(tx, audit.ActTree, Newest)
		}
		if errors.Is(err, ErrNotFound) || err == nil && number > head.Size {
			return ErrNotYet
		} else if err != nil {
			return err
		}
		hashes, err := tiles.Inclusion(tx, audit.ActTree, number-1, head.Size)
		if err != nil {
			return err
		}
		out.Act, out.Proof = body, checkpoint.Proof{Index: number - 1, Hashes: hashes, Note: head.Note}.Text()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("act %s: %w", event, err)
	}
	return out, nil
}

// Act returns the body of a committed event, numbered or not; ErrNotFound if there is
// none, or it was erased.
func (r Reader) Act(ctx context.Context, event string) ([]byte, error) {
	var body []byte
	err := r.Store.View(ctx, func(tx *Tx) error {
		var err error
		if body, _, err = tx.EventNumbered(event); err == nil && len(body) == 0 {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("act %s: %w", event, err)
	}
	return body, nil
}
