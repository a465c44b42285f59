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

// ErrForgotten says that a place has less than it is known to have had: it was emptied,
// replaced or restored itself. What it does not tell proves nothing.
var ErrForgotten = errors.New("the place has forgotten what it had")

// ErrNew says that a place has nothing, is not known to have had anything, and that
// nobody vouches for it: it may be the place of who hides another one.
var ErrNew = errors.New("the place is new, and whether the database is old nobody can tell yet")

// Head is the newest head of a log, with what is asked about its tree.
type Head struct {
	// Checkpoint is that of the note; where there is none, of the tree as it is.
	checkpoint.Checkpoint
	Tree tiles.Name
	Log  *checkpoint.Log
	// Note is the signed head; nil: none was ever signed here, and none is before somebody
	// was asked.
	Note []byte
	// Empty returns a signed head of the log when it was empty, for places that answer to
	// nothing unsigned. All histories begin with it.
	Empty func() ([]byte, error)
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
	// Seen returns how many leaves of h's log the place has seen; 0: none. It has the
	// place keep nothing that it has not. A larger tree or another history is [ErrAhead]
	// or [ErrForked]; after another error nothing is known of the place.
	Seen(ctx context.Context, h Head) (int64, error)
	// Bring has the place keep h, whose note is there, unless Seen would fail, or the
	// place has seen fewer than least leaves, which is [ErrForgotten]. least is at most
	// h's size. What a witness has signed is returned.
	Bring(ctx context.Context, h Head, least int64) (cosignatures []byte, err error)
}

// Memory is what the own database knows of places. A restored one knows it of when the
// backup was taken, which is enough to tell a place that was emptied from one that is new.
type Memory interface {
	// Remembered returns how many leaves each place is known to have had of each log. One
	// that may begin with nothing has 0; one that nobody knows is missing.
	Remembered(ctx context.Context) (map[string]map[tiles.Name]int64, error)
	// Remember adds to it. What is remembered never becomes less.
	Remember(ctx context.Context, place string, sizes map[tiles.Name]int64) error
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
	// Trusted: a place that can tell has answered, and none has seen more than is here.
	Trusted State = "trusted"
	// Unasked: no place has answered yet that can tell.
	Unasked State = "unasked"
	// Restored: a place has seen more than is here.
	Restored State = "restored"
	// Forked: a place has seen another history.
	Forked State = "forked"
)

// Held reports whether nothing may be added to the logs.
func (s State) Held() bool { return s != Alone && s != Trusted }

// Config is what a Keeper needs; all but Cosigned and Changed must be
// set, Memory if there are places.
type Config struct {
	Places []Place
	// Heads returns the newest head of each log. It signs none.
	Heads  func(context.Context) ([]Head, error)
	Memory Memory
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
	own    State // what Found was told last
	ownWhy error
	places []*standing

	reading sync.Mutex
	heads   []Head    // as they were at read; guarded by reading
	read    time.Time // guarded by reading
}

// New returns a Keeper that has asked nobody yet.
func New(c Config) (*Keeper, error) {
	if c.Heads == nil || c.Now == nil || c.Log == nil {
		return nil, errors.New("keep: heads, clock or log is missing")
	}
	if len(c.Places) > 0 && c.Memory == nil {
		return nil, errors.New("keep: places without a memory of them")
	}
	k := &Keeper{config: c, state: Alone, own: Trusted}
	for _, p := range c.Places {
		k.state = Unasked
		k.places = append(k.places, newStanding(p))
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
	if k.own == k.state && k.ownWhy != nil {
		return k.ownWhy
	}
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

// Look asks every place once, and those again that may begin with what is here because of
// what the others said.
func (k *Keeper) Look(ctx context.Context) {
	k.look(ctx, func(*standing) bool { return true })
	k.look(ctx, func(p *standing) bool {
		k.mu.Lock()
		well := p.verdict == Trusted && p.tries == 0
		k.mu.Unlock()
		return well && k.due(ctx, p)
	})
}

func (k *Keeper) look(ctx context.Context, which func(*standing) bool) {
	var wg sync.WaitGroup
	for _, p := range k.places {
		if which(p) {
			wg.Go(func() { k.ask(ctx, p) })
		}
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
