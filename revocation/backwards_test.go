package revocation_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/revocation"
)

// passTransactions are those of a pass in which one CRL is due: learn, reserve,
// read, finish.
const passTransactions = 4

// A step that is added to a pass must be added to the table of faults.
func TestPublishCountsTransactions(t *testing.T) {
	b := newBench(t)
	b.publish(start, 2)
	b.revoke(newEntry(person, 1, ca.Superseded))
	was := b.count
	b.publish(start.Add(time.Minute), 1)
	if got := b.count - was; got != passTransactions {
		t.Errorf("a pass with one CRL has %d transactions, the table of faults has %d", got, passTransactions)
	}
	was = b.count
	b.publish(start.Add(time.Minute), 0)
	if got := b.count - was; got != 1 {
		t.Errorf("a pass with nothing due has %d transactions, want 1", got)
	}
}

// Every transaction of a pass × what can happen to it: the next pass, in the
// same process or another, ends right, and no number is public twice.
func TestPublishFaults(t *testing.T) {
	for at := 1; at <= passTransactions; at++ {
		for _, f := range []fault{notBegun, rolledBack, lost} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %v restart %v", at, f, restart), func(t *testing.T) {
					b := newBench(t)
					b.publish(start, 2)
					before := b.revoke(newEntry(person, 1, ca.Superseded))
					b.publish(start.Add(time.Minute), 1)
					e := b.revoke(newEntry(person, 1, ca.KeyCompromise))
					public := b.number(1)
					b.at, b.fault = b.count+at, f
					if _, err := b.p.Publish(t.Context(), start.Add(2*time.Minute)); !errors.Is(err, errFault) {
						t.Fatalf("the fault does not show: %v", err)
					}
					shown := lists(b.public(1), e.Serial) != nil
					if wantShown := at == passTransactions; shown != wantShown {
						t.Errorf("the revocation is public = %v, want %v", shown, wantShown)
					}
					if now := b.number(1); now < public || now == public && shown {
						t.Fatalf("the public number went from %d to %d", public, now)
					} else {
						public = now
					}
					if restart {
						b.restart()
					}
					// What was recorded though the answer was lost is not done again.
					want := 1
					if at == passTransactions && f == lost {
						want = 0
					}
					if n, err := b.p.Publish(t.Context(), start.Add(3*time.Minute)); err != nil || n != want {
						t.Fatalf("the next pass = %d, %v, want %d", n, err, want)
					}
					b.right(public, shown, before, e)
					b.publish(start.Add(4*time.Minute), 0)
				})
			}
		}
	}
}

// right asserts the end of a fault: the entries are public, the number is above
// any that was public, the table and the file agree.
func (b *bench) right(was int64, shown bool, entries ...revocation.Entry) {
	b.t.Helper()
	list := b.public(1)
	for _, e := range entries {
		if lists(list, e.Serial) == nil {
			b.t.Errorf("%s is not on the CRL", e.Serial)
		}
	}
	if n := list.Number.Int64(); n < was || n == was && !shown {
		b.t.Errorf("number %d after %d", n, was)
	}
	der, err := os.ReadFile(b.path(1))
	if err != nil {
		b.t.Fatal(err)
	}
	var newest revocation.Publication
	for _, p := range b.published {
		if p.Scope == "1" && p.State == revocation.Published && p.Number > newest.Number {
			newest = p
		}
	}
	if newest.Number != list.Number.Int64() || !bytes.Equal(newest.SHA256[:], sum(der)) {
		b.t.Errorf("the table says %d, the file %v", newest.Number, list.Number)
	}
}

