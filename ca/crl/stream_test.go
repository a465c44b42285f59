package crl_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca/crl"
	"sigill/internal/catest"
)

var oidNextPublish = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 4}

// linesOf encodes entries one by one, as they are revoked.
func linesOf(t testing.TB, entries []crl.Revoked) crl.Lines {
	t.Helper()
	var encoded [][]byte
	lines := crl.Lines{Count: len(entries)}
	for _, e := range entries {
		line, err := crl.EncodeRevoked(e)
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, line)
		lines.Octets += int64(len(line))
	}
	lines.Write = func(yield func([]byte) error) error {
		var memory []byte // the same for each: yield must not keep it
		for _, line := range encoded {
			memory = append(memory[:0], line...)
			if err := yield(memory); err != nil {
				return err
			}
			clear(memory)
		}
		return nil
	}
	return lines
}

// streamed is list, written by WriteCRL.
func streamed(t testing.TB, signer *crl.Signer, list crl.List) []byte {
	t.Helper()
	lines := linesOf(t, list.Entries)
	list.Entries = nil
	var out bytes.Buffer
	if err := signer.WriteCRL(&out, list, lines); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func crlSigner(t testing.TB, key crypto.Signer) *crl.Signer {
	t.Helper()
	signer, err := crl.NewSigner(catest.Issue(t, catest.CA("TEST Person HSA-id 3 CA v1"), nil, key.Public(), key), key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// readCRL reads all of der and returns its head and entries.
func readCRL(der []byte, issuer *x509.Certificate) (*crl.Head, []crl.Entry, error) {
	r, err := crl.NewReader(bytes.NewReader(der), issuer)
	if err != nil {
		return nil, nil, err
	}
	var entries []crl.Entry
	for r.Next() {
		entries = append(entries, r.Entry())
	}
	head, err := r.Finish()
	return head, entries, err
}

// What is written in a stream is read by the standard library and by CRLReader,
// for every algorithm and for every form of the lengths, and says what was asked.
func TestWriteCRL(t *testing.T) {
	for name, key := range catest.Keys(t) {
		t.Run(name, func(t *testing.T) {
			signer := crlSigner(t, key)
			for _, n := range []int{0, 1, 2, 3, 5, 40, 1400} { // lengths of one to three octets
				for _, url := range []string{statusURL, ""} {
					list := statusList(n)
					list.DistributionPoint = url
					if n%2 == 0 {
						list.NextPublish = catest.Time.Add(time.Hour)
					}
					der := streamed(t, signer, list)
					checkCRL(t, der, list, signer.Certificate())
					checkRead(t, der, list, signer.Certificate())
				}
			}
		})
	}
}

// checkRead holds what CRLReader makes of der against the list asked for.
func checkRead(t *testing.T, der []byte, want crl.List, issuer *x509.Certificate) {
	t.Helper()
	r, err := crl.NewReader(iotest.HalfReader(bytes.NewReader(der)), issuer)
	if err != nil {
		t.Fatal(err)
	}
	if !r.ThisUpdate().Equal(want.ThisUpdate) || !r.NextUpdate().Equal(want.NextUpdate) {
		t.Errorf("at first %v to %v", r.ThisUpdate(), r.NextUpdate())
	}
	if octets := linesOf(t, want.Entries).Octets; r.Octets() != octets {
		t.Errorf("entries are %d octets, want %d", r.Octets(), octets)
	}
	for i, e := range want.Entries {
		if !r.Next() {
			_, err := r.Finish()
			t.Fatalf("no entry %d: %v", i, err)
		}
		line, err := crl.EncodeRevoked(e)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Line(), line) || !bytes.Equal(r.Serial(), e.Serial[:]) {
			t.Fatalf("entry %d is %x, want %x", i, r.Line(), line)
		}
		if got := r.Entry(); got.Serial.Cmp(e.Serial.Int()) != 0 || !got.At.Equal(e.At) || got.Reason != e.Reason || got.Critical {
			t.Fatalf("entry %d is %+v, want %+v", i, got, e)
		}
		if at, reason := r.When(); !at.Equal(e.At) || reason != e.Reason {
			t.Fatalf("entry %d is of %v for %v, want %+v", i, at, reason, e)
		}
	}
	if r.Next() || r.Line() != nil || r.Serial() != nil || r.Entry().Serial != nil {
		t.Error("there is an entry more")
	}
	head, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Finish(); again != head || err != nil {
		t.Errorf("the second Finish says %v, %v", again, err)
	}
	if head.Number.Int64() != want.Number || !head.ThisUpdate.Equal(want.ThisUpdate) || !head.NextUpdate.Equal(want.NextUpdate) ||
		!head.NextPublish.Equal(want.NextPublish) || head.DistributionPoint != want.DistributionPoint {
		t.Errorf("head is %+v", head)
	}
	if !bytes.Equal(head.RawIssuer, issuer.RawSubject) || !bytes.Equal(head.AuthorityKeyID, issuer.SubjectKeyId) {
		t.Error("issuer is not named by name and key identifier")
	}
	if head.Entries != len(want.Entries) || head.Size != int64(len(der)) || head.SHA256 != sha256.Sum256(der) || !head.Sorted {
		t.Errorf("%d entries, %d octets, hash %x, sorted %v", head.Entries, head.Size, head.SHA256, head.Sorted)
	}
	if head.DeltaBase != nil || len(head.UnknownCritical) > 0 || head.CriticalEntries > 0 || head.Scope.Critical != (want.DistributionPoint != "") {
		t.Errorf("head is %+v", head)
	}
}

// An RSA signature is the same each time: the whole list is, octet for octet,
// what the standard library makes of the same content.
func TestWriteCRLAgainstX509(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer := crlSigner(t, key)
	for _, n := range []int{0, 3, 1400} {
		list := statusList(n)
		list.NextPublish = catest.Time.Add(time.Hour)
		idp := marshalIDP(list.DistributionPoint)
		template := &x509.RevocationList{Number: big.NewInt(list.Number), ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}
		template.ExtraExtensions = append(template.ExtraExtensions,
			catest.Extension(oidNextPublish, false, []byte("\x17\x0d"+list.NextPublish.Format("060102150405Z"))),
			catest.Extension(asn1.ObjectIdentifier{2, 5, 29, 28}, true, idp))
		for _, e := range list.Entries {
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: e.Serial.Int(), RevocationTime: e.At, ReasonCode: int(e.Reason)})
		}
		want, err := x509.CreateRevocationList(rand.Reader, template, signer.Certificate(), key)
		if err != nil {
			t.Fatal(err)
		}
		if got := streamed(t, signer, list); !bytes.Equal(got, want) {
			t.Errorf("%d entries: got\n%x\nwant\n%x", n, got[:min(len(got), 600)], want[:min(len(want), 600)])
		}
		if got, err := signer.SignCRL(list); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d entries: SignCRL makes another list (%v)", n, err)
		}
	}
}

