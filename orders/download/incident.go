package download

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders/issue"
	"sigill/policy"
)

// refuseSeen records that a key with a valid proof of possession was refused for
// what is known of it, and gives err back. Its transaction stands alone: the one
// that refused was rolled back. A key that is certified on another card is an
// incident; both sides' certificates are queued in the same transaction, and
// revoked at once. If that is cut off, the queue is worked through by whoever is
// alive ([Service.RevokeQueued]).
func (j *job) refuseSeen(ctx context.Context, err error) error {
	refusal, ok := errors.AsType[*policy.Refusal](err)
	if !ok || !strings.HasPrefix(string(refusal.Rule), "key.") {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	var found *issue.Incident
	failed := j.s.Store.Update(ctx, func(tx *Tx) error {
		now := j.s.now()
		var err error
		if found, err = j.copied(tx); err != nil {
			return err
		}
		return tx.Events.Append(j.refused(refusal.Rule, now))
	})
	if failed != nil { // the verdict is not told before it is durable
		return fmt.Errorf("recording refused key: %w", failed)
	}
	j.revokeCopied(ctx, found)
	return err
}

// refused is the event of a key that was refused after its proof of possession.
func (j *job) refused(rule policy.Rule, now time.Time) audit.Event {
	return issue.NewEvent(audit.KeyRefused, now, j.caller.Name(), issue.F("rule", string(rule)), issue.F("key", hex.EncodeToString(j.key[:])),
		issue.F("card", string(j.caller.Card)), issue.F("slot", string(j.slot)), issue.F("download", string(j.id)))
}

// copied records an incident if the key, which the caller has proved to have, is
// certified elsewhere; nil: it is not.
func (j *job) copied(tx *Tx) (*issue.Incident, error) {
	return issue.Copied(tx.issue(), j.key, j.caller.Card, j.caller.Certificate, j.id, j.caller.Name(), j.s.now())
}

// revokeCopied revokes at once what an incident has queued. What fails here is
// still in the queue, and the background job reports it.
func (j *job) revokeCopied(ctx context.Context, found *issue.Incident) {
	if found != nil {
		j.s.RevokeQueued(ctx)
	}
}

// together is how many queued certificates share a transaction.
const together = 64

// RevokeQueued revokes every certificate in the queue as keyCompromise, each with
// what ends with it (an eID with its signing certificate, the downloads that it
// began), and returns how many. Some share a transaction; where that fails, each has
// its own, so that one cannot hold up the others. It may run in several processes at
// once, and be cut off anywhere: what was settled was revoked in the same transaction.
func (s *Service) RevokeQueued(ctx context.Context) (int, error) {
	total := 0
	tried := map[ca.Fingerprint]bool{} // and failed: they must not hide the others
	var failed []error
	for {
		var open []*issue.Queued
		err := s.Store.View(ctx, func(tx *Tx) error {
			var err error
			open, err = tx.QueuedOpen(batch + len(tried))
			return err
		})
		if err != nil {
			return total, errors.Join(append(failed, fmt.Errorf("reading queued revocations: %w", err))...)
		}
		var left []ca.Fingerprint
		for _, q := range open {
			if !tried[q.Certificate] {
				left = append(left, q.Certificate)
			}
		}
		n := 0
		for some := range slices.Chunk(left, together) {
			err := s.revokeQueued(ctx, some)
			if err == nil {
				n += len(some)
				continue
			}
			for _, fp := range some {
				if ctx.Err() != nil {
					return total + n, ctx.Err()
				}
				if len(some) > 1 {
					err = s.revokeQueued(ctx, []ca.Fingerprint{fp})
				}
				if err == nil {
					n++
					continue
				}
				tried[fp] = true
				failed = append(failed, fmt.Errorf("revoking queued certificate %s: %w", fp, err))
			}
		}
		total += n
		if len(open) < batch+len(tried) || n == 0 {
			return total, errors.Join(failed...)
		}
	}
}

func (s *Service) revokeQueued(ctx context.Context, some []ca.Fingerprint) error {
	return s.Store.Update(ctx, func(tx *Tx) error {
		for _, fp := range some {
			q, err := tx.Queued(fp)
			if err != nil {
				return err
			}
			if !q.DoneAt.IsZero() {
				continue // another process was faster
			}
			cert, err := tx.Certificate(fp)
			if err != nil {
				return err
			}
			if err := s.revokeEID(tx, cert, ca.KeyCompromise, ruleRevoked, q.By); err != nil {
				return err
			}
			if err := tx.SettleQueued(fp, s.now()); err != nil {
				return err
			}
		}
		return nil
	})
}
