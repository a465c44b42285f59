package publish_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// withFull adds the full list to the publisher's.
func (b *bench) withFull() {
	b.p.Scopes = append(b.p.Scopes, publish.Scope{Issuer: revtest.Person, Partition: revocation.Whole, Signer: b.p.Scopes[0].Signer})
	if err := b.p.Check(); err != nil {
		b.t.Fatal(err)
	}
}

// linesOf are the entries of a public list, and whether they are what the ledger
// has for it.
func (b *bench) linesOf(partition int) (got, want []string) {
	b.t.Helper()
	f, err := os.Open(b.path(partition))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	r, err := crl.NewReader(f, b.issuer.Cert)
	if err != nil {
		b.t.Fatal(err)
	}
	for r.Next() {
		got = append(got, string(r.Line()))
	}
	if _, err := r.Finish(); err != nil {
		b.t.Fatal(err)
	}
	last, err := b.newest(partition)
	if err != nil {
		b.t.Fatal(err)
	}
	err = b.Store.View(b.t.Context(), func(tx *revocation.Tx) error {
		want = nil
		return tx.Lines(revocation.List{Issuer: revtest.Person, Partition: partition}, last.KeptFrom, func(line []byte) error {
			want = append(want, string(line))
			return nil
		})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return got, want
}

func (b *bench) newest(partition int) (last *revocation.Publication, err error) {
	list := revocation.List{Issuer: revtest.Person, Partition: partition}
	err = b.Store.View(b.t.Context(), func(tx *revocation.Tx) error {
		last, err = tx.NewestPublication(list.Issuer, list.Scope(), revocation.Published)
		return err
	})
	return last, err
}

// What revocations, graver reasons, expiries and restarts do to a list that is
// carried over from the one before is what the ledger says.
func TestListsCarriedOverAreTheLedgers(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newBench(t)
		b.withFull()
		now := revtest.Start
		var all []revocation.Entry
		pass := func() {
			if _, err := b.p.Publish(t.Context(), now); err != nil {
				r.Fatalf("Publish at %v: %v", now, err)
			}
		}
		pass()
		for range rapid.IntRange(3, 25).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"revoke", "revoke", "unnumbered", "graver", "expired", "short", "wait", "long", "restart", "publish"}).Draw(r, "step") {
			case "revoke":
				e := revtest.NewEntry(revtest.Person, rapid.IntRange(0, 1).Draw(r, "partition"), ca.Superseded)
				all = append(all, b.Revoke(e))
			case "unnumbered": // committed, and read before the sequencer has come by
				e := revtest.NewEntry(revtest.Person, 0, ca.Superseded)
				err := b.Update(t.Context(), func(tx *revocation.Tx) (err error) {
					e, _, err = revocation.Revoke(tx, e)
					return err
				})
				if err != nil {
					r.Fatal(err)
				}
				all = append(all, e)
			case "short": // ends while the lists go on
				e := revtest.NewEntry(revtest.Person, 0, ca.Superseded)
				e.NotAfter = now.Add(time.Duration(rapid.IntRange(1, 20).Draw(r, "hours")) * time.Hour)
				all = append(all, b.Revoke(e))
			case "expired": // revoked after its end
				e := revtest.NewEntry(revtest.Person, 1, ca.Superseded)
				e.NotAfter = now.Add(-time.Duration(rapid.IntRange(0, 40).Draw(r, "hours ago")) * time.Hour)
				all = append(all, b.Revoke(e))
			case "graver":
				if len(all) > 0 {
					e := rapid.SampledFrom(all).Draw(r, "which")
					e.Reason, e.Event = ca.KeyCompromise, "graver of "+e.Event
					if !slices.ContainsFunc(b.Entries, func(x revocation.Entry) bool { return x.Event == e.Event }) {
						b.Revoke(e)
					}
				}
			case "wait":
				now = now.Add(2 * time.Second)
			case "long":
				now = now.Add(time.Duration(rapid.IntRange(1, 14).Draw(r, "hours")) * time.Hour)
			case "restart":
				b.restart()
				b.withFull()
			case "publish":
				pass()
			}
		}
		b.Sequence()
		now = now.Add(2 * time.Hour)
		pass()
		for _, partition := range []int{0, 1, revocation.Whole} {
			if got, want := b.linesOf(partition); !slices.Equal(got, want) {
				r.Fatalf("partition %d has %d lines, the ledger %d, or others", partition, len(got), len(want))
			}
		}
	})
}

