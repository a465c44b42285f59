package auditor

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"sigill/internal/audit"
	"sigill/internal/auditor/approval"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
)

// Follow looks at both logs once, from where the last look ended. The error is that it
// could not be done; whatever is wrong with the logs is in the report, which comes
// beside an error too.
func (a *Auditor) Follow(ctx context.Context) (*Report, error) {
	r := a.run(ctx)
	err := r.look()
	if errors.Is(err, errStop) {
		err = nil
	}
	return r.report, err
}

func (a *Auditor) run(ctx context.Context) *run {
	return &run{Auditor: a, ctx: ctx, report: &Report{Logs: []Seen{}, Findings: []Finding{}}, orders: approval.New(a.Source, a.Book, a.Issuers, a.Logs[Certificates]),
		named: map[string]string{}, rules: rederive.NewHistory(a.Profiles)}
}

// look follows the acts before the certificates, up to a head that is signed after that
// of the certificates: what a certificate rests on is told before it.
func (r *run) look() error {
	certificates, certHead, err := r.head(Certificates)
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	stopped := err
	acts, actHead, err := r.head(Acts)
	if err != nil {
		return errors.Join(stopped, err)
	}
	if stopped != nil {
		return stopped
	}
	if err := r.remember(); err != nil {
		return err
	}
	r.signed = book.Moment(actHead.At)
	if err := r.followActs(acts, actHead); err != nil {
		return fmt.Errorf("log of acts: %w", err)
	}
	if err := r.followCertificates(certificates, certHead); err != nil {
		return fmt.Errorf("log of certificates: %w", err)
	}
	if err := r.settle(certificates); err != nil {
		return err
	}
	return r.public()
}

