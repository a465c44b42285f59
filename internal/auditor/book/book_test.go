package book_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"sigill/internal/auditor/book"
	"sigill/internal/tiles"
)

func open(t testing.TB, dir string) *book.Book {
	t.Helper()
	b, err := book.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func update(t testing.TB, b *book.Book, fn func(*book.Tx) error) {
	t.Helper()
	if err := b.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateIsKept(t *testing.T) {
	b := open(t, t.TempDir())
	want := &book.Certificate{Serial: strings.Repeat("4f", 16), Issuer: "i", Profile: "p", Card: "c", Person: "per", Organisation: "o", Order: "ord", Download: "dl",
		Key: strings.Repeat("3f", 32), Kind: "k", LoA: "3", Slot: "s", Hash: strings.Repeat("0a", 32), Intent: 1, IntentAt: 2, Leaf: 3, Issued: 4, IssuedAt: 5,
		Fingerprint: strings.Repeat("3f", 32), Judged: true, Ended: 6, EndedAt: 7, Reason: "r", Abandoned: true, CRL: "http://x", NotAfter: 8}
	// What is no hexadecimal is kept as it was said.
	odd := &book.Certificate{Serial: "no serial", Key: "ABCD", Hash: "x", Leaf: book.None, Intent: book.None, Issued: book.None, Ended: book.None}
	update(t, b, func(tx *book.Tx) error { return errors.Join(tx.PutCertificate(want), tx.PutCertificate(odd)) })
	err := b.View(t.Context(), func(tx *book.Tx) error {
		for _, c := range []*book.Certificate{want, odd} {
			got, err := tx.Certificate(c.Serial)
			if err != nil || *got != *c {
				t.Errorf("got %+v, %v, want %+v", got, err, c)
			}
		}
		if got, err := tx.CertificateOf(want.Fingerprint); err != nil || got.Serial != want.Serial {
			t.Errorf("by fingerprint: %v, %v", got, err)
		}
		if _, err := tx.CertificateOf(""); !errors.Is(err, book.ErrNotFound) {
			t.Errorf("by no fingerprint: %v", err)
		}
		if all, err := tx.OfCard("c"); err != nil || len(all) != 1 {
			t.Errorf("of a card: %v, %v", all, err)
		}
		if all, err := tx.OfCard(""); err != nil || len(all) != 0 {
			t.Errorf("of no card: %v, %v", all, err)
		}
		if _, err := tx.Certificate("0"); !errors.Is(err, book.ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	b := open(t, t.TempDir())
	wrong := errors.New("wrong")
	err := b.Update(t.Context(), func(tx *book.Tx) error {
		if err := tx.PutMeta("a", "1"); err != nil {
			t.Error(err)
		}
		return wrong
	})
	if !errors.Is(err, wrong) {
		t.Errorf("Update = %v", err)
	}
	update(t, b, func(tx *book.Tx) error {
		if v, err := tx.Meta("a"); v != "" || err != nil {
			t.Errorf("what failed was kept: %q, %v", v, err)
		}
		return nil
	})
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if other, err := book.Open(t.Context(), dir); err == nil {
		other.Close()
		t.Error("a book was opened twice")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

// The hashes make the roots that a tree has, at every size; what no transaction covers is
// cut off.
func TestHashes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(0, 600).Draw(r, "n")
		committed := rapid.IntRange(0, n).Draw(r, "committed")
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		b := open(t, dir)
		var leaves, stored []tlog.Hash
		read := tlog.HashReaderFunc(func(i []int64) ([]tlog.Hash, error) {
			var out []tlog.Hash
			for _, n := range i {
				out = append(out, stored[n])
			}
			return out, nil
		})
		for i := range n {
			leaf := tlog.Hash(sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
			more, err := tlog.StoredHashesForRecordHash(int64(i), leaf, read)
			if err != nil {
				r.Fatal(err)
			}
			leaves, stored = append(leaves, leaf), append(stored, more...)
		}
		cut := rapid.IntRange(0, n).Draw(r, "cut")
		for _, part := range [][2]int{{0, cut}, {cut, n}} {
			if err := b.PutHashes(book.Acts, int64(part[0]), leaves[part[0]:part[1]]); err != nil {
				r.Fatal(err)
			}
		}
		size := rapid.IntRange(0, committed).Draw(r, "size")
		want, err := tlog.TreeHash(int64(size), read)
		if err != nil {
			r.Fatal(err)
		}
		update(t, b, func(tx *book.Tx) error {
			return tx.PutHead(book.Acts, book.Head{Note: []byte("x"), Size: int64(n), Done: int64(committed)})
		})
		if err := b.Close(); err != nil {
			r.Fatal(err)
		}
		b = open(t, dir)
		if got, err := b.Root(t.Context(), book.Acts, int64(size)); err != nil || got != want {
			r.Errorf("root at %d: %v, %v, want %v", size, got, err, want)
		}
		if committed < n {
			if _, err := b.Hash(book.Acts, int64(committed)); err == nil {
				r.Error("a hash that no transaction covers was kept")
			}
		}
		if err := b.Close(); err != nil {
			r.Fatal(err)
		}
	})
}

func TestFileOfHashesThatIsShort(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if err := b.PutHashes(book.Acts, 0, make([]tlog.Hash, 4)); err != nil {
		t.Fatal(err)
	}
	update(t, b, func(tx *book.Tx) error { return tx.PutHead(book.Acts, book.Head{Note: []byte("x"), Size: 4, Done: 4}) })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "acts.hashes"), 100); err != nil {
		t.Fatal(err)
	}
	if b, err := book.Open(t.Context(), dir); err == nil {
		b.Close()
		t.Error("a book that lost hashes was opened")
	}
}

func TestErasuresCoverNoMoreThanTheySay(t *testing.T) {
	b := open(t, t.TempDir())
	update(t, b, func(tx *book.Tx) error {
		return errors.Join(tx.PutErasure(book.Erasure{Tree: book.Acts, First: 0, Last: 9, Count: 2, Through: 50, Number: 100}),
			tx.PutErasure(book.Erasure{Tree: book.Acts, First: 5, Last: 20, Count: 1, Through: 50, Number: 101}))
	})
	var got []int64
	for _, n := range []int64{2, 3, 7, 8, 9, 21} {
		update(t, b, func(tx *book.Tx) error {
			after := int64(50)
			if n == 2 {
				after++ // newer than what was erased
			}
			ok, err := tx.TakeErasure(book.Acts, n, after)
			if ok {
				got = append(got, n)
			}
			return err
		})
	}
	if !slices.Equal(got, []int64{3, 7, 8}) {
		t.Errorf("covered: %v", got)
	}
}

func TestEvidenceIsNeverOverwritten(t *testing.T) {
	b := open(t, t.TempDir())
	for _, text := range []string{"one", "two"} {
		path, err := b.SaveEvidence("a/b", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "one" {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// A root is computed from where the last one was, not from the beginning: what lies before
// is not read again. Smaller trees have their roots all the same.
func TestRootGoesOn(t *testing.T) {
	const n, step = 150_000, 1 << 16
	dir := t.TempDir()
	b := open(t, dir)
	leaves := make([]tlog.Hash, n)
	for i := range leaves {
		leaves[i] = sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	m := tiles.Memory{}
	want := map[int64]tlog.Hash{}
	for _, size := range []int64{1, 255, step - 1, step, step + 1, 2*step - 1, 2 * step, n - 7, n} {
		if have, err := tiles.Size(m, "acts"); err != nil {
			t.Fatal(err)
		} else if _, err := tiles.Append(m, "acts", leaves[have:size]); err != nil {
			t.Fatal(err)
		}
		root, err := tiles.Root(m, "acts", size)
		if err != nil {
			t.Fatal(err)
		}
		want[size] = root
	}
	if err := b.PutHashes(book.Acts, 0, leaves); err != nil {
		t.Fatal(err)
	}
	update(t, b, func(tx *book.Tx) error { return tx.PutHead(book.Acts, book.Head{Note: []byte("x"), Size: n, Done: n}) })
	holds := func(b *book.Book, sizes ...int64) {
		t.Helper()
		for _, size := range sizes {
			if got, err := b.Root(t.Context(), book.Acts, size); err != nil || got != want[size] {
				t.Errorf("root at %d: %v, %v, want %v", size, got, err, want[size])
			}
		}
	}
	holds(b, n-7, 1, 255, step-1, step, step+1, 2*step-1, 2*step, n, n)
	if err := b.PutHashes(book.Acts, 0, make([]tlog.Hash, 2*step)); err != nil {
		t.Fatal(err)
	}
	holds(b, 2*step, n-7, n)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	holds(open(t, dir), 2*step, n)
}

// What is asked for at each entry, whatever else the book has, is found by an index.
func TestNothingIsSearchedThrough(t *testing.T) {
	b := open(t, t.TempDir())
	for _, query := range b.Plans(t.Context(), t) {
		if strings.Contains(query, "SCAN certificates") || strings.Contains(query, "SCAN orders") || strings.Contains(query, "SCAN open") ||
			strings.Contains(query, "SCAN keys") || strings.Contains(query, "SCAN approvals") || strings.Contains(query, "SCAN downloads") ||
			strings.Contains(query, "SCAN roles") || strings.Contains(query, "SCAN erasures") {
			t.Error(query)
		}
	}
}
