package logapi

import (
	"fmt"
	"strings"
	"testing"
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
