package keep

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/target"
	"sigill/internal/tiles"
	"sigill/internal/witness"
)

const tree tiles.Name = "acts"

// own is a log with its tree in memory.
type own struct {
	t     *testing.T
	log   *checkpoint.Log
	key   *ecdsa.PrivateKey
	tiles tiles.Memory
}

func newOwn(t *testing.T) *own {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l, err := checkpoint.NewLog("keep.test/log/acts", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &own{t: t, log: l, key: key, tiles: tiles.Memory{}}
}

// restored is the same log when it had the first of its leaves, or others.
func (o *own) restored(leaves ...string) *own {
	r := &own{t: o.t, log: o.log, key: o.key, tiles: tiles.Memory{}}
	r.add(leaves...)
	return r
}

func (o *own) add(leaves ...string) {
	o.t.Helper()
	for _, l := range leaves {
		if _, err := tiles.Append(o.tiles, tree, []tlog.Hash{tlog.RecordHash([]byte(l))}); err != nil {
			o.t.Fatal(err)
		}
	}
}

func (o *own) head() Head {
	o.t.Helper()
	size, err := tiles.Size(o.tiles, tree)
	if err != nil {
		o.t.Fatal(err)
	}
	root, err := tiles.Root(o.tiles, tree, size)
	if err != nil {
		o.t.Fatal(err)
	}
	note, err := o.log.Sign(o.key, size, root, time.UnixMilli(1_800_000_000_000+size))
	if err != nil {
		o.t.Fatal(err)
	}
	c, err := o.log.Open(note)
	if err != nil {
		o.t.Fatal(err)
	}
	return Head{Checkpoint: c, Tree: tree, Log: o.log, Note: note,
		Empty: func() ([]byte, error) {
			root, err := tiles.Root(tiles.Memory{}, tree, 0)
			if err != nil {
				return nil, err
			}
			return o.log.Sign(o.key, 0, root, time.UnixMilli(0))
		},
		Size: func(context.Context) (int64, error) { return tiles.Size(o.tiles, tree) },
		Root: func(_ context.Context, size int64) (tlog.Hash, error) { return tiles.Root(o.tiles, tree, size) },
		Proof: func(_ context.Context, old, size int64) ([]tlog.Hash, error) {
			return tiles.Consistency(o.tiles, tree, old, size)
		}}
}

// places are a directory and a witness.
func places(t *testing.T, o *own) map[string]Place {
	t.Helper()
	dir, err := target.NewDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(t.TempDir(), "witness")
	key, err := witness.Init(at, "w.example")
	if err != nil {
		t.Fatal(err)
	}
	server, err := witness.Open(witness.Config{Dir: at, Logs: []*checkpoint.Log{o.log}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	http := httptest.NewServer(server)
	t.Cleanup(http.Close)
	client, err := witness.NewClient(http.URL, key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Place{"directory": NewTarget("directory", dir), "witness": NewWitness(client)}
}

// What a place has seen never goes back, and tells a tree that is older, or another one,
// from one that has grown.
func TestPlaces(t *testing.T) {
	o := newOwn(t)
	for name, p := range places(t, o) {
		t.Run(name, func(t *testing.T) {
			o := o.restored("a", "b", "c")
			bring := func(who *own) error {
				_, err := p.Bring(t.Context(), who.head(), 0)
				return err
			}
			for range 2 { // the second time it is there
				if err := bring(o); err != nil {
					t.Fatalf("a first head: %v", err)
				}
			}
			o.add("d", "e")
			if err := bring(o); err != nil {
				t.Fatalf("a tree that has grown: %v", err)
			}
			old := o.restored("a", "b", "c", "d")
			err := bring(old)
			if ahead, ok := errors.AsType[*AheadError](err); !ok || ahead.Own != 4 || ahead.Kept != 5 || ahead.Tree != tree {
				t.Errorf("an older tree: %v", err)
			}
			if err := bring(o.restored("a", "b", "x", "d", "e")); !errors.Is(err, ErrForked) {
				t.Errorf("another tree of that size: %v", err)
			}
			if err := bring(o.restored("a", "b", "x", "d", "e", "f")); !errors.Is(err, ErrForked) {
				t.Errorf("another tree that is larger: %v", err)
			}
			if err := bring(o); err != nil {
				t.Errorf("what it has seen: %v", err)
			}
			// Asked without anything being brought it says the same.
			for _, c := range []struct {
				who  *own
				seen int64
				err  error
			}{{o, 5, nil}, {o.restored("a", "b", "c", "d", "e", "f"), 5, nil}, {old, 5, ErrAhead}, {o.restored(), 5, ErrAhead}, {o.restored("a", "b", "x", "d", "e"), 0, ErrForked}} {
				h := c.who.head()
				if seen, err := p.Seen(t.Context(), h); seen != c.seen && c.seen > 0 || !errors.Is(err, c.err) {
					t.Errorf("asked by a tree of %d: %d, %v, want %d, %v", h.Checkpoint.Size, seen, err, c.seen, c.err)
				}
			}
		})
	}
}

// The head of another process, which has gone on while this one's was on its way, is no
// sign of a restore.
func TestAnotherProcessGoesOn(t *testing.T) {
	o := newOwn(t)
	for name, p := range places(t, o) {
		t.Run(name, func(t *testing.T) {
			o := o.restored("a")
			was := o.head()
			o.add("b")
			if _, err := p.Bring(t.Context(), o.head(), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Bring(t.Context(), was, 0); errors.Is(err, ErrAhead) || errors.Is(err, ErrForked) {
				t.Errorf("an older head of the same tree: %v", err)
			}
			if shows, ok := p.(Reader); ok {
				if kept, err := shows.Kept(t.Context(), was); err != nil || kept.Size != 2 {
					t.Errorf("it went back to %+v, %v", kept, err)
				}
			}
		})
	}
}

// What is no head of the log is not taken for none, and not written over.
func TestForeignHead(t *testing.T) {
	o, at := newOwn(t), t.TempDir()
	dir, err := target.NewDirectory(at)
	if err != nil {
		t.Fatal(err)
	}
	o.add("a")
	path := filepath.Join(at, filepath.FromSlash(Key(tree)))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	another := newOwn(t)
	another.add("a", "b")
	for name, text := range map[string][]byte{"nothing": {}, "rubbish": []byte("rubbish"), "another key": another.head().Note,
		"too long": bytes.Repeat([]byte("x"), checkpoint.MaxNote+1)} {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := NewTarget("d", dir).Bring(t.Context(), o.head(), 0); err == nil || errors.Is(err, ErrAhead) {
			t.Errorf("%s: %v", name, err)
		}
		if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, text) {
			t.Errorf("%s was written over: %v", name, err)
		}
	}
}

// Two who bring at once leave the larger.
func TestPlacesTogether(t *testing.T) {
	o := newOwn(t)
	dir, err := target.NewDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var heads []Head
	for i := range 20 {
		o.add(fmt.Sprint(i))
		heads = append(heads, o.head())
	}
	p := NewTarget("d", dir)
	var wg sync.WaitGroup
	for _, h := range heads {
		wg.Go(func() {
			if _, err := p.Bring(context.Background(), h, 0); err != nil && !errors.Is(err, target.ErrChanged) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := p.Bring(t.Context(), heads[19], 0); err != nil {
		t.Fatal(err)
	}
	kept, err := p.(Reader).Kept(t.Context(), heads[0])
	if err != nil || kept == nil || kept.Size != 20 {
		t.Errorf("kept %+v, %v", kept, err)
	}
}

// scripted is a place that answers as it is told.
type scripted struct {
	name string
	mu   sync.Mutex
	err  error
	hold time.Duration
	seen int64
	asks int
}

func (p *scripted) Name() string { return p.name }

func (p *scripted) Seen(ctx context.Context, _ Head) (int64, error) {
	p.mu.Lock()
	hold, seen, err := p.hold, p.seen, p.err
	p.mu.Unlock()
	return seen, p.wait(ctx, hold, err)
}

func (p *scripted) Bring(ctx context.Context, h Head, least int64) ([]byte, error) {
	p.mu.Lock()
	hold, err := p.hold, p.err
	p.asks++
	if err == nil && p.seen < least {
		err = forgot(h.Tree, least, p.seen)
	}
	if err == nil {
		p.seen = h.Checkpoint.Size
	}
	p.mu.Unlock()
	return nil, p.wait(ctx, hold, err)
}

func (p *scripted) wait(ctx context.Context, hold time.Duration, err error) error {
	if hold > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(hold):
		}
	}
	return err
}

func (p *scripted) say(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// memory is what a database knows of places.
type memory struct {
	mu   sync.Mutex
	rows map[string]map[tiles.Name]int64
}

func (m *memory) Remembered(context.Context) (map[string]map[tiles.Name]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]map[tiles.Name]int64{}
	for place, sizes := range m.rows {
		out[place] = maps.Clone(sizes)
	}
	return out, nil
}

func (m *memory) Remember(_ context.Context, place string, sizes map[tiles.Name]int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tree, size := range sizes {
		if m.rows[place] == nil {
			m.put(place, tree, size)
		}
		m.rows[place][tree] = max(m.rows[place][tree], size)
	}
	return nil
}

func (m *memory) put(place string, tree tiles.Name, size int64) {
	if m.rows == nil {
		m.rows = map[string]map[tiles.Name]int64{}
	}
	m.rows[place] = map[tiles.Name]int64{tree: size}
}

func newKeeper(t *testing.T, o *own, changed func(was, is State, why error), all ...Place) *Keeper {
	t.Helper()
	return remembering(t, o, new(memory), changed, all...)
}

func remembering(t *testing.T, o *own, m *memory, changed func(was, is State, why error), all ...Place) *Keeper {
	t.Helper()
	k, err := New(Config{Places: all, Heads: func(context.Context) ([]Head, error) { return []Head{o.head()}, nil }, Memory: m, Changed: changed, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var errAway = errors.New("away")

// TestStates: what the places have said together, and that silence takes nothing back.
func TestStates(t *testing.T) {
	o := newOwn(t)
	o.add("a")
	if k := newKeeper(t, o, nil); k.Held() {
		t.Error("without a place it is held")
	}
	ahead, forked := &AheadError{tree, 1, 2, nil}, fmt.Errorf("it: %w", ErrForked)
	for _, c := range []struct {
		one, two error
		want     State
		held     bool
	}{
		{errAway, errAway, Unasked, true},
		{nil, errAway, Trusted, false},
		{nil, nil, Trusted, false},
		{ahead, nil, Restored, true},
		{errAway, ahead, Restored, true},
		{ahead, forked, Forked, true},
		{forked, nil, Forked, true},
	} {
		one, two := &scripted{name: "one", err: c.one, seen: 1}, &scripted{name: "two", err: c.two, seen: 1}
		k := newKeeper(t, o, nil, one, two)
		if is, _ := k.State(); is != Unasked || !k.Held() {
			t.Errorf("before it is asked: %s", is)
		}
		k.Look(t.Context())
		if is, why := k.State(); is != c.want || k.Held() != c.held || (is == Trusted) != (why == nil) {
			t.Errorf("%v and %v: %s, %v", c.one, c.two, is, why)
		}
		one.say(errAway)
		two.say(errAway)
		k.Look(t.Context())
		if is, _ := k.State(); is != c.want {
			t.Errorf("%v and %v, then silence: %s", c.one, c.two, is)
		}
		one.say(nil)
		two.say(nil)
		k.Look(t.Context())
		if is, _ := k.State(); is != Trusted {
			t.Errorf("%v and %v, then all is well: %s", c.one, c.two, is)
		}
	}
}

// TestRun: heads are brought within a second or two, one place that hangs keeps no other
// back, and lag and failures are told.
func TestRun(t *testing.T) {
	o := newOwn(t)
	o.add("a")
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		good, hangs := &scripted{name: "good", seen: 1}, &scripted{name: "hangs", hold: time.Hour}
		var told []string
		k := newKeeper(t, o, func(was, is State, _ error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, string(was)+" "+string(is))
		}, good, hangs)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.Run(ctx); close(done) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if k.Held() {
			t.Error("it is held though a place has answered")
		}
		good.mu.Lock()
		asks := good.asks
		good.mu.Unlock()
		if asks != 1 {
			t.Errorf("what has not changed was brought %d times", asks)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		all := k.Statuses()
		if all[0].Lag != 0 || all[0].Failed != 0 || all[0].State != Trusted {
			t.Errorf("the good one: %+v", all[0])
		}
		if all[1].Lag < 30*time.Second || all[1].Failed < 2 || all[1].State != Unasked || !errors.Is(all[1].Err, context.DeadlineExceeded) {
			t.Errorf("the one that hangs: %+v", all[1])
		}
		good.say(&AheadError{tree, 1, 2, nil})
		k.Drain(ctx)
		if is, why := k.State(); is != Restored || !strings.Contains(why.Error(), "good") {
			t.Errorf("%s, %v", is, why)
		}
		stop()
		<-done
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(told, ", "); got != "unasked trusted, trusted restored" {
			t.Errorf("told %s", got)
		}
	})
}
