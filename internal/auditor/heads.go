package auditor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/approval"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
	"sigill/internal/checkpoint"
)

// errStop ends the look at a log after a finding that leaves nothing to go on with. The
// state is not advanced: who looks again finds it again.
var errStop = errors.New("the log cannot be followed further")

// head fetches the newest checkpoint of a log and holds it against the last one that was
// verified. It returns the tree under it, whose beginning is what was seen before.
func (r *run) head(name Tree) (*source.Reader, book.Head, error) {
	last, err := r.Book.Head(r.ctx, string(name))
	if errors.Is(err, book.ErrNotFound) {
		last = book.Head{Root: checkpoint.EmptyRoot()}
	} else if err != nil {
		return nil, last, err
	}
	note, err := r.Source.Checkpoint(r.ctx, name)
	if err != nil {
		return nil, last, fmt.Errorf("checkpoint of the log of %s: %w", name, err)
	}
	c, seen, err := r.Logs[name].Witnessed(note, r.Witnesses)
	if err != nil {
		return nil, last, r.stop(Finding{Kind: finding.Unsigned, Severity: finding.Critical, Log: name, Index: -1,
			Text: "the newest checkpoint is not signed by the log's key"}, evidence{"checkpoint", note})
	}
	t := source.Under(r.ctx, r.Source, name, c)
	if err := r.grown(t, last, note); err != nil {
		return nil, last, err
	}
	next := book.Head{Size: c.Size, Root: c.Root, At: book.Micro(c.Time), Note: note, Done: last.Done, Witnessed: last.Witnessed, WitnessedAt: last.WitnessedAt}
	if err := r.watched(t, &next, last, note, len(seen)); errors.Is(err, source.ErrTiles) {
		return nil, last, r.stop(untrue(t), evidence{"after", note})
	} else if err != nil {
		return nil, last, err
	}
	if err := r.accept(name, next, last); err != nil {
		return nil, last, err
	}
	return t, next, nil
}

// grown judges whether the tree is the one of before, grown or the same.
func (r *run) grown(t *source.Reader, last book.Head, note []byte) error {
	both := []evidence{{"before", last.Note}, {"after", note}}
	c := t.Head
	if c.Size < last.Size {
		return r.stop(Finding{Kind: finding.RolledBack, Severity: finding.Critical, Log: t.Name, Index: -1,
			Text: fmt.Sprintf("the log had %d entries and shows %d: restored from an older copy, or cut", last.Size, c.Size)}, both...)
	}
	if last.Size == 0 {
		return nil
	}
	root, err := t.Root(last.Size)
	if errors.Is(err, source.ErrTiles) {
		return r.stop(untrue(t), both...)
	} else if err != nil {
		return err
	}
	if root != tlog.Hash(last.Root) {
		return r.stop(Finding{Kind: finding.Forked, Severity: finding.Critical, Log: t.Name, Index: -1,
			Text: fmt.Sprintf("the log of %d entries does not begin with the %d that were seen before: it was written anew, or somebody else is shown another one", c.Size, last.Size)}, both...)
	}
	return nil
}

// untrue is that a log's hashes are not those of its signed head.
func untrue(t *source.Reader) Finding {
	return Finding{Kind: finding.Tiles, Severity: finding.Critical, Log: t.Name, Index: -1,
		Text: fmt.Sprintf("the hashes shown do not lead to the signed root of %d entries", t.Head.Size)}
}

// accept keeps a checkpoint that was verified.
func (r *run) accept(name Tree, next, last book.Head) error {
	if err := r.Book.Update(r.ctx, func(tx *book.Tx) error { return tx.PutHead(string(name), next) }); err != nil {
		return err
	}
	if err := r.Book.SaveNote(string(name), next.Note); err != nil {
		return err
	}
	r.report.Logs = append(r.report.Logs, Seen{Log: name, Size: next.Size, Root: tlog.Hash(next.Root).String(), Time: book.Moment(next.At),
		New: next.Size - last.Done, Witnessed: next.Witnessed})
	if err := r.dated(name, book.Moment(next.At)); err != nil {
		return err
	}
	// What is newest was signed just now, and witnesses are asked after it. What they
	// lag behind is told by the log's own times.
	behind := book.Moment(next.At).Sub(book.Moment(next.WitnessedAt))
	if len(r.Witnesses) == 0 || next.Witnessed == next.Size || behind <= r.Public {
		return nil
	}
	// At the first look nothing is known of what was cosigned before, and the newest head
	// may be that of this auditor's own log-in.
	if last.Size == 0 && next.WitnessedAt == 0 && r.Now().Sub(book.Moment(next.At)) <= r.Public {
		return nil
	}
	text := "no checkpoint with the witnesses' cosignatures was seen"
	if next.WitnessedAt > 0 {
		text = "witnesses have cosigned nothing newer for more than " + r.Public.String()
	}
	return r.Book.Update(r.ctx, func(tx *book.Tx) error {
		return r.find(tx, Finding{Kind: finding.Unwatched, Severity: finding.Warning, Log: name, Index: -1, Text: text})
	})
}