// remember takes up what earlier looks left.
func (r *run) remember() error {
	return r.Book.View(r.ctx, func(tx *book.Tx) error {
		all, err := tx.Documents()
		if err != nil {
			return err
		}
		for _, d := range all {
			r.rules.Add(book.Moment(d.At), d.Text)
		}
		for name, latest := range map[string]*int64{"acts.latest": &r.latest, "certificates.latest": &r.leaf} {
			text, err := tx.Meta(name)
			if err == nil && text != "" {
				_, err = fmt.Sscan(text, latest)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// chunk is as many entries of a log as one tile has, or the last ones.
type chunk[T any] struct {
	n       int64 // of the tile
	entries []T
	fault   []error // ErrErased or ErrUnshown, where there is no entry
}

func (c *chunk[T]) first() int64 { return c.n * source.Across }

// ahead is how many chunks are fetched while others are judged.
const ahead = 4

// chunks fetches the chunks of a log that hold entries from done to size, several at
// once, and hands them on in order.
func chunks[T any](ctx context.Context, done, size int64, fetch func(ctx context.Context, n int64, width int) (*chunk[T], error), use func(*chunk[T]) error) error {
	if done >= size {
		return nil
	}
	type promise struct {
		c    *chunk[T]
		err  error
		done chan struct{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan *promise, ahead)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(queue)
		for n := done / source.Across; n*source.Across < size; n++ {
			p := &promise{done: make(chan struct{})}
			select {
			case queue <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
			group.Go(func() error {
				defer close(p.done)
				p.c, p.err = fetch(ctx, n, int(min(source.Across, size-n*source.Across)))
				return nil
			})
		}
		return nil
	})
	err := func() error {
		for p := range queue {
			<-p.done
			if p.err != nil {
				return p.err
			}
			if err := use(p.c); err != nil {
				return err
			}
		}
		return nil
	}()
	cancel()
	if waited := group.Wait(); err == nil && waited != nil && !errors.Is(waited, context.Canceled) {
		err = waited
	}
	return err
}

// followActs takes the acts from the last look on into the book.
func (r *run) followActs(t *source.Reader, head book.Head) error {
	const together = 16 // chunks in one transaction
	var group []*chunk[[]byte]
	flush := func() error {
		if len(group) == 0 {
			return nil
		}
		err := r.takeActs(t, head, group)
		group = nil
		return err
	}
	err := chunks(r.ctx, head.Done, head.Size, r.fetchActs, func(c *chunk[[]byte]) error {
		if group = append(group, c); len(group) < together {
			return nil
		}
		r.Progress("acts", c.first(), head.Size)
		return flush()
	})
	return errors.Join(err, flush())
}

// fetchActs fetches a bundle. Where the log does not show all of it, what it shows
// before the first act that is missing.
func (r *run) fetchActs(ctx context.Context, n int64, width int) (*chunk[[]byte], error) {
	c := &chunk[[]byte]{n: n, entries: make([][]byte, width), fault: make([]error, width)}
	bodies, err := r.Source.Acts(ctx, n, width)
	low := 0 // the largest width that is shown
	for high := width; errors.Is(err, ErrUnshown) && high-low > 1; {
		half := (low + high) / 2
		part, fault := r.Source.Acts(ctx, n, half)
		switch {
		case fault == nil:
			low, bodies = half, part
		case errors.Is(fault, ErrUnshown):
			high = half
		default:
			return nil, fault
		}
	}
	if err != nil && !errors.Is(err, ErrUnshown) {
		return nil, err
	}
	for i := range c.entries {
		switch {
		case i >= len(bodies):
			c.fault[i] = ErrUnshown
		case len(bodies[i]) == 0:
			c.fault[i] = ErrErased
		default:
			c.entries[i] = bodies[i]
		}
	}
	return c, nil
}

// takeActs judges chunks in one transaction.
func (r *run) takeActs(t *source.Reader, head book.Head, group []*chunk[[]byte]) error {
	last := group[len(group)-1]
	done := last.first() + int64(len(last.entries))
	kept := make([][]tlog.Hash, len(group))
	err := r.Book.Update(r.ctx, func(tx *book.Tx) error {
		for i, c := range group {
			hash := func(body []byte) tlog.Hash { return tlog.Hash(audit.LeafHash(body)) }
			is, err := authenticate(r, tx, t, c, head.Done, hash)
			if err != nil {
				return err
			}
			kept[i] = is
			if err := r.takeBodies(tx, c, head.Done); err != nil {
				return err
			}
		}
		if err := tx.PutMeta("acts.latest", fmt.Sprint(r.latest)); err != nil {
			return err
		}
		// The hashes are durable before the transaction that says that they are.
		for i, c := range group {
			if err := r.Book.PutHashes(string(Acts), c.first(), kept[i]); err != nil {
				return err
			}
		}
		return errors.Join(r.Book.SyncHashes(string(Acts)), tx.Done(string(Acts), done))
	})
	return err
}

func (r *run) takeBodies(tx *book.Tx, c *chunk[[]byte], done int64) error {
	for i, body := range c.entries {
		index := c.first() + int64(i)
		if index >= done && errors.Is(c.fault[i], ErrErased) {
			if err := r.gone(tx, Acts, index, r.latest); err != nil {
				return err
			}
		}
		if index < done || c.fault[i] != nil {
			continue
		}
		a, err := parseAct(index, body)
		if err != nil {
			if err := r.find(tx, Finding{Kind: finding.EntryMalformed, Severity: finding.Critical, Log: Acts, Index: index, Text: "it is no event in canonical form"}); err != nil {
				return err
			}
			continue
		}
		if err := r.act(tx, a); err != nil {
			return fmt.Errorf("act %d: %w", index, err)
		}
	}
	return nil
}

// authenticate holds a chunk against the tree and returns its hashes as they were
// signed. What is shown otherwise is reported and taken out of the chunk.
func authenticate[T any](r *run, tx *book.Tx, t *source.Reader, c *chunk[T], done int64, hash func(T) tlog.Hash) ([]tlog.Hash, error) {
	hashes, known := make([]tlog.Hash, len(c.entries)), make([]bool, len(c.entries))
	for i := range c.entries {
		if known[i] = c.fault[i] == nil; known[i] {
			hashes[i] = hash(c.entries[i])
		}
	}
	is, differ, err := t.Compare(c.n, hashes, known)
	if errors.Is(err, source.ErrTiles) {
		return nil, errors.Join(r.find(tx, Finding{Kind: finding.Tiles, Severity: finding.Critical, Log: t.Name, Index: c.first(),
			Text: "the hashes shown do not lead to the signed root"}), err)
	} else if err != nil {
		return nil, err
	}
	place := map[tlog.Hash]int{}
	for i, h := range is {
		place[h] = i
	}
	for _, i := range differ {
		f := Finding{Kind: finding.EntryChanged, Severity: finding.Critical, Log: t.Name, Index: c.first() + int64(i), Text: "what is shown is not what was signed"}
		if from, ok := place[hashes[i]]; ok {
			f.Kind, f.Text = finding.EntryReordered, fmt.Sprintf("what is shown was signed as entry %d", c.first()+int64(from))
		}
		c.fault[i] = ErrUnshown
		if err := r.find(tx, f); err != nil {
			return nil, err
		}
	}
	return is, absent(r, tx, t.Name, c, done, differ)
}

// absent reports what a chunk does not show.
func absent[T any](r *run, tx *book.Tx, name Tree, c *chunk[T], done int64, told []int) error {
	reported := false
	for i, fault := range c.fault {
		index := c.first() + int64(i)
		switch {
		case index < done || contains(told, i):
		case errors.Is(fault, ErrUnshown) && !reported:
			// For a bundle the first that is missing hides what follows.
			reported = name == Acts
			rest := 0
			for _, f := range c.fault[i+1:] {
				if errors.Is(f, ErrUnshown) && name == Acts {
					rest++
				}
			}
			text := "the log does not show it: its row was deleted, or changed and held back"
			if rest > 0 {
				text += fmt.Sprintf("; %d entries after it cannot be read for that", rest)
			}
			if err := r.find(tx, Finding{Kind: finding.EntryUnshown, Severity: finding.Critical, Log: name, Index: index, Text: text}); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone opens that an act of retention must cover an erased entry. Its time is erased with
// it: what is left to know is that it comes after entries of latest, so that who empties
// what was done yesterday cannot say that it was due.
func (r *run) gone(tx *book.Tx, name Tree, index, latest int64) error {
	var after int64
	if latest > 0 {
		after = book.Micro(audit.NotBefore(book.Moment(latest)))
	}
	return tx.Open(book.Thing{Kind: book.WantErasure, ID: fmt.Sprintf("%s/%015d", name, index), Number: index, At: book.Micro(r.Now()),
		Note: fmt.Sprint(name, " ", after)})
}

func contains(list []int, n int) bool {
	for _, i := range list {
		if i == n {
			return true
		}
	}
	return false
}
