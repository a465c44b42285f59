package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigill/internal/wire"
)

// TestRefusedBy: a ✓ is told for the very rule, not for whatever error there is.
func TestRefusedBy(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"the rule", &wire.Problem{Rule: "login.revoked"}, true},
		{"the rule, wrapped", fmt.Errorf("confirming: %w", &wire.Problem{Rule: "login.revoked"}), true},
		{"another rule", &wire.Problem{Rule: "login.card"}, false},
		{"no rule", &wire.Problem{}, false},
		{"no refusal", io.ErrUnexpectedEOF, false},
		{"success", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			d := &demo{story: story{out: &out}}
			err := d.refusedBy(c.err, "login.revoked", "it")
			if (err == nil) != c.ok || strings.Contains(out.String(), "✓") != c.ok {
				t.Errorf("%v, told %q", err, out.String())
			}
		})
	}
}

var errGone = errors.New("the reader is gone")

// gone is a reader that leaves at a line.
type gone struct {
	at   string
	left bool
}

func (g *gone) Write(b []byte) (int, error) {
	if g.left = g.left || strings.Contains(string(b), g.at); g.left {
		return 0, errGone
	}
	return len(b), nil
}

// TestNobodyListens: the demo ends early, with the writer's error and not with
// what followed from it, and leaves no half installation.
func TestNobodyListens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	err := Run(t.Context(), Options{Dir: dir, Program: "no such program", Out: &gone{at: "TEST hierarchy"}})
	if !errors.Is(err, errGone) || strings.Contains(err.Error(), "no such program") {
		t.Errorf("Run = %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
