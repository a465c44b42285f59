package checkpoint

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// noon is when tests sign.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newCosigner(t testing.TB, name string) *Cosigner {
	t.Helper()
	skey, err := GenerateCosigner(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewCosigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, l *Log, key *ecdsa.PrivateKey, size int64, root tlog.Hash) []byte {
	t.Helper()
	text, err := l.Sign(key, size, root, noon)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func cosign(t testing.TB, s *Cosigner, l *Log, text []byte, at time.Time) []byte {
	t.Helper()
	c, err := l.Open(text)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := s.Cosign(c, at)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestWitnessed(t *testing.T) {
	l, key := newLog(t, "test.example/log/acts")
	a, b, c := newCosigner(t, "a.example"), newCosigner(t, "b.example"), newCosigner(t, "c.example")
	known := []Witness{b.Witness(), a.Witness()}
	text := sign(t, l, key, 1, tlog.RecordHash([]byte("leaf")))
	other := sign(t, l, key, 2, tlog.RecordHash([]byte("leaf")))
	byA, byB, byC := cosign(t, a, l, text, noon), cosign(t, b, l, text, noon.Add(time.Second)), cosign(t, c, l, text, noon)
	ofA, ofB := Cosignature{"a.example", noon}, Cosignature{"b.example", noon.Add(time.Second)}
	_, own, _ := bytes.Cut(text, []byte("\n\n"))
	body := text[:len(text)-len(own)]

	for _, test := range []struct {
		name string
		text []byte
		want []Cosignature
		err  error
	}{
		{"nobody", text, nil, nil},
		{"one", join(text, byA), []Cosignature{ofA}, nil},
		{"both, in the order of who asks", join(text, byA, byB), []Cosignature{ofB, ofA}, nil},
		{"before the log", join(body, byA, byB, own), []Cosignature{ofB, ofA}, nil},
		{"who is not known is skipped", join(text, byC, byB), []Cosignature{ofB}, nil},
		{"not the log", join(body, byA, byB), nil, ErrSignature},
		{"nobody known", join(body, byC), nil, ErrSignature},
		{"of another checkpoint", join(text, cosign(t, a, l, other, noon)), nil, ErrSignature},
	} {
		got, seen, err := l.Witnessed(test.text, known)
		if !errors.Is(err, test.err) || !reflect.DeepEqual(seen, test.want) {
			t.Errorf("%s: %v, %v, want %v, %v", test.name, seen, err, test.want, test.err)
		}
		if want := (Checkpoint{"test.example/log/acts", 1, tlog.RecordHash([]byte("leaf")), noon}); err == nil && got != want {
			t.Errorf("%s: checkpoint %+v", test.name, got)
		}
	}
	for _, twice := range [][]byte{join(text, byA, byA), join(text, byC, byC), join(text, byA, cosign(t, a, l, text, noon.Add(time.Hour)))} {
		if _, _, err := l.Witnessed(twice, known); err == nil {
			t.Errorf("a key that signed twice was taken:\n%s", twice)
		}
	}
}

// A witness whose key was changed is one witness still, and one key under two names
// would be two.
func TestWitnessesAreCountedOnce(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	before, after := newCosigner(t, "w.example"), newCosigner(t, "w.example")
	text := sign(t, l, key, 1, tlog.RecordHash(nil))
	text = join(text, cosign(t, before, l, text, noon), cosign(t, after, l, text, noon.Add(time.Minute)))
	_, seen, err := l.Witnessed(text, []Witness{before.Witness(), after.Witness(), after.Witness()})
	if want := []Cosignature{{"w.example", noon.Add(time.Minute)}}; err != nil || !reflect.DeepEqual(seen, want) {
		t.Errorf("%v, %v, want %v", seen, err, want)
	}

	w := before.Witness()
	key4 := append([]byte{cosignatureV1}, w.key[:]...)
	alias, err := NewWitness(fmt.Sprintf("alias.example+%08x+%s", keyHash("alias.example", key4), base64.StdEncoding.EncodeToString(key4)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Witnessed(text, []Witness{w, alias}); err == nil || !strings.Contains(err.Error(), "count as two") {
		t.Errorf("one key under two names: %v", err)
	}
}

// What transparency-dev/formats v0.1.1 makes of this key at that second, ours does, to the
// octet; and what it made verifies.
func TestCosignatureOfOthers(t *testing.T) {
	const (
		skey = "PRIVATE+KEY+witness.example/w1+aa4a09d1+BAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"
		vkey = "witness.example/w1+aa4a09d1+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
		line = "— witness.example/w1 qkoJ0QAAAABrA+XjfAUxrHR4WIOXtLL0YzqpTcpbFq2hRcfVNb+HRkTvklngZk6bBhSNHLQMKYLcjUKvSaLqTsbz1/+A4LD11q9KCw==\n"
	)
	at := time.Unix(1795417571, 0)
	empty := Checkpoint{Origin: "test.example/log", Root: EmptyRoot()}
	s, err := NewCosigner(skey)
	if err != nil || s.Witness().String() != vkey {
		t.Fatalf("%v, %v", s, err)
	}
	if ours, err := s.Cosign(empty, at); err != nil || string(ours) != line {
		t.Errorf("ours is\n%s%v", ours, err)
	}
	w, err := NewWitness(vkey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(empty.Body()+"\n"+line), note.VerifierList(w))
	if err != nil {
		t.Fatalf("theirs does not verify: %v", err)
	}
	if got, err := cosignedAt(n.Sigs[0]); err != nil || !got.Equal(at) {
		t.Errorf("of %v, %v", got, err)
	}
}

func TestWitnessKeys(t *testing.T) {
	w := newCosigner(t, "witness.example/w1").Witness()
	vkey := w.String()
	if got, err := NewWitness(vkey); err != nil || got != w {
		t.Errorf("%s: %v, %v", vkey, got, err)
	}
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	typed := func(kind byte, key []byte) string {
		key = append([]byte{kind}, key...)
		return fmt.Sprintf("%s+%08x+%s", name, keyHash(name, key), base64.StdEncoding.EncodeToString(key))
	}
	for _, bad := range []string{"", "+", name, name + "+" + hash, name + "+" + hash + "+", "x" + vkey, vkey + "\n", vkey + "=",
		name + "+00000000+" + encoded, name + "+" + strings.ToUpper(hash) + "A+" + encoded, "a b+" + hash + "+" + encoded,
		typed(1, key[1:]), typed(6, key[1:]), typed(4, key[2:]), typed(4, key), typed(4, nil)} {
		if got, err := NewWitness(bad); err == nil {
			t.Errorf("%q was taken as %v", bad, got)
		}
	}
}

func TestCosignerKeys(t *testing.T) {
	skey, err := GenerateCosigner("w.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewCosigner(skey)
	if err != nil || s.Witness().Name() != "w.example" {
		t.Fatalf("%v, %v", s, err)
	}
	secret := skey[strings.LastIndex(skey[:len("PRIVATE+KEY+w.example+01234567+")], "+")+1:]
	for _, bad := range []string{"", "PRIVATE+KEY+", strings.Replace(skey, "w.example", "v.example", 1), skey[:len(skey)-4], skey + "\n",
		"PRIVATE+KEY+w.example+" + secret} {
		if _, err := NewCosigner(bad); err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	for _, bad := range []string{"", "a b", "a+b", "a\nb", "a\u00a0b", "a\x01b", "a\xffb", strings.Repeat("a", 256)} {
		if _, err := GenerateCosigner(bad); err == nil {
			t.Errorf("a key for %q was made", bad)
		}
	}
	l, key := newLog(t, "test.example/log")
	c, err := l.Open(sign(t, l, key, 1, tlog.RecordHash(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cosign(c, time.Unix(-1, 0)); err == nil {
		t.Error("signed before time began")
	}
	c.Size = 0 // and not the root of an empty tree
	if _, err := s.Cosign(c, noon); err == nil {
		t.Error("signed what is no checkpoint")
	}
}

// A cosignature is refused after any change of an octet, and cut off anywhere.
func TestCosignatureEveryOctet(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	s := newCosigner(t, "w.example")
	text := sign(t, l, key, 7, tlog.RecordHash(nil))
	encoded := strings.TrimSuffix(strings.TrimPrefix(string(cosign(t, s, l, text, noon)), "— w.example "), "\n")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	try := func(raw []byte) ([]Cosignature, error) {
		line := "— w.example " + base64.StdEncoding.EncodeToString(raw) + "\n"
		_, seen, err := l.Witnessed(join(text, []byte(line)), []Witness{s.Witness()})
		return seen, err
	}
	if seen, err := try(raw); err != nil || len(seen) != 1 {
		t.Fatalf("unchanged: %v, %v", seen, err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		// Another key's hash makes it another's signature.
		if seen, err := try(bad); len(seen) > 0 || err == nil && i >= keyHashOctets {
			t.Fatalf("octet %d changed: %v, %v", i, seen, err)
		}
	}
	for n := range raw {
		if seen, err := try(raw[:n]); err == nil {
			t.Fatalf("with %d octets: %v", n, seen)
		}
	}
	// Signed by the witness itself, at no time that there is.
	body, _, _ := strings.Cut(string(text), "\n\n")
	binary.BigEndian.PutUint64(raw[keyHashOctets:], 1<<63)
	copy(raw[keyHashOctets+timeOctets:], ed25519.Sign(s.key, cosigned(1<<63, body+"\n")))
	if seen, err := try(raw); err == nil {
		t.Fatalf("of no time: %v", seen)
	}
}

// The last characters of base64 can hold bits that nobody reads: one signature would have
// several texts.
func TestNotesHaveOneText(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	a, b := newCosigner(t, "a.example"), newCosigner(t, "b.example")
	text := sign(t, l, key, 7, tlog.RecordHash(nil))
	// 76 octets: two padding characters, four unread bits.
	byA := cosign(t, a, l, text, noon)
	i := bytes.Index(byA, []byte("==")) - 1
	if i < 0 {
		t.Fatalf("no padding in %s", byA)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	byA[i] = alphabet[strings.IndexByte(alphabet, byA[i])+1]
	for _, known := range [][]Witness{nil, {b.Witness()}, {a.Witness()}} {
		if _, seen, err := l.Witnessed(join(text, byA), known); err == nil || !strings.Contains(err.Error(), "canonical") {
			t.Errorf("%v: %v, %v", known, seen, err)
		}
	}
}

func TestNotesHaveLimits(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	text := sign(t, l, key, 7, tlog.RecordHash(nil))
	for range maxSignatures - 1 {
		text = join(text, cosign(t, newCosigner(t, "w.example"), l, text, noon))
	}
	if _, err := l.Open(text); err != nil {
		t.Errorf("with as many signatures as may be: %v", err)
	}
	s := newCosigner(t, "w.example")
	line := cosign(t, s, l, text, noon)
	if _, err := l.Open(join(text, line)); err == nil {
		t.Error("opened with one more")
	}
	if _, err := l.Merge(text, line, []Witness{s.Witness()}); err == nil {
		t.Error("merged one more")
	}
	large := join(sign(t, l, key, 7, tlog.RecordHash(nil)), []byte("— "+strings.Repeat("w", MaxNote)+" AAAAAAAA\n"))
	if _, err := l.Open(large); err == nil || !strings.Contains(err.Error(), "octets") {
		t.Errorf("opened %d octets: %v", len(large), err)
	}
}

func TestMerge(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	a, b, c := newCosigner(t, "a.example"), newCosigner(t, "b.example"), newCosigner(t, "c.example")
	all := []Witness{a.Witness(), b.Witness()}
	text := sign(t, l, key, 7, tlog.RecordHash(nil))
	byA, byB, byC := cosign(t, a, l, text, noon), cosign(t, b, l, text, noon), cosign(t, c, l, text, noon)
	later := cosign(t, a, l, text, noon.Add(time.Hour))
	for _, test := range []struct {
		name        string
		text, lines []byte
		witnesses   []Witness
		want        []byte
	}{
		{"one", text, byA, all, join(text, byA)},
		{"both", text, join(byB, byA), all, join(text, byB, byA)},
		{"a second", join(text, byA), byB, all, join(text, byA, byB)},
		{"who is not known is left out", text, join(byC, byA), all, join(text, byA)},
		{"what was there stays, known or not", join(text, byC, byA), byB, all[1:], join(text, byC, byA, byB)},
		{"a later one of the same", join(text, byA, byB), later, all, join(text, later, byB)},
		{"an earlier one of the same", join(text, later, byB), byA, all, join(text, later, byB)},
	} {
		got, err := l.Merge(test.text, test.lines, test.witnesses)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		// The known stand before the unknown.
		if !sameLines(got, test.want) {
			t.Errorf("%s: got\n%swant\n%s", test.name, got, test.want)
		}
	}
	other := sign(t, l, key, 8, tlog.RecordHash(nil))
	for name, lines := range map[string][]byte{"nothing": nil, "unknown alone": byC, "of another checkpoint": cosign(t, a, l, other, noon),
		"no lines": []byte("good\n"), "no end": byA[:len(byA)-1], "a note in it": join([]byte("\n"), text), "twice": join(byA, later)} {
		if got, err := l.Merge(text, lines, all); err == nil {
			t.Errorf("%s: merged to\n%s", name, got)
		}
	}
	if _, err := l.Merge(text, byC, all); !errors.Is(err, ErrSignature) {
		t.Errorf("unknown alone: %v", err)
	}
	bare, err := l.Bare(join(text, byC, byA))
	if err != nil || !bytes.Equal(bare, text) {
		t.Errorf("bare: %v\n%s", err, bare)
	}
}

func sameLines(a, b []byte) bool {
	count := func(text []byte) map[string]int {
		m := map[string]int{}
		for line := range strings.Lines(string(text)) {
			m[line]++
		}
		return m
	}
	return reflect.DeepEqual(count(a), count(b))
}
