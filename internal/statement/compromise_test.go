package statement_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"sigill/internal/statement"
)

// A proof is for one key, and is no statement; nothing else that is signed is a
// proof.
func TestCompromiseIsNothingElse(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	one, other := [32]byte{1}, [32]byte{2}
	proof, err := statement.Sign(key, statement.Compromise(one))
	if err != nil {
		t.Fatal(err)
	}
	if err := statement.Verify(key.Public(), statement.Compromise(one), proof); err != nil {
		t.Error(err)
	}
	if statement.Verify(key.Public(), statement.Compromise(other), proof) == nil {
		t.Error("a proof for another key is taken")
	}
	if _, err := statement.Parse(statement.Compromise(one)); err == nil {
		t.Error("a proof is read as a statement")
	}
	stated, err := statement.Sign(key, example().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if statement.Verify(key.Public(), statement.Compromise(one), stated) == nil {
		t.Error("a statement is taken for a proof")
	}
	const want = "sigill-key-compromise-v1\nkey: 0100000000000000000000000000000000000000000000000000000000000000\n"
	if got := string(statement.Compromise(one)); got != want {
		t.Errorf("the form is %q, want %q", got, want)
	}
}
