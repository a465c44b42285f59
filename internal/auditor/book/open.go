package book

import "errors"

// Open kinds of things that something to come must settle.
const (
	WantLeaf    = "leaf"    // an intent whose leaf was not seen: serial
	WantIntent  = "intent"  // a leaf whose intent was not seen: serial
	WantFinal   = "final"   // a certificate said to be issued that the log did not show: serial
	WantIssued  = "issued"  // a certificate that the log shows and no act issued: serial
	WantEnd     = "end"     // a certificate that must be revoked: serial
	WantErasure = "erasure" // an erased entry that no act covers yet: tree/number
	WantRight   = "right"   // what an act gave that was not proved yet: its index, fifteen digits
)

// Thing is one of them: at is the time of what opened it, by act or leaf number.
type Thing struct {
	Kind, ID   string
	Number, At int64
	Note       string
}

// Open opens a thing; one that is open stays as it was.
func (t *Tx) Open(o Thing) error {
	_, err := t.exec(`INSERT INTO open (kind, id, number, at, note) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING`, o.Kind, o.ID, o.Number, o.At, o.Note)
	return err
}

// Settle closes a thing and returns it, or ErrNotFound.
func (t *Tx) Settle(kind, id string) (*Thing, error) {
	o := &Thing{Kind: kind, ID: id}
	if err := t.one(`SELECT number, at, note FROM open WHERE kind = ? AND id = ?`, []any{kind, id}, &o.Number, &o.At, &o.Note); err != nil {
		return nil, err
	}
	_, err := t.exec(`DELETE FROM open WHERE kind = ? AND id = ?`, kind, id)
	return o, err
}

// Opened returns up to limit things of a kind after an id, in the order of ids.
func (t *Tx) Opened(kind, after string, limit int) (out []Thing, err error) {
	err = t.all(`SELECT kind, id, number, at, note FROM open WHERE kind = ? AND id > ? ORDER BY id LIMIT ?`, []any{kind, after, limit}, func(scan func(...any) error) error {
		var o Thing
		err := scan(&o.Kind, &o.ID, &o.Number, &o.At, &o.Note)
		out = append(out, o)
		return err
	})
	return out, err
}

// Finding is something that the auditor reports.
type Finding struct {
	Kind     string
	Severity string
	Tree     string
	Number   int64 // in that log; None
	Subject  string
	IDs      string // JSON
	Text     string
}

// PutFinding keeps a finding; false: it was reported before.
func (t *Tx) PutFinding(f Finding) (bool, error) {
	n, err := t.exec(`INSERT INTO findings (kind, severity, tree, number, subject, ids, text) VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		f.Kind, f.Severity, f.Tree, f.Number, f.Subject, f.IDs, f.Text)
	return n == 1, err
}

// Findings calls fn for every finding ever reported, in that order.
func (t *Tx) Findings(fn func(Finding) error) error {
	return t.all(`SELECT kind, severity, tree, number, subject, ids, text FROM findings ORDER BY n`, nil, func(scan func(...any) error) error {
		var f Finding
		if err := scan(&f.Kind, &f.Severity, &f.Tree, &f.Number, &f.Subject, &f.IDs, &f.Text); err != nil {
			return err
		}
		return fn(f)
	})
}

// Erasure is what an act, number, says: that it erased Count of the entries First to Last
// of a tree, which were older than Through.
type Erasure struct {
	Tree        string
	First, Last int64
	Count       int64
	Through     int64
	Number      int64
}

// PutErasure keeps one.
func (t *Tx) PutErasure(e Erasure) error {
	_, err := t.exec(`INSERT OR REPLACE INTO erasures (number, tree, first, last, remaining, through) VALUES (?,?,?,?,?,?)`, e.Number, e.Tree, e.First, e.Last, e.Count, e.Through)
	return err
}

// TakeErasure reports whether an act covers that an entry is erased that is not older than
// after, and counts it as one of those that the act erased: it covers no more than it says,
// and nothing newer. Entries come in ascending order, and each once.
func (t *Tx) TakeErasure(tree string, number, after int64) (bool, error) {
	var act int64
	err := t.one(`SELECT number FROM erasures WHERE tree = ? AND first <= ? AND last >= ? AND remaining > 0 AND through >= ? ORDER BY last LIMIT 1`,
		[]any{tree, number, number, after}, &act)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	_, err = t.exec(`UPDATE erasures SET remaining = remaining - 1 WHERE number = ?`, act)
	return err == nil, err
}
