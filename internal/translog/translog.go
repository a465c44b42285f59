// Package translog is the two transparency logs of an installation: that of its
// certificates, in the form of RFC 6962, and that of its acts. It owns what a leaf of a
// certificate is, what the log promises of it, when the promise is kept, which heads the
// logs sign, and what is read and proved from them.
//
// It numbers nothing and extends no tree: the sequencer of internal/audit does, and tells
// it. It must not know orders, requests or rows. Its central rules: what is signed is
// stored before anybody sees it, and no head is signed that is not the continuation of the
// one before.
package translog

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/tiles"
)

// ErrNotFound is returned for what the logs do not have, or not yet.
var ErrNotFound = errors.New("the log does not have it")

// ErrForked is returned where a tree is not the continuation of one that was signed.
var ErrForked = errors.New("the tree is not the continuation of the one that was signed")

// ShrunkError is an [ErrForked] that says that a tree has fewer leaves than it had.
type ShrunkError struct {
	Tree     tiles.Name
	Has, Had int64
}

func (e *ShrunkError) Error() string {
	return fmt.Sprintf("log %s: a head of %d leaves was signed, and the tree has %d: %v", e.Tree, e.Had, e.Has, ErrForked)
}
func (e *ShrunkError) Unwrap() error { return ErrForked }

// Kind is a kind of stored head.
type Kind string

// The newest head that the log signed, and the newest that witnesses signed too.
const (
	Newest    Kind = "signed"
	Witnessed Kind = "witnessed"
)

// Records are the rows of both logs. A tree, a leaf or a head that is not there is
// ErrNotFound.
type Records interface {
	tiles.Records
	// LeafNumber returns the number of a certificate's leaf: 1, 2, 3, …
	LeafNumber(leaf tlog.Hash) (int64, error)
	// EventNumber returns the number of an event.
	EventNumber(id string) (int64, error)
	// EventNumbered returns the body of an event, empty if it was erased, and its number, 0
	// if it has none yet.
	EventNumbered(id string) ([]byte, int64, error)
	// Leaves returns the leaves of up to limit rows numbered above after, in order.
	Leaves(tree tiles.Name, after int64, limit int) ([]tlog.Hash, error)
	// Head returns the stored note.
	Head(tree tiles.Name, kind Kind) ([]byte, error)
	// PutHead stores a note unless one of a larger tree is stored.
	PutHead(tree tiles.Name, kind Kind, size int64, note []byte) error
}

// Tx is the view of a transaction that this package works in.
type Tx struct{ Records }

// Store runs transactions over a Tx.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}

// Keyed is a log with its key.
type Keyed struct {
	*checkpoint.Log
	Signer crypto.Signer
}

// Config is what a Service needs.
type Config struct {
	Store        Store
	Acts         Keyed
	Certificates Keyed
	// Pass numbers what is committed, extends the trees and has their heads signed:
	// [audit.Sequencer.Pass], of a sequencer whose Grown and Heads are this service's.
	Pass func(context.Context) (int, error)
	Now  func() time.Time
	// Found, if set, is told when the trees do not continue what this process has itself
	// seen of them: a [ShrunkError] where they went back beneath it, as by a fail-over to a
	// database that lags, else ErrForked. It is told outside of any transaction, and again
	// as long as it is so.
	Found func(error)
	// Patience is how long a leaf may take to get into its log; 0 means ten seconds.
	Patience time.Duration
	// Wait lets who waits rest until ctx ends; nil: by the machine's clock. For a
	// simulation that has a clock of its own.
	Wait func(ctx context.Context) Waiter
}

// Service promises, signs heads and tells when a promise is kept. It implements
// [sigill/ca.Log] and is safe for concurrent use.
type Service struct {
	Reader
	config  Config
	waiting func() bool // nothing may be added to the logs now; nil: never

	mu       sync.Mutex
	numbers  map[tlog.Hash]int64 // leaves that this process has numbered lately
	previous map[tlog.Hash]int64 // those before them
	covered  int64               // leaves of certificates under a stored head
	bell     chan struct{}       // closed when covered grows
	// Each tree under the newest head that this process has stored or found stored: who
	// takes a row of heads away, or puts an old one in its place, does not reach it.
	held map[tiles.Name]checkpoint.Checkpoint

	baton chan struct{} // held by who passes for all that wait
	// How many passes were begun by who waits, the last one that ended, and the last one
	// that ended well.
	begun, over, ended atomic.Int64
}

const (
	defaultPatience = 10 * time.Second
	// lookEvery is how often who waits looks into the store: another process may have
	// numbered the leaf, or the answer of a commit was lost.
	lookEvery = 50 * time.Millisecond
	// remembered is how many numbers are remembered at the least. A leaf that is waited
	// for is among the newest.
	remembered = 8192
	// refreshAfter is the age at which a head is signed anew though nothing was added:
	// who is shown an old head must be able to notice.
	refreshAfter = time.Hour
)