func marshalIDP(url string) []byte {
	var b cryptobyte.Builder
	context0 := casn1.Tag(0).ContextSpecific().Constructed()
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(context0, func(b *cryptobyte.Builder) {
			b.AddASN1(context0, func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(url)) })
			})
		})
	})
	return b.BytesOrPanic()
}

// A sample is the list but for its signature, and is taken for one by nobody.
func TestSampleCRL(t *testing.T) {
	signer := crlSigner(t, catest.ECDSA(t, elliptic.P256()))
	for _, n := range []int{0, 3} {
		list := statusList(n)
		whole := streamed(t, signer, list)
		var lines [][]byte
		for _, e := range list.Entries {
			lines = append(lines, must(crl.EncodeRevoked(e)))
		}
		if _, err := signer.SampleCRL(list, lines); n > 0 && err == nil {
			t.Error("entries are taken twice")
		}
		list.Entries = nil
		sample, err := signer.SampleCRL(list, lines)
		if err != nil {
			t.Fatal(err)
		}
		want, err := x509.ParseRevocationList(whole)
		if err != nil {
			t.Fatal(err)
		}
		got, err := x509.ParseRevocationList(sample)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.RawTBSRevocationList, want.RawTBSRevocationList) || got.CheckSignatureFrom(signer.Certificate()) == nil {
			t.Errorf("%d entries: %x", n, sample)
		}
		if _, _, err := readCRL(sample, signer.Certificate()); err == nil {
			t.Error("a sample is read as a list")
		}
	}
}

