package keep

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"sigill/internal/tiles"
)

// A place that is known to have had heads and has none, or fewer, is asked in vain: what
// it does not tell proves nothing. It is given nothing either, because it would then seem
// to know what a restored database knows.
func TestEmptiedPlaceProvesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		had, has int64
		rest     []Place
		want     State
		err      error
		accept   bool
	}{
		"it has what it had":               {had: 2, has: 2, want: Trusted},
		"it has more than is remembered":   {had: 1, has: 3, want: Trusted},
		"emptied":                          {had: 2, has: 0, want: Unasked, err: ErrForgotten},
		"put back":                         {had: 3, has: 2, want: Unasked, err: ErrForgotten},
		"emptied, and another is silent":   {had: 2, has: 0, rest: []Place{&scripted{name: "b", err: errAway}}, want: Unasked, err: ErrForgotten},
		"emptied, and another tells":       {had: 2, has: 0, rest: []Place{&scripted{name: "b", seen: 3}}, want: Trusted, err: ErrForgotten},
		"emptied, and another tells more":  {had: 2, has: 0, rest: []Place{&scripted{name: "b", err: &AheadError{tree, 3, 4, nil}}}, want: Restored, err: ErrForgotten},
		"emptied, accepted":                {had: 2, has: 0, accept: true, want: Trusted},
		"put back, accepted":               {had: 3, has: 2, accept: true, want: Trusted},
		"accepted, another tells of a new": {had: 2, has: 0, accept: true, rest: []Place{&scripted{name: "b", err: ErrForked}}, want: Forked},
	} {
		t.Run(name, func(t *testing.T) {
			o, m, a := newOwn(t), new(memory), &scripted{name: "a", seen: c.has}
			o.add("1", "2", "3")
			m.put("a", tree, c.had)
			k := remembering(t, o, m, nil, append([]Place{a}, c.rest...)...)
			k.Look(t.Context())
			if c.accept {
				if is, _ := k.State(); is == Trusted {
					t.Errorf("before it was accepted it is %s", is)
				}
				m.put("a", tree, c.has)
			}
			for range 2 { // and a second look changes nothing
				k.Look(t.Context())
			}
			is, _ := k.State()
			if all := k.Statuses(); is != c.want || !errors.Is(all[0].Err, c.err) {
				t.Errorf("%s, want %s; the place: %v", is, c.want, all[0].Err)
			}
			if brought := a.asks > 0; brought != (c.err == nil) {
				t.Errorf("a head was brought: %t", brought)
			}
		})
	}
}

// A place that is new is the answer of nobody, unless somebody else vouches or accepts.
func TestNewPlaceProvesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		remembered string // a place that once had heads
		rest       []Place
		want       State
		accept     bool
	}{
		"alone":                                     {want: Unasked},
		"in the place of another":                   {remembered: "gone", want: Unasked},
		"beside one that is silent":                 {remembered: "b", rest: []Place{&scripted{name: "b", err: errAway}}, want: Unasked},
		"beside one that is new":                    {remembered: "gone", rest: []Place{&scripted{name: "b"}}, want: Unasked},
		"beside one that forgot":                    {remembered: "b", rest: []Place{&scripted{name: "b"}}, want: Unasked},
		"beside one that tells":                     {remembered: "b", rest: []Place{&scripted{name: "b", seen: 3}}, want: Trusted},
		"beside one that tells of more":             {remembered: "b", rest: []Place{&scripted{name: "b", err: &AheadError{tree, 3, 9, nil}}}, want: Restored},
		"accepted, beside one that is silent":       {remembered: "b", rest: []Place{&scripted{name: "b", err: errAway}}, want: Trusted, accept: true},
		"accepted, beside one that tells of more":   {remembered: "b", rest: []Place{&scripted{name: "b", err: &AheadError{tree, 3, 9, nil}}}, want: Restored, accept: true},
		"accepted, in the place of another":         {remembered: "gone", want: Trusted, accept: true},
		"one tells, and the third is silent, too":   {remembered: "b", rest: []Place{&scripted{name: "b", seen: 2}, &scripted{name: "c", err: errAway}}, want: Trusted},
		"one is accepted, the other is new as well": {remembered: "gone", rest: []Place{&scripted{name: "b"}}, want: Trusted, accept: true},
	} {
		t.Run(name, func(t *testing.T) {
			o, m, a := newOwn(t), new(memory), &scripted{name: "a"}
			for range newborn + 1 {
				o.add("x")
			}
			if c.remembered != "" {
				m.put(c.remembered, tree, 2)
			}
			k := remembering(t, o, m, nil, append([]Place{a}, c.rest...)...)
			k.Look(t.Context())
			if c.accept {
				m.put("a", tree, 0)
			}
			for range 2 {
				k.Look(t.Context())
			}
			if is, _ := k.State(); is != c.want {
				t.Errorf("%s, want %s: %v", is, c.want, k.Statuses())
			}
			if brought := a.asks > 0; brought != (c.want == Trusted || c.accept) {
				t.Errorf("a head was brought: %t", brought)
			}
			if knows := m.rows["a"] != nil; knows != (c.want == Trusted || c.accept) {
				t.Errorf("it is remembered: %v", m.rows)
			}
		})
	}
}

