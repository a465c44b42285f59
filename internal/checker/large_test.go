package checker

import (
	"strings"
	"testing"

	"sigill/ca/crl"
)

// TestLargeLists: a list that certificates name is told from 1 MiB on and a failure
// from 5 MiB on; a full one may be as large as it is.
func TestLargeLists(t *testing.T) {
	for _, test := range []struct {
		path   string
		octets int64
		want   string
	}{
		{"/crl/x/0.crl", 1<<20 - 1, ""},
		{"/crl/x/0.crl", 1 << 20, "warning crl.large"},
		{"/crl/x/0.crl", 5<<20 - 1, "warning crl.large"},
		{"/crl/x/0.crl", 5 << 20, "failure crl.large"},
		{"/crl/x/full.crl", 50 << 20, ""},
	} {
		r := &round{report: &Report{}}
		r.size("http://status.example"+test.path, &crl.Head{Size: test.octets, Entries: int(test.octets / 49)})
		if got := codes(r.report); got != test.want {
			t.Errorf("%s with %d octets: %q, want %q", test.path, test.octets, got, test.want)
		}
		if test.want != "" && !strings.Contains(r.report.String(), "more partitions") {
			t.Errorf("it does not tell what to do: %s", r.report)
		}
	}
}
