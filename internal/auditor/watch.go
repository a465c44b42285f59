package auditor

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/checkpoint"
)

// Watch looks at the checkpoints that everybody is shown, which fetch returns. Each must
// be signed, no smaller than the last one, another tree only if it is larger, and the log
// that this auditor has followed, as far as he has. It needs no right to read the logs,
// and cannot see whether what is larger has grown from what was.
func (a *Auditor) Watch(ctx context.Context, fetch func(context.Context, Tree) ([]byte, error)) (*Report, error) {
	r := a.run(ctx)
	for _, name := range []Tree{Certificates, Acts} {
		if err := r.watch(name, fetch); err != nil && !errors.Is(err, errStop) {
			return r.report, err
		}
	}
	return r.report, nil
}

// PublicHead is what the book calls the last public checkpoint of a tree.
func PublicHead(name Tree) string { return "public " + string(name) }

func (r *run) watch(name Tree, fetch func(context.Context, Tree) ([]byte, error)) error {
	note, err := fetch(r.ctx, name)
	if err != nil {
		return fmt.Errorf("public checkpoint of the log of %s: %w", name, err)
	}
	c, seen, err := r.Logs[name].Witnessed(note, r.Witnesses)
	if err != nil {
		return r.stop(Finding{Kind: finding.Unsigned, Severity: finding.Critical, Log: name, Index: book.None, Text: "the public checkpoint is not signed by the log's key"}, evidence{"checkpoint", note})
	}
	last, err := r.Book.Head(r.ctx, PublicHead(name))
	if err != nil && !errors.Is(err, book.ErrNotFound) {
		return err
	}
	both := []evidence{{"before", last.Note}, {"after", note}}
	switch {
	case c.Size < last.Size:
		return r.stop(Finding{Kind: finding.RolledBack, Severity: finding.Critical, Log: name, Index: book.None,
			Text: fmt.Sprintf("the public checkpoint was of %d entries and is of %d", last.Size, c.Size)}, both...)
	case c.Size == last.Size && last.Size > 0 && c.Root != tlog.Hash(last.Root):
		return r.stop(Finding{Kind: finding.Forked, Severity: finding.Critical, Log: name, Index: book.None,
			Text: fmt.Sprintf("two public checkpoints of %d entries have other roots", c.Size)}, both...)
	}
	if err := r.followed(name, c, note); err != nil {
		return err
	}
	if err := r.dated(name, c.Time); err != nil {
		return err
	}
	next := book.Head{Size: c.Size, Root: c.Root, At: book.Micro(c.Time), Note: note, Witnessed: last.Witnessed, WitnessedAt: last.WitnessedAt}
	if len(r.Witnesses) > 0 && len(seen) >= r.Quorum {
		next.Witnessed, next.WitnessedAt = c.Size, book.Micro(c.Time)
	}
	r.report.Logs = append(r.report.Logs, Seen{Log: name, Size: c.Size, Root: c.Root.String(), Time: c.Time, New: c.Size - last.Size, Witnessed: next.Witnessed, Public: true})
	return r.Book.Update(r.ctx, func(tx *book.Tx) error { return tx.PutHead(PublicHead(name), next) })
}

// followed holds a public checkpoint against the leaves that this auditor has seen.
func (r *run) followed(name Tree, c checkpoint.Checkpoint, note []byte) error {
	own, err := r.Book.Head(r.ctx, string(name))
	if errors.Is(err, book.ErrNotFound) || err == nil && own.Done < c.Size {
		return nil // the next look at the log will come so far
	} else if err != nil {
		return err
	}
	root, err := r.Book.Root(r.ctx, string(name), c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return r.stop(Finding{Kind: finding.Forked, Severity: finding.Critical, Log: name, Index: book.None,
			Text: fmt.Sprintf("the public is shown another log of %d entries than this auditor", c.Size)}, evidence{"public", note}, evidence{"followed", own.Note})
	}
	return nil
}
