package audit

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// verifyPage is how many rows are read in one snapshot, so that no reader holds
// the database for long. The chain only grows: pages read one after the other
// fit together.
const verifyPage = 500

// Kind says what is wrong.
type Kind string

const (
	// Missing: numbers are left out, or a link's event is gone.
	Missing Kind = "missing"
	// Changed: an event's body is not the one that was chained, or a column
	// that queries read differs from the body.
	Changed Kind = "changed"
	// Broken: a link does not follow from the one before it: a row was
	// inserted, moved, taken away or chained anew here.
	Broken Kind = "broken"
	// PersonalChanged: a personal value or its salt is not the one committed to.
	PersonalChanged Kind = "personal-changed"
	// Malformed: the body is chained but no event of this system.
	Malformed Kind = "malformed"
	// Cut: the chain ends before a head that was kept elsewhere.
	Cut Kind = "cut"
	// Erased: an event's body is gone, and no act of retention covers it, or one that
	// erased before its time, or that says it erased only what was older than what
	// stands before it.
	Erased Kind = "erased"
	// Forked: the chain has another hash at the number of a head kept elsewhere.
	Forked Kind = "forked"
)

// Finding is one thing that Verify found wrong.
type Finding struct {
	Kind   Kind
	Number int64  // where; 0 if it has no place
	Event  string // empty if unknown
	Detail string // in English, without personal data
}

func (f Finding) String() string {
	return fmt.Sprintf("%s at %d %s: %s", f.Kind, f.Number, f.Event, f.Detail)
}

// Summary is what Verify walked over.
type Summary struct {
	Head       Head  // last link of the walk; At is zero
	Links      int64 // links read
	Findings   int64
	Personal   int64 // personal values that agree with their commitments
	Erased     int64 // commitments whose value is gone
	Bodies     int64 // events whose body retention erased
	Unnumbered int   // events not yet chained, counted up to one page
	// Proven is the highest number whose hash is that of a head kept elsewhere;
	// 0 if there is none.
	Proven int64
}

// Unproven says in sentences what this walk cannot prove, whatever it found.
func (s Summary) Unproven() []string {
	var out []string
	if s.Proven == 0 {
		out = append(out, "no head kept elsewhere was compared: rows cut off the end cannot be noticed, nor a chain that was written anew from any row on")
	} else if s.Proven < s.Head.Number {
		out = append(out, fmt.Sprintf("rows %d to %d are newer than every head kept elsewhere: they could have been written anew, and rows after them cut off, without notice",
			s.Proven+1, s.Head.Number))
	} else {
		out = append(out, fmt.Sprintf("rows after %d, newer than every head kept elsewhere, could have been cut off without notice", s.Proven))
	}
	if s.Unnumbered > 0 {
		out = append(out, fmt.Sprintf("%d or more events are not numbered yet: the chain says nothing about them", s.Unnumbered))
	}
	if s.Bodies > 0 {
		out = append(out, fmt.Sprintf("%d events of the class %s are erased: what they said cannot be told any more", s.Bodies, Access))
	}
	if s.Erased > 0 {
		out = append(out, fmt.Sprintf("%d personal values are erased: what they were cannot be told, nor whether retention or somebody else erased them", s.Erased))
	}
	return out
}

// Verify walks the whole chain and calls report for everything that is wrong.
// Every row is judged against its predecessor as stored, so that one tampered
// row is one or two findings and not all that follow it.
//
// Heads kept elsewhere are compared with the chain: without one, who can write
// the database can also write a new chain, and nothing here would notice
// ([Summary.Unproven] says so). The error tells that the walk could not be made
// to its end; findings are no error.
func Verify(ctx context.Context, store Store, kept []Head, report func(Finding)) (Summary, error) {
	kept = slices.Clone(kept)
	slices.SortFunc(kept, func(a, b Head) int { return int(min(max(a.Number-b.Number, -1), 1)) })
	w := &walk{kept: kept, report: report}
	var head Link
	err := store.View(ctx, func(tx *Tx) (err error) {
		head, err = headOrNone(tx) // before the pages: the chain grows meanwhile
		return err
	})
	if err != nil {
		return w.sum, fmt.Errorf("verifying the chain: %w", err)
	}
	// From below zero, not from 0: a row hidden under number 0 is a finding too.
	for after := int64(math.MinInt64); ; after = w.last.Number {
		p, err := readPage(ctx, store, after)
		if err != nil {
			return w.sum, fmt.Errorf("verifying the chain after number %d: %w", w.last.Number, err)
		}
		for i := range p.links {
			w.step(p.links[i], p.recs[i])
		}
		if len(p.links) == 0 {
			w.finish(head, p.unnumbered)
			return w.sum, nil
		}
	}
}

