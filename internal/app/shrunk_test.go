package app

import (
	"errors"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/keep"
	"sigill/internal/translog"
)

// What the process has itself seen of the logs holds them, though no place was asked.
func TestLogsWentBackUnderTheService(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	if a.held() {
		t.Fatal("held before")
	}
	a.foundLogs(&translog.ShrunkError{Tree: audit.ActTree, Has: 3, Had: 7})
	state, why := a.Keep.State()
	if ahead, ok := errors.AsType[*keep.AheadError](why); state != keep.Restored || !a.held() || !ok || ahead.Own != 3 || ahead.Kept != 7 {
		t.Errorf("%s, %v", state, why)
	}
	if n, err := a.Sequencer.Pass(t.Context()); n != 0 || err != nil {
		t.Errorf("numbered %d, %v", n, err)
	}
	a.foundLogs(translog.ErrForked)
	if state, _ := a.Keep.State(); state != keep.Forked {
		t.Errorf("another history: %s", state)
	}
}
