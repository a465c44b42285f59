package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"sigill/ca"
	"sigill/internal/store"
	"sigill/internal/store/storetest"
	"sigill/orders/download"
	"sigill/revocation"
	"sigill/revocation/status"
)

// A reading sees what is committed when it begins, whatever transactions are open,
// and neither the writer nor lists keep it waiting.
func TestStatusReader(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		r, err := db.StatusReader(2)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		issuer := storetest.Intent(1).Issuer
		ask := func(n byte, of ca.IssuerID) string {
			t.Helper()
			released, entry, err := r.Status(t.Context(), of, storetest.Serial(n))
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprint(released)
			if entry != nil {
				text += fmt.Sprintf(" %d %v %v", entry.Version, entry.Reason, entry.At.Equal(storetest.T0))
			}
			return text
		}
		update := func(fn func(*download.Tx) error) {
			t.Helper()
			if err := db.Downloads().Update(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		if got := ask(2, issuer); got != "false" {
			t.Errorf("never issued: %s", got)
		}
		update(func(tx *download.Tx) error {
			return errors.Join(tx.InsertIntent(storetest.Intent(1)), tx.InsertCertificate(storetest.Certificate(2)))
		})
		if got := ask(1, issuer) + ask(2, issuer) + ask(2, "other"); got != "falsetruefalse" {
			t.Errorf("open, released, another's: %s", got)
		}
		// Revoked within a transaction is not seen before its commit, and right after.
		update(func(tx *download.Tx) error {
			if err := tx.Revocations.InsertRevocation(storetest.Entry(2, 1)); err != nil {
				return err
			}
			if got := ask(2, issuer); got != "true" {
				t.Errorf("before the commit: %s", got)
			}
			return nil
		})
		if got := ask(2, issuer); got != "true 1 superseded true" {
			t.Errorf("after the commit: %s", got)
		}
		graver := storetest.Entry(2, 2)
		graver.Reason = ca.KeyCompromise
		update(func(tx *download.Tx) error { return tx.Revocations.InsertRevocation(graver) })
		if got := ask(2, issuer); got != "true 2 keyCompromise true" {
			t.Errorf("graver: %s", got)
		}
		// Views that take all of their connections are no reason to wait.
		held, let := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				err := db.Revocation().View(context.Background(), func(*revocation.Tx) error {
					held <- struct{}{}
					<-let
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		for range 4 {
			<-held
		}
		ask(2, issuer)
		close(let)
		wg.Wait()
	})
}

// It is used by many at once, and ends with Close.
func TestStatusReaderClosed(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		r, err := db.StatusReader(3)
		if err != nil {
			t.Fatal(err)
		}
		update := db.Downloads().Update
		if err := update(t.Context(), func(tx *download.Tx) error { return tx.InsertCertificate(storetest.Certificate(2)) }); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				for range 20 {
					if released, _, err := r.Status(context.Background(), storetest.Certificate(2).Issuer, storetest.Serial(2)); err != nil || !released {
						t.Errorf("%v, %v", released, err)
					}
				}
			})
		}
		wg.Wait()
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, _, err := r.Status(gone, "i", storetest.Serial(2)); err == nil {
			t.Error("read for who has gone")
		}
		if _, _, err := r.Status(t.Context(), storetest.Certificate(2).Issuer, storetest.Serial(2)); err != nil {
			t.Errorf("after one who has gone: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Status(t.Context(), "i", storetest.Serial(2)); err == nil {
			t.Error("read after Close")
		}
	})
}

// All released certificates come, page by page, by serial, with what OCSP says.
func TestReleasedAfter(t *testing.T) {
	both(t, func(t *testing.T, db *store.DB) {
		graver := storetest.Entry(4, 2)
		graver.Reason = ca.KeyCompromise
		err := db.Downloads().Update(t.Context(), func(tx *download.Tx) error {
			for n := byte(2); n < 9; n++ {
				if err := tx.InsertCertificate(storetest.Certificate(n)); err != nil {
					return err
				}
			}
			return errors.Join(tx.InsertIntent(storetest.Intent(1)), tx.Revocations.InsertRevocation(storetest.Entry(1, 1)),
				tx.Revocations.InsertRevocation(storetest.Entry(4, 1)), tx.Revocations.InsertRevocation(graver))
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []status.Released
		pages := 0
		for after := (ca.Serial{}); ; pages++ {
			page, err := db.ReleasedAfter(t.Context(), after, 3)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			after = page[len(page)-1].Serial
		}
		if len(got) != 7 || pages != 3 {
			t.Fatalf("%d in %d pages", len(got), pages)
		}
		for i, each := range got {
			c := storetest.Certificate(byte(i + 2))
			want := status.Released{Serial: c.Serial, Issuer: c.Issuer, NotAfter: c.NotAfter}
			if i == 2 {
				want.RevokedAt, want.Reason = graver.At, ca.KeyCompromise
			}
			if each != want {
				t.Errorf("%+v, want %+v", each, want)
			}
		}
	})
}
