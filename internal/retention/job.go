package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigill/internal/audit"
)

// What is erased, as acts and reports name it.
const (
	Access       = string(audit.Access)
	Records      = string(audit.Records)
	Cards        = "cards"
	Certificates = "certificates"
	Statements   = "statements"
)

const (
	defaultPage = 500
	defaultMost = 1_000_000
	// cardPage is smaller: a card has many rows.
	cardPage = 20
	// maxConflicts bounds how often a page begins anew.
	maxConflicts = 8
)

// Job erases what is due. It is made of small transactions: one that is cut off
// leaves whole pages done and the next run goes on after them. Several at once on one
// database do no harm. The fields are not changed after the first use.
type Job struct {
	Store Store
	Now   func() time.Time
	// NewID draws the id of an event.
	NewID func() string
	// By is who erases, for the events: "system", or who asked for it by hand.
	By string
	// Page is how many events one transaction reads; 0: 500.
	Page int
	// Most bounds what one run erases of each kind; 0: a million. What is left is for
	// the next run.
	Most int64
}

// Line tells of one kind.
type Line struct {
	What string `json:"what"`
	// Through: older than this, or expired before it, is due.
	Through time.Time `json:"through"`
	// Count were erased, or would be.
	Count int64 `json:"count"`
	// Left are due and stay: certificates with which something was signed that is
	// kept, and events whose body is not the one that was chained.
	Left int64 `json:"left,omitempty"`
	// More: the run's bound was reached.
	More bool `json:"more,omitempty"`
}

// Report is what a run did.
type Report []Line

// Count is how much was erased in all.
func (r Report) Count() (n int64) {
	for _, l := range r {
		n += l.Count
	}
	return n
}

// Run erases what is due. After an error the report tells what was done before it.
func (j *Job) Run(ctx context.Context) (Report, error) { return j.run(ctx, false) }

// DryRun reports what Run would erase, and changes nothing. It does not see what
// becomes due by other erasures: certificates that are kept for statements that Run
// would erase before them are told as left.
func (j *Job) DryRun(ctx context.Context) (Report, error) { return j.run(ctx, true) }

func (j *Job) run(ctx context.Context, dry bool) (Report, error) {
	r := &run{Job: j, dry: dry, now: j.Now().UTC().Truncate(time.Microsecond)}
	var out Report
	for _, step := range []func(context.Context) ([]Line, error){r.access, r.records, r.statements, r.cards} {
		lines, err := step(ctx)
		out = append(out, lines...)
		if err != nil {
			return out, fmt.Errorf("retention: %w", err)
		}
	}
	return out, nil
}

// run is one run of a job.
type run struct {
	*Job
	dry bool
	now time.Time
}

func (r *run) page() int {
	if r.Page > 0 {
		return r.Page
	}
	return defaultPage
}

func (r *run) most() int64 {
	if r.Most > 0 {
		return r.Most
	}
	return defaultMost
}

func (r *run) access(ctx context.Context) ([]Line, error) {
	return r.acts(ctx, audit.Access, audit.AccessThrough(r.now))
}

func (r *run) records(ctx context.Context) ([]Line, error) {
	return r.acts(ctx, audit.Records, audit.RecordsThrough(r.now))
}

// acts erases what is kept of the events of a class, in the order of their numbers,
// from where the last run came to up to the first one that is not due yet: none is
// ever passed over because clocks disagreed when it was told.
func (r *run) acts(ctx context.Context, class audit.Class, through time.Time) ([]Line, error) {
	line := Line{What: string(class), Through: through}
	var after int64
	conflicts := 0
	err := r.Store.View(ctx, func(tx *Tx) (err error) {
		after, err = tx.Reached(line.What)
		return err
	})
	for err == nil && line.Count < r.most() {
		var d due
		if d, err = r.readDue(ctx, class, through, after); err != nil {
			break
		}
		if len(d.links) > 0 && !r.dry {
			err = r.Store.Update(ctx, func(tx *Tx) error {
				if err := tx.EraseEvents(d.links, class == audit.Access); err != nil {
					return err
				}
				return r.tell(tx, audit.Erasure{What: line.What, Through: through, From: d.links[0].Number,
					To: d.links[len(d.links)-1].Number, Count: int64(len(d.links))})
			})
			if errors.Is(err, ErrConflict) && conflicts < maxConflicts { // read again what another has left
				conflicts, err = conflicts+1, nil
				continue
			}
			if err != nil {
				break
			}
		}
		line.Count, line.Left, after = line.Count+int64(len(d.links)), line.Left+d.damaged, d.last
		if d.end {
			return []Line{line}, nil
		}
	}
	line.More = err == nil
	return []Line{line}, err
}

// due is what one page has of a class.
type due struct {
	links   []audit.Link
	damaged int64
	last    int64 // read up to this number
	end     bool  // nothing after it is due
}

func (r *run) readDue(ctx context.Context, class audit.Class, through time.Time, after int64) (d due, err error) {
	err = r.Store.View(ctx, func(tx *Tx) error {
		d = due{last: after}
		records, links, err := tx.Linked(after, r.page())
		if err != nil {
			return err
		}
		d.end = len(links) < r.page()
		for i, rec := range records {
			// An act covers nothing that comes after what is newer than itself, of whatever
			// class: that alone tells a reader that what is gone was old.
			old := rec.At.Before(through) || audit.ClassOf(rec.Act) != class && !audit.NotBefore(rec.At).After(through)
			if !old && len(rec.Body) > 0 {
				d.end = true
				return nil
			}
			d.last = links[i].Number
			switch judge(rec, links[i], class) {
			case toErase:
				d.links = append(d.links, links[i])
			case damaged:
				d.damaged++
			}
		}
		return nil
	})
	return d, err
}

