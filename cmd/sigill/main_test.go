package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigill/internal/wire"
)

func TestReportKeepsWhatStandsAroundAProblem(t *testing.T) {
	problem := &wire.Problem{Title: "No\x1b[2J", Detail: "a\nsigill: all is well\r", Rule: "login.revoked", Next: "Ask\u202e."}
	for _, c := range []struct {
		err  error
		want string
		code int
	}{
		{nil, "", exitDone},
		{problem, "sigill: No[2J: asigill: all is well [login.revoked]. Ask.\n", exitFailed},
		{fmt.Errorf("none of the 3 certificates: %w", problem), "sigill: none of the 3 certificates: No[2J: asigill: all is well [login.revoked]. Ask.\n", exitFailed},
		{errors.Join(errors.New("one\x07"), errors.New("two")), "sigill: one\ntwo\n", exitFailed},
		{usageError{"wrong"}, "sigill: wrong\n", exitUsage},
		{errTold, "", exitFailed},
	} {
		var out strings.Builder
		if code := report(&out, c.err); code != c.code || out.String() != c.want {
			t.Errorf("%v: %d, %q, want %d, %q", c.err, code, out.String(), c.code, c.want)
		}
	}
}
