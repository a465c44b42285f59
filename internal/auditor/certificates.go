package auditor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"sigill/internal/auditor/approval"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
)

// Case is a certificate that is to be derived anew.
type Case struct {
	Entry rederive.Entry
	Said  *rederive.Said     // by the log of acts; nil: nothing
	Order *rederive.Document // nil: none
}

// Rederive derives certificates anew on all cores, and returns the results in their
// order.
func Rederive(rules *rederive.Rules, cases []Case) []rederive.Result {
	out := make([]rederive.Result, len(cases))
	each(len(cases), func(i int) error { //nolint:errcheck // it returns none
		out[i] = rules.Check(cases[i].Entry, cases[i].Said, cases[i].Order)
		return nil
	})
	return out
}

// each calls fn for 0 to n-1 on all cores.
func each(n int, fn func(int) error) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error { return fn(i) })
	}
	return group.Wait()
}

// followCertificates takes the certificates from the last look on into the book.
func (r *run) followCertificates(t *source.Reader, head book.Head) error {
	rules, err := r.rules.Rules(r.Issuers, r.Logs[Certificates])
	if err != nil {
		return err
	}
	return chunks(r.ctx, head.Done, head.Size, r.fetchCertificates, func(c *chunk[Leaf]) error {
		r.Progress("certificates", c.first(), head.Size)
		return r.takeCertificates(t, head, c, rules)
	})
}

// fetchCertificates fetches a chunk, in as many answers as the log likes.
func (r *run) fetchCertificates(ctx context.Context, n int64, width int) (*chunk[Leaf], error) {
	c := &chunk[Leaf]{n: n, entries: make([]Leaf, width), fault: make([]error, width)}
	single := 0 // until here one by one: what cannot be shown hides no other entry
	for i := 0; i < width; {
		count := width - i
		if i < single {
			count = 1
		}
		got, err := r.Source.Certificates(ctx, c.first()+int64(i), count)
		switch {
		case errors.Is(err, ErrErased):
			c.fault[i] = ErrErased
			i++
		case errors.Is(err, ErrUnshown) && count == 1:
			c.fault[i] = ErrUnshown
			i++
		case errors.Is(err, ErrUnshown):
			single = width
		case err != nil:
			return nil, err
		case len(got) == 0 || len(got) > count:
			return nil, fmt.Errorf("entries from %d: %d came where up to %d were asked for", c.first()+int64(i), len(got), count)
		default:
			i += copy(c.entries[i:], got)
		}
	}
	return c, nil
}

// logged is an entry that was authenticated, with what is known of it.
type logged struct {
	index int64
	entry rederive.Entry
	row   *book.Certificate
	order *approval.Order
	found rederive.Result
}

// takeCertificates judges a chunk: its leaves go into the book in one transaction, and
// what came of deriving them anew in a second one, because an administrator's own
// certificate may stand in the same chunk as what he approved.
func (r *run) takeCertificates(t *source.Reader, head book.Head, c *chunk[Leaf], rules *rederive.Rules) error {
	var all []*logged
	err := r.Book.Update(r.ctx, func(tx *book.Tx) error {
		all = nil
		is, err := authenticate(r, tx, t, c, head.Done, func(l Leaf) tlog.Hash { return tlog.RecordHash(l.Input) })
		if err != nil {
			return err
		}
		for i, leaf := range c.entries {
			index := c.first() + int64(i)
			switch {
			case index < head.Done:
			case c.fault[i] == nil:
				l, err := r.enter(tx, index, leaf)
				if err != nil {
					return err
				}
				if l != nil {
					all = append(all, l)
					r.leaf = max(r.leaf, book.Micro(l.entry.Time))
				}
			case errors.Is(c.fault[i], ErrErased):
				if err := r.gone(tx, Certificates, index, r.leaf); err != nil {
					return err
				}
			}
		}
		return errors.Join(tx.PutMeta("certificates.latest", fmt.Sprint(r.leaf)), r.Book.PutHashes(string(Certificates), c.first(), is), r.Book.SyncHashes(string(Certificates)))
	})
	if err != nil {
		return err
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
		return tx.Done(string(Certificates), c.first()+int64(len(c.entries)))
	})
}

// enter takes a leaf into the book; nil: it is none of a certificate.
func (r *run) enter(tx *book.Tx, index int64, leaf Leaf) (*logged, error) {
	e, err := rederive.ParseEntry(leaf.Input, leaf.Final)
	serial, ok := e.Serial()
	if err != nil || !ok {
		return nil, r.find(tx, Finding{Kind: finding.EntryMalformed, Severity: finding.Critical, Log: Certificates, Index: index, Text: "it is no leaf of a certificate"})
	}
	c, there, err := known(tx, serial)
	if err != nil {
		return nil, err
	}
	found := func(kind Kind, text string) error {
		return r.find(tx, Finding{Kind: kind, Severity: finding.Critical, Log: Certificates, Index: index, Text: text, IDs: finding.IDs("serial", serial)})
	}
	hash := hex.EncodeToString(e.Hash[:])
	switch {
	case c.Leaf >= 0 && c.Leaf != index:
		return nil, found(finding.SerialReuse, "this serial is in the log twice")
	case there && c.Intent >= 0 && c.Hash != hash:
		if err := found(finding.Unintended, "its intent announces another leaf"); err != nil {
			return nil, err
		}
	case !there || c.Intent < 0:
		if err := tx.Open(book.Thing{Kind: book.WantIntent, ID: serial, Number: index, At: book.Micro(e.Time)}); err != nil {
			return nil, err
		}
	}
	c.Leaf, c.Hash = index, hash
	if _, err := tx.Settle(book.WantLeaf, serial); err != nil && !errors.Is(err, book.ErrNotFound) {
		return nil, err
	}
	return &logged{index: index, entry: e, row: c}, tx.PutCertificate(c)
}

