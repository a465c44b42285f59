package target

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
)

// TestMirrorBringsWhatIsPublic: everything that is served here comes to the target, follows
// there, and nothing else does.
func TestMirrorBringsWhatIsPublic(t *testing.T) {
	eachTarget(t, func(t *testing.T, to Target) {
		h := newHere(t)
		h.put(firstKey, h.list(0, 1))
		h.put(fullKey, h.list(-1, 1))
		h.put("crl/"+string(revtest.Person)+"/.0.crl.123.tmp", []byte("half a list"))
		h.put("crl/"+string(revtest.Person)+"/00.crl", h.list(0, 1))
		h.put("secret.key", []byte("a key that somebody left here"))
		m := h.mirror(to)
		drain(t, m)
		for _, key := range []string{"aia/root.cer", "aia/" + string(revtest.Person) + ".cer", "crl/root/0.crl", firstKey, fullKey} {
			if !bytes.Equal(got(t, to, key), revtest.Read(t, filepath.Join(h.dir, key))) {
				t.Errorf("%s is not at the target as it is here", key)
			}
		}
		for _, key := range []string{"secret.key", "crl/" + string(revtest.Person) + "/00.crl"} {
			if got(t, to, key) != nil {
				t.Errorf("%s is at the target", key)
			}
		}
		next := h.list(0, 2, crl.Revoked{Serial: ca.NewSerial(), At: revtest.Start, Reason: ca.KeyCompromise})
		h.put(firstKey, next)
		if s := m.Status(); s.Behind != 0 {
			t.Errorf("behind before anybody looked: %+v", s)
		}
		drain(t, m)
		if !bytes.Equal(got(t, to, firstKey), next) {
			t.Error("the next list is not at the target")
		}
		// What is no longer public here stays there.
		if err := os.Remove(filepath.Join(h.dir, fullKey)); err != nil {
			t.Fatal(err)
		}
		drain(t, m)
		if got(t, to, fullKey) == nil {
			t.Error("a list was removed from the target")
		}
		if s := m.Status(); s.Objects != 4 || s.Failed != 0 || s.Err != nil || s.Lag != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

// TestMirrorGoesOnAfterAKill: a new process finds what differs by looking at the target.
func TestMirrorGoesOnAfterAKill(t *testing.T) {
	eachTarget(t, func(t *testing.T, to Target) {
		h := newHere(t)
		h.put(firstKey, h.list(0, 1))
		h.put(secondKey, h.list(1, 1))
		drain(t, h.mirror(to))
		h.put(secondKey, h.list(1, 2))
		counted := &counting{Target: to}
		drain(t, h.mirror(counted))
		if n := counted.puts.Load(); n != 1 {
			t.Errorf("%d objects were put, want the one that differs", n)
		}
		if !bytes.Equal(got(t, to, secondKey), revtest.Read(t, filepath.Join(h.dir, secondKey))) {
			t.Error("what was published while nobody mirrored is not there")
		}
	})
}

type counting struct {
	Target
	puts atomic.Int64
}

func (c *counting) Put(ctx context.Context, key string, content Content, old Version) (Version, error) {
	c.puts.Add(1)
	return c.Target.Put(ctx, key, content, old)
}

// TestMirrorNeverGoesBackwards: what may not follow what relying parties have seen is not
// put, and says so.
func TestMirrorNeverGoesBackwards(t *testing.T) {
	h := newHere(t)
	other := revtest.NewAuthority(t, revtest.Another, h.root)
	point := revtest.URLOf(revtest.Person, 0)
	at := revtest.Start.Add(time.Hour)
	foreign := other.CRL(t, crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: at, DistributionPoint: point})
	for _, test := range []struct {
		name        string
		there, here []byte
		reason      string // empty: nothing is refused
		put         bool
	}{
		{"the next", h.list(0, 4), h.list(0, 5), "", true},
		{"the next of the same second", h.listAt(0, 4, at), h.listAt(0, 5, at), "", true},
		{"another publisher is ahead", h.list(0, 6), h.list(0, 5), "", false},
		{"number back, time on", h.listAt(0, 6, at), h.listAt(0, 5, at.Add(time.Minute)), "restored", false},
		{"number on, time back", h.listAt(0, 4, at), h.listAt(0, 5, at.Add(-time.Minute)), "restored", false},
		{"same number, other content", h.listAt(0, 5, at), h.listAt(0, 5, at.Add(time.Minute)), "restored", false},
		{"damaged there", []byte("no list"), h.list(0, 5), "damaged or another's", false},
		{"cut off there", h.list(0, 4)[:100], h.list(0, 5), "damaged or another's", false},
		{"changed there", flipped(h.list(0, 4)), h.list(0, 5), "damaged or another's", false},
		{"another issuer's there", foreign, h.list(0, 5), "damaged or another's", false},
		{"another partition's there", h.list(1, 4), h.list(0, 5), "damaged or another's", false},
		{"the full one there", h.list(-1, 4), h.list(0, 5), "damaged or another's", false},
		{"damaged here", h.list(0, 4), flipped(h.list(0, 5)), "stays here", false},
		{"another issuer's here", nil, foreign, "stays here", false},
		{"another partition's here", nil, h.list(1, 4), "stays here", false},
		{"the full one here", nil, h.list(-1, 4), "stays here", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := directory(t)
			if test.there != nil {
				if _, err := to.Put(t.Context(), firstKey, contentOf(test.there), ""); err != nil {
					t.Fatal(err)
				}
			}
			h.put(firstKey, test.here)
			m := h.mirror(to)
			if test.reason == "" {
				drain(t, m)
			} else {
				refusedDrain(t, m, test.reason)
			}
			want := test.there
			if test.put {
				want = test.here
			}
			if !bytes.Equal(got(t, to, firstKey), want) {
				t.Error("the target has something else than it should")
			}
			s := m.Status()
			if s.Ahead != btoi(test.reason == "" && !test.put) || s.Behind != btoi(test.reason != "") {
				t.Errorf("status %+v", s)
			}
			if got(t, to, "crl/root/0.crl") == nil {
				t.Error("the failing object kept another back")
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// flipped changes the signature.
func flipped(der []byte) []byte {
	der = bytes.Clone(der)
	der[len(der)-1] ^= 1
	return der
}

// TestMirrorLeavesCertificatesAlone: a certificate never changes under its name.
func TestMirrorLeavesCertificatesAlone(t *testing.T) {
	h, to := newHere(t), directory(t)
	other := revtest.NewAuthority(t, revtest.Person, h.root).Cert.Raw
	key := "aia/" + string(revtest.Person) + ".cer"
	if _, err := to.Put(t.Context(), key, contentOf(other), ""); err != nil {
		t.Fatal(err)
	}
	m := h.mirror(to)
	refusedDrain(t, m, "not the issuer's certificate")
	if !bytes.Equal(got(t, to, key), other) {
		t.Error("the certificate was replaced")
	}
	if s := m.Status(); s.Refused != 1 || s.Behind != 1 || s.Object != key {
		t.Errorf("status %+v", s)
	}
}

// TestTwoPublishersNeverGoBack: two installations write one target at the same time; whoever
// reads it sees numbers that only grow, and in the end the highest.
func TestTwoPublishersNeverGoBack(t *testing.T) {
	eachAtomic(t, func(t *testing.T, to Target) {
		h := newHere(t)
		const lists = 40
		mirrors := []*here{h, h.another()}
		stops := []func(){}
		for _, each := range mirrors {
			m := each.mirror(to)
			m.Recheck = time.Millisecond // so that who is behind looks again and again
			stops = append(stops, run(t, m))
		}
		var wg sync.WaitGroup
		done := make(chan struct{})
		wg.Go(func() {
			last := int64(0)
			for {
				select {
				case <-done:
					return
				default:
				}
				n, err := numberAt(to, h)
				if err != nil {
					t.Error(err)
					return
				}
				if n < last {
					t.Errorf("number %d was seen after %d", n, last)
					return
				}
				last = n
			}
		})
		var seen int64
		for n := int64(1); n <= lists; n++ {
			mirrors[n%2].put(firstKey, h.list(0, n))
			if n%8 == 0 { // now and then all of it arrives, at most times it is overtaken
				until(t, "the list arrives", func() bool { seen, _ = numberAt(to, h); return seen == n })
			}
		}
		close(done)
		wg.Wait()
		for _, stop := range stops {
			stop()
		}
		if n, err := numberAt(to, h); n != lists || err != nil {
			t.Errorf("in the end the target has number %d (%v), want %d", n, err, lists)
		}
	})
}

func numberAt(to Target, h *here) (int64, error) {
	body, _, err := to.Open(context.Background(), firstKey)
	if errors.Is(err, ErrNone) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer body.Close()
	head, err := readHead(body, firstKey, h.ca.Cert)
	if err != nil {
		return 0, err
	}
	return head.list.Number.Int64(), nil
}

// TestPutIsConditional is the contract of Put, which everything above rests on.
func TestPutIsConditional(t *testing.T) {
	eachTarget(t, func(t *testing.T, to Target) {
		if err := to.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		put := func(text string, old Version) (Version, error) {
			return to.Put(t.Context(), firstKey, contentOf([]byte(text)), old)
		}
		if _, err := put("0", "ffffffffffffffffffffffffffffffff"); !errors.Is(err, ErrChanged) {
			t.Errorf("in place of what is not there: %v", err)
		}
		first, err := put("1", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := put("2", ""); !errors.Is(err, ErrChanged) {
			t.Errorf("as new where one is: %v", err)
		}
		second, err := put("3", first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := put("4", first); !errors.Is(err, ErrChanged) {
			t.Errorf("in place of what was there before: %v", err)
		}
		if present, err := to.Look(t.Context(), firstKey); err != nil || present.Version != second {
			t.Errorf("Look says %v, %v; Put said %v", present, err, second)
		}
		if string(got(t, to, firstKey)) != "3" {
			t.Errorf("it is %q", got(t, to, firstKey))
		}
		// Of many at once with the same idea of what is there one wins.
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				_, err := put(string(rune('a'+i)), second)
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, ErrChanged) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d of 8 replaced the same object", won.Load())
		}
	})
}

// failing fails some keys, and counts.
type failing struct {
	Target
	key   string
	err   error
	tries atomic.Int64
	fixed atomic.Bool
}

func (f *failing) Look(ctx context.Context, key string) (Present, error) {
	if key == f.key && !f.fixed.Load() {
		f.tries.Add(1)
		return Present{}, f.err
	}
	return f.Target.Look(ctx, key)
}

// TestOneObjectKeepsNoOtherBack: an object that fails for ever is tried again and again with
// pauses, and the others go on.
func TestOneObjectKeepsNoOtherBack(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
	}{{"refused", errors.New("no rights")}, {"hangs up", ErrUnavailable}} {
		t.Run(test.name, func(t *testing.T) {
			h := newHere(t)
			h.put(firstKey, h.list(0, 1))
			h.put(secondKey, h.list(1, 1))
			to := &failing{Target: directory(t), key: firstKey, err: test.err}
			m := h.mirror(to)
			run(t, m)
			until(t, "the failing one is tried again", func() bool { return to.tries.Load() > 5 })
			until(t, "the other arrives", func() bool { return got(t, to.Target, secondKey) != nil })
			h.put(secondKey, h.list(1, 2))
			until(t, "the other's next arrives", func() bool {
				return bytes.Equal(got(t, to.Target, secondKey), revtest.Read(t, filepath.Join(h.dir, secondKey)))
			})
			until(t, "only the failing one is behind", func() bool { return m.Status().Behind == 1 })
			s := m.Status()
			if s.Failed < 5 || !errors.Is(s.Err, test.err) || s.Lag <= 0 {
				t.Errorf("status %+v", s)
			}
			to.fixed.Store(true)
			until(t, "it arrives", func() bool { return m.Status().Behind == 0 })
			if s := m.Status(); s.Err != nil || s.Lag != 0 {
				t.Errorf("after it is repaired: %+v", s)
			}
		})
	}
}

// TestPauses: they grow from the least to the most and are drawn between half and all.
func TestPauses(t *testing.T) {
	var x trouble
	now := revtest.Start
	for i := range 30 {
		x = x.after(errors.New("again"), now, DefaultPauseMin, DefaultPauseMax)
		whole := min(DefaultPauseMin<<min(i, 20), DefaultPauseMax)
		if pause := x.until.Sub(now); pause < whole/2 || pause > whole {
			t.Errorf("after failure %d the pause is %v, want %v to %v", i+1, pause, whole/2, whole)
		}
	}
}

// TestLag: it is the age of what is public here and not there, from the first version that is
// not there, whatever replaces it here.
func TestLag(t *testing.T) {
	h := newHere(t)
	to := &failing{Target: directory(t), key: firstKey, err: errors.New("no rights")}
	m := h.mirror(to)
	m.PauseMin, m.PauseMax = time.Nanosecond, time.Nanosecond
	clock := time.Now()
	m.Now = func() time.Time { return clock }
	drain(t, m)
	stamped := func(n int64, at time.Time) {
		h.put(firstKey, h.list(0, n))
		if err := os.Chtimes(filepath.Join(h.dir, firstKey), at, at); err != nil {
			t.Fatal(err)
		}
		clock = at
		m.Drain(t.Context())
	}
	first := clock.Add(time.Minute)
	stamped(1, first)
	stamped(2, first.Add(time.Second))
	clock = first.Add(90 * time.Second)
	if s := m.Status(); s.Lag != 90*time.Second || s.Behind != 1 {
		t.Errorf("status %+v, want a lag of 90 s", s)
	}
	to.fixed.Store(true)
	drain(t, m)
	if s := m.Status(); s.Lag != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestLagOfAStartIsNotTheAgeOfTheLists: what nobody has compared yet is perhaps there.
func TestLagOfAStartIsNotTheAgeOfTheLists(t *testing.T) {
	h := newHere(t)
	h.put(firstKey, h.list(0, 1))
	old := time.Now().Add(-10 * time.Hour)
	if err := os.Chtimes(filepath.Join(h.dir, firstKey), old, old); err != nil {
		t.Fatal(err)
	}
	to := &failing{Target: directory(t), key: firstKey, err: ErrUnavailable}
	m := h.mirror(to)
	m.Drain(t.Context())
	if s := m.Status(); s.Behind != 1 || s.Lag > time.Hour {
		t.Errorf("status %+v", s)
	}
}

// TestRecheck: what the target has lost or exchanged is found without anything new here.
func TestRecheck(t *testing.T) {
	h, to := newHere(t), directory(t)
	h.put(firstKey, h.list(0, 1))
	m := h.mirror(to)
	m.Recheck = time.Millisecond
	run(t, m)
	until(t, "all is there", func() bool { return m.Status().Objects == 4 && m.Status().Behind == 0 })
	if err := os.Remove(to.path(firstKey)); err != nil {
		t.Fatal(err)
	}
	until(t, "what was lost is there again", func() bool { return got(t, to, firstKey) != nil })
	present, err := to.Look(t.Context(), secondKey)
	if !errors.Is(err, ErrNone) {
		t.Fatal(present, err)
	}
	h.put(secondKey, h.list(1, 1))
	until(t, "the second is there", func() bool { return got(t, to, secondKey) != nil })
	if err := os.WriteFile(to.path(firstKey), []byte("spoilt"), 0o644); err != nil {
		t.Fatal(err)
	}
	until(t, "what was spoilt is told", func() bool { return m.Status().Refused == 1 })
}

// TestDirectoryIsNotMade: where nothing is mounted, nothing is written.
func TestDirectoryIsNotMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not-mounted")
	to, err := NewDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	h := newHere(t)
	m := h.mirror(to)
	if err := m.Drain(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("drained with %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	drain(t, m)
	if _, err := NewDirectory("relative"); err == nil {
		t.Error("a relative path is accepted")
	}
}

// TestDirectorySweeps: what a killed publisher left is removed.
func TestDirectorySweeps(t *testing.T) {
	h, to := newHere(t), directory(t)
	h.put(firstKey, h.list(0, 1))
	left := filepath.Join(to.dir, "crl", "ca", ".0.crl.1.tmp")
	if err := os.MkdirAll(filepath.Dir(left), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	drain(t, h.mirror(to))
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", left)
	}
}

// broken is a body that ends too early by an error.
type broken struct{ Target }

func (b broken) Open(ctx context.Context, key string) (io.ReadCloser, Present, error) {
	body, present, err := b.Target.Open(ctx, key)
	if err != nil {
		return nil, present, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(body, 50), failedBody{}), body}, present, nil
}

type failedBody struct{}

func (failedBody) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestBrokenConnectionIsNoDamage: an object that does not come whole is nobody's fault.
func TestBrokenConnectionIsNoDamage(t *testing.T) {
	h, to := newHere(t), directory(t)
	h.put(firstKey, h.list(0, 1))
	drain(t, h.mirror(to))
	h.put(firstKey, h.list(0, 2))
	m := h.mirror(broken{to})
	if err := m.Drain(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("drained with %v", err)
	}
	if s := m.Status(); s.Refused != 0 {
		t.Errorf("status %+v", s)
	}
}

// overtaken is a target at which somebody else puts an object while the one before is read,
// and that then names the new one's version, as a server may that looks it up apart.
type overtaken struct {
	Target
	once sync.Once
	put  func()
}

func (o *overtaken) Open(ctx context.Context, key string) (io.ReadCloser, Present, error) {
	body, present, err := o.Target.Open(ctx, key)
	o.once.Do(func() {
		o.put()
		present, err = o.Look(ctx, key)
	})
	return body, present, err
}

// TestObjectAndVersionOfOneMoment: what was compared is what is replaced, also where they do
// not come together.
func TestObjectAndVersionOfOneMoment(t *testing.T) {
	h, to := newHere(t), directory(t)
	h.put(firstKey, h.list(0, 1))
	drain(t, h.mirror(to))
	other := h.another()
	other.put(firstKey, h.list(0, 3))
	h.put(firstKey, h.list(0, 2))
	drain(t, h.mirror(&overtaken{Target: to, put: func() { drain(t, other.mirror(to)) }}))
	if n, err := numberAt(to, h); n != 3 || err != nil {
		t.Errorf("number %d is there, %v; want 3", n, err)
	}
}

// asked counts what a target is asked.
type asked struct {
	Target
	n atomic.Int64
}

func (a *asked) Look(ctx context.Context, key string) (Present, error) {
	a.n.Add(1)
	return a.Target.Look(ctx, key)
}

// TestIdleAsksNothing: what is known to be there costs nothing until it is looked at again.
func TestIdleAsksNothing(t *testing.T) {
	h, to := newHere(t), &asked{Target: directory(t)}
	h.put(firstKey, h.list(0, 1))
	m := h.mirror(to)
	drain(t, m)
	before := to.n.Load()
	drain(t, m)
	if n := to.n.Load() - before; n != 0 || before == 0 {
		t.Errorf("asked %d times, and then %d times more", before, n)
	}
}

// TestAheadEnds: who was behind another publisher and then is not, publishes again.
func TestAheadEnds(t *testing.T) {
	h, to := newHere(t), directory(t)
	other := h.another()
	other.put(firstKey, h.list(0, 2))
	drain(t, other.mirror(to))
	h.put(firstKey, h.list(0, 1))
	m := h.mirror(to)
	drain(t, m)
	if s := m.Status(); s.Ahead != 1 {
		t.Fatalf("status %+v", s)
	}
	h.put(firstKey, h.list(0, 3))
	drain(t, m)
	if n, err := numberAt(to, h); n != 3 || err != nil || m.Status().Ahead != 0 {
		t.Errorf("number %d is there, %v; status %+v", n, err, m.Status())
	}
}
