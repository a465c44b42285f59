package revocation

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"sigill/revocation/read"
)

// Bounds of a Cache.
const (
	// entryCost is what an entry costs beside its octets: it bounds their number
	// too, because nobody can fill a cache with empty entries.
	entryCost = 512
	// maxHeads bounds the lists whose newest number is remembered. Scopes come
	// out of lists that a trusted CA signed; a service sees a few hundred.
	maxHeads = 16384
)

// Cache keeps OCSP answers and CRLs, parsed, between the judgements of Verifiers,
// and remembers the newest number of each list, so that a replayed older one is
// not believed. Several Verifiers may share one, if they trust the same anchors:
// what is kept was verified under its issuer's key and is found by that key only.
// Its methods may be called concurrently.
type Cache struct {
	kept    *otter.Cache[string, kept]
	octets  int
	flights singleflight.Group
	mu      sync.Mutex
	heads   map[string]crlHead // by issuer and scope
}

// kept is one verified answer or list.
type kept struct {
	answer  *read.Answer // or
	list    *read.List   // or
	revoked *finding     // that an issuer once said so, which is never taken back
	fetched time.Time
	octets  int
}

type crlHead struct {
	number     *big.Int
	thisUpdate time.Time
}

// NewCache returns a cache of at most this many octets, counted as what the
// entries take in memory. It refuses a budget that holds no list.
func NewCache(octets int) (*Cache, error) {
	if octets < 64<<10 {
		return nil, fmt.Errorf("revocation cache: %d octets are too few", octets)
	}
	c, err := otter.New(&otter.Options[string, kept]{
		MaximumWeight: uint64(octets),
		Weigher:       func(key string, k kept) uint32 { return uint32(cost(key, k)) },
	})
	if err != nil {
		return nil, fmt.Errorf("revocation cache: %w", err)
	}
	return &Cache{kept: c, octets: octets, heads: map[string]crlHead{}}, nil
}

// get returns what is kept under key; a nil Cache keeps nothing.
func (c *Cache) get(key string) (kept, bool) {
	if c == nil {
		return kept{}, false
	}
	return c.kept.GetIfPresent(key)
}

// cost is what an entry takes, in octets.
func cost(key string, k kept) int { return min(len(key)+k.octets+entryCost, 1<<31) }

// put keeps k, unless it alone is more than the cache may hold. What has to go
// for it goes soon, not at once.
func (c *Cache) put(key string, k kept) {
	if c != nil && cost(key, k) <= c.octets {
		c.kept.Set(key, k)
	}
}

// key names what is kept of t under its issuer's key.
func (t target) key(what string) string {
	return what + " " + issuerKey(t.issuer) + t.cert.SerialNumber.String()
}

// keep keeps an answer on t.
func (c *Cache) keep(answer *read.Answer, t target, fetched time.Time) {
	c.put(t.key("ocsp"), kept{answer: answer, fetched: fetched, octets: answer.Octets})
}

// remember keeps that t was told to be revoked, apart from the answer or the list
// that told it, which have an end and may be followed by what was recorded before.
func (c *Cache) remember(t target, f finding) {
	if before, ok := c.revoked(t); !ok || Graver(f.reason, before.reason) {
		f.source = FromCache
		c.put(t.key("revoked"), kept{revoked: &f, octets: 128})
	}
}

// revoked returns what is remembered of t.
func (c *Cache) revoked(t target) (finding, bool) {
	k, ok := c.get(t.key("revoked"))
	if !ok {
		return finding{}, false
	}
	return *k.revoked, true
}

// issuerKey names who signed: the key and the name together, so that a CA of the
// same name or a renewed key never share anything.
func issuerKey(issuer *x509.Certificate) string {
	h := sha256.New()
	h.Write(issuer.RawSubjectPublicKeyInfo)
	h.Write(issuer.RawSubject)
	return string(h.Sum(nil))
}

// admit reports whether a list is at least as new as each one seen of its scope,
// and remembers it if it is. Numbers decide; the time decides between two lists
// that an issuer gave one number.
func (c *Cache) admit(scope string, number *big.Int, thisUpdate time.Time) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, ok := c.heads[scope]
	if ok {
		switch order := number.Cmp(seen.number); {
		case order < 0:
			return fmt.Errorf("its number is %v, and number %v has been seen: an older list was put in its place", number, seen.number)
		case order == 0 && thisUpdate.Before(seen.thisUpdate):
			return fmt.Errorf("number %v has been seen with a later thisUpdate", number)
		}
	}
	if !ok && len(c.heads) >= maxHeads {
		for old := range c.heads { // any: what is forgotten can be learnt anew
			delete(c.heads, old)
			break
		}
	}
	c.heads[scope] = crlHead{number: number, thisUpdate: thisUpdate}
	return nil
}
