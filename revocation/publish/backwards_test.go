package publish_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// passTransactions are those of a pass in which one CRL is due: learn, reserve,
// read, finish.
const passTransactions = 4

// A step that is added to a pass must be added to the table of faults.
func TestPublishCountsTransactions(t *testing.T) {
	b := newBench(t)
	b.publish(revtest.Start, 2)
	b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
	was := b.Count
	b.publish(revtest.Start.Add(time.Minute), 1)
	if got := b.Count - was; got != passTransactions {
		t.Errorf("a pass with one CRL has %d transactions, the table of faults has %d", got, passTransactions)
	}
	was = b.Count
	b.publish(revtest.Start.Add(time.Minute), 0)
	if got := b.Count - was; got != 1 {
		t.Errorf("a pass with nothing due has %d transactions, want 1", got)
	}
}

// Every transaction of a pass × what can happen to it: the next pass, in the
// same process or another, ends right, and no number is public twice.
func TestPublishFaults(t *testing.T) {
	for at := 1; at <= passTransactions; at++ {
		for _, f := range []revtest.Fault{revtest.NotBegun, revtest.RolledBack, revtest.Lost} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %v restart %v", at, f, restart), func(t *testing.T) {
					b := newBench(t)
					b.publish(revtest.Start, 2)
					before := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.Superseded))
					b.publish(revtest.Start.Add(time.Minute), 1)
					e := b.Revoke(revtest.NewEntry(revtest.Person, 1, ca.KeyCompromise))
					public := b.number(1)
					b.At, b.Fault = b.Count+at, f
					if _, err := b.p.Publish(t.Context(), revtest.Start.Add(2*time.Minute)); !errors.Is(err, revtest.ErrFault) {
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
					if at == passTransactions && f == revtest.Lost {
						want = 0
					}
					if n, err := b.p.Publish(t.Context(), revtest.Start.Add(3*time.Minute)); err != nil || n != want {
						t.Fatalf("the next pass = %d, %v, want %d", n, err, want)
					}
					b.right(public, shown, before, e)
					b.publish(revtest.Start.Add(4*time.Minute), 0)
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
	for _, p := range b.Published {
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
	foreign := revtest.NewAuthority(t, revtest.Another, nil)
	stranger := crl.Revoked{Serial: ca.NewSerial(), At: revtest.Start, Reason: ca.Superseded}
	for name, test := range map[string]struct {
		spoil func(*bench)
		want  string
	}{
		"database restored": {func(b *bench) { b.Store.Published = b.Store.Published[:0] }, "the database is older than what relying parties have seen"},
		"file is newer": {func(b *bench) {
			b.put(crl.List{Number: 99, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 0)})
		}, "the database is older"},
		"number without bound": {func(b *bench) { b.putDER(b.hugeNumber()) }, "the database is older"},
		"unknown serial is public": {func(b *bench) {
			b.put(crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 0), Entries: []crl.Revoked{stranger}})
		}, "not known to the database"},
		"clock went back": {func(b *bench) {
			b.put(crl.List{Number: 1, ThisUpdate: revtest.Start.Add(time.Hour), NextUpdate: revtest.Start.Add(2 * time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 0)})
		}, "look at the clock"},
		"another partition's": {func(b *bench) {
			b.put(crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 1)})
		}, "it is the list of"},
		"another issuer's": {func(b *bench) {
			b.putDER(foreign.CRL(b.t, crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 0)}))
		}, "damaged or another issuer's"},
		"damaged": {func(b *bench) { b.putDER([]byte("oops")) }, "damaged or another issuer's"},
		"ledger lost an entry": {func(b *bench) {
			b.Store.Entries = nil
		}, "not known to the database"},
		"store leaves out a living certificate": {func(b *bench) {
			b.Store.Hidden = b.Store.Entries[0].Serial
		}, "not on a CRL after its end"},
		"date moved": {func(b *bench) {
			e := &b.Store.Entries[0]
			e.At = e.At.Add(-time.Minute)
			line, err := crl.EncodeRevoked(crl.Revoked{Serial: e.Serial, At: e.At, Reason: e.Reason})
			if err != nil {
				b.t.Fatal(err)
			}
			e.Line = line
		}, "the public CRL says"},
		"reason weakened": {func(b *bench) {
			e := &b.Store.Entries[0]
			line, err := crl.EncodeRevoked(crl.Revoked{Serial: e.Serial, At: e.At, Reason: ca.CessationOfOperation})
			if err != nil {
				b.t.Fatal(err)
			}
			e.Line = line
		}, "the public CRL says"},
		"numbers went back": {func(b *bench) { b.Store.Head = 0 }, "numbers have gone backwards"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
			b.publish(revtest.Start, 2)
			test.spoil(b)
			b.restart()
			was, err := os.ReadFile(b.path(0))
			if err != nil {
				t.Fatal(err)
			}
			// Half a life later everything is due.
			now := revtest.Start.Add(13 * time.Hour)
			if name == "clock went back" {
				now = revtest.Start.Add(time.Minute)
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
	list, err := x509.ParseRevocationList(b.issuer.CRL(b.t, crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour), DistributionPoint: revtest.URLOf(revtest.Person, 0)}))
	if err != nil {
		b.t.Fatal(err)
	}
	var scope []pkix.Extension
	for _, e := range list.Extensions {
		if e.Critical {
			scope = append(scope, e)
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{ExtraExtensions: scope,
		Number: new(big.Int).Lsh(big.NewInt(1), 150), ThisUpdate: revtest.Start, NextUpdate: revtest.Start.Add(time.Hour)}, b.issuer.Cert, b.issuer.Key)
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
func (b *bench) put(list crl.List) { b.putDER(b.issuer.CRL(b.t, list)) }

func (b *bench) putDER(der []byte) {
	b.t.Helper()
	if err := os.WriteFile(b.path(0), der, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// wrongSigner signs something else than it was asked for.
type wrongSigner struct {
	publish.CRLSigner
	change func(*crl.List, *crl.Lines)
}

func (w wrongSigner) WriteCRL(to io.Writer, list crl.List, lines crl.Lines) error {
	w.change(&list, &lines)
	return w.CRLSigner.WriteCRL(to, list, lines)
}

// A signer that signs another list than asked is found out before publication.
func TestPublishChecksWhatWasSigned(t *testing.T) {
	b := newBench(t)
	e := b.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	b.publish(revtest.Start, 2)
	foreign := revtest.NewAuthority(t, revtest.Another, nil)
	honest := b.p.Scopes[0].Signer
	now := revtest.Start.Add(13 * time.Hour)
	for name, change := range map[string]func(*crl.List, *crl.Lines){
		"another scope": func(l *crl.List, _ *crl.Lines) { l.DistributionPoint = revtest.URLOf(revtest.Person, 1) },
		"no scope":      func(l *crl.List, _ *crl.Lines) { l.DistributionPoint = "" },
		"other number":  func(l *crl.List, _ *crl.Lines) { l.Number++ },
		"longer life":   func(l *crl.List, _ *crl.Lines) { l.NextUpdate = l.NextUpdate.Add(time.Hour) },
		"an entry less": func(_ *crl.List, l *crl.Lines) { *l = crl.Lines{} },
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
	other, err := crl.NewSigner(foreign.Cert, foreign.Key)
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
	publish.CRLSigner
	other *crl.Signer
}

func (m mixedSigner) WriteCRL(w io.Writer, list crl.List, lines crl.Lines) error {
	return m.other.WriteCRL(w, list, lines)
}
