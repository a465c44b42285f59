// Package keep brings the newest heads of both logs to places that a restore of this
// machine does not reach, and learns from them whether such a restore has taken place.
//
// A database, its logs and their heads lie on one disk and are restored together: nothing
// in them shows that they are old. Who has seen a larger tree shows it. The package owns
// what a place is asked, what its answer means, and when it is asked again. It must not
// know what a state forbids, how logs are stored or what is done about a restore.
package keep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
)

// ErrForked says that a place has a head of a tree that the own one is not the
// continuation of, though it is at least as large.
var ErrForked = errors.New("the log has two histories")

// ErrAhead says that a place has a head of a larger tree than the own one.
var ErrAhead = errors.New("the log was larger")

// AheadError is an [ErrAhead] with what the place has.
type AheadError struct {
	Tree tiles.Name
	Own  int64
	Kept int64
	// Note is the kept head; nil where a place tells the size alone.
	Note []byte
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("log of %s: %d leaves are here, and there were %d: %v", e.Tree, e.Own, e.Kept, ErrAhead)
}
func (e *AheadError) Unwrap() error { return ErrAhead }

// Head is the newest head of a log, with what is asked about its tree.
type Head struct {
	checkpoint.Checkpoint
	Tree tiles.Name
	Log  *checkpoint.Log
	Note []byte
	// Size returns how many leaves the tree has now: another process may have gone on.
	Size func(context.Context) (int64, error)
	// Root returns the root that the tree had with that many leaves.
	Root func(ctx context.Context, size int64) (tlog.Hash, error)
	// Proof proves that the tree of old leaves is the beginning of that of size.
	Proof func(ctx context.Context, old, size int64) ([]tlog.Hash, error)
}

// continues returns nil if the tree as it is now begins with that of c, [ErrForked] if
// it does not, and an [AheadError] if it is smaller.
func (h *Head) continues(ctx context.Context, c checkpoint.Checkpoint, note []byte) error {
	size, err := h.Size(ctx)
	if err != nil {
		return err
	}
	if c.Size > size {
		return &AheadError{h.Tree, size, c.Size, note}
	}
	root, err := h.Root(ctx, c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return fmt.Errorf("log of %s: with %d leaves it had another root than the head that was kept: %w", h.Tree, c.Size, ErrForked)
	}
	return nil
}

// Place is where heads are kept. Its methods may be called concurrently.
type Place interface {
	Name() string
	// Bring has the place keep h, unless it has a larger tree or another history, which
	// are [ErrAhead] and [ErrForked]; after another error nothing is known of the place.
	// What a witness has signed is returned.
	Bring(ctx context.Context, h Head) (cosignatures []byte, err error)
}

// Reader is a place that shows what it has.
type Reader interface {
	// Kept returns the head that the place has of h's log; nil: none.
	Kept(ctx context.Context, h Head) (*checkpoint.Checkpoint, error)
	// Compare is Kept, with [ErrAhead] or [ErrForked] if h's tree does not continue it.
	Compare(ctx context.Context, h Head) (*checkpoint.Checkpoint, error)
}

// State is what is known of the own logs.
type State string

// States, the mildest first.
const (
	// Alone: there is no place that could be asked.
	Alone State = "alone"
	// Trusted: a place has answered, and none has seen more than is here.
	Trusted State = "trusted"
	// Unasked: no place has answered yet.
	Unasked State = "unasked"
	// Restored: a place has seen more than is here.
	Restored State = "restored"
	// Forked: a place has seen another history.
	Forked State = "forked"
)

// Held reports whether nothing may be added to the logs.
func (s State) Held() bool { return s != Alone && s != Trusted }

// Config is what a Keeper needs; all but Cosigned and Changed must be set.
type Config struct {
	Places []Place
	// Heads returns the newest head of each log.
	Heads func(context.Context) ([]Head, error)
	// Cosigned is told the signatures of a witness under a head.
	Cosigned func(ctx context.Context, h Head, lines []byte) error
	// Changed is told each change of the state, with the error that says why.
	Changed func(was, is State, why error)
	Now     func() time.Time
	Log     *slog.Logger
}

// Keeper keeps heads. It is safe for concurrent use.
type Keeper struct {
	config Config

	mu     sync.Mutex
	state  State
	places []*standing

	reading sync.Mutex
	heads   []Head    // as they were at read; guarded by reading
	read    time.Time // guarded by reading
}

// standing is how a place stands; guarded by the Keeper's mu.
type standing struct {
	Place
	asking  chan struct{} // held by who asks
	verdict State         // Unasked, Trusted, Restored or Forked
	why     error         // of the verdict
	err     error         // of the last try
	brought map[tiles.Name]int64
	behind  time.Time // since when it lacks a head; zero: it does not
	failed  int64
	tries   int // that failed in a row
}

// New returns a Keeper that has asked nobody yet.
func New(c Config) (*Keeper, error) {
	if c.Heads == nil || c.Now == nil || c.Log == nil {
		return nil, errors.New("keep: heads, clock or log is missing")
	}
	k := &Keeper{config: c, state: Alone}
	for _, p := range c.Places {
		k.state = Unasked
		k.places = append(k.places, &standing{Place: p, asking: make(chan struct{}, 1), verdict: Unasked, brought: map[tiles.Name]int64{}})
	}
	return k, nil
}

const (
	// every is how long a head stays unkept where nothing is wrong.
	every = time.Second
	// within bounds one place: it must not keep the others waiting, nor a start.
	within = 10 * time.Second
	// longestPause is the rest after failures in a row.
	longestPause = 15 * time.Second
)

