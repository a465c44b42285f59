package audit

import (
	"slices"
	"testing"
	"time"
)

// What is in the class that ends first is counted here by name: every other act is
// kept, so that an act that is new and was not thought of is not erased early.
func TestEveryActHasAClass(t *testing.T) {
	early := map[string]bool{LoginAccepted: true, LoginRefused: true, RequestRefused: true, KeyRefused: true}
	for _, act := range append(Acts(), "not.an.act") {
		want := Records
		if early[act] {
			want = Access
		}
		if got := ClassOf(act); got != want {
			t.Errorf("%s is of the class %q, want %q", act, got, want)
		}
		delete(early, act)
	}
	if len(early) > 0 {
		t.Errorf("no acts: %v", early)
	}
}

func TestErasureIsReadBack(t *testing.T) {
	at := time.Date(2040, 8, 31, 12, 0, 0, 1000, time.UTC)
	body := func(e Erasure) *Body { return &Body{At: at, Act: RetentionErased, Public: e.Fields()} }
	for what, through := range map[string]time.Time{string(Access): AccessThrough(at), string(Records): RecordsThrough(at), "certificates": ExpiredThrough(at)} {
		e := Erasure{What: what, Through: through, From: 3, To: 9, Count: 4}
		if got, err := ErasureOf(body(e)); err != nil || got != e {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		e.Through = e.Through.Add(time.Microsecond)
		if _, err := ErasureOf(body(e)); err == nil {
			t.Errorf("%s: one that erased too early was taken", what)
		}
	}
	good := Erasure{What: string(Access), Through: AccessThrough(at), From: 3, To: 9, Count: 7}
	for name, change := range map[string]func(*Erasure){
		"nothing":            func(e *Erasure) { e.Count = 0 },
		"more than there is": func(e *Erasure) { e.Count = 8 },
		"backwards":          func(e *Erasure) { e.From = 10 },
		"of no kind":         func(e *Erasure) { e.What = "" },
		"from nowhere":       func(e *Erasure) { e.From = 0 },
		"at no time":         func(e *Erasure) { e.Through = time.Time{} },
	} {
		e := good
		change(&e)
		if _, err := ErasureOf(body(e)); err == nil {
			t.Errorf("an act that erased %s was taken", name)
		}
	}
	if _, err := ErasureOf(&Body{At: at, Act: OrderPlaced, Public: good.Fields()}); err == nil {
		t.Error("another act was taken for an erasure")
	}
}

func TestCoverage(t *testing.T) {
	numbers := func(from, to int64) (out []int64) {
		for n := from; n <= to; n++ {
			out = append(out, n)
		}
		return out
	}
	act := func(from, to, count int64) Erasure { return Erasure{From: from, To: to, Count: count} }
	for name, c := range map[string]struct {
		found []int64
		acts  []Erasure
		want  [][2]int64
	}{
		"nothing":              {},
		"all told":             {found: []int64{2, 3, 7}, acts: []Erasure{act(2, 7, 3)}},
		"told in two":          {found: numbers(1, 10), acts: []Erasure{act(6, 10, 5), act(1, 5, 5)}},
		"fewer than told":      {found: []int64{2}, acts: []Erasure{act(2, 7, 3)}},
		"not told":             {found: []int64{2, 3, 9}, want: [][2]int64{{2, 3}, {9, 9}}},
		"before, between, end": {found: numbers(1, 12), acts: []Erasure{act(3, 5, 3), act(8, 9, 2)}, want: [][2]int64{{1, 2}, {6, 7}, {10, 12}}},
		"one more than told":   {found: []int64{2, 3, 7}, acts: []Erasure{act(2, 7, 2)}, want: [][2]int64{{2, 7}}},
		"overlapping":          {found: []int64{2, 3, 7, 8}, acts: []Erasure{act(2, 7, 2), act(3, 8, 2)}},
		"overlapping, more":    {found: []int64{2, 3, 7, 8}, acts: []Erasure{act(2, 7, 2), act(3, 8, 1)}, want: [][2]int64{{2, 8}}},
		"without numbers":      {found: []int64{2}, acts: []Erasure{act(0, 0, 5)}, want: [][2]int64{{2, 2}}},
	} {
		var cover Coverage
		for _, n := range c.found {
			cover.Found(n, time.Time{})
		}
		for _, e := range c.acts {
			cover.Act(e)
		}
		var got [][2]int64
		cover.Uncovered(func(from, to int64) { got = append(got, [2]int64{from, to}) })
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	}
}

// An act covers nothing that cannot be as old as it says: beside another one that
// could, as little as alone.
func TestCoverageByTime(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2040, 1, n, 0, 0, 0, 0, time.UTC) }
	act := func(from, to, count int64, through time.Time) Erasure {
		return Erasure{From: from, To: to, Count: count, Through: through}
	}
	type found struct {
		number int64
		after  time.Time
	}
	for name, c := range map[string]struct {
		found []found
		acts  []Erasure
		want  [][2]int64
	}{
		"nothing before it":     {[]found{{1, time.Time{}}}, []Erasure{act(1, 1, 1, day(1))}, nil},
		"at the bound":          {[]found{{4, day(2)}}, []Erasure{act(4, 4, 1, day(2))}, nil},
		"newer":                 {[]found{{4, day(3)}}, []Erasure{act(4, 4, 1, day(2))}, [][2]int64{{4, 4}}},
		"newer at the end":      {[]found{{4, day(1)}, {5, day(1)}, {7, day(3)}}, []Erasure{act(4, 7, 3, day(2))}, [][2]int64{{7, 7}}},
		"newer, next to it":     {[]found{{4, day(1)}, {5, day(3)}}, []Erasure{act(4, 5, 2, day(2))}, [][2]int64{{5, 5}}},
		"old and new overlap":   {[]found{{4, day(1)}, {7, day(3)}}, []Erasure{act(4, 7, 1, day(2)), act(6, 8, 1, day(3))}, nil},
		"the new one elsewhere": {[]found{{4, day(3)}, {7, day(3)}}, []Erasure{act(4, 7, 1, day(2)), act(6, 8, 1, day(3))}, [][2]int64{{4, 4}}},
	} {
		var cover Coverage
		for _, f := range c.found {
			cover.Found(f.number, f.after)
		}
		for _, e := range c.acts {
			cover.Act(e)
		}
		var got [][2]int64
		cover.Uncovered(func(from, to int64) { got = append(got, [2]int64{from, to}) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
