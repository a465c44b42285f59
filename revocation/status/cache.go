package status

import (
	"errors"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"sigill/ca"
	"sigill/revocation"
)

// Cache keeps signed answers in memory, up to a number of octets, with what was
// asked often and lately rather than what was asked once.
//
// Who has read in the store that a certificate is good puts the answer in later,
// when a revocation may have been committed and removed what was there. So each
// insertion shows the generation of its serial from before the reading, and
// [Cache.Revoked] begins a new one before it removes: an answer that rests on what
// was read before is never put in after.
//
// Its methods may be called concurrently.
type Cache struct {
	signers *Signers
	entries *otter.Cache[key, *kept]
	seed    maphash.Seed
	stripes [stripes]stripe
}

// key names an answer: an encoding of the request can't multiply entries.
type key struct {
	serial ca.Serial
	issuerForm
}

// kept is an answer with what the cache must know of it.
type kept struct {
	Answer
	// From renewAt on the answer is made anew by who finds it, and never given out
	// from end on. Unix time in nanoseconds.
	renewAt  atomic.Int64
	end      int64
	renewing atomic.Bool // somebody is at it
}

// stripes of serials share a generation. A revocation makes the answers that are
// being made for the serials of its stripe be made again, so there are many.
const stripes = 1024

type stripe struct {
	mu         sync.Mutex
	generation uint64
}

// overhead is what an entry takes beside its DER: key, node, answer, texts and what
// the allocator adds. TestCacheWeighs holds it against the heap.
const overhead = 448

// NewCache returns a cache for the answers of signers that takes about budget octets,
// at most.
func NewCache(budget uint64, signers *Signers) (*Cache, error) {
	if signers == nil || budget == 0 || budget > math.MaxInt64 {
		return nil, errors.New("ocsp cache: signers or budget is missing")
	}
	entries, err := otter.New(&otter.Options[key, *kept]{
		MaximumWeight: budget,
		Weigher:       func(_ key, k *kept) uint32 { return uint32(len(k.DER) + overhead) },
	})
	if err != nil {
		return nil, err
	}
	return &Cache{signers: signers, entries: entries, seed: maphash.MakeSeed()}, nil
}

func (c *Cache) stripe(s ca.Serial) *stripe {
	return &c.stripes[maphash.Bytes(c.seed, s[:])%stripes]
}

// generation is to be taken before the state is read from which an answer is made.
func (c *Cache) generation(s ca.Serial) uint64 {
	p := c.stripe(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.generation
}

func (c *Cache) get(k key) *kept {
	found, _ := c.entries.GetIfPresent(k)
	return found
}

// put puts an answer in, unless something was revoked since its generation.
func (c *Cache) put(k key, answer *kept, generation uint64) bool {
	p := c.stripe(k.serial)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.generation != generation {
		return false
	}
	c.entries.Set(k, answer)
	return true
}

// remove removes an answer that is no longer to be given, if it is still there.
func (c *Cache) remove(k key, old *kept) {
	c.entries.ComputeIfPresent(k, func(present *kept) (*kept, otter.ComputeOp) {
		if present != old {
			return nil, otter.CancelOp
		}
		return nil, otter.InvalidateOp
	})
}

// Revoked removes the answers for these serials in all their forms. When it returns,
// no answer that rests on what was read before is in the cache or will be: the next
// one is made from what is committed. It is to be called after the commit.
func (c *Cache) Revoked(entries []revocation.Entry) {
	table := c.signers.table()
	for i := range entries {
		e := &entries[i]
		p := c.stripe(e.Serial)
		p.mu.Lock()
		p.generation++
		if n, ok := table.number[e.Issuer]; ok {
			for form := range uint8(issuerForms) {
				c.entries.Invalidate(key{e.Serial, issuerForm{issuerN(n), form}})
			}
		}
		p.mu.Unlock()
	}
}

// Clear removes everything, as Revoked of all serials would. Called after
// [Signers.Set], nothing is kept that the signer before has signed, and nothing of it
// will be.
func (c *Cache) Clear() {
	for i := range c.stripes {
		p := &c.stripes[i]
		p.mu.Lock()
		p.generation++
		p.mu.Unlock()
	}
	c.entries.InvalidateAll()
}

// Size returns how many answers are kept and how many octets they take, about.
func (c *Cache) Size() (answers int, octets uint64) {
	c.entries.CleanUp() // what was put in and not yet counted
	return c.entries.EstimatedSize(), c.entries.WeightedSize()
}
