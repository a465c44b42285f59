package lanes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sigill/internal/lanes"
)

// street is a lane with callers whose work ends when the test says so.
type street struct {
	t    *testing.T
	lane *lanes.Lane
	mu   sync.Mutex
	in   []string // names, in the order in which they were let in
	end  map[string]chan struct{}
	errs map[string]error
	gone map[string]context.CancelFunc
}

func open(t *testing.T, c lanes.Config) *street {
	t.Helper()
	if c.Wait == 0 {
		c.Wait = time.Minute
	}
	if c.Queue == 0 {
		c.Queue = 100
	}
	l, err := lanes.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &street{t: t, lane: l, end: map[string]chan struct{}{}, errs: map[string]error{}, gone: map[string]context.CancelFunc{}}
}

// come lets a caller come; a name that begins with p has priority. It returns
// when the caller is inside, waits, or was refused.
func (s *street) come(name string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	end := make(chan struct{})
	s.end[name], s.gone[name] = end, cancel
	go func() {
		err := s.lane.Do(ctx, strings.HasPrefix(name, "p"), func() error {
			s.mu.Lock()
			s.in = append(s.in, name)
			s.mu.Unlock()
			<-end
			return nil
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errs[name] = err
	}()
	synctest.Wait()
}

func (s *street) go1(name string) {
	close(s.end[name])
	synctest.Wait()
}

// over returns how a caller's visit ended, and whether it has.
func (s *street) over(name string) (error, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err, ended := s.errs[name]
	return err, ended
}

func (s *street) inside(want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.in, want) {
		s.t.Fatalf("were let in: %v, want %v", s.in, want)
	}
}

// TestFirstComeFirstServed: ordinary callers go in the order in which they came.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, lanes.Config{Places: 1})
		for _, name := range []string{"a", "b", "c", "d"} {
			s.come(name)
		}
		s.inside("a")
		s.go1("a")
		s.inside("a", "b")
		s.go1("b")
		s.go1("c")
		s.inside("a", "b", "c", "d")
		s.go1("d")
	})
}

// TestReservedShare: what is reserved stays free for priority callers, however
// many others wait, and a priority caller who waits goes before them.
func TestReservedShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, lanes.Config{Places: 3, Reserved: 1})
		for _, name := range []string{"a", "b", "c", "d"} {
			s.come(name)
		}
		s.inside("a", "b") // one place is free, and not theirs
		s.come("p1")
		s.inside("a", "b", "p1")
		s.come("p2")
		s.come("p3")
		s.go1("a") // a shared place: priority first
		s.inside("a", "b", "p1", "p2")
		s.go1("p1")
		s.inside("a", "b", "p1", "p2", "p3")
		s.go1("b")
		s.inside("a", "b", "p1", "p2", "p3", "c")
		s.go1("p2")
		s.inside("a", "b", "p1", "p2", "p3", "c", "d")
		for _, name := range []string{"p3", "c", "d"} {
			s.go1(name)
		}
	})
}

// TestPriorityDoesNotShutOut: of the places that all may have, an ordinary caller
// gets one after four priority callers.
func TestPriorityDoesNotShutOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, lanes.Config{Places: 1})
		s.come("p0")
		s.come("a")
		want := []string{"p0"}
		for i := range 6 {
			s.come(fmt.Sprintf("p%d", i+1))
		}
		for i := range 4 {
			s.go1(want[len(want)-1])
			want = append(want, fmt.Sprintf("p%d", i+1))
			s.inside(want...)
		}
		s.go1("p4")
		s.inside(append(want, "a")...)
		s.go1("a")
		s.go1("p5")
		s.go1("p6")
	})
}

// TestBoundedWait: who waits too long is refused at that moment, and who is still
// in time is served.
func TestBoundedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, lanes.Config{Places: 1, Wait: 10 * time.Second})
		s.come("a")
		s.come("b")
		time.Sleep(6 * time.Second)
		s.come("c")
		time.Sleep(4*time.Second - 1)
		synctest.Wait()
		if _, over := s.over("b"); over {
			t.Fatal("b was refused too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if err, _ := s.over("b"); !errors.Is(err, lanes.ErrBusy) {
			t.Fatalf("b: %v", err)
		}
		s.go1("a")
		s.inside("a", "c")
		s.go1("c")
		if st := s.lane.Stats(); st.Ordinary != (lanes.Kind{Admitted: 2, Refused: 1}) || st.Longest != 4*time.Second {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestQueueIsBounded: beyond it nobody waits.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, lanes.Config{Places: 1, Queue: 2})
		for _, name := range []string{"a", "b", "c", "d", "p1"} {
			s.come(name)
		}
		for _, name := range []string{"a", "b", "c", "d", "p1"} {
			if err, over := s.over(name); over != (name == "d") || over && !errors.Is(err, lanes.ErrBusy) {
				t.Errorf("%s: %v, over %t", name, err, over)
			}
		}
		for _, name := range []string{"a", "p1", "b", "c"} {
			s.go1(name)
		}
		s.inside("a", "p1", "b", "c")
	})
}

