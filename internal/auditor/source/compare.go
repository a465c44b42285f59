package source

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
)

// ErrFork says that two checkpoints that the log has signed are of two histories.
var ErrFork = errors.New("the log has shown two histories")

// Compare holds two checkpoints that a log signed, as two auditors saw them, against each
// other. root returns the root that the larger one's tree had at the smaller size; it is
// not called for checkpoints of one size. The error is ErrFork if they are of two
// histories.
func Compare(a, b checkpoint.Checkpoint, root func(size int64) (tlog.Hash, error)) error {
	if a.Origin != b.Origin {
		return fmt.Errorf("checkpoints of two logs, %s and %s", a.Origin, b.Origin)
	}
	if a.Size > b.Size {
		a, b = b, a
	}
	was := b.Root
	if a.Size == 0 {
		return nil // everything begins with nothing
	}
	if a.Size < b.Size {
		var err error
		if was, err = root(a.Size); err != nil {
			return fmt.Errorf("the tree of %d at %d: %w", b.Size, a.Size, err)
		}
	}
	if was != a.Root {
		return fmt.Errorf("%s: %w: %d entries of the one are not the beginning of the %d of the other", a.Origin, ErrFork, a.Size, b.Size)
	}
	return nil
}