// New returns a service. It signs nothing yet.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Acts.Log == nil || c.Certificates.Log == nil || c.Acts.Signer == nil || c.Certificates.Signer == nil || c.Pass == nil || c.Now == nil {
		return nil, errors.New("translog: store, log, key, clock or sequencer is missing")
	}
	if c.Acts.ID() == c.Certificates.ID() {
		// A head of one would be a head of the other.
		return nil, errors.New("translog: both logs have the same key")
	}
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	if c.Wait == nil {
		c.Wait = newByClock
	}
	return &Service{Reader: Reader{Store: c.Store, Acts: c.Acts.Log, Certificates: c.Certificates.Log}, config: c,
		numbers: map[tlog.Hash]int64{}, bell: make(chan struct{}), held: map[tiles.Name]checkpoint.Checkpoint{}, baton: make(chan struct{}, 1)}, nil
}

// Attach returns a service that is driven by q and hears from it. q MUST NOT have been
// used before.
func Attach(q *audit.Sequencer, c Config) (*Service, error) {
	c.Pass = q.Pass
	s, err := New(c)
	if err != nil {
		return nil, err
	}
	q.Grown, q.Heads, q.Seen = s.Grown, s.Heads, s.seen
	s.waiting = func() bool { return q.Hold != nil && q.Hold() }
	return s, nil
}

// Grown is told which leaves were numbered: [audit.Sequencer.Grown].
func (s *Service) Grown(leaves []audit.Numbered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.numbers) >= remembered {
		s.previous, s.numbers = s.numbers, make(map[tlog.Hash]int64, remembered)
	}
	for _, l := range leaves {
		s.numbers[l.Leaf] = l.Number
	}
}

// cover notes that a stored head covers size leaves of certificates, and wakes who waits.
func (s *Service) cover(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size <= s.covered {
		return
	}
	s.covered = size
	close(s.bell)
	s.bell = make(chan struct{})
}

// hold notes a tree as it is under its stored head.
func (s *Service) hold(h head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.size >= s.held[h.tree].Size {
		s.held[h.tree] = checkpoint.Checkpoint{Origin: h.log.Origin(), Size: h.size, Root: h.root, Time: h.at}
	}
}

// lastHeld returns what this process has noted of the trees.
func (s *Service) lastHeld() map[tiles.Name]checkpoint.Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.held)
}

// seen returns what tells, in a transaction that begins after it was called, that the
// trees are smaller than this process knows them: what is numbered then would be told
// under numbers that were told already. That they continue what they were, and are not
// merely as large, costs more, and is looked at before a head is signed.
func (s *Service) seen() (continues func(tiles.Records) error, told func(error)) {
	before := s.lastHeld()
	return func(r tiles.Records) error {
		for _, tree := range []tiles.Name{audit.ActTree, audit.CertificateTree} {
			size, err := tiles.Size(r, tree)
			if err != nil {
				return err
			}
			if had := before[tree].Size; size < had {
				return &ShrunkError{Tree: tree, Has: size, Had: had}
			}
		}
		return nil
	}, s.told
}

// told hands on that the trees are not what they were.
func (s *Service) told(err error) {
	if s.config.Found != nil && errors.Is(err, ErrForked) {
		s.config.Found(err)
	}
}

// Heads signs the head of each tree that has grown, or whose head is an hour old, and
// stores it: [audit.Sequencer.Heads]. It signs nothing, and returns ErrForked, if the tree
// does not continue the one that was signed last, as it is stored and as this process
// remembers it.
//
// While the sequencer is held it signs nothing: the database may be old, and a new time
// over a tree that was larger once would say by the log's own key that it has lost leaves,
// and a first head over another tree that there are two logs.
func (s *Service) Heads(ctx context.Context) error {
	for range maxOutrun {
		if err := s.heads(ctx); !errors.Is(err, errOutrun) {
			s.told(err)
			return err
		}
	}
	return errOutrun
}

// Empty returns a head of a log without leaves, dated before there was any log: whatever
// has become of the log since, it is true. It is not stored.
func (s *Service) Empty(tree tiles.Name) ([]byte, error) {
	log, ok := s.logs()[tree]
	if !ok {
		return nil, ErrNotFound
	}
	root, err := tiles.Root(tiles.Memory{}, tree, 0)
	if err != nil {
		return nil, err
	}
	return log.Sign(log.Signer, 0, root, time.UnixMilli(0))
}

// errOutrun says that another process has stored a head meanwhile which ours must not
// follow as it is.
var errOutrun = errors.New("other processes were quicker to sign")

// maxOutrun bounds how often heads are signed anew. Each time another process got on.
const maxOutrun = 32

