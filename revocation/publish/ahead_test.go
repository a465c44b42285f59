package publish_test

import (
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// unnumbered commits a revocation that gets no number.
func (b *bench) unnumbered(e revocation.Entry) revocation.Entry {
	b.t.Helper()
	err := b.Update(b.t.Context(), func(tx *revocation.Tx) error {
		_, _, err := revocation.Revoke(tx, e)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

// While nothing is numbered, what is revoked comes on the list all the same, once; when
// numbers are given again, what has been on the list is not published for it again in
// another content.
func TestPublishWithoutNumbers(t *testing.T) {
	b := newBench(t)
	ahead := true
	b.p.Ahead = func() bool { return ahead }
	b.publish(revtest.Start, 2)
	loose := b.unnumbered(revtest.NewEntry(revtest.Person, 1, ca.KeyCompromise))
	b.publish(revtest.Start.Add(time.Minute), 1)
	if lists(b.public(1), loose.Serial) == nil {
		t.Fatal("what has no number is on no list")
	}
	b.publish(revtest.Start.Add(2*time.Minute), 0) // it is there
	other := b.unnumbered(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start.Add(3*time.Minute), 1)

	ahead = false
	b.Sequence()
	b.publish(revtest.Start.Add(4*time.Minute), 2)
	if lists(b.public(1), loose.Serial) == nil || lists(b.public(0), other.Serial) == nil {
		t.Error("what got its number has left its list")
	}
	b.publish(revtest.Start.Add(5*time.Minute), 0)
}

// A public list that is newer than the table is followed by one above it, if the ledger
// has what it says, and by none if not.
func TestPublishAboveWhatIsPublic(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	was, entries := b.Store.Published, len(b.Entries)
	kept := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	b.publish(revtest.Start.Add(time.Minute), 1)
	b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	b.publish(revtest.Start.Add(2*time.Minute), 1)
	public, all := b.number(1), b.Entries

	b.Store.Published, b.Entries = was, b.Entries[:entries] // restored
	b.restart()
	b.p.Ahead = func() bool { return true }
	if n, err := b.p.Publish(t.Context(), revtest.Start.Add(3*time.Minute)); err == nil || n != 0 && b.number(1) != public {
		t.Errorf("a list without what was public replaced it: %d, %v", n, err)
	}
	b.Entries = all // taken over
	b.restart()
	b.p.Ahead = func() bool { return true }
	if _, err := b.p.Publish(t.Context(), revtest.Start.Add(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if b.number(1) <= public || lists(b.public(1), kept.Serial) == nil {
		t.Errorf("number %d follows %d", b.number(1), public)
	}
}

// A number that is reserved is used up, and one below the newest changes nothing.
func TestReserve(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	list := revocation.List{Issuer: revtest.Person, Partition: 1}
	for _, number := range []int64{40, 7} {
		err := b.Update(t.Context(), func(tx *revocation.Tx) error { return publish.Reserve(tx, list, number, revtest.Start) })
		if err != nil {
			t.Fatal(err)
		}
	}
	b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	b.restart()
	b.publish(revtest.Start.Add(time.Minute), 1)
	if b.number(1) != 41 {
		t.Errorf("the list has number %d", b.number(1))
	}
}
