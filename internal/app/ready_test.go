package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sigill/internal/config"
	"sigill/revocation"
	"sigill/revocation/status"
)

type viewer struct{ err error }

func (v viewer) View(context.Context, func(*revocation.Tx) error) error { return v.err }

// Who distributes relying parties' requests is told to take a process away when no
// answer of its can be in force, and not when its database goes away.
func TestReadyWithoutTheDatabase(t *testing.T) {
	now := time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	gone := errors.New("the database is gone")
	tail := &status.Tail{Store: viewer{gone}, Now: func() time.Time { return now }}
	if err := tail.Look(t.Context()); !errors.Is(err, gone) {
		t.Fatal(err)
	}
	a := &App{Config: &config.Config{OCSP: config.OCSP{Validity: config.Duration(time.Hour)}}}
	a.ocsp.tail = tail
	for after, want := range map[time.Duration]int{0: http.StatusOK, 59 * time.Minute: http.StatusOK, 61 * time.Minute: http.StatusServiceUnavailable} {
		later := now.Add(after)
		tail.Now = func() time.Time { return later }
		w := httptest.NewRecorder()
		a.statusReady(w, nil)
		if w.Code != want || (want != http.StatusOK) != strings.Contains(w.Body.String(), "in force") {
			t.Errorf("after %v: %d %s", after, w.Code, w.Body)
		}
	}
}