// unsigned is a keeper of a database that has no head.
func unsigned(t *testing.T, o *own, m *memory, all ...Place) *Keeper {
	t.Helper()
	k, err := New(Config{Places: all, Memory: m, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Heads: func(context.Context) ([]Head, error) {
			h := o.head()
			h.Note = nil
			return []Head{h}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A new installation begins where all its places are new; that it did is remembered
// before anything is signed.
func TestNewInstallationBegins(t *testing.T) {
	o, m := newOwn(t), new(memory)
	a, b := &scripted{name: "a"}, &scripted{name: "b", err: errAway}
	k := unsigned(t, o, m, a, b)
	k.Look(t.Context())
	if is, why := k.State(); is != Unasked || !errors.Is(why, ErrNew) || len(m.rows) > 0 {
		t.Errorf("with a place that is silent: %s, %v, %v", is, why, m.rows)
	}
	b.say(nil)
	for range 2 {
		k.Look(t.Context())
	}
	if is, why := k.State(); is != Trusted || len(m.rows) != 2 || why != nil {
		t.Errorf("with all: %s, %v, %v", is, why, m.rows)
	}
	// Cut off here, before a head was brought, the next start goes on.
	o.add("x")
	again := remembering(t, o, m, nil, a, b)
	again.Look(t.Context())
	if is, _ := again.State(); is != Trusted || a.seen != 1 {
		t.Errorf("again: %s, the place has %d", is, a.seen)
	}
	// What has been somewhere once is no new installation.
	m2 := new(memory)
	m2.put("gone", tree, 0)
	k = unsigned(t, o, m2, &scripted{name: "c"})
	k.Look(t.Context())
	if is, _ := k.State(); is != Unasked {
		t.Errorf("with a place that is not named any more: %s", is)
	}
}

// A database without heads, which therefore can sign anything, is held against what
// places have before it does.
func TestUnsignedTreeIsCompared(t *testing.T) {
	o := newOwn(t)
	for name, p := range places(t, o) {
		t.Run(name, func(t *testing.T) {
			o := o.restored("a", "b")
			if _, err := p.Bring(t.Context(), o.head(), 0); err != nil {
				t.Fatal(err)
			}
			for what, c := range map[string]struct {
				who  *own
				want map[string]State
			}{
				"continues it": {o.restored("a", "b", "c"), map[string]State{"directory": Trusted, "witness": Restored}},
				"is older":     {o.restored("a"), map[string]State{"directory": Restored, "witness": Restored}},
				"has nothing":  {o.restored(), map[string]State{"directory": Restored, "witness": Restored}},
				"is another":   {o.restored("a", "x"), map[string]State{"directory": Forked, "witness": Restored}},
			} {
				k := unsigned(t, c.who, new(memory), p)
				k.Look(t.Context())
				if is, why := k.State(); is != c.want[name] {
					t.Errorf("a tree that %s: %s, want %s: %v", what, is, c.want[name], why)
				}
			}
			if seen, err := p.Seen(t.Context(), o.head()); err != nil || seen != 2 {
				t.Errorf("afterwards it has %d, %v", seen, err)
			}
		})
	}
}

// A place that is emptied while a process runs is not filled again by it, and what it has
// said holds; who starts then asks in vain, until somebody accepts it.
func TestEmptiedWhileServing(t *testing.T) {
	o := newOwn(t)
	for name := range places(t, o) {
		t.Run(name, func(t *testing.T) {
			o, m := o.restored("a", "b"), new(memory)
			p := &replaceable{Place: places(t, o)[name]}
			m.put(p.Name(), tree, 0)
			k := remembering(t, o, m, nil, p)
			k.Look(t.Context())
			if is, _ := k.State(); is != Trusted || m.rows[p.Name()][tree] != 2 {
				t.Fatalf("%s, remembered %v", is, m.rows)
			}
			p.Place = places(t, o)[name] // another one under the same name
			o.add("c")
			k.Drain(t.Context())
			k.Drain(t.Context())
			if is, _ := k.State(); is != Trusted || !errors.Is(k.Statuses()[0].Err, ErrForgotten) {
				t.Errorf("%s, %v", is, k.Statuses()[0].Err)
			}
			next := remembering(t, o, m, nil, p)
			next.Look(t.Context())
			if is, why := next.State(); is != Unasked || !errors.Is(why, ErrForgotten) {
				t.Errorf("who starts: %s, %v", is, why)
			}
			if seen, err := p.Seen(t.Context(), o.head()); err != nil || seen != 0 {
				t.Errorf("it was filled again: %d, %v", seen, err)
			}
			m.put(p.Name(), tree, 0)
			for who, k := range map[string]*Keeper{"who served": k, "who starts": next} {
				k.Drain(t.Context())
				if is, why := k.State(); is != Trusted || why != nil || k.Statuses()[0].Err != nil {
					t.Errorf("%s, after it was accepted: %s, %v", who, is, k.Statuses()[0].Err)
				}
			}
		})
	}
}

// replaceable is a place that another one can be put in the place of.
type replaceable struct{ Place }

func (*replaceable) Name() string { return "p" }

// What this process has seen of its own logs holds whatever the places say.
func TestFound(t *testing.T) {
	o := newOwn(t)
	o.add("a")
	for _, all := range [][]Place{nil, {&scripted{name: "a", seen: 1}}} {
		k := newKeeper(t, o, nil, all...)
		k.Look(t.Context())
		begun, _ := k.State()
		why := &AheadError{tree, 1, 2, nil}
		for _, is := range []State{Restored, Forked} {
			k.Found(is, why)
			k.Look(t.Context())
			if state, because := k.State(); state != is || !k.Held() || !errors.Is(because, why) {
				t.Errorf("%s, %v, want %s", state, because, is)
			}
		}
		k.Found(Trusted, nil)
		if is, because := k.State(); is != begun || k.Held() || because != nil {
			t.Errorf("%s, %v, want %s", is, because, begun)
		}
	}
}

// What is remembered is written seldom.
func TestMemoryIsWrittenSeldom(t *testing.T) {
	o, m := newOwn(t), &counting{}
	a := &scripted{name: "a"}
	k, err := New(Config{Places: []Place{a}, Heads: func(context.Context) ([]Head, error) { return []Head{o.head()}, nil }, Memory: m, Now: time.Now,
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.put("a", tree, 0)
	for range 100 {
		o.add("x")
		k.Drain(t.Context())
	}
	if m.writes > 8 || m.rows["a"][tree] < 50 || a.seen != 100 {
		t.Errorf("%d writes, remembered %v of %d", m.writes, m.rows, a.seen)
	}
}

type counting struct {
	memory
	writes int
}

func (c *counting) Remember(ctx context.Context, place string, sizes map[tiles.Name]int64) error {
	c.writes++
	return c.memory.Remember(ctx, place, sizes)
}
