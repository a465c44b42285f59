package app

import (
	"errors"
	"fmt"
	"testing"

	"sigill/revocation"
	"sigill/revocation/publish"
)

// What keeps a start from serving, and what does not.
func TestBearable(t *testing.T) {
	broken := errors.New("the token is gone")
	partition := func(err error) error {
		return &publish.ListError{List: revocation.List{Issuer: "ca", Partition: 3}, Err: err}
	}
	whole := func(err error) error {
		return &publish.ListError{List: revocation.List{Issuer: "ca", Partition: revocation.Whole}, Err: err}
	}
	clock := fmt.Errorf("number 3: %w", publish.ErrClock)
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"the clock":                    {errors.Join(partition(clock), whole(clock)), true},
		"a full list":                  {errors.Join(whole(broken)), true},
		"a partition":                  {errors.Join(partition(broken)), false},
		"a partition beside the clock": {errors.Join(partition(clock), partition(broken)), false},
		"what is of no list":           {errors.Join(partition(clock), broken), false},
		"the database":                 {fmt.Errorf("finding due CRLs: %w", broken), false},
	} {
		if got := bearable(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