func (s *Service) heads(ctx context.Context) error {
	var due []head
	before := s.lastHeld() // before the snapshot, which then is no older
	waiting := s.waiting != nil && s.waiting()
	err := s.config.Store.View(ctx, func(tx *Tx) error {
		due = nil
		logs := s.logs()
		for _, tree := range []tiles.Name{audit.ActTree, audit.CertificateTree} { // in one order, for who repeats a run
			h, err := s.due(tx, tree, logs[tree], before[tree])
			if err != nil {
				return err
			}
			if waiting {
				continue
			}
			due = append(due, h)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fresh := false
	for i := range due {
		h := &due[i]
		if h.note == nil {
			if h.note, err = h.log.Sign(h.log.Signer, h.size, h.root, h.at); err != nil {
				return err
			}
			h.fresh, fresh = true, true
		}
	}
	if fresh {
		if err := s.putHeads(ctx, due); err != nil {
			return err
		}
	}
	for _, h := range due {
		s.hold(h)
		if h.tree == audit.CertificateTree {
			s.cover(h.size)
		}
	}
	return nil
}

func (s *Service) putHeads(ctx context.Context, heads []head) error {
	// Who waits for these heads waits for this commit; nobody's end may take it back.
	return s.config.Store.Update(context.WithoutCancel(ctx), func(tx *Tx) error {
		for _, h := range heads {
			if !h.fresh {
				continue
			}
			if covered, err := h.outrun(tx); err != nil {
				return err
			} else if covered {
				continue
			}
			if err := tx.PutHead(h.tree, Newest, h.size, h.note); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) logs() map[tiles.Name]Keyed {
	return map[tiles.Name]Keyed{audit.ActTree: s.config.Acts, audit.CertificateTree: s.config.Certificates}
}

// head is a tree as it is, with its note if that is signed and stored already.
type head struct {
	tree  tiles.Name
	log   Keyed
	size  int64
	root  tlog.Hash
	at    time.Time
	note  []byte
	last  []byte // the note that was stored when this was read
	fresh bool
}

// outrun reports whether another process has stored a head meanwhile that covers this
// one. It fails with errOutrun if that one does not, and is of a later time.
func (h *head) outrun(tx *Tx) (bool, error) {
	note, err := tx.Head(h.tree, Newest)
	if errors.Is(err, ErrNotFound) || err == nil && bytes.Equal(note, h.last) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	stored, err := h.log.Open(note)
	switch {
	case err != nil:
		return false, err
	case stored.Size >= h.size:
		return true, nil
	case stored.Time.After(h.at):
		return false, errOutrun
	}
	return false, nil
}

// due reads a tree and its stored head, and holds the one against the other and against
// what was before, by this process's memory.
func (s *Service) due(tx *Tx, tree tiles.Name, log Keyed, before checkpoint.Checkpoint) (head, error) {
	h := head{tree: tree, log: log, at: s.config.Now()}
	var err error
	if h.size, err = tiles.Size(tx, tree); err != nil {
		return h, err
	}
	if h.root, err = tiles.Root(tx, tree, h.size); err != nil {
		return h, err
	}
	note, err := tx.Head(tree, Newest)
	if errors.Is(err, ErrNotFound) {
		return h, h.follows(tx, before)
	} else if err != nil {
		return h, err
	}
	h.last = note
	last, err := log.Open(note)
	if err != nil {
		return h, err
	}
	if last.Size != before.Size || last.Root != before.Root { // seldom, and it costs reading tiles
		if err := h.follows(tx, before); err != nil {
			return h, err
		}
	}
	if err := h.follows(tx, last); err != nil {
		return h, err
	}
	if last.Size == h.size && h.at.Sub(last.Time) < refreshAfter {
		h.note, h.at = note, last.Time
	}
	return h, nil
}

// follows returns ErrForked if the tree is not the continuation of what c says. Heads do
// not go back in time behind it, whatever the clock does.
func (h *head) follows(tx *Tx, c checkpoint.Checkpoint) error {
	if h.at.Before(c.Time) {
		h.at = c.Time
	}
	if c.Size == 0 {
		return nil // everything begins with nothing, and so does a process
	}
	return Continues(tx, h.tree, h.size, c)
}

// Continues returns ErrForked if the tree of size leaves is not the continuation of what
// a checkpoint says.
func Continues(r tiles.Records, tree tiles.Name, size int64, earlier checkpoint.Checkpoint) error {
	if earlier.Size > size {
		return &ShrunkError{Tree: tree, Has: size, Had: earlier.Size}
	}
	root, err := tiles.Root(r, tree, earlier.Size)
	if err != nil {
		return err
	}
	if root != earlier.Root {
		return fmt.Errorf("log %s: at %d leaves another root was signed: %w", tree, earlier.Size, ErrForked)
	}
	return nil
}
