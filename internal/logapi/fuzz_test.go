package logapi

import (
	"fmt"
	"strings"
	"testing"

	"sigill/internal/audit"
)

// FuzzPlace: a place that is read is written in the same way, and is one that trees can
// have.
func FuzzPlace(f *testing.F) {
	for _, path := range hostilePaths {
		if rest, ok := strings.CutPrefix(path, "acts/tile/"); ok {
			f.Add(rest)
		}
	}
	f.Add("0/x001/x234/067.p/1")
	f.Add("entries/000")
	f.Fuzz(func(t *testing.T, path string) {
		p, ok := parsePlace(path)
		if !ok {
			return
		}
		if p.n < 0 || p.level < 0 || p.level > 7 || p.width < 1 || p.width > 256 || p.entries && p.level != 0 {
			t.Fatalf("%q is %+v", path, p)
		}
		digits := fmt.Sprint(p.n)
		digits = strings.Repeat("0", (3-len(digits)%3)%3) + digits
		want := fmt.Sprint(p.level)
		if p.entries {
			want = "entries"
		}
		for i := 0; i < len(digits); i += 3 {
			want += "/"
			if i+3 < len(digits) {
				want += "x"
			}
			want += digits[i : i+3]
		}
		if p.width < 256 {
			want += fmt.Sprintf(".p/%d", p.width)
		}
		if want != path {
			t.Errorf("%q is %+v, which is written %q", path, p, want)
		}
		for _, size := range []int64{0, 1, 256, 1 << 40, 1<<63 - 1} {
			if p.within(size) && (p.n >= size || p.n*256+int64(p.width) > size>>(8*p.level)) {
				t.Errorf("%+v is in a tree of %d", p, size)
			}
		}
	})
}

// FuzzAsked: a question that strangers ask has one address.
func FuzzAsked(f *testing.F) {
	leaf := strings.Repeat("0a", 32)
	f.Add("/log/acts/checkpoint", "")
	f.Add("/log/certificates/proof/"+leaf, "")
	f.Add("/log/acts/proof/"+leaf, "index=7")
	f.Add("/log/acts/proof/"+leaf, "event=evt_a")
	f.Fuzz(func(t *testing.T, path, query string) {
		q, ok := asked(path, query)
		if !ok {
			return
		}
		want, parameter := "/log/"+string(q.tree)+"/checkpoint", ""
		if q.proof {
			want = fmt.Sprintf("/log/%s/proof/%x", q.tree, q.leaf[:])
			if q.event != "" {
				parameter = "event=" + q.event
			} else if q.tree == audit.ActTree {
				parameter = fmt.Sprintf("index=%d", q.index)
			}
		}
		if want != path || parameter != query || q.index < 0 {
			t.Errorf("%q ? %q is %+v, which is written %q ? %q", path, query, q, want, parameter)
		}
	})
}