// A list in which little has changed is made from the public one: the ledger is not
// read for it.
func TestListIsCarriedOver(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	for range 50 {
		b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	}
	b.publish(revtest.Start.Add(time.Minute), 1)
	b.Read = 0
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.lint.seen = nil
	b.publish(revtest.Start.Add(2*time.Minute), 1)
	if b.Read != 0 {
		t.Errorf("the ledger's lines were read %d times", b.Read)
	}
	if len(b.lint.seen) != 1 || b.lint.seen[0] != e.Serial.Int().Text(16) {
		t.Errorf("the linter saw %v, want the new entry alone", b.lint.seen)
	}
	if list := b.public(0); len(list.RevokedCertificateEntries) != 51 {
		t.Errorf("%d entries", len(list.RevokedCertificateEntries))
	}
	// At half of its life a list is made from the ledger again.
	b.publish(revtest.Start.Add(13*time.Hour), 2)
	if b.Read != 4 { // two lists, and the store runs each closure twice
		t.Errorf("the ledger's lines were read %d times at half life", b.Read)
	}
}

// A list that was changed on disk, though its time and size stayed, is found out
// before anything is made of it.
func TestListIsNotCarriedOverFromAnother(t *testing.T) {
	b := newBench(t)
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start, 2)
	info, err := os.Stat(b.path(0))
	if err != nil {
		t.Fatal(err)
	}
	der := revtest.Read(t, b.path(0))
	i := bytes.Index(der, e.Serial[:])
	der[i+3] ^= 1
	b.putDER(der)
	if err := os.Chtimes(b.path(0), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	fresh := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	used := b.key.Used
	if _, err := b.p.Publish(t.Context(), revtest.Start.Add(time.Minute)); err == nil || !strings.Contains(err.Error(), "not the one that was published") {
		t.Errorf("a list was made of one that nobody signed: %v", err)
	}
	if b.key.Used != used {
		t.Error("who can write the directory got his list signed, though not published")
	}
	b.putDER(revtest.Read(t, b.path(0))) // touched: it is read whole, and is damaged
	_, err = b.p.Publish(t.Context(), revtest.Start.Add(3*time.Minute))
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Publish = %v", err)
	}
	if err := os.Remove(b.path(0)); err != nil {
		t.Fatal(err)
	}
	b.publish(revtest.Start.Add(6*time.Minute), 1)
	if list := b.public(0); lists(list, e.Serial) == nil || lists(list, fresh.Serial) == nil {
		t.Error("the list of the ledger does not come")
	}
}

// A list whose entries do not fit in memory goes through a file.
func TestListLargerThanMemory(t *testing.T) {
	b := newBench(t)
	for range 30_000 {
		e := revtest.NewEntry(revtest.Person, 0, ca.Superseded)
		e.Version = 1
		b.Entries = append(b.Entries, e)
	}
	b.Sequence()
	b.publish(revtest.Start, 2)
	if got, want := b.linesOf(0); len(got) != 30_000 || !slices.Equal(got, want) {
		t.Errorf("%d lines, want the ledger's %d", len(got), len(want))
	}
	names, err := os.ReadDir(filepath.Dir(b.path(0)))
	if err != nil || len(names) != 2 {
		t.Errorf("the directory holds %v, %v, want two lists", names, err)
	}
}

