package download

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// Bulk reads and writes many rows in a few statements. What it reads comes in any
// order; keys are one at least, and Together at the most.
type Bulk interface {
	CertificatesOfSerials([]ca.Serial) ([]*issue.Certificate, error)
	// EntriesOfSerials returns the entries of the highest versions.
	EntriesOfSerials([]ca.Serial) ([]revocation.Entry, error)
	// OnCards returns cards, what stands on them, and which of them have an open
	// download.
	OnCards([]policy.CardNumber) (cards []*register.Card, standings []issue.Standing, open []policy.CardNumber, err error)
	// RetireAll writes events, takes standings away and adds entries, with the
	// errors of audit.Recorder, issue.Standings and revocation.Ledger.
	RetireAll(events []audit.Event, standings []ca.Fingerprint, entries []revocation.Entry) error
}

// rows is a transaction in which many certificates are revoked. What each of them
// needs was read beforehand, of all at once, and what each writes is kept until
// flush, so that the same code which revokes one certificate revokes sixty-four by a
// few statements. Reading sees what was written. What is not held here goes to the
// transaction itself.
type rows struct {
	*Tx
	entries map[ca.Serial]*revocation.Entry // nil: not revoked
	places  map[policy.CardNumber][]issue.Standing
	stands  map[ca.Fingerprint]policy.CardNumber // where, of those
	cards   map[policy.CardNumber]*register.Card
	open    map[policy.CardNumber]bool

	events  []audit.Event
	dropped []ca.Fingerprint
	added   []revocation.Entry
}

// readRows reads what revoking the certificates with some serials needs, and returns
// them by serial.
func readRows(tx *Tx, serials []ca.Serial) (*rows, []*issue.Certificate, error) {
	r := &rows{Tx: tx, entries: map[ca.Serial]*revocation.Entry{}, places: map[policy.CardNumber][]issue.Standing{},
		stands: map[ca.Fingerprint]policy.CardNumber{}, cards: map[policy.CardNumber]*register.Card{}, open: map[policy.CardNumber]bool{}}
	certs, err := tx.CertificatesOfSerials(serials)
	if err != nil {
		return nil, nil, err
	}
	if len(certs) != len(serials) {
		return nil, nil, fmt.Errorf("%d of %d certificates are there", len(certs), len(serials))
	}
	slices.SortFunc(certs, func(a, b *issue.Certificate) int { return bytes.Compare(a.Serial[:], b.Serial[:]) })
	entries, err := tx.EntriesOfSerials(serials)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range serials {
		r.entries[s] = nil
	}
	for i := range entries {
		r.entries[entries[i].Serial] = &entries[i]
	}
	var numbers []policy.CardNumber
	for _, c := range certs {
		if c.Card != "" && !slices.Contains(numbers, c.Card) {
			numbers = append(numbers, c.Card)
		}
	}
	return r, certs, r.readCards(numbers)
}

func (r *rows) readCards(numbers []policy.CardNumber) error {
	if len(numbers) == 0 {
		return nil
	}
	cards, standings, open, err := r.OnCards(numbers)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		r.places[n], r.open[n] = nil, slices.Contains(open, n)
	}
	for _, c := range cards {
		r.cards[c.Number] = c
	}
	for _, st := range standings {
		r.places[st.Card] = append(r.places[st.Card], st)
		r.stands[st.Certificate] = st.Card
	}
	return nil
}

// view is the transaction as whoever revokes one certificate knows it.
func (r *rows) view() *Tx {
	tx := *r.Tx
	tx.Standings, tx.Revocations, tx.Events = heldStandings{r.Tx.Standings, r}, heldEntries{r.Tx.Revocations, r}, heldEvents{r}
	tx.Cards, tx.Downloads = heldCards{r.Tx.Cards, r}, heldDownloads{r.Tx.Downloads, r}
	return &tx
}