// Each row is a state in which a CRL must not be published over the public one.
func TestPublishRefusesToGoBack(t *testing.T) {
	foreign := newAuthority(t, another, nil)
	stranger := ca.Revoked{Serial: ca.NewSerial(), At: start, Reason: ca.Superseded}
	for name, test := range map[string]struct {
		spoil func(*bench)
		want  string
	}{
		"database restored": {func(b *bench) { b.fakeStore.published = b.fakeStore.published[:0] }, "the database is older than what relying parties have seen"},
		"file is newer": {func(b *bench) {
			b.put(ca.CRL{Number: 99, ThisUpdate: start, NextUpdate: start.Add(time.Hour), DistributionPoint: urlOf(person, 0)})
		}, "the database is older"},
		"number without bound": {func(b *bench) { b.putDER(b.hugeNumber()) }, "the database is older"},
		"unknown serial is public": {func(b *bench) {
			b.put(ca.CRL{Number: 1, ThisUpdate: start, NextUpdate: start.Add(time.Hour), DistributionPoint: urlOf(person, 0), Entries: []ca.Revoked{stranger}})
		}, "not known to the database"},
		"clock went back": {func(b *bench) {
			b.put(ca.CRL{Number: 1, ThisUpdate: start.Add(time.Hour), NextUpdate: start.Add(2 * time.Hour), DistributionPoint: urlOf(person, 0)})
		}, "look at the clock"},
		"another issuer's": {func(b *bench) {
			b.putDER(foreign.crl(b.t, ca.CRL{Number: 1, ThisUpdate: start, NextUpdate: start.Add(time.Hour), DistributionPoint: urlOf(person, 0)}))
		}, "damaged or another issuer's"},
		"damaged": {func(b *bench) { b.putDER([]byte("oops")) }, "damaged or another issuer's"},
		"ledger lost an entry": {func(b *bench) {
			b.fakeStore.entries = nil
		}, "not known to the database"},
		"store leaves out a living certificate": {func(b *bench) {
			b.fakeStore.hidden = b.fakeStore.entries[0].Serial
		}, "not on a CRL after its end"},
		"numbers went back": {func(b *bench) { b.fakeStore.head = 0 }, "numbers have gone backwards"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.revoke(newEntry(person, 0, ca.Superseded))
			b.publish(start, 2)
			test.spoil(b)
			b.restart()
			was, err := os.ReadFile(b.path(0))
			if err != nil {
				t.Fatal(err)
			}
			// Half a life later everything is due.
			now := start.Add(13 * time.Hour)
			if name == "clock went back" {
				now = start.Add(time.Minute)
			}
			_, err = b.p.Publish(t.Context(), now)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Publish = %v, want %q", err, test.want)
			}
			got, err := os.ReadFile(b.path(0))
			if err != nil || !bytes.Equal(was, got) {
				t.Errorf("the public file was changed, %v", err)
			}
		})
	}
}

// hugeNumber is a CRL with a number of 20 octets, the most there can be.
func (b *bench) hugeNumber() []byte {
	b.t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: new(big.Int).Lsh(big.NewInt(1), 150), ThisUpdate: start, NextUpdate: start.Add(time.Hour)}, b.issuer.cert, b.issuer.key)
	if err != nil {
		b.t.Fatal(err)
	}
	return der
}

func sum(der []byte) []byte {
	h := sha256.Sum256(der)
	return h[:]
}

// put replaces the file of partition 0 behind the publisher's back.
func (b *bench) put(list ca.CRL) { b.putDER(b.issuer.crl(b.t, list)) }

func (b *bench) putDER(der []byte) {
	b.t.Helper()
	if err := os.WriteFile(b.path(0), der, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// wrongSigner signs something else than it was asked for.
type wrongSigner struct {
	revocation.CRLSigner
	change func(*ca.CRL)
}

func (w wrongSigner) SignCRL(list ca.CRL) ([]byte, error) {
	w.change(&list)
	return w.CRLSigner.SignCRL(list)
}

// A signer that signs another list than asked is found out before publication.
func TestPublishChecksWhatWasSigned(t *testing.T) {
	b := newBench(t)
	e := b.revoke(newEntry(person, 0, ca.Superseded))
	b.publish(start, 2)
	foreign := newAuthority(t, another, nil)
	honest := b.p.Scopes[0].Signer
	now := start.Add(13 * time.Hour)
	for name, change := range map[string]func(*ca.CRL){
		"another scope": func(l *ca.CRL) { l.DistributionPoint = urlOf(person, 1) },
		"no scope":      func(l *ca.CRL) { l.DistributionPoint = "" },
		"other number":  func(l *ca.CRL) { l.Number++ },
		"longer life":   func(l *ca.CRL) { l.NextUpdate = l.NextUpdate.Add(time.Hour) },
		"an entry less": func(l *ca.CRL) { l.Entries = nil },
	} {
		b.p.Scopes[0].Signer = wrongSigner{honest, change}
		now = now.Add(2 * time.Minute) // past every pause
		if _, err := b.p.Publish(t.Context(), now); err == nil || !strings.Contains(err.Error(), "is not published") {
			t.Errorf("%s: %v", name, err)
		}
		if list := b.public(0); list.Number.Int64() != 1 || lists(list, e.Serial) == nil {
			t.Errorf("%s: it is public", name)
		}
	}
	other, err := ca.NewCRLSigner(foreign.cert, foreign.key)
	if err != nil {
		t.Fatal(err)
	}
	b.p.Scopes[0].Signer = mixedSigner{honest, other}
	if _, err := b.p.Publish(t.Context(), now.Add(2*time.Minute)); err == nil || !strings.Contains(err.Error(), "is not published") {
		t.Error("a list of another key was published")
	}
}

// mixedSigner has one issuer's certificate and another's key.
type mixedSigner struct {
	revocation.CRLSigner
	other *ca.CRLSigner
}

func (m mixedSigner) SignCRL(list ca.CRL) ([]byte, error) { return m.other.SignCRL(list) }