// derive derives entries anew, with what they rest on, on all cores.
func (r *run) derive(all []*logged, rules *rederive.Rules) error {
	return each(len(all), func(i int) error {
		l := all[i]
		var said *rederive.Said
		var order *rederive.Document
		if c := l.row; c.Intent >= 0 {
			said = &rederive.Said{Serial: c.Serial, Issuer: c.Issuer, Profile: c.Profile, Card: c.Card, Key: c.Key, Kind: c.Kind, LoA: c.LoA,
				Leaf: c.Hash, At: book.Moment(c.IntentAt)}
			if c.Order != "" {
				l.order = r.orders.Order(r.ctx, c.Order)
				if l.order.Err != nil {
					return l.order.Err
				}
				order = l.order.Document
			}
		}
		l.found = rules.Check(l.entry, said, order)
		return nil
	})
}

// conclude takes what was found of an entry into the book.
func (r *run) conclude(tx *book.Tx, l *logged) error {
	c, res := l.row, l.found
	r.report.Rederived++
	serial := finding.IDs("serial", c.Serial, "card", c.Card, "order", c.Order)
	missing := c.Order != "" && l.order != nil && l.order.Document == nil
	for _, p := range res.Problems {
		if p.Kind == rederive.Order && missing {
			continue // that is said of the order
		}
		if err := r.find(tx, Finding{Kind: "certificate." + Kind(p.Kind), Severity: finding.Critical, Log: Certificates, Index: l.index, Text: p.Text, IDs: serial}); err != nil {
			return err
		}
	}
	if l.order != nil {
		if err := r.rests(tx, l); err != nil {
			return err
		}
	}
	c.CRL, c.NotAfter = res.CRL, book.Micro(res.NotAfter)
	if err := r.issuer(tx, l); err != nil {
		return err
	}
	if c.Key == "" {
		if c.Key = res.Key; c.Key != "" {
			first, err := tx.Key(c.Key, book.KeyUse{Serial: c.Serial})
			if err == nil && first.Serial != c.Serial {
				err = r.find(tx, Finding{Kind: finding.KeyReuse, Severity: finding.Critical, Log: Certificates, Index: l.index, Text: "its key was certified before", IDs: serial})
			}
			if err != nil {
				return err
			}
		}
	}
	if err := r.shown(tx, l); err != nil {
		return err
	}
	return tx.PutCertificate(c)
}

// rests takes what was found of an order into the book.
func (r *run) rests(tx *book.Tx, l *logged) error {
	found := l.order.Findings
	if l.order.Erased && r.Now().Before(l.found.NotAfter.AddDate(retentionYears, 0, 0)) {
		found = append(found[:len(found):len(found)], Finding{Kind: finding.OrderEvidence, Severity: finding.Critical, Log: Certificates, Index: l.index,
			Text: "what the order rests on was erased before its time", IDs: finding.IDs("order", l.row.Order)})
	}
	counted, err := approval.Counted(tx, l.row, l.order)
	if err != nil {
		return err
	}
	for _, f := range append(found[:len(found):len(found)], counted...) {
		if err := r.find(tx, f); err != nil {
			return err
		}
	}
	return nil
}

// retentionYears is how long what a certificate rests on is kept after it has expired.
const retentionYears = 10

// shown joins the certificate that the log shows with the act that issued it.
func (r *run) shown(tx *book.Tx, l *logged) error {
	c, fingerprint := l.row, l.found.Fingerprint
	if fingerprint == "" {
		return nil
	}
	if c.Issued >= 0 && c.Fingerprint != fingerprint {
		if err := r.find(tx, Finding{Kind: finding.Missing, Severity: finding.Critical, Log: Certificates, Index: l.index, Text: "issued is another certificate than the log shows",
			IDs: finding.IDs("serial", c.Serial)}); err != nil {
			return err
		}
	}
	if c.Issued < 0 {
		if err := tx.Open(book.Thing{Kind: book.WantIssued, ID: c.Serial, Number: l.index, At: book.Micro(l.entry.Time)}); err != nil {
			return err
		}
	}
	c.Judged, c.Fingerprint = true, fingerprint
	if _, err := tx.Settle(book.WantFinal, c.Serial); err != nil && !errors.Is(err, book.ErrNotFound) {
		return err
	}
	return nil
}

// again is what enter makes of an entry that is in the book already.
func again(leaf Leaf, row *book.Certificate) (*logged, error) {
	e, err := rederive.ParseEntry(leaf.Input, leaf.Final)
	return &logged{index: row.Leaf, entry: e, row: row}, err
}
