package auditortest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/book"
)

// ActsEach is how many acts FillHashes writes of each certificate: ordered, approved, begun,
// intended, issued, confirmed, and a log-in.
const ActsEach = 7

// FillIndex writes into an auditor's new book what it would have after n certificates, each
// with an order, two signatures, a download and a key; every twentieth is revoked. Nothing
// of it was in a log. It writes rows in the order of their keys, which is as fast as it can
// be and fills pages better than what comes in the order of a log.
func FillIndex(t testing.TB, dir string, n int) {
	t.Helper()
	b, err := book.Open(t.Context(), dir)
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "index.db")+"?_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=cache_size(-65536)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if err := errors.Join(fillRows(t.Context(), db, n), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// FillHashes writes the leaves of n certificates and of their acts into a book that has
// none, and says that they were followed.
func FillHashes(ctx context.Context, b *book.Book, n int) error {
	for tree, leaves := range map[string]int64{book.Certificates: int64(n), book.Acts: int64(n) * ActsEach} {
		const some = 1 << 14
		hashes := make([]tlog.Hash, some)
		for at := int64(0); at < leaves; at += some {
			for i := range hashes {
				binary.BigEndian.PutUint64(hashes[i][:], uint64(at)+uint64(i))
			}
			if err := b.PutHashes(tree, at, hashes[:min(some, leaves-at)]); err != nil {
				return err
			}
		}
		err := b.Update(ctx, func(tx *book.Tx) error {
			return tx.PutHead(tree, book.Head{Size: leaves, Done: leaves, Note: []byte("synthetic")})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fillRows writes the index, a table after the other.
func fillRows(ctx context.Context, db *sql.DB, n int) error {
	spread := func(i int) uint64 { return uint64(i) * (^uint64(0) / uint64(n)) } // over all keys, ascending
	octets := func(i, size int) []byte {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		binary.BigEndian.PutUint64(sum[:], spread(i))
		return sum[:size]
	}
	id := func(prefix string, i int) string { return fmt.Sprintf("%s_%016x%08x", prefix, spread(i), i) }
	card := func(i int) string { return fmt.Sprintf("9752%015d", spread(i)>>15) }
	for _, each := range []struct {
		query string
		row   func(i int) []any
	}{
		{`INSERT INTO certificates VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`, func(i int) []any {
			ended, at, reason := -1, 0, ""
			if i%20 == 0 {
				ended, at, reason = i*ActsEach+6, 1_700_000_000_000_000+i, "superseded"
			}
			return []any{octets(i, 16), "person-hsa-id-3-v1", "authentication", card(i), id("per", i), "org_0123456789abcdefghjkmnpq", id("ord", i), id("dl", i), octets(i, 32),
				"hsa-id", "3", "authentication", octets(i, 32), i*ActsEach + 3, 1_700_000_000_000_000 + i, i, i*ActsEach + 4, 1_700_000_000_000_000 + i, octets(i, 32), true,
				ended, at, reason, false, fmt.Sprintf("http://status.example/crl/person-hsa-id-3-v1/%d.crl", i%64), 4_000_000_000_000_000}
		}},
		{`INSERT INTO keys VALUES (?,?,?,?,?)`, func(i int) []any {
			return []any{octets(i, 32), octets(i, 16), card(i), id("dl", i), "authentication"}
		}},
		{`INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)`, func(i int) []any {
			return []any{id("ord", i), i * ActsEach, 1_700_000_000_000_000 + i, "ordinary", "org_0123456789abcdefghjkmnpq", card(i), id("per", i), "hsa-id", "3", octets(i, 32)}
		}},
		{`INSERT INTO approvals SELECT ?1, ?2, ?3, 'order.placed', ?4, ?5 UNION ALL SELECT ?1, ?6, ?3, 'order.approved', ?4 + 1, ?5`, func(i int) []any {
			return []any{id("ord", i), octets(i, 32), octets(1, 32), i * ActsEach, 1_700_000_000_000_000 + i, octets(i+n, 32)}
		}},
		{`INSERT INTO downloads VALUES (?,?,?,?,?,?)`, func(i int) []any {
			return []any{id("dl", i), id("ord", i), card(i), octets(i, 32), i*ActsEach + 2, ""}
		}},
	} {
		if err := fillTable(ctx, db, n, each.query, each.row); err != nil {
			return err
		}
	}
	return nil
}

func fillTable(ctx context.Context, db *sql.DB, n int, query string, row func(i int) []any) error {
	const together = 1 << 17
	for first := 0; first < n; first += together {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		s, err := tx.PrepareContext(ctx, query)
		for i := first; err == nil && i < min(n, first+together); i++ {
			_, err = s.ExecContext(ctx, row(i)...)
		}
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
