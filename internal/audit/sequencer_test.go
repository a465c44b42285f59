package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"sigill/internal/tiles"
)

// checkChain walks the chain and reports what is wrong, and whether every event is in it
// exactly once.
func checkChain(t interface{ Errorf(string, ...any) }, m *memLog) {
	sum, err := Verify(context.Background(), m, nil, func(f Finding) { t.Errorf("%v", f) })
	if err != nil {
		t.Errorf("Verify: %v", err)
	}
	if events, _ := m.counts(); int(sum.Links) != events || sum.Unnumbered != 0 {
		t.Errorf("%d links and %d unnumbered for %d events", sum.Links, sum.Unnumbered, events)
	}
	size, err := tiles.Size(&m.trees, ActTree)
	if err != nil || size != int64(len(m.links)) {
		t.Errorf("the tree has %d leaves, the chain %d: %v", size, len(m.links), err)
		return
	}
	want := tiles.Memory{}
	for _, l := range m.links {
		if _, err := tiles.Append(want, ActTree, []tlog.Hash{l.Leaf}); err != nil {
			t.Errorf("%v", err)
		}
	}
	got, err := tiles.Root(&m.trees, ActTree, size)
	if root, _ := tiles.Root(want, ActTree, size); err != nil || got != root {
		t.Errorf("the tree is not that of the chain's leaves: %v", err)
	}
}

func TestPassChains(t *testing.T) {
	m := &memLog{}
	var first, second Record
	first, second = m.append(told(1)), m.append(told(2))
	var told []Link
	s := &Sequencer{Store: m, Advanced: func(l Link) { told = append(told, l) }}
	n, err := s.Pass(t.Context())
	if n != 2 || err != nil {
		t.Fatalf("Pass = %d, %v", n, err)
	}
	l1 := Link{Number: 1, Event: first.ID, Leaf: first.Leaf}
	l1.Hash = chainHash(1, [32]byte{}, first.Leaf)
	l2 := Link{Number: 2, Event: second.ID, Leaf: second.Leaf}
	l2.Hash = chainHash(2, l1.Hash, second.Leaf)
	if !slices.Equal(m.links, []Link{l1, l2}) {
		t.Errorf("links = %v", m.links)
	}
	if !slices.Equal(told, []Link{l2}) {
		t.Errorf("Advanced was told %v", told)
	}
	updates := m.updates
	if n, err := s.Pass(t.Context()); n != 0 || err != nil {
		t.Errorf("second Pass = %d, %v", n, err)
	}
	if m.updates != updates {
		t.Error("a pass over nothing began a writing transaction")
	}
}

// TestChainHash fixes the form of a link by an example computed elsewhere:
// printf '\1\0\0\0\0\0\0\0\2' and 64 zero octets, through sha256sum.
func TestChainHash(t *testing.T) {
	h := chainHash(2, [32]byte{}, [32]byte{})
	if got := hexOf(h[:]); got != wantChainHash {
		t.Errorf("chainHash = %s, want %s", got, wantChainHash)
	}
}

// TestSecondRunDecides: a closure may run twice, and what counts is its last run.
func TestSecondRunDecides(t *testing.T) {
	m := &memLog{}
	m.append(told(1))
	m.race = func(m *memLog) {
		links, err := next(&Tx{Log: &memTx{events: m.events, links: m.links}}, 10)
		if err != nil {
			t.Error(err)
		}
		m.links = append(m.links, links...)
	}
	s := &Sequencer{Store: m, Advanced: func(l Link) { t.Errorf("Advanced was told %v", l) }}
	if n, err := s.Pass(t.Context()); n != 1 || err != nil {
		t.Errorf("Pass = %d, %v; want 1: another had numbered the event and left the tree", n, err)
	}
	checkChain(t, m)
}

// TestChangedBeforeNumbering: a body changed before it is numbered stops nothing
// and is found.
func TestChangedBeforeNumbering(t *testing.T) {
	m := &memLog{}
	for i := range 3 {
		m.append(told(i))
	}
	m.events[1].Body = bytes.Replace(m.events[1].Body, []byte("ordinary"), []byte("extra"), 1)
	if err := (&Sequencer{Store: m}).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, sum := found(t, m)
	if len(got) != 1 || got[0].Kind != Changed || got[0].Number != 2 || sum.Links != 3 {
		t.Errorf("found %v in %d links", got, sum.Links)
	}
}