// page is one snapshot: a page of the chain, or, where it has ended, the events that
// are not numbered yet. They are read in the snapshot that shows the end: what is
// numbered between two snapshots would be in neither.
type page struct {
	recs       []Record
	links      []Link
	unnumbered []Record
}

// readPage reads one page and holds the store to its contract, so that a broken
// store is an error and not an endless walk.
func readPage(ctx context.Context, store Store, after int64) (p page, err error) {
	err = store.View(ctx, func(tx *Tx) (err error) {
		p = page{}
		if p.recs, p.links, err = tx.Linked(after, verifyPage); err != nil || len(p.links) > 0 {
			return err
		}
		p.unnumbered, err = tx.Unnumbered(verifyPage)
		return err
	})
	if err != nil {
		return p, err
	}
	if len(p.recs) != len(p.links) {
		return p, fmt.Errorf("the store returned %d events for %d links", len(p.recs), len(p.links))
	}
	for _, l := range p.links {
		if l.Number <= after {
			return p, fmt.Errorf("the store returned number %d, which does not follow %d", l.Number, after)
		}
		after = l.Number
	}
	return p, nil
}

// walk is the state of one verification.
type walk struct {
	kept   []Head // not yet reached, by number
	report func(Finding)
	last   Link
	sum    Summary
	erased Coverage
	// latest is the newest time that a chained body told so far.
	latest time.Time
}

func (w *walk) find(kind Kind, number int64, event, format string, args ...any) {
	w.sum.Findings++
	if w.report != nil {
		w.report(Finding{Kind: kind, Number: number, Event: event, Detail: fmt.Sprintf(format, args...)})
	}
}

func (w *walk) step(link Link, rec Record) {
	w.sum.Links++
	switch {
	case link.Number < 1:
		w.find(Broken, link.Number, link.Event, "numbers begin at 1")
		w.last = Link{Number: min(link.Number, 0)} // link 1 follows no row but the zero hash
		w.event(link, rec)
		return
	case link.Number > max(w.last.Number, 0)+1:
		w.find(Missing, max(w.last.Number, 0)+1, "", "numbers %d to %d are not there", max(w.last.Number, 0)+1, link.Number-1)
		// Its predecessor's hash is gone with the predecessor: not judged.
	case link.Hash != chainHash(link.Number, w.last.Hash, link.Leaf):
		w.find(Broken, link.Number, link.Event, "its hash does not follow from the link before it")
	}
	w.last = link
	w.event(link, rec)
	w.compare(link)
}

// event judges an event against its link.
func (w *walk) event(link Link, rec Record) {
	if rec.ID == "" {
		w.find(Missing, link.Number, link.Event, "the link's event is not there")
		return
	}
	if rec.ID != link.Event {
		w.find(Changed, link.Number, link.Event, "the link names another event than the row %s", rec.ID)
	}
	if len(rec.Body) == 0 && rec.Leaf == link.Leaf {
		w.gone(link, rec)
		return
	}
	if LeafHash(rec.Body) != link.Leaf {
		w.find(Changed, link.Number, link.Event, "the event's body is not the one that was chained")
		return // what the changed body says proves nothing more
	}
	body, err := ParseBody(rec.Body)
	if err != nil {
		w.find(Malformed, link.Number, link.Event, "%v", err)
		return
	}
	for _, c := range []struct {
		column string
		same   bool
	}{
		{"id", rec.ID == body.ID}, {"at", rec.At.Equal(body.At)}, {"act", rec.Act == body.Act},
		{"by", rec.By == body.By}, {"leaf", rec.Leaf == link.Leaf},
	} {
		if !c.same {
			w.find(Changed, link.Number, link.Event, "column %s differs from the event's body", c.column)
		}
	}
	if body.At.After(w.latest) {
		w.latest = body.At
	}
	w.personal(link, body, rec.Personal)
	w.covers(body, link)
}

