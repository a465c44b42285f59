package wire_test

import (
	"testing"

	"sigill/internal/wire"
)

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"0.1.0", "0.2.0", true}, {"0.10.0", "0.9.0", false}, {"0.9.9", "0.10", true}, {"1", "1.0.0", false}, {"v1.2.3", "1.2.4", true},
		{"1.2.3-rc1", "1.2.3", false}, {"devel", "9.9.9", false}, {"1.0.0", "", false}, {"1.0.0.0", "2.0.0", false}, {"1.-1.0", "2.0.0", false}, {"", "1.0.0", false},
	} {
		if got := wire.Older(c.a, c.b); got != c.want {
			t.Errorf("Older(%q, %q) = %t", c.a, c.b, got)
		}
	}
}
