package checkpoint

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func newLog(t testing.TB, origin string) (*Log, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLog(origin, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return l, key
}

func TestSignOpen(t *testing.T) {
	l, key := newLog(t, "test.example/log/acts")
	other, _ := newLog(t, "test.example/log/acts")
	root := tlog.RecordHash([]byte("leaf"))
	at := time.Date(2026, 11, 23, 7, 0, 0, 123e6, time.UTC)
	text, err := l.Sign(key, 1, root, at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Open(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Checkpoint{"test.example/log/acts", 1, root, at}); c != want {
		t.Errorf("opened %+v, want %+v", c, want)
	}
	sth, err := l.TreeHead(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Signatures().VerifySTHSignature(*sth); err != nil || sth.TreeSize != 1 || tlog.Hash(sth.SHA256RootHash) != root {
		t.Errorf("tree head %+v: %v", sth, err)
	}
	if _, err := other.Open(text); err == nil {
		t.Error("another key of the same name opened it")
	}
	if bad, err := l.Sign(mustKey(t), 1, root, at); err == nil {
		t.Errorf("another key signed for the log: %s", bad)
	}
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	_, key := newLog(t, "x")
	return key
}

// A note is refused after any change of an octet: in the body by the signature, in the
// signature line by its form or by the signature.
func TestOpenEveryOctet(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	text, err := l.Sign(key, 7, tlog.RecordHash(nil), time.UnixMilli(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1
		if c, err := l.Open(bad); err == nil {
			t.Fatalf("octet %d changed: opened %+v", i, c)
		}
	}
}

// Whoever knows the log's name can write its key hash before a signature that is cut off
// anywhere: that is refused and nothing else happens.
func TestShortSignature(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	text, err := l.Sign(key, 7, tlog.RecordHash(nil), time.UnixMilli(1))
	if err != nil {
		t.Fatal(err)
	}
	body, line, _ := strings.Cut(string(text), "\n\n")
	encoded := strings.TrimSuffix(strings.TrimPrefix(line, "— test.example/log "), "\n")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for n := 4; n < len(raw); n++ {
		bad := body + "\n\n— test.example/log " + base64.StdEncoding.EncodeToString(raw[:n]) + "\n"
		if _, err := l.Open([]byte(bad)); err == nil {
			t.Fatalf("opened with %d octets", n)
		}
		if _, err := l.TreeHead([]byte(bad)); err == nil {
			t.Fatalf("tree head with %d octets", n)
		}
	}
}

// The library that reads tree heads takes other hashes and octets behind the signature.
func TestTreeHeadHasOneText(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	c := Checkpoint{Origin: "test.example/log", Size: 7, Root: tlog.RecordHash(nil)}
	sth := ct.SignedTreeHead{TreeSize: 7, Timestamp: 1, SHA256RootHash: ct.SHA256Hash(c.Root)}
	input, err := ct.SerializeSTHSignatureInput(sth)
	if err != nil {
		t.Fatal(err)
	}
	note := func(hash tls.HashAlgorithm, digest, behind []byte) []byte {
		signature, err := ecdsa.SignASN1(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		sth.TreeHeadSignature = ct.DigitallySigned{Algorithm: tls.SignatureAndHashAlgorithm{Hash: hash, Signature: tls.ECDSA}, Signature: append(signature, behind...)}
		if err := l.Signatures().VerifySTHSignature(sth); err != nil {
			t.Fatalf("the library is stricter than it was: %v", err)
		}
		signed, err := tls.Marshal(sth.TreeHeadSignature)
		if err != nil {
			t.Fatal(err)
		}
		raw := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, l.KeyHash()), 1)
		return []byte(c.Body() + "\n— test.example/log " + base64.StdEncoding.EncodeToString(append(raw, signed...)) + "\n")
	}
	sum, weak := sha256.Sum256(input), sha1.Sum(input)
	if _, err := l.Open(note(tls.SHA256, sum[:], nil)); err != nil {
		t.Error(err)
	}
	if _, err := l.Open(note(tls.SHA256, sum[:], []byte{0})); !errors.Is(err, ErrSignature) {
		t.Errorf("an octet behind it: %v", err)
	}
	if _, err := l.Open(note(tls.SHA1, weak[:], nil)); !errors.Is(err, ErrSignature) {
		t.Errorf("by SHA-1: %v", err)
	}
}

func TestParseBody(t *testing.T) {
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	empty := Checkpoint{Origin: "o", Root: EmptyRoot()}
	if c, err := parseBody(empty.Body()); err != nil || c != empty {
		t.Errorf("empty tree: %+v, %v", c, err)
	}
	for _, bad := range []string{"", "o\n1\n" + root, "o\n01\n" + root + "\n", "o\n-1\n" + root + "\n", "o\n+1\n" + root + "\n",
		"o\n1\n" + root + "\nextension\n", "o\n1\n" + root[1:] + "\n", "o\n0\n" + root + "\n", "o\n999999999999999999\n" + root + "\n"} {
		if c, err := parseBody(bad); err == nil {
			t.Errorf("%q: read as %+v", bad, c)
		}
	}
}

func TestReadLog(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: l.SPKI()})
	got, err := ReadLog("test.example/log", text)
	if err != nil || got.KeyHash() != l.KeyHash() {
		t.Errorf("%v, %v", got, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "DER": l.SPKI(), "two keys": append(text, text...), "cut off": text[:len(text)/2],
		"a private key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"no key":        pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: private})} {
		if _, err := ReadLog("test.example/log", bad); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestNewLogRefuses(t *testing.T) {
	for _, origin := range []string{"", "a b", "a+b", "a\nb", strings.Repeat("a", 256)} {
		if _, err := NewLog(origin, mustKey(t).Public()); err == nil {
			t.Errorf("origin %q was taken", origin)
		}
	}
	if _, err := NewLog("o", nil); err == nil {
		t.Error("no key was taken")
	}
}

var _ note.Verifier = (*Log)(nil)

// What was verified is remembered by its octets: another text is verified anew, whatever
// was opened before it, and what was refused is refused again.
func TestOpenRemembersTheText(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	var notes [][]byte
	for i := range int64(5) {
		text, err := l.Sign(key, i+1, tlog.RecordHash([]byte{byte(i)}), time.UnixMilli(i))
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, text)
	}
	for range 3 {
		for i, text := range notes {
			if c, err := l.Open(text); err != nil || c.Size != int64(i)+1 || c.Root != tlog.RecordHash([]byte{byte(i)}) {
				t.Errorf("note %d opened as %+v: %v", i, c, err)
			}
			bad := bytes.Replace(text, []byte("\n"+string('1'+byte(i))+"\n"), []byte("\n9\n"), 1)
			for range 2 {
				if c, err := l.Open(bad); err == nil {
					t.Errorf("another size was opened as %+v", c)
				}
			}
		}
	}
}