// TestWhoLeavesTheQueueGivesBack: a caller who is cancelled while waiting is
// passed over; one who is cancelled in the moment when a place becomes his gives
// it on.
func TestWhoLeavesTheQueueGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, lanes.Config{Places: 1})
		for _, name := range []string{"a", "b", "c", "d"} {
			s.come(name)
		}
		s.gone["b"]()
		synctest.Wait()
		if err, _ := s.over("b"); !errors.Is(err, context.Canceled) {
			t.Fatalf("b: %v", err)
		}
		s.gone["c"]() // and at once, before c has run:
		s.go1("a")
		if err, over := s.over("c"); over && err != nil {
			s.inside("a", "d")
		} else { // c was quicker: both orders are right
			s.go1("c")
			s.inside("a", "c", "d")
		}
		s.go1("d")
		if st := s.lane.Stats(); st.Ordinary.Inside != 0 || st.Ordinary.Waiting != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestNoPlaceIsLost: by errors, panics, and calls with a context that has ended.
func TestNoPlaceIsLost(t *testing.T) {
	l, err := lanes.New(lanes.Config{Places: 1, Wait: time.Minute, Queue: 1})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wrong := errors.New("wrong")
	for range 3 {
		if err := l.Do(t.Context(), false, func() error { return wrong }); !errors.Is(err, wrong) {
			t.Errorf("Do = %v", err)
		}
		func() {
			defer func() {
				if v := recover(); v != "panic" {
					t.Errorf("recovered %v", v)
				}
			}()
			l.Do(t.Context(), true, func() error { panic("panic") })
		}()
		if err := l.Do(ended, false, func() error { t.Error("was run"); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v", err)
		}
	}
	if st := l.Stats(); st.Ordinary.Inside != 0 || st.Priority.Inside != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestAnySequence: whatever comes, goes and is cancelled, no more are inside than
// may be, nobody waits while he could come in, and in the end all is empty.
func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		places := rapid.IntRange(1, 5).Draw(r, "places")
		reserved := rapid.IntRange(0, places-1).Draw(r, "reserved")
		kinds := rapid.SliceOfN(rapid.Bool(), 1, 30).Draw(r, "kinds")
		acts := rapid.SliceOfN(rapid.IntRange(0, 3), len(kinds), len(kinds)).Draw(r, "acts")
		synctest.Test(t, func(t *testing.T) {
			s := open(t, lanes.Config{Places: places, Reserved: reserved})
			sound := func() {
				st := s.lane.Stats()
				in := st.Ordinary.Inside + st.Priority.Inside
				shared := st.Ordinary.Waiting > 0 && in < places && st.Ordinary.Inside < places-reserved
				if in > places || st.Ordinary.Inside > places-reserved || st.Priority.Waiting > 0 && in < places || shared {
					t.Fatalf("stats %+v", st)
				}
			}
			var names []string
			for i, p := range kinds {
				name := fmt.Sprintf("o%d", i)
				if p {
					name = fmt.Sprintf("p%d", i)
				}
				s.come(name)
				sound()
				switch names = append(names, name); acts[i] {
				case 1:
					s.gone[names[0]]()
					synctest.Wait()
				case 2:
					s.go1(names[0])
					names = names[1:]
				}
				sound()
			}
			for _, name := range names {
				s.go1(name)
				sound()
			}
			st := s.lane.Stats()
			if st.Ordinary.Inside+st.Priority.Inside+st.Ordinary.Waiting+st.Priority.Waiting != 0 {
				t.Fatalf("in the end: %+v", st)
			}
		})
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := lanes.Config{Places: 2, Reserved: 1, Wait: time.Second, Queue: 1}
	if _, err := lanes.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*lanes.Config){
		"no places":    func(c *lanes.Config) { c.Places, c.Reserved = 0, 0 },
		"all reserved": func(c *lanes.Config) { c.Reserved = 2 },
		"less than 0":  func(c *lanes.Config) { c.Reserved = -1 },
		"no wait":      func(c *lanes.Config) { c.Wait = 0 },
		"no queue":     func(c *lanes.Config) { c.Queue = 0 },
	} {
		c := good
		if change(&c); c == good {
			t.Fatal(name)
		}
		if _, err := lanes.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
