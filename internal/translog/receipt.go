package translog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
)

// Receipt is an act with the proof that it is in the log of acts. Who has the log's
// public key checks it without the log.
type Receipt struct {
	Act   []byte // the event's body: its leaf
	Proof []byte // C2SP tlog-proof
}

// Receipt returns the receipt of a committed event, and waits as long as ctx lasts, and
// no longer than a leaf may take, for its place in the log. ErrNotFound: there is no such
// event, or its body was erased.
func (s *Service) Receipt(ctx context.Context, event string) (*Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Patience)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	baton := s.baton
	var failed error
	for {
		_, bell := s.kept([32]byte{})
		r, err := s.receipt(ctx, event)
		if !errors.Is(err, errNotYet) {
			return r, err
		}
		select {
		case baton <- struct{}{}:
			_, failed = s.config.Pass(context.WithoutCancel(ctx)) // others wait for it too
			<-s.baton
			baton = nil
		case <-bell:
			baton = s.baton
		case <-look.C:
			baton = s.baton
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("act %s is not in the log yet: %w", event, context.Cause(ctx)), failed)
		}
	}
}

// errNotYet says that an event is there and no stored head covers it.
var errNotYet = errors.New("no head covers it yet")

// receipt reads the receipt, under the newest head: witnesses sign later.
func (s *Service) receipt(ctx context.Context, event string) (*Receipt, error) {
	r := &Receipt{}
	err := s.config.Store.View(ctx, func(tx *Tx) error {
		body, number, err := tx.EventNumbered(event)
		if err != nil {
			return err
		}
		if len(body) == 0 {
			return ErrNotFound
		}
		head, err := s.head(tx, audit.ActTree, Newest)
		if errors.Is(err, ErrNotFound) || err == nil && (number == 0 || number > head.Size) {
			return errNotYet
		} else if err != nil {
			return err
		}
		hashes, err := tiles.Inclusion(tx, audit.ActTree, number-1, head.Size)
		if err != nil {
			return err
		}
		r.Act, r.Proof = body, checkpoint.Proof{Index: number - 1, Hashes: hashes, Note: head.Note}.Text()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}
