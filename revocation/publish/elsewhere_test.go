package publish_test

import (
	"context"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
)

// A machine that was restored with its disks, database and public lists alike, knows by
// what was brought elsewhere that relying parties have seen more.
func TestPublishAfterARestore(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	was := b.Store.Published
	b.publish(revtest.Start.Add(13*time.Hour), 2)
	seen := big.NewInt(b.number(0))
	b.Store.Published = was
	b.put(crl.List{Number: 1, ThisUpdate: revtest.Start.Add(-5 * time.Minute), NextUpdate: revtest.Start.Add(24 * time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 0)})
	if err := os.Remove(b.path(1)); err != nil {
		t.Fatal(err)
	}
	b.restart()
	asked := 0
	b.p.Elsewhere = func(_ context.Context, list revocation.List) *big.Int {
		asked++
		if list.Partition == 0 {
			return seen
		}
		return nil // it does not answer
	}
	now := revtest.Start.Add(14 * time.Hour)
	n, err := b.p.Publish(t.Context(), now)
	if n != 1 || err == nil || !strings.Contains(err.Error(), "the database is older than what relying parties have seen") {
		t.Errorf("Publish = %d, %v", n, err)
	}
	if b.number(0) != 1 {
		t.Errorf("number %d is public", b.number(0))
	}
	// It is asked again only for the list in trouble.
	if _, err := b.p.Publish(t.Context(), now.Add(13*time.Hour)); err == nil || asked != 3 {
		t.Errorf("asked %d times, want 3, %v", asked, err)
	}
}