func TestBatch(t *testing.T) {
	m := &memLog{}
	for i := range 25 {
		m.append(told(i))
	}
	s := &Sequencer{Store: m, Batch: 10}
	if n, err := s.Pass(t.Context()); n != 10 || err != nil {
		t.Fatalf("Pass = %d, %v; want a batch of 10", n, err)
	}
	if err := s.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkChain(t, m)
}

// TestConflict lets another sequencer win between the reading and the writing.
func TestConflict(t *testing.T) {
	m := &memLog{}
	for i := range 5 {
		m.append(told(i))
	}
	raced := false
	m.race = func(m *memLog) {
		if raced {
			return
		}
		raced = true
		links, err := next(&Tx{Log: &memTx{events: m.events, links: m.links}}, 3)
		if err != nil {
			t.Error(err)
		}
		m.links = append(m.links, links...)
	}
	// A store whose closure keeps what it read first: the conflict comes up.
	s := &Sequencer{Store: staleStore{m}}
	n, err := s.Pass(t.Context())
	if n != 5 || err != nil || !raced {
		t.Errorf("Pass = %d, %v; want the 2 that the other left numbered, and all 5 in the tree", n, err)
	}
	checkChain(t, m)
}

// staleStore reads before a race and writes after it, as two databases' snapshots
// do: the head that its closure sees may be old.
type staleStore struct{ *memLog }

func (s staleStore) Update(ctx context.Context, fn func(*Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := &memTx{events: s.events, links: slices.Clone(s.links)}
	s.race(s.memLog)
	tx := &staleTx{old: old, memTx: memTx{events: s.events, links: slices.Clone(s.links), writing: true}}
	trees := s.trees.clone()
	trees.links = &tx.links
	if err := fn(&Tx{Log: tx, Trees: trees}); err != nil {
		return err
	}
	s.links, s.trees = tx.links, *trees
	return nil
}

type staleTx struct {
	old *memTx
	memTx
}

func (t *staleTx) Unnumbered(limit int) ([]Record, error) { return t.old.Unnumbered(limit) }
func (t *staleTx) HeadLink() (*Link, error)               { return t.old.HeadLink() }

// conflictStore never lets anybody append.
type conflictStore struct{ *memLog }

func (conflictStore) Update(context.Context, func(*Tx) error) error { return ErrConflict }

func TestConflictForEver(t *testing.T) {
	m := &memLog{}
	m.append(told(1))
	if _, err := (&Sequencer{Store: conflictStore{m}}).Pass(t.Context()); !errors.Is(err, ErrConflict) {
		t.Errorf("Pass = %v, want ErrConflict in the end", err)
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		kind    fault
		written int // links after the failed pass
	}{{notBegun, 0}, {rolledBack, 0}, {lost, 4}} {
		t.Run(fmt.Sprint(tt.kind), func(t *testing.T) {
			m := &memLog{}
			for i := range 7 {
				m.append(told(i))
			}
			failing := true
			m.fault = func() fault {
				if failing {
					failing = false
					return tt.kind
				}
				return sound
			}
			s := &Sequencer{Store: m, Batch: 4}
			if _, err := s.Pass(t.Context()); !errors.Is(err, errFault) {
				t.Fatalf("Pass = %v, want the fault", err)
			}
			if len(m.links) != tt.written {
				t.Fatalf("%d links after the fault, want %d", len(m.links), tt.written)
			}
			if err := s.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkChain(t, m)
		})
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memLog{}
		m.append(told(0))
		s := &Sequencer{Store: m}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		checkChain(t, m) // the backlog, at once

		m.append(told(1))
		time.Sleep(defaultInterval - time.Nanosecond)
		synctest.Wait()
		if _, links := m.counts(); links != 1 {
			t.Error("numbered before the tick without a wake-up")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		checkChain(t, m) // by the tick

		before := time.Now()
		m.append(told(2))
		s.Wake()
		s.Wake()
		synctest.Wait()
		checkChain(t, m) // by the wake-up
		if waited := time.Since(before); waited != 0 {
			t.Errorf("waited %v after Wake", waited)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestRunSurvivesErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memLog{}
		m.append(told(0))
		m.fault = func() fault { return notBegun }
		var failures []time.Duration
		began := time.Now()
		s := &Sequencer{Store: m, Failed: func(error) { failures = append(failures, time.Since(began)) }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go s.Run(ctx)
		time.Sleep(20 * time.Second)
		s.Wake() // does not break the pause
		synctest.Wait()
		// 0, then pauses of 200, 400, 800, 1600, 3200 ms and 5 s each.
		want := []time.Duration{0, 200, 600, 1400, 3000, 6200, 11200, 16200}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(failures, want) {
			t.Errorf("tried at %v, want %v", failures, want)
		}
		m.mu.Lock()
		m.fault = nil
		m.mu.Unlock()
		time.Sleep(maxPause)
		synctest.Wait()
		checkChain(t, m)
	})
}

func TestWakeBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memLog{}
		s := &Sequencer{Store: m, Interval: time.Hour}
		s.Wake()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		synctest.Wait()
		m.append(told(1))
		s.Wake()
		synctest.Wait()
		checkChain(t, m)
		cancel()
		<-done
	})
}