// maxHeadAhead is how far a head's time may be ahead of this auditor's clock.
const maxHeadAhead = 5 * time.Minute

// dated judges the time of a head by this auditor's own clock. All other times are the
// log's: one who is shown the same head again and again would find nothing overdue for
// ever, and a log whose clock is ahead erases what is still to be kept.
func (r *run) dated(name Tree, at time.Time) error {
	f := Finding{Severity: finding.Critical, Log: name, Index: -1}
	switch age := r.Now().Sub(at); {
	case age > r.HeadAge:
		f.Kind, f.Text = finding.Stale, "the newest head shown was signed "+at.UTC().Format(time.RFC3339)+": a log signs anew every hour, so what came since is withheld, or the service is away"
	case age < -maxHeadAhead:
		f.Kind, f.Text = finding.Ahead, "the head is of "+at.UTC().Format(time.RFC3339)+", which is later than this auditor's clock: one of both clocks is wrong, and with the log's all times of its acts"
	default:
		return nil
	}
	return r.Book.Update(r.ctx, func(tx *book.Tx) error { return r.find(tx, f) })
}

// watched notes how far witnesses have seen the log. What they have cosigned must be the
// log that is shown here: a fork that is shown to this auditor is not what they saw.
func (r *run) watched(t *source.Reader, next *book.Head, last book.Head, note []byte, seen int) error {
	if len(r.Witnesses) == 0 {
		return nil
	}
	if seen >= r.Quorum {
		next.Witnessed, next.WitnessedAt = next.Size, next.At
		return nil
	}
	if r.Proof == nil || last.Size == 0 {
		return nil
	}
	leaf, err := t.Leaves(last.Size-1, 1)
	if err != nil {
		return err
	}
	text, err := r.Proof(r.ctx, t.Name, leaf[0], last.Size-1)
	if err != nil {
		return r.ctx.Err() // what is missing is told by the time
	}
	proof, err := checkpoint.ParseProof(text)
	if err != nil {
		return nil
	}
	c, by, err := proof.Verify(r.Logs[t.Name], leaf[0], r.Witnesses)
	if err != nil || len(by) < r.Quorum || c.Size > t.Head.Size || c.Size < next.Witnessed {
		return nil
	}
	root, err := t.Root(c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return r.stop(Finding{Kind: finding.Forked, Severity: finding.Critical, Log: t.Name, Index: -1,
			Text: fmt.Sprintf("witnesses have cosigned another log of %d entries than the one that is shown here", c.Size)},
			evidence{"witnessed", proof.Note}, evidence{"shown", note})
	}
	next.Witnessed, next.WitnessedAt = c.Size, book.Micro(c.Time)
	return nil
}

// evidence is a file that is kept beside a finding.
type evidence struct {
	name string
	text []byte
}

// stop reports a finding after which a log is not followed further.
func (r *run) stop(f Finding, kept ...evidence) error {
	for _, e := range kept {
		path, err := r.Book.SaveEvidence(fmt.Sprintf("%s-%s-%s-%s", r.Now().UTC().Format("20060102T150405.000000"), f.Log, f.Kind, e.name), e.text)
		if err != nil {
			return err
		}
		f.Evidence = append(f.Evidence, path)
	}
	k, err := f.Kept()
	if err != nil {
		return err
	}
	r.report.Stopped = true
	// It is reported at every look, as long as it is so.
	r.report.Findings = append(r.report.Findings, f)
	err = r.Book.Update(r.ctx, func(tx *book.Tx) error {
		_, err := tx.PutFinding(k)
		return err
	})
	return errors.Join(err, errStop)
}

// run is one look.
type run struct {
	*Auditor
	ctx    context.Context
	report *Report
	orders *approval.Judge
	named  map[string]string // issuing CAs and their keys
	rules  *rederive.History
	signed time.Time // when the log of acts was signed
	latest int64     // time of the newest act so far
	leaf   int64     // and of the newest leaf of a certificate
}

// find keeps a finding, and reports it if it was not found before.
func (r *run) find(tx *book.Tx, f Finding) error {
	k, err := f.Kept()
	if err != nil {
		return err
	}
	if len(k.Subject) > maxSubject {
		k.Subject = k.Subject[:maxSubject]
	}
	fresh, err := tx.PutFinding(k)
	if fresh {
		r.report.Findings = append(r.report.Findings, f)
	}
	return err
}

const maxSubject = 2048
