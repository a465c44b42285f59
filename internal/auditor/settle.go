package auditor

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
)

// settle judges what is still open after both logs were followed: what had to come, and
// had time to, and did not.
func (r *run) settle(certificates *source.Reader) error {
	if err := r.finals(); err != nil {
		return err
	}
	logged := certificates.Head.Time
	if err := r.rights(logged.Add(-r.Grace)); err != nil {
		return err
	}
	for _, each := range []struct {
		kind  string
		until time.Time // what was opened before it had time
		about func(*book.Tx, book.Thing) (Finding, error)
	}{
		{book.WantLeaf, logged.Add(-r.Grace), simply(finding.Missing, Acts, "it was announced, and is not in the log of certificates")},
		{book.WantIntent, r.signed.Add(-r.Grace), simply(finding.Unintended, Certificates, "no act announced it: it was made outside of the service's way")},
		{book.WantIssued, r.signed.Add(-r.Grace), simply(finding.Unintended, Certificates, "no act issued the certificate that the log shows")},
		{book.WantFinal, logged.Add(-r.Grace), simply(finding.Missing, Acts, "it was issued, and the log does not show it")},
		{book.WantEnd, r.signed.Add(-r.Late), r.unrevoked},
		{book.WantErasure, r.Now().Add(-r.Grace), r.erased}, // by our clock: its act came with it
	} {
		if err := r.overdue(each.kind, each.until, each.about); err != nil {
			return err
		}
	}
	return nil
}

// simply makes a finding of a serial that waits.
func simply(kind Kind, log Tree, text string) func(*book.Tx, book.Thing) (Finding, error) {
	return func(_ *book.Tx, o book.Thing) (Finding, error) {
		return Finding{Kind: kind, Severity: finding.Critical, Log: log, Index: o.Number, Text: text, IDs: finding.IDs("serial", o.ID)}, nil
	}
}

func (r *run) unrevoked(tx *book.Tx, o book.Thing) (Finding, error) {
	c, err := tx.Certificate(o.ID)
	if err != nil {
		return Finding{}, err
	}
	return Finding{Kind: finding.Unrevoked, Severity: finding.Critical, Log: Acts, Index: o.Number, Text: "after this act a certificate had to be revoked, and was not",
		IDs: finding.IDs("serial", c.Serial, "card", c.Card, "act", o.Note)}, nil
}

// erased judges an entry that is gone; nothing if an act covers it.
func (r *run) erased(tx *book.Tx, o book.Thing) (Finding, error) {
	tree, _, err := erasedFrom(o)
	return Finding{Kind: finding.EntryErased, Severity: finding.Critical, Log: tree, Index: o.Number, Text: "it is erased, and no act of retention covers it"}, err
}

// erasedFrom reads what gone wrote: of which log the entry was, and than when it is not
// older.
func erasedFrom(o book.Thing) (tree Tree, since int64, err error) {
	if _, err := fmt.Sscan(o.Note, &tree, &since); err != nil {
		return "", 0, fmt.Errorf("erased entry %s in the book: %w", o.ID, err)
	}
	return tree, since, nil
}

// page is how many open things are looked at in one transaction.
const page = 1024

// overdue reports what is open of a kind and had time until then.
func (r *run) overdue(kind string, until time.Time, about func(*book.Tx, book.Thing) (Finding, error)) error {
	for after := ""; ; {
		n := 0
		err := r.Book.Update(r.ctx, func(tx *book.Tx) error {
			things, err := tx.Opened(kind, after, page)
			if err != nil {
				return err
			}
			n = len(things)
			for _, o := range things {
				after = o.ID
				if kind == book.WantErasure {
					tree, since, err := erasedFrom(o)
					if err != nil {
						return err
					}
					covered, err := tx.TakeErasure(string(tree), o.Number, since)
					if err != nil {
						return err
					}
					if covered {
						if _, err := tx.Settle(kind, o.ID); err != nil {
							return err
						}
						continue
					}
				}
				if !book.Moment(o.At).Before(until) {
					continue
				}
				f, err := about(tx, o)
				if err == nil {
					err = r.find(tx, f)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n < page {
			return err
		}
	}
}

// finals looks again at entries whose certificate was issued after they were read.
func (r *run) finals() error {
	rules, err := r.rules.Rules(r.Issuers, r.Logs[Certificates])
	if err != nil {
		return err
	}
	for after := ""; ; {
		var rows []*book.Certificate
		n := 0
		err := r.Book.View(r.ctx, func(tx *book.Tx) error {
			things, err := tx.Opened(book.WantFinal, after, page)
			n = len(things)
			for _, o := range things {
				after = o.ID
				c, err := tx.Certificate(o.ID)
				if err != nil {
					return err
				}
				if c.Leaf >= 0 {
					rows = append(rows, c)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := r.again(rows, rules); err != nil {
			return err
		}
		if n < page {
			return nil
		}
	}
}

// again reads entries once more and judges those that have their certificate now.
func (r *run) again(rows []*book.Certificate, rules *rederive.Rules) error {
	var all []*logged
	for _, c := range rows {
		got, err := r.Source.Certificates(r.ctx, c.Leaf, 1)
		if errors.Is(err, ErrErased) || errors.Is(err, ErrUnshown) {
			continue // reported when it was read first, or in time
		} else if err != nil {
			return err
		}
		if len(got) != 1 || len(got[0].Final) == 0 {
			continue
		}
		is, err := r.Book.Hash(string(Certificates), c.Leaf)
		if err != nil {
			return err
		}
		if tlog.RecordHash(got[0].Input) != is {
			continue // not what was signed: no certificate was shown
		}
		l, err := again(got[0], c)
		if err != nil {
			continue // the same, reported when it was read first
		}
		all = append(all, l)
	}
	if err := r.derive(all, rules); err != nil {
		return err
	}
	return r.Book.Update(r.ctx, func(tx *book.Tx) error {
		for _, l := range all {
			if err := r.conclude(tx, l); err != nil {
				return err
			}
		}
		return nil
	})
}
