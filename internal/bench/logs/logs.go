// Package logs measures the transparency logs: how fast leaves are numbered durably, how
// long a proof takes in a large tree, and what a leaf costs on the disk. It uses the real
// sequencer, trees and store and changes nothing in them.
package logs

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/bench/figure"
	"sigill/internal/store"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/internal/world"
	"sigill/orders/issue"
)

const (
	quickLeaves = 50_000
	quickTree   = 10_000_000
	// atOnce is how many leaves one pass finds, as many as there are callers at the most.
	atOnce = 64
	// grownAtOnce is how many leaves a transaction adds while a large tree is made.
	grownAtOnce = 1 << 16
	proofs      = 2000
)

// Benchmarks returns the benchmarks of the logs.
func Benchmarks() []figure.Benchmark {
	return []figure.Benchmark{
		{Name: "log_leaves", Help: "leaves of certificates numbered, in the tree and under a signed head, durably", Run: sequenced},
		{Name: "log_proof_p99_ms", Help: "proofs of inclusion and consistency in a log of ten million leaves", Run: proved},
	}
}

// bed is a database with logs.
type bed struct {
	db        *store.DB
	dir       string
	sequencer *audit.Sequencer
	logs      *translog.Service
}

func newBed(ctx context.Context, c figure.Config) (*bed, error) {
	dir, err := os.MkdirTemp(c.Dir, "sigill-bench-")
	if err != nil {
		return nil, err
	}
	b := &bed{dir: dir}
	if b.db, err = world.OpenStore(ctx, dir); err == nil {
		b.sequencer, b.logs, err = world.NewLog(b.db.Audit(), b.db.Translog(), time.Now, 0)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bed) close() {
	if b.db != nil {
		b.db.Close()
	}
	os.RemoveAll(b.dir)
}

// octets is what the database takes on the disk.
func (b *bed) octets() (int64, error) {
	total := int64(0)
	for _, name := range []string{"sigill.db", "sigill.db-wal"} {
		info, err := os.Stat(filepath.Join(b.dir, name))
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

func leafOf(i int64) tlog.Hash {
	return tlog.RecordHash(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// record writes n intents with leaves, each with nothing but what the log needs.
func (b *bed) record(ctx context.Context, from, n int) error {
	return b.db.Issue().Update(ctx, func(tx *issue.Tx) error {
		for i := from; i < from+n; i++ {
			in := &issue.Intent{State: issue.IntentOpen, Owner: "proc_bench", RecordedAt: time.Now(), Deadline: time.Now()}
			in.Intent = ca.Intent{Issuer: "bench", Profile: "bench", NotBefore: time.Now(), NotAfter: time.Now(), TBS: []byte{0}}
			binary.BigEndian.PutUint64(in.Serial[8:], uint64(i))
			in.Serial[0] = 0x40
			in.Key = ca.KeyFingerprint(leafOf(int64(i)))
			in.Leaf = ca.LogLeaf{Hash: leafOf(int64(i)), Time: time.Now().Truncate(time.Millisecond)}
			if err := tx.InsertIntent(in); err != nil {
				return err
			}
		}
		return nil
	})
}

// sequenced: a pass at a time, as many leaves in each as there are callers, until each is
// under a stored head; and in passes of a thousand, as when there is a backlog.
func sequenced(ctx context.Context, c figure.Config, emit func(figure.Figure)) error {
	b, err := newBed(ctx, c)
	if err != nil {
		return err
	}
	defer b.close()
	n := c.Many(quickLeaves)
	c.Progress("%d leaves, %d a pass", n/5, atOnce)
	few, err := b.timed(ctx, 0, n/5, atOnce)
	if err != nil {
		return err
	}
	c.Progress("%d leaves, 1000 a pass", n)
	many, err := b.timed(ctx, n/5, n, 1000)
	if err != nil {
		return err
	}
	ceiling, err := b.bare(ctx, n/5)
	if err != nil {
		return err
	}
	emit(figure.More("log_leaves", few, "1/s", ceiling, fmt.Sprintf("%d leaves of certificates, %d a pass: numbered, in the tree and under a signed head, two durable commits and two signatures a pass; %.0f/s in passes of 1000; ceiling: as many rows inserted, %d a durable commit", n/5, atOnce, many, atOnce)))
	return nil
}

// timed records leaves and numbers them, and returns how many a second were numbered.
func (b *bed) timed(ctx context.Context, from, n, batch int) (float64, error) {
	var took time.Duration
	for i := 0; i < n; i += batch {
		if err := b.record(ctx, from+i, min(batch, n-i)); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := b.sequencer.CatchUp(ctx); err != nil {
			return 0, err
		}
		took += time.Since(began)
	}
	return float64(n) / took.Seconds(), nil
}

// bare inserts rows of events, as many a commit as a pass has leaves.
func (b *bed) bare(ctx context.Context, n int) (float64, error) {
	began := time.Now()
	for i := 0; i < n; i += atOnce {
		err := b.db.Issue().Update(ctx, func(tx *issue.Tx) error {
			for range min(atOnce, n-i) {
				ev := issue.NewEvent(audit.OrderExpired, time.Now(), "system", issue.F("order", "ord_0"), issue.F("card", "0"))
				if err := tx.Events.Append(ev); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// grow makes a tree of n leaves.
func (b *bed) grow(ctx context.Context, c figure.Config, n int64) error {
	c.Progress("growing a tree of %d leaves", n)
	told := time.Now()
	for at := int64(0); at < n; at += grownAtOnce {
		leaves := make([]tlog.Hash, min(grownAtOnce, n-at))
		for i := range leaves {
			leaves[i] = leafOf(at + int64(i))
		}
		err := b.db.Translog().Update(ctx, func(tx *translog.Tx) error {
			_, err := tiles.Append(tx, audit.CertificateTree, leaves)
			return err
		})
		if err != nil {
			return err
		}
		if time.Since(told) > 10*time.Second {
			c.Progress("%d of %d leaves", at, n)
			told = time.Now()
		}
	}
	return b.logs.Heads(ctx)
}

func proved(ctx context.Context, c figure.Config, emit func(figure.Figure)) error {
	b, err := newBed(ctx, c)
	if err != nil {
		return err
	}
	defer b.close()
	n := int64(quickTree)
	if c.Amount > 0 {
		n = int64(c.Amount)
	}
	empty, err := b.octets()
	if err != nil {
		return err
	}
	if err := b.grow(ctx, c, n); err != nil {
		return err
	}
	full, err := b.octets()
	if err != nil {
		return err
	}
	m, err := b.measure(ctx, n)
	if err != nil {
		return err
	}
	emit(figure.Less("log_proof_p99_ms", figure.Percentile(m.inclusion, 0.99), "ms", figure.Percentile(m.tile, 0.99),
		fmt.Sprintf("%d proofs of inclusion at random places of %d leaves, under the signed head, which is verified each time: median %.2f ms, %d hashes, %d octets as text with the head; consistency with a random earlier size: median %.2f, p99 %.2f ms; ceiling: reading one tile, p99",
			proofs, n, figure.Percentile(m.inclusion, 0.5), m.hashes, m.octets, figure.Percentile(m.consistency, 0.5), figure.Percentile(m.consistency, 0.99))))
	emit(figure.Less("log_octets_per_leaf", float64(full-empty)/float64(n), "octets", tlog.HashSize,
		fmt.Sprintf("of the tree's tiles in the database, %d leaves; the row of a certificate's leaf and its indices come on top; ceiling: its hash", n)))
	return nil
}

type measured struct {
	inclusion, consistency, tile []time.Duration
	hashes, octets               int
}

func (b *bed) measure(ctx context.Context, n int64) (*measured, error) {
	m := &measured{}
	random := rand.New(rand.NewPCG(1, 2))
	timed := func(to *[]time.Duration, fn func() error) error {
		began := time.Now()
		err := fn()
		*to = append(*to, time.Since(began))
		return err
	}
	head, err := b.logs.Head(ctx, audit.CertificateTree)
	if err != nil {
		return nil, err
	}
	for range proofs {
		at := random.Int64N(n)
		err := timed(&m.inclusion, func() error {
			text, err := b.logs.Proof(ctx, audit.CertificateTree, at)
			m.octets = max(m.octets, len(text))
			return err
		})
		if err != nil {
			return nil, err
		}
		hashes, err := b.logs.Inclusion(ctx, audit.CertificateTree, at, n)
		if err != nil {
			return nil, err
		}
		m.hashes = max(m.hashes, len(hashes))
		if err := tlog.CheckRecord(hashes, n, head.Root, at, leafOf(at)); err != nil {
			return nil, err
		}
		if err := timed(&m.consistency, func() error { _, err := b.logs.Consistency(ctx, audit.CertificateTree, at+1, n); return err }); err != nil {
			return nil, err
		}
		err = timed(&m.tile, func() error {
			return b.db.Translog().View(ctx, func(tx *translog.Tx) error {
				_, err := tx.Tile(audit.CertificateTree, 0, at/tiles.Width)
				return err
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}
