package checkpoint

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// fixed returns a log and a witness that are the same in each of the processes that fuzz.
func fixed(t testing.TB) (*Log, *ecdsa.PrivateKey, *Cosigner) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLog("test.example/log", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	s, err := NewCosigner(secretKey(witnessOf("w.example", private), private))
	if err != nil {
		t.Fatal(err)
	}
	return l, key, s
}

// FuzzOpen: a note that opens is the one that [Log.Sign] would have written with the same
// signatures, and its tree head is the same.
func FuzzOpen(f *testing.F) {
	l, key, s := fixed(f)
	known := []Witness{s.Witness()}
	text := sign(f, l, key, 7, tlog.RecordHash(nil))
	f.Add(text)
	f.Add(join(text, cosign(f, s, l, text, noon)))
	f.Add([]byte("test.example/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— test.example/log AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := l.Open(text)
		_, seen, errWitnessed := l.Witnessed(text, known)
		if err != nil {
			if errWitnessed == nil {
				t.Fatalf("witnessed %v, and not open: %v", seen, err)
			}
			return
		}
		if !bytes.HasPrefix(text, []byte(c.Body()+"\n— ")) || len(text) > MaxNote {
			t.Fatalf("opened as %+v:\n%s", c, text)
		}
		if sth, err := l.TreeHead(text); err != nil || int64(sth.TreeSize) != c.Size || tlog.Hash(sth.SHA256RootHash) != c.Root ||
			int64(sth.Timestamp) != c.Time.UnixMilli() {
			t.Fatalf("tree head %+v, %v of %+v", sth, err, c)
		}
		bare, err := l.Bare(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.Open(bare); err != nil || got != c {
			t.Fatalf("bare: %+v, %v, want %+v", got, err, c)
		}
	})
}

// FuzzParseProof: what is read as a proof is written the same, and nothing that did not
// come from the log verifies.
func FuzzParseProof(f *testing.F) {
	l, key, _ := fixed(f)
	m := growTo(f, 9)
	for _, index := range []int64{0, 4, 8} {
		f.Add(Proof{Index: index, Hashes: m.path(f, 9, index), Note: sign(f, l, key, 9, m.at(f, 9).Root)}.Text())
	}
	f.Add(Proof{}.Text())
	other, _ := newLog(f, "test.example/log")
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProof(text)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Text(), text) || len(p.Hashes) > MaxHashes || p.Index < 0 || len(p.Note) > MaxNote {
			t.Fatalf("read %+v", p)
		}
		if c, _, err := p.Verify(other, tlog.RecordHash([]byte("leaf 0")), nil); err == nil {
			t.Fatalf("verified under a key that signed nothing: %+v", c)
		}
		if c, _, err := p.Verify(l, tlog.RecordHash([]byte("leaf 0")), nil); err == nil && (c.Body() != m.at(t, 9).Body() || p.Index != 0) {
			t.Fatalf("verified leaf 0 at %d in %+v", p.Index, c)
		}
	})
}
