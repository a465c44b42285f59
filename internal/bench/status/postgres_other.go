//go:build !unix

package status

import (
	"context"
	"errors"

	"sigill/internal/bench/figure"
)

// onPostgres: its programs are not started here.
func (s *Session) onPostgres(context.Context, func(figure.Figure)) error {
	s.leftOut("PostgreSQL", errors.New("not on this system"))
	return nil
}
