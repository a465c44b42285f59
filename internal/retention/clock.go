package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigill/internal/audit"
)

// witnessed is how long the log must tell of a clock before retention believes it.
const witnessed = 45 * 24 * time.Hour

// ErrClock says that the log does not bear out the clock.
var ErrClock = errors.New("the clock may be ahead")

// Believe returns [ErrClock] if the log has no record that is between 45 and 90 days
// old by now, though it has older ones. A clock that jumps ahead by years (an empty
// battery, a machine that was copied or frozen) makes everything due at once, and what
// is erased does not come back; the log's records have such a jump too, and it stays
// there: with that clock something must have been recorded for 45 days, however often
// the process was started meanwhile, before anything is erased. An installation that
// nobody used for so long waits in the same way.
//
// Times of records are looked for by halving, which the order of the log allows.
func Believe(ctx context.Context, log audit.Store, now time.Time) error {
	var old time.Time
	err := log.View(ctx, func(tx *audit.Tx) (err error) {
		old, err = newestBefore(tx, now.Add(-witnessed))
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("retention: looking for what the log says of the clock: %w", err)
	case !old.IsZero() && old.Before(now.Add(-2*witnessed)):
		return fmt.Errorf("%w: it says %s, and the newest record that is older than 45 days is of %s", ErrClock, now.UTC().Format(time.DateOnly), old.UTC().Format(time.DateOnly))
	}
	return nil
}

// newestBefore returns the time of the last numbered record that is not after bound;
// the zero time: there is none.
func newestBefore(tx *audit.Tx, bound time.Time) (newest time.Time, err error) {
	head, err := tx.HeadLink()
	if errors.Is(err, audit.ErrNotFound) {
		return newest, nil
	} else if err != nil {
		return newest, err
	}
	for low, high := int64(1), head.Number; low <= high; {
		middle := low + (high-low)/2
		records, _, err := tx.Linked(middle-1, 1)
		if err != nil {
			return newest, err
		}
		if len(records) == 0 || records[0].At.After(bound) {
			high = middle - 1
			continue
		}
		newest, low = records[0].At, middle+1
	}
	return newest, nil
}
