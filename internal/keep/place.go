package keep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/target"
	"sigill/internal/tiles"
	"sigill/internal/witness"
)

// Key is the key of the head of a log at a target.
func Key(tree tiles.Name) string { return "log/" + string(tree) + "/checkpoint" }

// contests is how often a place is compared again because somebody else was faster.
const contests = 5

// targetPlace keeps heads as objects of a target.
type targetPlace struct {
	name string
	to   target.Target

	mu      sync.Mutex
	checked bool
}

// NewTarget returns a place that is a target of the kind that lists are brought to. The
// objects there never go back to a smaller tree, whoever else writes them.
func NewTarget(name string, to target.Target) Place { return &targetPlace{name: name, to: to} }

func (p *targetPlace) Name() string { return p.name }

// Seen implements [Place].
func (p *targetPlace) Seen(ctx context.Context, h Head) (int64, error) {
	c, err := p.Compare(ctx, h)
	if c == nil {
		return 0, err
	}
	return c.Size, err
}

// Bring implements [Place].
func (p *targetPlace) Bring(ctx context.Context, h Head, least int64) ([]byte, error) {
	for range contests {
		there, note, version, err := p.read(ctx, h)
		if err != nil {
			return nil, err
		}
		if there.Size < least {
			return nil, forgot(h.Tree, least, there.Size)
		}
		if note != nil {
			if err := h.continues(ctx, there, note); err != nil {
				return nil, err
			}
			if there.Size >= h.Checkpoint.Size {
				return nil, nil
			}
		}
		if err := p.check(ctx); err != nil {
			return nil, err
		}
		content := target.Content{Body: bytes.NewReader(h.Note), Size: int64(len(h.Note)), SHA256: sha256.Sum256(h.Note), Type: "text/plain; charset=utf-8"}
		if _, err = p.to.Put(ctx, Key(h.Tree), content, version); !errors.Is(err, target.ErrChanged) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("another was faster %d times: %w", contests, target.ErrChanged)
}

// Kept implements [Reader].
func (p *targetPlace) Kept(ctx context.Context, h Head) (*checkpoint.Checkpoint, error) {
	c, note, _, err := p.read(ctx, h)
	if err != nil || note == nil {
		return nil, err
	}
	return &c, nil
}

// Compare implements [Reader].
func (p *targetPlace) Compare(ctx context.Context, h Head) (*checkpoint.Checkpoint, error) {
	c, note, _, err := p.read(ctx, h)
	if err != nil || note == nil {
		return nil, err
	}
	return &c, h.continues(ctx, c, note)
}

// check tries once whether the target keeps to conditions.
func (p *targetPlace) check(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checked {
		return nil
	}
	err := p.to.Check(ctx)
	p.checked = err == nil
	return err
}

// read returns the head that is there; a nil note: none.
func (p *targetPlace) read(ctx context.Context, h Head) (c checkpoint.Checkpoint, note []byte, v target.Version, err error) {
	body, present, err := p.to.Open(ctx, Key(h.Tree))
	if errors.Is(err, target.ErrNone) {
		return c, nil, "", nil
	} else if err != nil {
		return c, nil, "", err
	}
	defer body.Close()
	note, err = io.ReadAll(io.LimitReader(body, checkpoint.MaxNote+1))
	if err != nil {
		return c, nil, "", fmt.Errorf("%w: %w", target.ErrUnavailable, err)
	}
	if c, err = h.Log.Open(note); err != nil {
		// Somebody wrote over it, or it is another installation's. To replace it would be
		// to forget what it may have said.
		return c, nil, "", fmt.Errorf("%s is no head of this log; look whose it is, then move it away: %w", Key(h.Tree), err)
	}
	return c, note, present.Version, nil
}

// witnessPlace is a witness: it keeps what it has cosigned.
type witnessPlace struct {
	client *witness.Client

	mu    sync.Mutex
	known map[tiles.Name]int64
}

// NewWitness returns a place that is a witness (C2SP tlog-witness).
func NewWitness(c *witness.Client) Place {
	return &witnessPlace{client: c, known: map[tiles.Name]int64{}}
}

func (p *witnessPlace) Name() string { return p.client.Witness().Name() }

// Seen implements [Place]. A witness says how far it is when it is asked to go on from
// somewhere else; where it is there already, it signs once more what it has signed.
func (p *witnessPlace) Seen(ctx context.Context, h Head) (int64, error) {
	note, size := h.Note, h.Checkpoint.Size
	if note == nil {
		var err error
		if note, err = h.Empty(); err != nil {
			return 0, err
		}
		size = 0
	}
	_, err := p.client.Add(ctx, h.Log, size, nil, note)
	if conflict, ok := errors.AsType[*witness.ConflictError](err); ok {
		if h.Note == nil {
			// It signs only what was stored here before. So this database had a head once,
			// whatever its tree is now.
			return conflict.Size, fmt.Errorf("log of %s: no head is here, and the witness has one of %d leaves: %w", h.Tree, conflict.Size, ErrAhead)
		}
		return conflict.Size, p.ahead(ctx, h, conflict.Size)
	}
	if err != nil {
		return 0, forked(err)
	}
	return size, nil
}

// Bring implements [Place]. A witness does not tell which tree it has seen, only how
// large it is, and signs nothing that does not begin with it.
func (p *witnessPlace) Bring(ctx context.Context, h Head, least int64) ([]byte, error) {
	p.mu.Lock()
	known := max(p.known[h.Tree], least)
	p.mu.Unlock()
	lines, err := p.client.Submit(ctx, h.Log, known, least, h.Note, func(ctx context.Context, old, size int64) ([]tlog.Hash, error) {
		return h.Proof(ctx, old, size)
	})
	if conflict, ok := errors.AsType[*witness.ConflictError](err); ok {
		if conflict.Size < least {
			return nil, forgot(h.Tree, least, conflict.Size)
		}
		if err := p.ahead(ctx, h, conflict.Size); err != nil {
			return nil, err
		}
		return nil, errAgain // another process was there with a newer head
	}
	if err != nil {
		return nil, forked(err)
	}
	p.mu.Lock()
	p.known[h.Tree] = h.Checkpoint.Size
	p.mu.Unlock()
	return lines, nil
}

// ahead returns an [AheadError] if the tree as it is now is smaller than what was seen of
// it.
func (p *witnessPlace) ahead(ctx context.Context, h Head, seen int64) error {
	size, err := h.Size(ctx)
	if err == nil && seen > size {
		err = &AheadError{Tree: h.Tree, Own: size, Kept: seen}
	}
	return err
}

// forked says in this package's words that a witness has seen another history.
func forked(err error) error {
	if errors.Is(err, witness.ErrInconsistent) {
		return fmt.Errorf("%w: %w", ErrForked, err)
	}
	return err
}

// errAgain says that the own head was old when it was brought.
var errAgain = errors.New("the place has a newer head of this log already")