type verdict int

const (
	notDue verdict = iota
	toErase
	damaged
)

// judge decides about an event that is old enough. What a column says of it is
// believed only as far as the body that was chained says the same: who changes the
// act of an event in the database must not have it erased by us.
func judge(rec audit.Record, link audit.Link, class audit.Class) verdict {
	if audit.ClassOf(rec.Act) != class {
		return notDue
	}
	if len(rec.Body) == 0 && rec.Leaf == link.Leaf { // erased before
		if len(rec.Personal) > 0 {
			return damaged
		}
		return notDue
	}
	if class == audit.Records && len(rec.Personal) == 0 {
		return notDue
	}
	body, err := audit.ParseBody(rec.Body)
	if err != nil || audit.LeafHash(rec.Body) != link.Leaf || body.Act != rec.Act || !body.At.Equal(rec.At) {
		return damaged
	}
	return toErase
}

func (r *run) statements(ctx context.Context) ([]Line, error) {
	line := Line{What: Statements, Through: audit.RecordsThrough(r.now)}
	if r.dry {
		err := r.Store.View(ctx, func(tx *Tx) (err error) {
			line.Count, err = tx.StatementsDue(line.Through)
			return err
		})
		return []Line{line}, err
	}
	for line.Count < r.most() {
		var n int64
		err := r.Store.Update(ctx, func(tx *Tx) (err error) {
			if n, err = tx.EraseStatements(line.Through, r.page()); err != nil || n == 0 {
				return err
			}
			return r.tell(tx, audit.Erasure{What: Statements, Through: line.Through, Count: n})
		})
		line.Count += n
		if err != nil || n == 0 {
			return []Line{line}, err
		}
	}
	line.More = true
	return []Line{line}, nil
}

// cards erases what belongs to cards, a few cards a transaction. A certificate is
// erased with its card and not by its own time: each eID on a card rests on the one
// before it, with which it was fetched, and on the orders of both.
//
// An administrator's certificate stays as long as something that was signed with it, so
// that cards are gone through again as long as that lets another one go.
func (r *run) cards(ctx context.Context) ([]Line, error) {
	through := audit.ExpiredThrough(r.now)
	lines := []Line{{What: Cards, Through: through}, {What: Certificates, Through: through}}
	for {
		more, err := r.allCards(ctx, &lines[0], &lines[1])
		if err != nil || !more {
			return lines, err
		}
	}
}

// allCards goes once through the cards that are due and reports whether it is worth
// doing again.
func (r *run) allCards(ctx context.Context, cards, certificates *Line) (bool, error) {
	before := cards.Count
	certificates.Left = 0
	var last Card
	for cards.Count < r.most() {
		var page []Card
		err := r.Store.View(ctx, func(tx *Tx) (err error) {
			page, err = tx.CardsDue(cards.Through, last, cardPage)
			return err
		})
		if err != nil || len(page) == 0 {
			return cards.Count > before && certificates.Left > 0 && !r.dry, err
		}
		last = page[len(page)-1]
		if r.dry {
			cards.Count += int64(len(page))
			continue
		}
		sum, erased, err := r.erase(ctx, page, cards.Through)
		if err != nil {
			return false, err
		}
		cards.Count += erased
		certificates.Count, certificates.Left = certificates.Count+sum.Certificates, certificates.Left+sum.Left
	}
	cards.More = true
	return false, nil
}

// erase erases a page of cards and returns what, and from how many cards.
func (r *run) erase(ctx context.Context, page []Card, through time.Time) (sum Erased, cards int64, err error) {
	err = r.Store.Update(ctx, func(tx *Tx) error {
		sum, cards = Erased{}, 0
		for _, c := range page {
			e, err := tx.EraseCard(c.Number, r.now)
			if errors.Is(err, ErrConflict) {
				continue // another was first
			} else if err != nil {
				return err
			}
			if e.Rows > 0 {
				cards++
			}
			sum.add(e)
		}
		if cards == 0 {
			return nil
		}
		if err := r.tell(tx, audit.Erasure{What: Cards, Through: through, Count: cards}); err != nil || sum.Certificates == 0 {
			return err
		}
		said := audit.Erasure{What: Certificates, Through: through, Count: sum.Certificates}
		if sum.Numbered > 0 { // those without number are in no log that anybody compares with this
			said.From, said.To, said.Count = sum.From, sum.To, sum.Numbered
		}
		return r.tell(tx, said)
	})
	return sum, cards, err
}

func (e *Erased) add(o Erased) {
	if o.To > 0 && (e.To == 0 || o.From < e.From) {
		e.From = o.From
	}
	e.To = max(e.To, o.To)
	e.Rows, e.Certificates, e.Numbered, e.Left = e.Rows+o.Rows, e.Certificates+o.Certificates, e.Numbered+o.Numbered, e.Left+o.Left
}

// tell appends the act of an erasure in its transaction.
func (r *run) tell(tx *Tx, e audit.Erasure) error {
	id := r.NewID()
	if err := tx.Events.Append(audit.Event{ID: id, At: r.now, Act: audit.RetentionErased, By: r.By, Public: e.Fields()}); err != nil {
		return err
	}
	return tx.NoteErasure(id, e)
}
