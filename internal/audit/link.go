package audit

import "fmt"

// Next returns the link that follows l in the chain: for an event that was numbered
// elsewhere, and is put in its place here. The zero Link is what the first one follows.
func (l Link) Next(event string, leaf [32]byte) Link {
	next := Link{Number: l.Number + 1, Event: event, Leaf: leaf}
	next.Hash = chainHash(next.Number, l.Hash, leaf)
	return next
}

// Renamed returns the event of a body under another id, with the commitments that it has:
// for an event that has no number, and of which nobody was told.
func (b Body) Renamed(id string) (Record, error) {
	b.ID = id
	if err := b.check(); err != nil {
		return Record{}, fmt.Errorf("event %s: %w", b.Act, err)
	}
	r := Record{ID: b.ID, At: b.At, Act: b.Act, By: b.By, Body: b.encode()}
	r.Leaf = LeafHash(r.Body)
	return r, nil
}
