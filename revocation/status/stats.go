package status

import "sync/atomic"

// Stats are counts since the start.
type Stats struct {
	Hits    int64 // answers from the cache
	Misses  int64 // usual questions that were not answered from it
	Renewed int64 // answers made anew before their end, beside a hit
	Signed  int64
	Unknown int64 // of those signed
	Busy    int64 // tryLater: too much was being made at once
	Refused int64 // tryLater: too many unknown for one client
}

type counts struct {
	hits, misses, renewed, signed, unknown, busy, refused atomic.Int64
}

// Stats returns the counts.
func (r *Responder) Stats() Stats {
	c := &r.counts
	return Stats{Hits: c.hits.Load(), Misses: c.misses.Load(), Renewed: c.renewed.Load(), Signed: c.signed.Load(),
		Unknown: c.unknown.Load(), Busy: c.busy.Load(), Refused: c.refused.Load()}
}
