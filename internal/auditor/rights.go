package auditor

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sigill/internal/auditor/approval"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
)

// right opens that what an act gave must be proved: the certificates of who signed may
// not have been read yet.
func (r *run) right(tx *book.Tx, a *act) error {
	note, err := json.Marshal(approval.Right{Act: a.Act, Number: a.index, At: a.at(), Fields: a.fields})
	if err != nil {
		return err
	}
	return tx.Open(book.Thing{Kind: book.WantRight, ID: fmt.Sprintf("%015d", a.index), Number: a.index, At: a.at(), Note: string(note)})
}

// actFounded keeps the act of the founding. There is one: what a second one says gives
// nothing.
func (r *run) actFounded(tx *book.Tx, a *act) error {
	known, err := tx.Meta(approval.MetaFounded)
	if err != nil || known != "" {
		return err
	}
	return tx.PutMeta(approval.MetaFounded, fmt.Sprint(a.index, " ", a.is("organisation"), " ", a.is("document")))
}

// rights judges what acts gave. What may still come has until then.
func (r *run) rights(until time.Time) error {
	for after := ""; ; {
		var things []book.Thing
		err := r.Book.View(r.ctx, func(tx *book.Tx) (err error) {
			things, err = tx.Opened(book.WantRight, after, page)
			return err
		})
		if err != nil {
			return err
		}
		for _, o := range things {
			after = o.ID
			if err := r.proved(o, until); err != nil {
				return err
			}
		}
		if len(things) < page {
			return nil
		}
	}
}

func (r *run) proved(o book.Thing, until time.Time) error {
	var right approval.Right
	if err := json.Unmarshal([]byte(o.Note), &right); err != nil {
		return fmt.Errorf("act %d in the book: %w", o.Number, err)
	}
	why, wait, err := r.orders.Right(r.ctx, right)
	if err != nil || wait && !book.Moment(o.At).Before(until) {
		return err
	}
	return r.Book.Update(r.ctx, func(tx *book.Tx) error {
		if why != "" {
			if err := r.find(tx, Finding{Kind: finding.RoleUnproven, Severity: finding.Critical, Log: Acts, Index: o.Number,
				Text: "what this act gave nobody had the right to give, or did: " + why,
				IDs:  finding.IDs("act", right.Act, "person", right.Fields["person"], "organisation", right.Fields["organisation"], "role", right.Fields["role"])}); err != nil {
				return err
			}
		}
		_, err := tx.Settle(book.WantRight, o.ID)
		if errors.Is(err, book.ErrNotFound) {
			return nil
		}
		return err
	})
}