// TestManySequencers runs several on one store while events are appended.
func TestManySequencers(t *testing.T) {
	m := &memLog{}
	var writers, sequencers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 50 {
				m.append(told(w*100 + i))
			}
		})
	}
	for range 3 {
		sequencers.Go(func() {
			s := &Sequencer{Store: m, Batch: 7}
			for {
				if _, links := m.counts(); links == 200 {
					return
				}
				if err := s.CatchUp(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	sequencers.Wait()
	checkChain(t, m)
}

// TestInterleavings: whatever the order of appends, passes of two sequencers and
// faults, the chain has no gap and each event once, in the order of commits.
func TestInterleavings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &memLog{}
		kind := sound
		m.fault = func() fault { return kind }
		seqs := []*Sequencer{
			{Store: m, Batch: rapid.IntRange(1, 5).Draw(t, "batch of A")},
			{Store: m, Batch: rapid.IntRange(1, 5).Draw(t, "batch of B")},
		}
		n := 0
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				m.append(told(n))
				n++
			case 2:
				kind = fault(rapid.IntRange(0, 3).Draw(t, "fault"))
				_, err := rapid.SampledFrom(seqs).Draw(t, "sequencer").Pass(context.Background())
				if err != nil && !errors.Is(err, errFault) {
					t.Fatal(err)
				}
			case 3:
				// A racing sequencer numbers some between read and write.
				batch := rapid.IntRange(1, 3).Draw(t, "racing batch")
				m.race = func(m *memLog) {
					links, err := next(&Tx{Log: &memTx{events: m.events, links: m.links}}, batch)
					if err != nil {
						t.Fatal(err)
					}
					m.links = append(m.links, links...)
					m.race = nil
				}
				s := &Sequencer{Store: staleStoreOnce{m}, Batch: 5}
				if _, err := s.Pass(context.Background()); err != nil {
					t.Fatal(err)
				}
				m.race = nil
			}
		}
		kind = sound
		if err := seqs[0].CatchUp(context.Background()); err != nil {
			t.Fatal(err)
		}
		checkChain(t, m)
		for i, l := range m.links {
			if l.Number != int64(i)+1 || l.Event != m.events[i].ID {
				t.Fatalf("link %d is %d to %s", i, l.Number, l.Event)
			}
		}
	})
}

// staleStoreOnce is a staleStore as long as a race is planned.
type staleStoreOnce struct{ *memLog }

func (s staleStoreOnce) Update(ctx context.Context, fn func(*Tx) error) error {
	if s.race == nil {
		saved := s.fault
		s.fault = nil
		defer func() { s.fault = saved }()
		return s.memLog.Update(ctx, fn)
	}
	return staleStore(s).Update(ctx, fn)
}

