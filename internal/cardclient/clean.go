package cardclient

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sigill/ca"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// Kept is an object that could not be taken off the card.
type Kept struct {
	ID          []byte
	Slot        policy.Slot
	Fingerprint string // of its certificate; empty: none
	Err         error
}

// ErrNotAsked: the object stands behind the signing PIN, for which this run does
// not ask.
var ErrNotAsked = errors.New("it stands behind the signing PIN, for which this run does not ask")

// ErrNotReported: the server did not answer that it knows of the tidied card. The
// next run tells it again.
var ErrNotReported = errors.New("the server does not know that the card is tidied")

// clean removes from the card what the plan said and the server now says is
// revoked, and reports it. What the card does not let go of is left for the next
// run, and not reported: it is revoked, and harms nobody.
func (r *run) clean(ctx context.Context, result *Result) error {
	planned := map[string]bool{}
	for _, rm := range r.plan.Removes {
		planned[rm.Fingerprint] = true
	}
	gone := map[string]bool{}
	for _, f := range r.download.Remove {
		if !planned[f] {
			return fmt.Errorf("%w: the server wants a certificate removed that the plan does not name", ErrPlan)
		}
		gone[f] = true
	}
	// Approved by the holder, so the signing PIN may be asked for, unless it was
	// said not to be at hand.
	r.remove(ctx, gone, result, !r.WithoutSigning)
	if err := r.after(StepRemoved, ""); err != nil {
		return err
	}
	if slices.ContainsFunc(result.Kept, func(k Kept) bool { return gone[k.Fingerprint] || k.ID == nil }) {
		return nil
	}
	// All of them are off the card now, those of an earlier run too.
	report := wire.Removed{Fingerprints: append([]string{}, r.download.Remove...)}
	if err := r.session.post(ctx, report, nil, "downloads", r.download.ID, "removed"); err != nil {
		result.keep(Kept{Err: fmt.Errorf("%w: %w", ErrNotReported, err)})
	}
	return nil
}

// tidy removes what interrupted runs left on the card: certificates that the
// server says were superseded or revoked.
func (r *run) tidy(ctx context.Context, result *Result) {
	dead := map[string]bool{}
	for _, e := range r.me.EIDs {
		for _, cert := range e.Certificates {
			if (cert.State == "superseded" || cert.State == "revoked") && cert.Profile != string(policy.Transport) {
				dead[cert.Fingerprint] = true
			}
		}
	}
	r.remove(ctx, dead, result, false)
}

// remove deletes the objects with the certificates of the set, never the one
// that is logged in with. ask: the signing PIN may be asked for.
func (r *run) remove(ctx context.Context, set map[string]bool, result *Result, ask bool) {
	if len(set) == 0 {
		return
	}
	objects, err := r.Card.Objects(ctx)
	if err != nil {
		result.keep(Kept{Err: err})
		return
	}
	for _, o := range objects {
		if o.Certificate == nil {
			continue
		}
		f := ca.FingerprintOf(o.Certificate).String()
		if !set[f] || string(o.ID) == string(r.session.identity.ID) {
			continue
		}
		if err := r.delete(ctx, o, ask); err != nil {
			result.keep(Kept{ID: o.ID, Slot: o.Slot, Fingerprint: f, Err: err})
			continue
		}
		result.gone(o.ID)
		result.Removed = append(result.Removed, f)
	}
}

// delete takes an object off the card. What stands behind the signing PIN is left
// where that PIN was not given and is not to be asked for: nobody types a second
// code, or loses a try of it, for tidying up.
func (r *run) delete(ctx context.Context, o token.Object, ask bool) error {
	if r.apart(o.Slot) {
		if r.denied != nil {
			return r.denied
		}
		if !r.unlocked && !ask {
			return ErrNotAsked
		}
	}
	err := r.Card.Delete(ctx, o.ID)
	if errors.Is(err, token.ErrNotFound) {
		return nil
	}
	if r.apart(o.Slot) {
		r.unlocked = r.unlocked || err == nil
		if pinFailed(err) {
			r.denied = err
		}
	}
	return err
}

// apart reports whether a slot stands behind the signing PIN alone.
func (r *run) apart(slot policy.Slot) bool { return slot == policy.Signing && r.Card.Info().SigningPIN }

// keep notes what stays on the card, once.
func (r *Result) keep(k Kept) {
	r.gone(k.ID)
	r.Kept = append(r.Kept, k)
}

// gone forgets that an object stays.
func (r *Result) gone(id []byte) {
	r.Kept = slices.DeleteFunc(r.Kept, func(k Kept) bool { return string(k.ID) == string(id) })
}
