package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"sigill/internal/audit"
	"sigill/internal/keep"
	"sigill/internal/reconcile"
	"sigill/internal/tiles"
	"sigill/orders/issue"
)

// acceptHint is the next step where a place proves nothing by having nothing.
const acceptHint = "If another place that is silent could tell more, mend that first. If you know that this database is the newest there is: `sigill log accept PLACE`"

// AcceptOptions say which place is believed from now on, though it has nothing, or less
// than it had.
type AcceptOptions struct {
	Place string
	// Do it; false: only told.
	Do  bool
	Now func() time.Time
	Log *slog.Logger
}

// Accepted is what a place has, and was known to have had: leaves of each log.
type Accepted struct {
	Place string               `json:"place"`
	Has   map[tiles.Name]int64 `json:"has"`
	Had   map[tiles.Name]int64 `json:"had"`
	Done  bool                 `json:"done"`
}

// AcceptPlace has the installation believe a place that keeps heads and is new, or has
// forgotten. It may be served meanwhile, and hears of it within seconds.
func AcceptPlace(ctx context.Context, dir string, o AcceptOptions) (out *Accepted, err error) {
	in, err := openQuiet(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	p, err := in.place(o.Place)
	if err != nil {
		return nil, err
	}
	remembered, err := in.db.Remembered(ctx)
	if err != nil {
		return nil, err
	}
	out = &Accepted{Place: o.Place, Had: remembered[o.Place]}
	if out.Has, err = in.has(ctx, p); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Place, err)
	}
	if keep.Judge(out.Has, out.Had) == nil {
		return nil, fmt.Errorf("%s has all that it is known to have had: there is nothing to accept", o.Place)
	}
	if !o.Do {
		return out, nil
	}
	err = in.db.Reconcile().Update(ctx, func(tx *reconcile.Tx) error {
		if err := tx.Places.AcceptPlace(o.Place, out.Has); err != nil {
			return err
		}
		return tx.Events.Append(issue.NewEvent(audit.LogAccepted, o.Now(), "operator", issue.F("place", o.Place),
			issue.F("acts", strconv.FormatInt(out.Has[audit.ActTree], 10)), issue.F("certificates", strconv.FormatInt(out.Has[audit.CertificateTree], 10))))
	})
	out.Done = err == nil
	return out, err
}

// place returns the place of that name.
func (q *quiet) place(name string) (keep.Place, error) {
	places, _, err := openPlaces(q.config)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("neither log.keep nor log.witnesses names a place %q", name)
}

// has asks a place how much it has of each log.
func (q *quiet) has(ctx context.Context, p keep.Place) (map[tiles.Name]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	heads, err := headsOf(ctx, q.reader, func(tiles.Name) ([]byte, error) { return unsignable() })
	if err != nil {
		return nil, err
	}
	has := map[tiles.Name]int64{}
	for _, h := range heads {
		seen, err := p.Seen(ctx, h)
		if err != nil && !errors.Is(err, errUnsigned) { // who serves asks again, and has the key
			return nil, err
		}
		has[h.Tree] = seen
	}
	return has, nil
}
