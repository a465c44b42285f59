package checkpoint

import (
	"bytes"
	"testing"
	"time"

	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Other people's code verifies what ours cosigns, and ours what theirs does.
func TestCosignaturesBetweenPrograms(t *testing.T) {
	l, key := newLog(t, "test.example/log")
	text := sign(t, l, key, 7, tlog.RecordHash(nil))
	skey, err := GenerateCosigner("w.example/1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewCosigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := cosignature.NewVerifierForCosignatureV1(s.Witness().String())
	if err != nil {
		t.Fatal(err)
	}
	if theirs.Name() != s.Witness().Name() || theirs.KeyHash() != s.Witness().KeyHash() {
		t.Errorf("%s+%08x, and to others %s+%08x", s.Witness().Name(), s.Witness().KeyHash(), theirs.Name(), theirs.KeyHash())
	}
	merged, err := l.Merge(text, cosign(t, s, l, text, noon), []Witness{s.Witness()})
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(merged, note.VerifierList(l, theirs))
	if err != nil || len(n.Sigs) != 2 {
		t.Fatalf("they do not verify ours: %v, %+v", err, n)
	}
	if at, err := cosignature.CoSigV1Timestamp(n.Sigs[1]); err != nil || !at.Equal(noon) {
		t.Errorf("they read the time %v, %v, and it is %v", at, err, noon)
	}

	signer, err := cosignature.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().Truncate(time.Second)
	n, err = note.Open(text, note.VerifierList(l))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(n, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, seen, err := l.Witnessed(signed, []Witness{s.Witness()})
	if err != nil || len(seen) != 1 || seen[0].Name != "w.example/1" || seen[0].Time.Before(before) || seen[0].Time.After(time.Now()) {
		t.Errorf("we do not verify theirs: %v, %v", seen, err)
	}
	if lines, err := s.Cosign(c, seen[0].Time); err != nil || !bytes.Equal(join(text, lines), signed) {
		t.Errorf("of one second, theirs\n%s\nours\n%s\n%v", signed, lines, err)
	}
}
