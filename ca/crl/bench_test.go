package crl_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"runtime"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/catest"
)

// manyLines are the entries of a big list, made as they are asked for, as a
// database would give them: no list of them is in memory.
func manyLines(t testing.TB, n int) crl.Lines {
	t.Helper()
	first, err := crl.EncodeRevoked(manyEntry(0))
	if err != nil {
		t.Fatal(err)
	}
	return crl.Lines{Count: n, Octets: int64(n) * int64(len(first)), Write: func(yield func([]byte) error) error {
		line := bytes.Clone(first)
		for i := range n {
			binary.BigEndian.PutUint64(line[5:], uint64(i)) // within the serial
			if err := yield(line); err != nil {
				return err
			}
		}
		return nil
	}}
}

func manyEntry(i int) crl.Revoked {
	e := crl.Revoked{Serial: ca.Serial{0x40}, At: catest.Time, Reason: ca.KeyCompromise}
	binary.BigEndian.PutUint64(e.Serial[1:], uint64(i))
	return e
}

func manyCRL(t testing.TB, signer *crl.Signer, n int) []byte {
	t.Helper()
	lines := manyLines(t, n)
	out := bytes.NewBuffer(make([]byte, 0, lines.Octets+4096))
	if err := signer.WriteCRL(out, statusList(0), lines); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A list costs the same memory whether it has one entry or a hundred thousand,
// written or read: nothing is allocated for an entry.
func TestCRLMemory(t *testing.T) {
	signer := crlSigner(t, catest.ECDSA(t, elliptic.P256()))
	allocated := func(f func()) (octets, objects uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, after.Mallocs - before.Mallocs
	}
	for _, n := range []int{1, 100_000} {
		lines, der := manyLines(t, n), manyCRL(t, signer, n)
		octets, objects := allocated(func() {
			if err := signer.WriteCRL(io.Discard, statusList(0), lines); err != nil {
				t.Error(err)
			}
		})
		// The standard library's list of 100,000 entries allocates 100 MB in
		// 2 million objects.
		if octets > 512<<10 || objects > 2000 {
			t.Errorf("writing %d entries allocates %d octets in %d objects", n, octets, objects)
		}
		octets, objects = allocated(func() {
			r, err := crl.NewReader(bytes.NewReader(der), signer.Certificate())
			if err != nil {
				t.Error(err)
				return
			}
			for r.Next() {
				if at, reason := r.When(); len(r.Serial()) != 16 || len(r.Line()) != 49 || !at.Equal(catest.Time) || reason != ca.KeyCompromise {
					t.Errorf("an entry of %d octets, %d of them the serial's", len(r.Line()), len(r.Serial()))
				}
			}
			if head, err := r.Finish(); err != nil || head.Entries != n || !head.Sorted {
				t.Errorf("head %+v, %v", head, err)
			}
		})
		if octets > 512<<10 || objects > 2000 {
			t.Errorf("reading %d entries allocates %d octets in %d objects", n, octets, objects)
		}
	}
}

var crlSizes = []int{12_000, 1_000_000}

func BenchmarkWriteCRL(b *testing.B) {
	signer := crlSigner(b, catest.ECDSA(b, elliptic.P256()))
	for _, n := range crlSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			lines := manyLines(b, n)
			b.SetBytes(lines.Octets)
			b.ReportAllocs()
			for b.Loop() {
				if err := signer.WriteCRL(io.Discard, statusList(0), lines); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadCRL(b *testing.B) {
	signer := crlSigner(b, catest.ECDSA(b, elliptic.P256()))
	for _, n := range crlSizes {
		der := manyCRL(b, signer, n)
		for name, issuer := range map[string]*x509.Certificate{"verified": signer.Certificate(), "hash only": nil} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.SetBytes(int64(len(der)))
				b.ReportAllocs()
				for b.Loop() {
					r, err := crl.NewReader(bytes.NewReader(der), issuer)
					if err != nil {
						b.Fatal(err)
					}
					for r.Next() {
					}
					if _, err := r.Finish(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%d/ceiling: SHA-256 alone", n), func(b *testing.B) {
			b.SetBytes(int64(len(der)))
			for b.Loop() {
				sha256.Sum256(der)
			}
		})
	}
}

// BenchmarkCreateRevocationList is the standard library's way to the same list,
// for comparison.
func BenchmarkCreateRevocationList(b *testing.B) {
	key := catest.ECDSA(b, elliptic.P256())
	signer := crlSigner(b, key)
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: catest.Time, NextUpdate: catest.Time.Add(time.Hour)}
	for i := range 12_000 {
		e := manyEntry(i)
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: e.Serial.Int(), RevocationTime: e.At, ReasonCode: int(e.Reason)})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x509.CreateRevocationList(rand.Reader, template, signer.Certificate(), key); err != nil {
			b.Fatal(err)
		}
	}
}