// flush writes what was kept.
func (r *rows) flush() error {
	if len(r.events)+len(r.dropped)+len(r.added) == 0 {
		return nil
	}
	r.alike()
	return r.RetireAll(r.events, r.dropped, r.added)
}

// alike gives the events of revocations ids that begin alike. Random ones would touch
// a page of two indices each, of which there are as many as revocations, when they are
// written and again when they are numbered; these stand together. What is left of an
// id is random enough for all that there will ever be.
func (r *rows) alike() {
	begin := policy.NewID("evt")[:len("evt_")+8]
	at := make(map[string]int, len(r.events))
	for i, e := range r.events {
		at[e.ID] = i
	}
	for i := range r.added {
		j, ours := at[r.added[i].Event]
		if !ours {
			continue
		}
		id := begin + r.events[j].ID[len(begin):]
		r.events[j].ID, r.added[i].Event = id, id
	}
}

type heldEvents struct{ r *rows }

// Append implements audit.Recorder.
func (h heldEvents) Append(e audit.Event) error {
	h.r.events = append(h.r.events, e)
	return nil
}

type heldEntries struct {
	revocation.Ledger
	r *rows
}

// Revocation implements revocation.Ledger.
func (h heldEntries) Revocation(s ca.Serial) (revocation.Entry, bool, error) {
	e, held := h.r.entries[s]
	switch {
	case !held:
		return h.Ledger.Revocation(s)
	case e == nil:
		return revocation.Entry{}, false, nil
	}
	return *e, true, nil
}

// InsertRevocation implements revocation.Ledger.
func (h heldEntries) InsertRevocation(e revocation.Entry) error {
	h.r.entries[e.Serial] = &e
	h.r.added = append(h.r.added, e)
	return nil
}

type heldStandings struct {
	issue.Standings
	r *rows
}

// StandingsOfCard implements issue.Standings.
func (h heldStandings) StandingsOfCard(n policy.CardNumber) ([]issue.Standing, error) {
	if list, held := h.r.places[n]; held {
		return slices.Clone(list), nil
	}
	return h.Standings.StandingsOfCard(n)
}

// Standing implements issue.Standings.
func (h heldStandings) Standing(f ca.Fingerprint) (*issue.Standing, error) {
	if card, held := h.r.stands[f]; held {
		for _, st := range h.r.places[card] {
			if st.Certificate == f {
				return &st, nil
			}
		}
		return nil, issue.ErrNotFound // it was taken away here
	}
	return h.Standings.Standing(f)
}

// DropStanding implements issue.Standings.
func (h heldStandings) DropStanding(f ca.Fingerprint) error {
	card, held := h.r.stands[f]
	if !held {
		return h.Standings.DropStanding(f)
	}
	before := len(h.r.places[card])
	h.r.places[card] = slices.DeleteFunc(h.r.places[card], func(st issue.Standing) bool { return st.Certificate == f })
	if len(h.r.places[card]) == before {
		return fmt.Errorf("standing of %s: %w", f, issue.ErrConflict)
	}
	h.r.dropped = append(h.r.dropped, f)
	return nil
}

// PutStanding implements issue.Standings.
func (h heldStandings) PutStanding(issue.Standing) error {
	return errors.New("nothing comes to stand where many are revoked")
}

type heldCards struct {
	register.Cards
	r *rows
}

// Card implements register.Cards.
func (h heldCards) Card(n policy.CardNumber) (*register.Card, error) {
	if c := h.r.cards[n]; c != nil && !h.r.open[n] { // one that may be written is read again
		card := *c
		return &card, nil
	}
	return h.Cards.Card(n)
}

type heldDownloads struct {
	Downloads
	r *rows
}

// OpenDownloadOfCard implements Downloads.
func (h heldDownloads) OpenDownloadOfCard(n policy.CardNumber) (*Download, []*Item, error) {
	if open, held := h.r.open[n]; held && !open {
		return nil, nil, issue.ErrNotFound
	}
	return h.Downloads.OpenDownloadOfCard(n)
}