// State returns what is known, and why.
func (k *Keeper) State() (State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state, k.why()
}

// Held reports whether nothing may be added to the logs now.
func (k *Keeper) Held() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.Held()
}

// why returns the reason of the state. k.mu is held.
func (k *Keeper) why() error {
	var errs []error
	for _, p := range k.places {
		switch {
		case p.verdict == k.state && p.why != nil:
			return fmt.Errorf("%s: %w", p.Name(), p.why)
		case p.err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", p.Name(), p.err))
		}
	}
	if k.state == Trusted || k.state == Alone {
		return nil
	}
	return errors.Join(errs...)
}

// Look asks every place once.
func (k *Keeper) Look(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range k.places {
		wg.Go(func() { k.ask(ctx, p) })
	}
	wg.Wait()
}

// Run asks and brings until ctx ends, each place by itself.
func (k *Keeper) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range k.places {
		wg.Go(func() {
			for {
				t := time.NewTimer(k.pause(p))
				select {
				case <-ctx.Done():
					t.Stop()
					return
				case <-t.C:
				}
				if k.due(ctx, p) {
					k.ask(ctx, p)
				}
			}
		})
	}
	wg.Wait()
}

// pause is how long a place is left alone now.
func (k *Keeper) pause(p *standing) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return min(every<<min(p.tries, 5), longestPause)
}

// newest returns the own heads, not older than a second: so all places are brought the
// same ones, and the signatures of several witnesses come under one head.
func (k *Keeper) newest(ctx context.Context) ([]Head, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	now := k.config.Now()
	if age := now.Sub(k.read); k.heads != nil && age >= 0 && age < every {
		return k.heads, nil
	}
	heads, err := k.config.Heads(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the own heads: %w", err)
	}
	k.heads, k.read = heads, now
	return heads, nil
}

// Drain brings the newest heads to every place, as far as ctx allows.
func (k *Keeper) Drain(ctx context.Context) {
	k.reading.Lock()
	k.heads = nil
	k.reading.Unlock()
	k.Look(ctx)
}

// due reports whether a place is to be asked: it has not all, or has not said that all is
// well.
func (k *Keeper) due(ctx context.Context, p *standing) bool {
	heads, err := k.newest(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil || p.verdict != Trusted || p.tries > 0 {
		return true
	}
	for _, h := range heads {
		if p.brought[h.Tree] < h.Checkpoint.Size {
			return true
		}
	}
	return false
}

// ask brings the newest heads to a place and notes what that says.
func (k *Keeper) ask(ctx context.Context, p *standing) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return // who asks now notes what comes of it
	}
	began := k.config.Now()
	heads, err := k.newest(ctx)
	if err != nil {
		k.note(p, nil, err, began)
		return
	}
	brought := map[tiles.Name]int64{}
	var errs []error
	for _, h := range heads {
		lines, err := p.Bring(ctx, h)
		if err == nil {
			brought[h.Tree] = h.Checkpoint.Size
			if len(lines) > 0 && k.config.Cosigned != nil {
				err = k.config.Cosigned(ctx, h, lines)
			}
		}
		errs = append(errs, err)
	}
	k.note(p, brought, errors.Join(errs...), began)
}

// note keeps what became of asking a place, and tells of it.
func (k *Keeper) note(p *standing, brought map[tiles.Name]int64, err error, began time.Time) {
	k.mu.Lock()
	fresh := p.note(brought, err, began)
	was, is := k.state, k.decided()
	k.state = is
	why := k.why()
	k.mu.Unlock()
	if fresh && err != nil {
		k.config.Log.Error("keeping the heads of the logs", "place", p.Name(), "err", err)
	}
	if is != was && k.config.Changed != nil {
		k.config.Changed(was, is, why)
	}
}

// note reports whether the error is another one than before. What a place said before
// stands until it says something else: one that told of more and then falls silent has
// not taken it back. The Keeper's mu is held.
func (p *standing) note(brought map[tiles.Name]int64, err error, began time.Time) (fresh bool) {
	maps.Copy(p.brought, brought)
	fresh = p.err == nil || err == nil || p.err.Error() != err.Error()
	p.err = err
	switch {
	case errors.Is(err, ErrForked):
		p.verdict, p.why = Forked, err
	case errors.Is(err, ErrAhead):
		p.verdict, p.why = Restored, err
	case err == nil:
		p.verdict, p.why = Trusted, nil
	}
	if err == nil {
		p.behind, p.tries = time.Time{}, 0
		return fresh
	}
	p.failed++
	p.tries++
	if p.behind.IsZero() {
		p.behind = began
	}
	return fresh
}

// decided derives the state from what the places have said. k.mu is held.
func (k *Keeper) decided() State {
	is := Unasked
	for _, p := range k.places {
		switch {
		case p.verdict == Forked || is == Forked:
			is = Forked
		case p.verdict == Restored || is == Restored:
			is = Restored
		case p.verdict == Trusted:
			is = Trusted
		}
	}
	return is
}

// Status is how a place stands.
type Status struct {
	Name   string
	State  State         // what it said last
	Lag    time.Duration // since when it has not taken the newest head
	Failed int64         // tries since the start
	Err    error         // of the last try
}

// Statuses returns how the places stand now.
func (k *Keeper) Statuses() []Status {
	now := k.config.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Status
	for _, p := range k.places {
		s := Status{Name: p.Name(), State: p.verdict, Failed: p.failed, Err: p.err}
		if !p.behind.IsZero() {
			s.Lag = max(0, now.Sub(p.behind))
		}
		out = append(out, s)
	}
	return out
}