// With ECDSA two lists of the same content differ in nothing but the signature,
// and not in length, which is written before anything is signed; and that costs
// hardly a signature more.
func TestWriteCRLLengthIsKnownBefore(t *testing.T) {
	for name, test := range map[string]struct {
		curve       elliptic.Curve
		lists, most int
	}{"P-256": {elliptic.P256(), 200, 220}, "P-384": {elliptic.P384(), 100, 120}, "P-521": {elliptic.P521(), 60, 120}} {
		key := &catest.CountingSigner{Signer: catest.ECDSA(t, test.curve)}
		signer := crlSigner(t, key)
		list := statusList(2)
		first := streamed(t, signer, list)
		parsed, err := x509.ParseRevocationList(first)
		if err != nil {
			t.Fatal(err)
		}
		key.N = 0
		for range test.lists {
			der := streamed(t, signer, list)
			if len(der) != len(first) || !bytes.Contains(der, parsed.RawTBSRevocationList) {
				t.Fatalf("%s: the list differs in more than the signature", name)
			}
			if _, _, err := readCRL(der, signer.Certificate()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if key.N > test.most {
			t.Errorf("%s: %d signatures for %d lists", name, key.N, test.lists)
		}
	}
}

func TestWriteCRLRefuses(t *testing.T) {
	signer := crlSigner(t, catest.ECDSA(t, elliptic.P256()))
	broken := errors.New("database away")
	entries := statusEntries(3)
	for name, test := range map[string]struct {
		spoil func(*crl.List, *crl.Lines)
		want  string
	}{
		"entries twice":            {func(c *crl.List, _ *crl.Lines) { c.Entries = entries }, "twice"},
		"number 0":                 {func(c *crl.List, _ *crl.Lines) { c.Number = 0 }, "numbers begin at 1"},
		"no validity":              {func(c *crl.List, _ *crl.Lines) { c.NextUpdate = c.ThisUpdate.Add(time.Millisecond) }, "is not after"},
		"next list before":         {func(c *crl.List, _ *crl.Lines) { c.NextPublish = c.ThisUpdate.Add(-time.Second) }, "not between"},
		"next list too late":       {func(c *crl.List, _ *crl.Lines) { c.NextPublish = c.NextUpdate.Add(time.Second) }, "not between"},
		"fewer than announced":     {func(_ *crl.List, l *crl.Lines) { l.Count++ }, "announced"},
		"more than announced":      {func(_ *crl.List, l *crl.Lines) { l.Count-- }, "announced"},
		"shorter than announced":   {func(_ *crl.List, l *crl.Lines) { l.Octets++ }, "announced"},
		"longer than announced":    {func(_ *crl.List, l *crl.Lines) { l.Octets-- }, "announced"},
		"octets without entries":   {func(_ *crl.List, l *crl.Lines) { l.Count = 0 }, "can't be"},
		"entries without octets":   {func(_ *crl.List, l *crl.Lines) { l.Octets = 0 }, "can't be"},
		"negative count":           {func(_ *crl.List, l *crl.Lines) { l.Count = -1 }, "can't be"},
		"too long":                 {func(_ *crl.List, l *crl.Lines) { l.Octets = crl.MaxOctets }, "long"},
		"an error of the caller's": {func(_ *crl.List, l *crl.Lines) { l.Write = func(func([]byte) error) error { return broken } }, broken.Error()},
		"an error kept to itself": {func(_ *crl.List, l *crl.Lines) {
			write := l.Write
			l.Write = func(yield func([]byte) error) error {
				yield([]byte{0x30, 0})
				write(yield)
				return nil
			}
		}, "no serial"},
		"not in order": {replaceLines(t, entries[1], entries[0], entries[2]), "not in order"},
		"serial twice": {replaceLines(t, entries[0], entries[0], entries[2]), "twice"},
		"not a line":   {rawLines([]byte{0x31, 0}), "not one SEQUENCE"},
		"two in one":   {rawLines(bytes.Repeat(must(crl.EncodeRevoked(entries[0])), 2)), "not one SEQUENCE"},
		"negative":     {rawLines([]byte{0x30, 3, 2, 1, 0x80}), "no serial"},
		"zero":         {rawLines([]byte{0x30, 4, 2, 2, 0, 1}), "no serial"},
		"21 octets":    {rawLines(append([]byte{0x30, 23, 2, 21, 1}, make([]byte, 20)...)), "no serial"},
	} {
		list, lines := statusList(0), linesOf(t, entries)
		test.spoil(&list, &lines)
		err := signer.WriteCRL(io.Discard, list, lines)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// What comes without end is stopped at the number announced, though it goes on
// after the refusal.
func TestWriteCRLStopsAtWhatWasAnnounced(t *testing.T) {
	signer := crlSigner(t, catest.ECDSA(t, elliptic.P256()))
	all := linesOf(t, statusEntries(10))
	lines := all
	lines.Count, lines.Octets = 5, all.Octets/10*5
	taken := 0
	lines.Write = func(yield func([]byte) error) error {
		return all.Write(func(line []byte) error {
			if yield(line) == nil {
				taken++
			}
			return nil
		})
	}
	if err := signer.WriteCRL(io.Discard, statusList(0), lines); err == nil || taken > 5 {
		t.Errorf("%d of 5 lines were taken: %v", taken, err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// replaceLines announces these entries as they are, whatever their order.
func replaceLines(t *testing.T, entries ...crl.Revoked) func(*crl.List, *crl.Lines) {
	return func(_ *crl.List, l *crl.Lines) { *l = linesOf(t, entries) }
}

func rawLines(lines ...[]byte) func(*crl.List, *crl.Lines) {
	return func(_ *crl.List, l *crl.Lines) {
		*l = crl.Lines{Count: len(lines), Octets: int64(len(slices.Concat(lines...))), Write: func(yield func([]byte) error) error {
			for _, line := range lines {
				if err := yield(line); err != nil {
					return err
				}
			}
			return nil
		}}
	}
}

// A writer that fails is told of, wherever it fails, and nothing is signed after.
func TestWriteCRLFullDisk(t *testing.T) {
	full := errors.New("no space left")
	key := &catest.CountingSigner{Signer: catest.ECDSA(t, elliptic.P256())}
	signer := crlSigner(t, key)
	key.N = 0
	whole := streamed(t, signer, statusList(3000))
	signatures := key.N
	if signatures == 0 {
		t.Fatal("signatures are not counted")
	}
	key.N = 0
	for _, room := range []int{0, 3, 5, 70000, len(whole) - 100} {
		list := statusList(3000)
		lines := linesOf(t, list.Entries)
		list.Entries = nil
		if err := signer.WriteCRL(&fullWriter{room, full}, list, lines); !errors.Is(err, full) {
			t.Errorf("with room for %d octets: %v", room, err)
		}
	}
	if key.N != 0 {
		t.Errorf("%d signatures over lists that were not written", key.N)
	}
}

type fullWriter struct {
	room int
	err  error
}

func (w *fullWriter) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, w.err
	}
	return len(b), nil
}
