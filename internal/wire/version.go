package wire

import (
	"slices"
	"strconv"
	"strings"
)

// CardAgent begins the User-Agent of sigill-card; its version follows.
const CardAgent = "sigill-card/"

// Older reports whether version a ("1.2.3") is older than b. What is no version
// (a development build) is not older than anything.
func Older(a, b string) bool {
	va, oka := version(a)
	vb, okb := version(b)
	return oka && okb && slices.Compare(va, vb) < 0
}

func version(s string) ([]int, bool) {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "-")
	v := make([]int, 3)
	parts := strings.Split(s, ".")
	if len(parts) > len(v) {
		return nil, false
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return nil, false
		}
		v[i] = n
	}
	return v, true
}
