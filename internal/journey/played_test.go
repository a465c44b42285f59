//go:build unix && cgo

package journey

import (
	"testing"

	"sigill/internal/stage"
)

// played is the demo after it was played, still serving.
type played struct {
	*stage.Played
	t *testing.T
}

// play plays the demo and leaves it serving until the test ends.
func play(t *testing.T) *played {
	t.Helper()
	return &played{programs.Play(t), t}
}
