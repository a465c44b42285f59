package batchgcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"testing"
)

func prime(t testing.TB, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func modulus(t testing.TB) *big.Int {
	t.Helper()
	return new(big.Int).Mul(prime(t, 128), prime(t, 128))
}

// TestFindsPlantedPrimes: whatever the batches, the moduli that share a prime are
// found, within a batch and across, and no others.
func TestFindsPlantedPrimes(t *testing.T) {
	const n = 150
	p, q, r, s := prime(t, 128), prime(t, 128), prime(t, 128), prime(t, 128)
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
	moduli := make([]*big.Int, n)
	for i := range moduli {
		moduli[i] = modulus(t)
	}
	// 3 and 140 share p; 20 has both its primes in others (21: q, 99: r); 50 and
	// 51 are the same; 149, the last, shares s with 0, the first.
	moduli[3], moduli[140] = mul(p, prime(t, 128)), mul(p, prime(t, 128))
	moduli[20], moduli[21], moduli[99] = mul(q, r), mul(q, prime(t, 128)), mul(r, prime(t, 128))
	moduli[51] = moduli[50]
	moduli[0], moduli[149] = mul(s, prime(t, 128)), mul(s, prime(t, 128))
	want := []Hit{{0, 149, s}, {3, 140, p}, {20, 21, q}, {21, 20, q}, {50, 51, moduli[50]}, {51, 50, moduli[50]}, {99, 20, r}, {140, 3, p}, {149, 0, s}}
	for _, batch := range []int{1, 2, 3, 7, 16, 64, 149, 150, 151, 0} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			calls, last := 0, 0
			f := Finder{Batch: batch, Progress: func(done, total int) {
				calls++
				if done != calls || done > total {
					t.Errorf("progress %d of %d at call %d", done, total, calls)
				}
				last = total - done
			}}
			for _, m := range moduli {
				f.Add(m)
			}
			got, err := f.Find(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, want, func(a, b Hit) bool { return a.Index == b.Index && a.With == b.With && a.Factor.Cmp(b.Factor) == 0 }) {
				t.Errorf("got %v\nwant %v", got, want)
			}
			if last != 0 {
				t.Errorf("%d steps were announced and not made", last)
			}
		})
	}
}

func TestFindsNothingInSoundModuli(t *testing.T) {
	for _, n := range []int{0, 1, 2, 5, 33} {
		f := Finder{Batch: 4}
		for range n {
			f.Add(modulus(t))
		}
		if got, err := f.Find(t.Context()); err != nil || len(got) != 0 || f.Len() != n {
			t.Errorf("%d moduli: %v, %v", n, got, err)
		}
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := Finder{Batch: 8, Progress: func(done, total int) {
		if done == 3 {
			cancel()
		}
	}}
	for range 64 {
		f.Add(modulus(t))
	}
	if _, err := f.Find(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// almost returns n numbers of 2048 bits without factors below a million: as costly as
// moduli, and made in a moment. Few of them share a factor by chance.
func almost(n int) []*big.Int {
	const limit = 1 << 20
	base := new(big.Int).SetBit(new(big.Int), 2047, 1)
	base.Add(base, new(big.Int).SetBit(big.NewInt(1), 1000, 1))
	window := n * 60
	composite := make([]bool, window) // base + 2·i
	sieve := make([]bool, limit)
	rest := new(big.Int)
	for p := 3; p < limit; p += 2 {
		if sieve[p] {
			continue
		}
		for q := p * p; q < limit; q += 2 * p {
			sieve[q] = true
		}
		// base + 2·i ≡ 0 mod p
		m := int(rest.Mod(base, big.NewInt(int64(p))).Int64())
		i := (p - m) % p
		if i%2 == 1 {
			i += p
		}
		for i /= 2; i < window; i += p {
			composite[i] = true
		}
	}
	var out []*big.Int
	for i := 0; i < window && len(out) < n; i++ {
		if !composite[i] {
			out = append(out, new(big.Int).Add(base, big.NewInt(int64(2*i))))
		}
	}
	return out
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 30_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("takes minutes")
			}
			moduli := almost(n)
			if len(moduli) != n {
				b.Fatalf("only %d", len(moduli))
			}
			var peak uint64
			for b.Loop() {
				f := Finder{Progress: func(int, int) {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapInuse)
				}}
				for _, m := range moduli {
					f.Add(m)
				}
				hits, err := f.Find(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(hits)), "hits")
			}
			b.ReportMetric(float64(peak)/(1<<20), "MiB-heap")
		})
	}
}