const wantChainHash = "abd2b1882253f5ed2a2367ebf229eb8f14b058a3fa850f39638ff55be78c40ed"

// The leaves of certificates are numbered in the same pass as the events, once, in the
// order in which they came; heads are signed after every pass that changed something,
// again after a failure, and not without a cause.
func TestLeavesAndHeads(t *testing.T) {
	m := &memLog{}
	var grown []Numbered
	heads, fail := 0, false
	s := &Sequencer{Store: m, Batch: 3, Grown: func(n []Numbered) { grown = append(grown, n...) },
		Heads: func(context.Context) error {
			if heads++; fail {
				return errFault
			}
			return nil
		}}
	for i := range 7 {
		m.append(told(i))
		m.trees.leaves = append(m.trees.leaves, tlog.RecordHash([]byte{byte(i)}))
	}
	if err := s.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkChain(t, m)
	for i, n := range grown {
		if n != (Numbered{m.trees.leaves[i], int64(i) + 1}) {
			t.Errorf("leaf %d is %+v", i, n)
		}
	}
	if size, err := tiles.Size(&m.trees, CertificateTree); err != nil || size != 7 || len(grown) != 7 || heads != 3 {
		t.Errorf("%d leaves in the tree, %d told, %d heads: %v", size, len(grown), heads, err)
	}
	if _, err := s.Pass(t.Context()); err != nil || heads != 3 {
		t.Errorf("at rest: %d heads, %v", heads, err)
	}
	m.append(told(7))
	fail = true
	if _, err := s.Pass(t.Context()); !errors.Is(err, errFault) {
		t.Errorf("Pass = %v", err)
	}
	fail = false
	if n, err := s.Pass(t.Context()); n != 0 || err != nil || heads != 5 {
		t.Errorf("after a failure: %d, %d heads, %v", n, heads, err)
	}
}

// After a pass whose answer was lost nothing is left to number, and the heads are signed
// all the same.
func TestHeadsAfterALostAnswer(t *testing.T) {
	m := &memLog{}
	heads := 0
	s := &Sequencer{Store: m, Heads: func(context.Context) error { heads++; return nil }}
	if err := s.CatchUp(t.Context()); err != nil || heads != 1 {
		t.Fatalf("%d heads, %v", heads, err)
	}
	m.append(told(1))
	m.fault = func() fault { return lost }
	if _, err := s.Pass(t.Context()); !errors.Is(err, errFault) {
		t.Fatalf("Pass = %v", err)
	}
	m.fault = nil
	if n, err := s.Pass(t.Context()); n != 0 || err != nil || heads != 2 {
		t.Errorf("Pass = %d, %v, %d heads", n, err, heads)
	}
}

// Events that were numbered before there were trees get into the tree, a batch a pass.
func TestTreeCatchesUp(t *testing.T) {
	m := &memLog{}
	for i := range 10 {
		m.append(told(i))
	}
	s := &Sequencer{Store: m, Batch: 3}
	if err := s.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.trees = memTrees{}
	if err := s.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkChain(t, m)
}

// A chain that is shorter than its tree is not gone on with: the numbers that it would
// give were given already.
func TestRowsTakenAway(t *testing.T) {
	m := &memLog{}
	for i := range 4 {
		m.append(told(i))
	}
	s := &Sequencer{Store: m}
	if err := s.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.links, m.events = m.links[:2], m.events[:2]
	m.append(told(9))
	if n, err := s.Pass(t.Context()); err == nil {
		t.Errorf("numbered %d", n)
	}
	if len(m.links) != 2 {
		t.Errorf("%d links", len(m.links))
	}
}

func TestHeld(t *testing.T) {
	m := &memLog{}
	m.append(told(1))
	held := true
	s := &Sequencer{Store: m, Hold: func() bool { return held }}
	if err := s.CatchUp(t.Context()); err != nil || len(m.links) != 0 {
		t.Errorf("held: %d links, %v", len(m.links), err)
	}
	held = false
	if err := s.CatchUp(t.Context()); err != nil || len(m.links) != 1 {
		t.Errorf("let go: %d links, %v", len(m.links), err)
	}
}
