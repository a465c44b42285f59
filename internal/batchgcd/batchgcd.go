// Package batchgcd finds RSA moduli that have a prime in common. Each of two such
// moduli looks sound by itself and is factored by dividing it by their greatest
// common divisor; machines with too little randomness have made many (Heninger et
// al., "Mining Your Ps and Qs", 2012).
//
// It knows no keys and no certificates: it is arithmetic over numbers.
//
// All pairs of n moduli would be n²/2 divisors. Instead, each modulus is compared
// with the product of all others at once (Bernstein, "How to find smooth parts of
// integers", 2004, in the form without squares): a tree of products is built from
// the moduli of a batch, and from its root down each node gets the product of
// everything outside of it, modulo itself:
//
//	outside(left) = outside(node) · right  mod left
//
// At the leaves that is the product of all other moduli, modulo this one. What lies
// in other batches comes in at the root: outside(root) is the product of the other
// batches' roots, modulo this root.
//
// Memory: the moduli, one product for each batch (together as large as the moduli),
// and the tree of the one batch that is worked on (its moduli times the logarithm of
// their number). A million moduli of 2048 bits are 256 MB of moduli, 256 MB of
// products and with the default batch 130 MB of tree, some 350 MB with what waits
// for the garbage collector. Time grows with the power 1.6 of the size of a batch
// and with the square of the number of batches.
package batchgcd

import (
	"context"
	"math/big"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultBatch is how many moduli a batch holds where nothing else is said.
const DefaultBatch = 1 << 15

// Hit is a modulus that shares a factor with another.
type Hit struct {
	Index int // in the order of Add, from 0
	// With is the first other modulus that it shares a factor with, and Factor
	// what they have in common: a prime, or the modulus itself if it is the same.
	With   int
	Factor *big.Int
}

// Finder collects moduli and finds those that share a factor. It is for one
// goroutine.
type Finder struct {
	// Batch is how many moduli are worked on at once; 0 means DefaultBatch.
	Batch int
	// Progress is called now and then with how much is done, by one goroutine
	// at a time; nil: not.
	Progress func(done, total int)

	moduli   []*big.Int
	products []*big.Int // of each batch

	done, total int
}

var one = big.NewInt(1)

// Add adds a modulus, which must be greater than 1 and must not be changed
// afterwards. The same modulus twice is a hit of both: who has keys that several
// certificates share adds each once.
func (f *Finder) Add(n *big.Int) { f.moduli = append(f.moduli, n) }

// Len is how many moduli were added.
func (f *Finder) Len() int { return len(f.moduli) }

// Find returns the moduli that share a factor, in the order of Add. It ends early
// with ctx's error.
func (f *Finder) Find(ctx context.Context) ([]Hit, error) {
	size := f.Batch
	if size <= 0 {
		size = DefaultBatch
	}
	var batches [][]*big.Int
	for b := range slices.Chunk(f.moduli, size) {
		batches = append(batches, b)
	}
	k := len(batches)
	f.products, f.done, f.total = make([]*big.Int, k), 0, k+k*(k-1)+2*k
	for i, b := range batches {
		tree, err := products(ctx, b)
		if err != nil {
			return nil, err
		}
		f.products[i] = root(tree)
		f.step()
	}
	var found []Hit
	for i, b := range batches {
		hits, err := f.batch(ctx, i, b)
		if err != nil {
			return nil, err
		}
		for _, h := range hits {
			h.Index += i * size
			found = append(found, h)
		}
	}
	return partners(ctx, f.moduli, found)
}

func (f *Finder) step() {
	f.done++
	if f.Progress != nil {
		f.Progress(f.done, f.total)
	}
}

// batch finds the moduli of batch i that share a factor with any other.
func (f *Finder) batch(ctx context.Context, i int, moduli []*big.Int) ([]Hit, error) {
	outside, all := big.NewInt(1), f.products[i]
	rest := new(big.Int)
	for j, p := range f.products {
		if j == i {
			continue
		}
		outside.Mul(outside, rest.Mod(p, all)).Mod(outside, all)
		f.step()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	tree, err := products(ctx, moduli)
	if err != nil {
		return nil, err
	}
	f.step()
	leaves, err := descend(ctx, tree, outside)
	if err != nil {
		return nil, err
	}
	f.step()
	found := make([]*big.Int, len(moduli))
	err = each(ctx, len(moduli), func(i int) {
		if g := new(big.Int).GCD(nil, nil, leaves[i], moduli[i]); g.Cmp(one) != 0 {
			found[i] = g // GCD(0, n) is n: both primes are elsewhere
		}
	})
	var hits []Hit
	for i, g := range found {
		if g != nil {
			hits = append(hits, Hit{Index: i, Factor: g})
		}
	}
	return hits, err
}

// products builds the tree: level 0 are the moduli, each further level the
// products of pairs; an odd one goes up as it is.
func products(ctx context.Context, moduli []*big.Int) ([][]*big.Int, error) {
	tree := [][]*big.Int{moduli}
	for level := moduli; len(level) > 1; {
		next := make([]*big.Int, (len(level)+1)/2)
		err := each(ctx, len(next), func(i int) {
			if 2*i+1 == len(level) {
				next[i] = level[2*i]
				return
			}
			next[i] = new(big.Int).Mul(level[2*i], level[2*i+1])
		})
		if err != nil {
			return nil, err
		}
		tree = append(tree, next)
		level = next
	}
	return tree, nil
}

func root(tree [][]*big.Int) *big.Int { return tree[len(tree)-1][0] }

// descend carries the product of everything outside down to the leaves. It
// changes neither tree nor outside.
func descend(ctx context.Context, tree [][]*big.Int, outside *big.Int) ([]*big.Int, error) {
	above := []*big.Int{outside}
	for level := len(tree) - 2; level >= 0; level-- {
		nodes := tree[level]
		here := make([]*big.Int, len(nodes))
		err := each(ctx, len(nodes), func(i int) {
			r := new(big.Int).Mod(above[i/2], nodes[i])
			if sibling := i ^ 1; sibling < len(nodes) {
				r.Mul(r, new(big.Int).Mod(nodes[sibling], nodes[i]))
				r.Mod(r, nodes[i])
			}
			here[i] = r
		})
		if err != nil {
			return nil, err
		}
		above = here
	}
	return above, nil
}

// each calls fn for 0 to n-1, on as many processors as there are.
func each(ctx context.Context, n int, fn func(i int)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				fn(i)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// partners finds for each hit another modulus that it shares a factor with, which is
// a hit too. Hits are few: where they are not, everything is to be replaced, and the
// time that it takes to name the pairs matters little.
func partners(ctx context.Context, moduli []*big.Int, hits []Hit) ([]Hit, error) {
	indices := make([]int, len(hits))
	for i, h := range hits {
		indices[i] = h.Index
	}
	err := each(ctx, len(hits), func(i int) {
		h := &hits[i] // this goroutine's alone
		h.With = -1
		for _, other := range indices {
			if other == h.Index {
				continue
			}
			if g := new(big.Int).GCD(nil, nil, moduli[h.Index], moduli[other]); g.Cmp(one) != 0 {
				h.With, h.Factor = other, g
				return
			}
		}
	})
	return hits, err
}