// gone judges an event without its body: retention has taken it, of a class whose
// bodies it takes, with all values, and says so in an act of its own.
func (w *walk) gone(link Link, rec Record) {
	switch {
	case ClassOf(rec.Act) != Access:
		w.find(Erased, link.Number, link.Event, "the body of %s is gone, which is kept as long as the log", rec.Act)
	case len(rec.Personal) > 0:
		w.find(PersonalChanged, link.Number, link.Event, "the body is gone and personal values are there")
	}
	w.sum.Bodies++
	w.erased.Found(link.Number, NotBefore(w.latest))
}

// covers notes what an act says that it erased.
func (w *walk) covers(body *Body, link Link) {
	if body.Act != RetentionErased {
		return
	}
	e, err := ErasureOf(body)
	if err != nil {
		w.find(Erased, link.Number, link.Event, "%v", err)
		return
	}
	if e.What == string(Access) {
		w.erased.Act(e)
	}
}

// personal judges the values that are still kept. A value that is gone is no
// finding: retention erases them.
func (w *walk) personal(link Link, body *Body, kept []PersonalField) {
	seen := make(map[string]bool, len(kept))
	for _, p := range kept {
		i := slices.IndexFunc(body.Commitments, func(c Commitment) bool { return c.Name == p.Name })
		switch {
		case i < 0:
			w.find(PersonalChanged, link.Number, link.Event, "the personal field %q was never committed to", p.Name)
		case seen[p.Name]:
			w.find(PersonalChanged, link.Number, link.Event, "the personal field %s is there twice", p.Name)
		case Commit(p) != body.Commitments[i].HMAC:
			w.find(PersonalChanged, link.Number, link.Event, "the value of %s or its salt is not the one committed to", p.Name)
		default:
			w.sum.Personal++
		}
		seen[p.Name] = true
	}
	for _, c := range body.Commitments {
		if !seen[c.Name] {
			w.sum.Erased++
		}
	}
}

// compare holds the chain against the heads kept elsewhere as it reaches them.
func (w *walk) compare(link Link) {
	for len(w.kept) > 0 && w.kept[0].Number <= link.Number {
		head := w.kept[0]
		w.kept = w.kept[1:]
		switch {
		case head.Number == 0: // the empty chain: everything begins with it
		case head.Number < link.Number: // its number is in a gap, found as missing
			w.find(Missing, head.Number, "", "a head kept elsewhere names this number, which is not there")
		case head.Hash != link.Hash:
			w.find(Forked, head.Number, link.Event, "a head kept elsewhere has another hash: this chain was written anew, or is another one")
		default:
			w.sum.Proven = head.Number
		}
	}
}

// finish judges the end: head is what the store called the head before the walk,
// unnumbered are the events that have no number yet.
func (w *walk) finish(head Link, unnumbered []Record) {
	w.sum.Unnumbered = len(unnumbered)
	for _, rec := range unnumbered { // what was erased just now is told by an act that waits for its number
		if body, err := ParseBody(rec.Body); err == nil && LeafHash(rec.Body) == rec.Leaf {
			w.covers(body, Link{Event: rec.ID})
		}
	}
	w.erased.Uncovered(func(from, to int64) {
		w.find(Erased, from, "", "bodies from %d to %d are gone, and no act of retention covers them all", from, to)
	})
	w.sum.Head = Head{Number: max(w.last.Number, 0), Hash: w.last.Hash}
	if head.Number > w.last.Number {
		w.find(Missing, head.Number, head.Event, "the store names this head, but the rows after %d cannot be read", w.sum.Head.Number)
	}
	for _, k := range w.kept {
		if k.Number > 0 {
			w.find(Cut, k.Number, "", "a head kept elsewhere names this number, but the chain ends at %d: restored from an older copy, or cut", w.sum.Head.Number)
		}
	}
}