// The full list is issued by the clock, has everything, no scope, and its own
// numbers.
func TestFullList(t *testing.T) {
	b := newBench(t)
	b.withFull()
	b.publish(revtest.Start, 3)
	one, two := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded)), b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.KeyCompromise))
	b.publish(revtest.Start.Add(time.Minute), 2)
	if n := b.number(revocation.Whole); n != 1 {
		t.Errorf("number %d: a revocation issued the full list", n)
	}
	b.publish(revtest.Start.Add(time.Hour), 1)
	list := b.public(revocation.Whole)
	if list.Number.Int64() != 2 || lists(list, one.Serial) == nil || lists(list, two.Serial) == nil || len(list.RevokedCertificateEntries) != 2 {
		t.Errorf("number %v, entries %v", list.Number, list.RevokedCertificateEntries)
	}
	if url, err := crl.IssuingDistributionPoint(list); url != "" || err != nil {
		t.Errorf("it is for %q, %v", url, err)
	}
	if filepath.Base(b.path(revocation.Whole)) != "full.crl" {
		t.Errorf("it is at %s", b.path(revocation.Whole))
	}
}

// The lists of a closed issuer are issued once more and stay.
func TestLastList(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	b.p.Last = func(id ca.IssuerID) bool { return id == revtest.Person }
	b.publish(revtest.Start.Add(time.Minute), 2)
	if list := b.public(0); list.Number.Int64() != 2 || !list.NextUpdate.Equal(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)) {
		t.Errorf("number %v until %v", list.Number, list.NextUpdate)
	}
	b.publish(revtest.Start.AddDate(5, 0, 0), 0)
	b.restart()
	b.p.Last = func(ca.IssuerID) bool { return true }
	b.publish(revtest.Start.AddDate(5, 0, 0), 0)
	if err := os.Remove(b.path(0)); err != nil {
		t.Fatal(err)
	}
	b.publish(revtest.Start.AddDate(5, 0, 1), 1)
	if list := b.public(0); list.Number.Int64() != 3 || list.NextUpdate.Year() != 9999 {
		t.Errorf("put back: number %v until %v", list.Number, list.NextUpdate)
	}
}

// Windows is told when the next list will be there.
func TestAnnounceNext(t *testing.T) {
	b := newBench(t)
	b.p.AnnounceNext = true
	b.publish(revtest.Start, 2)
	f, err := os.Open(b.path(0))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := crl.NewReader(f, b.issuer.Cert)
	if err != nil {
		t.Fatal(err)
	}
	head, err := r.Finish()
	half := head.ThisUpdate.Add(head.NextUpdate.Sub(head.ThisUpdate) / 2).Truncate(time.Second)
	if err != nil || !head.NextPublish.Equal(half) {
		t.Errorf("next list at %v, want %v, %v", head.NextPublish, half, err)
	}
}

// One process leads; the next one goes on with the numbers of the one before.
func TestPublishLeader(t *testing.T) {
	b := newBench(t)
	leads, trouble := true, error(nil)
	b.p.Leader = func(context.Context) (bool, error) { return leads, trouble }
	b.publish(revtest.Start, 2)
	leads = false
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start.Add(time.Minute), 0)
	leads, trouble = false, errors.New("the database is gone")
	if _, err := b.p.Publish(t.Context(), revtest.Start.Add(time.Minute)); !errors.Is(err, trouble) {
		t.Errorf("Publish = %v", err)
	}
	other := &bench{t: t, Store: b.Store, issuer: b.issuer, key: b.key, dir: b.dir}
	other.restart()
	other.p.Leader = func(context.Context) (bool, error) { return true, nil }
	other.publish(revtest.Start.Add(2*time.Minute), 1)
	leads, trouble = true, nil
	b.publish(revtest.Start.Add(3*time.Minute), 0)
	b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start.Add(4*time.Minute), 1)
	if list := b.public(0); list.Number.Int64() != 3 || lists(list, e.Serial) == nil {
		t.Errorf("number %v, entries %v", list.Number, list.RevokedCertificateEntries)
	}
}

// What the linter refuses is not published.
func TestPublishLints(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.lint.refuses = e.Serial.Int().Text(16)
	_, err := b.p.Publish(t.Context(), revtest.Start.Add(time.Minute))
	if err == nil || !strings.Contains(err.Error(), "lint: it is refused") {
		t.Errorf("Publish = %v", err)
	}
	if b.number(0) != 1 {
		t.Error("it is public")
	}
	var list *x509.RevocationList = b.public(1)
	if list.Number.Int64() != 1 {
		t.Error("the other partition was issued for nothing")
	}
}

