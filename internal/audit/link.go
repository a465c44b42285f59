package audit

// Next returns the link that follows l in the chain: for an event that was numbered
// elsewhere, and is put in its place here. The zero Link is what the first one follows.
func (l Link) Next(event string, leaf [32]byte) Link {
	next := Link{Number: l.Number + 1, Event: event, Leaf: leaf}
	next.Hash = chainHash(next.Number, l.Hash, leaf)
	return next
}