// A pipe in the place of a list is told, and not waited for.
func TestPublishMeetsAPipe(t *testing.T) {
	b := newBench(t)
	if err := os.MkdirAll(filepath.Dir(b.path(0)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("mkfifo", b.path(0)).Run(); err != nil {
		t.Skip("no pipes here")
	}
	n, err := b.p.Publish(t.Context(), revtest.Start)
	if n != 1 || err == nil || !strings.Contains(err.Error(), "no file that could be a list") {
		t.Errorf("Publish = %d, %v, want the other list published", n, err)
	}

	// It is tried again after a pause, and without one by who will not come again.
	if err := os.Remove(b.path(0)); err != nil {
		t.Fatal(err)
	}
	if n, err := b.p.Publish(t.Context(), revtest.Start); n != 0 || err == nil {
		t.Errorf("in the pause: Publish = %d, %v", n, err)
	}
	if n, err := b.p.PublishAtOnce(t.Context(), revtest.Start); n != 1 || err != nil {
		t.Errorf("PublishAtOnce = %d, %v", n, err)
	}
}

// A list that is read from the ledger has what is committed, numbered or not. When
// the number comes, the entry is on the list already: in the process that read it, and
// in the next one.
func TestListHasWhatHasNoNumberYet(t *testing.T) {
	for name, between := range map[string]func(*bench){"same process": func(*bench) {}, "restarted": (*bench).restart} {
		t.Run(name, func(t *testing.T) { hasWhatHasNoNumberYet(t, between) })
	}
}

func hasWhatHasNoNumberYet(t *testing.T, between func(*bench)) {
	b := newBench(t)
	unnumbered := func(e revocation.Entry) {
		err := b.Update(t.Context(), func(tx *revocation.Tx) error {
			_, _, err := revocation.Revoke(tx, e)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	one, ending := revtest.NewEntry(revtest.Person, 0, ca.Superseded), revtest.NewEntry(revtest.Person, 0, ca.Superseded)
	ending.NotAfter = revtest.Start.Add(-6 * time.Minute)
	unnumbered(one)
	unnumbered(ending)
	b.publish(revtest.Start, 2)
	if list := b.public(0); len(list.RevokedCertificateEntries) != 2 {
		t.Fatalf("%d entries", len(list.RevokedCertificateEntries))
	}
	between(b)
	b.Sequence()
	graver := one
	graver.Reason, graver.Event = ca.KeyCompromise, "graver"
	b.Revoke(graver)
	b.Read = 0
	b.publish(revtest.Start.Add(10*time.Minute), 1)
	if b.Read != 0 {
		t.Error("the ledger was read again")
	}
	if got, want := b.linesOf(0); len(got) != 1 || !slices.Equal(got, want) {
		t.Errorf("%d lines, the ledger has %d", len(got), len(want))
	}
	if got := lists(b.public(0), one.Serial); got == nil || got.ReasonCode != int(ca.KeyCompromise) {
		t.Errorf("entry %+v", got)
	}
}

// A backlog of revocations gets its numbers a part at a time, also while the process
// that read the list is followed by another.
func TestListBesideABacklog(t *testing.T) {
	for name, between := range map[string]func(*bench){"same process": func(*bench) {}, "restarted": (*bench).restart} {
		t.Run(name, func(t *testing.T) { besideABacklog(t, between) })
	}
}

func besideABacklog(t *testing.T, between func(*bench)) {
	b := newBench(t)
	for range 7 {
		e := revtest.NewEntry(revtest.Person, 0, ca.Superseded)
		e.Version = 1
		b.Entries = append(b.Entries, e)
	}
	b.publish(revtest.Start, 2) // has all seven, none has a number
	for i := range b.Entries {
		b.Head++
		b.Numbers[b.Entries[i].Event] = b.Head
		if i == 0 {
			between(b)
		}
		if i%2 == 0 {
			b.publish(revtest.Start.Add(time.Duration(i+1)*time.Minute), 1)
		}
	}
	b.Read = 0
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start.Add(time.Hour), 1)
	if got, want := b.linesOf(0); len(got) != 8 || !slices.Equal(got, want) || lists(b.public(0), e.Serial) == nil {
		t.Errorf("%d lines, the ledger has %d", len(got), len(want))
	}
}
