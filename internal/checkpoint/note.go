package checkpoint

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// MaxNote bounds a signed note, in octets. One with the signatures of all the witnesses
// that it may have is smaller.
const MaxNote = 64 << 10

// maxSignatures bounds the signatures under a note: each one of a known key costs a
// verification.
const maxSignatures = 32

// ErrSignature says that a checkpoint is one, and that whose signature was asked for has
// not signed it.
var ErrSignature = errors.New("not signed by whom it should be")

// openNote reads a note and returns its checkpoint, without a time, and the signatures
// that verify. It refuses every form but the one that [Log.Sign] and [Log.Merge] write:
// base64 has several texts for the same octets, and a proof that can be written in two
// ways cannot be compared or named by its hash.
func openNote(text []byte, known []note.Verifier) (Checkpoint, *note.Note, error) {
	if len(text) > MaxNote {
		return Checkpoint{}, nil, fmt.Errorf("more than %d octets", MaxNote)
	}
	end := bytes.LastIndex(text, []byte("\n\n"))
	if end < 0 {
		return Checkpoint{}, nil, errors.New("not a signed note")
	}
	lines := bytes.Count(text[end+2:], []byte("\n"))
	if lines > maxSignatures {
		return Checkpoint{}, nil, fmt.Errorf("more than %d signatures", maxSignatures)
	}
	c, err := parseBody(string(text[:end+1]))
	if err != nil {
		return Checkpoint{}, nil, err
	}
	n, err := note.Open(text, note.VerifierList(known...))
	if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		return Checkpoint{}, nil, ErrSignature
	}
	if bad, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
		return Checkpoint{}, nil, fmt.Errorf("%w: the signature in the name of %s is false", ErrSignature, bad.Name)
	}
	if err != nil {
		return Checkpoint{}, nil, err
	}
	// What stands twice was dropped.
	if len(n.Sigs)+len(n.UnverifiedSigs) != lines {
		return Checkpoint{}, nil, errors.New("a key has signed twice")
	}
	for _, s := range n.Sigs {
		if !canonical(s) {
			return Checkpoint{}, nil, errors.New("a signature is not in canonical base64")
		}
	}
	for _, s := range n.UnverifiedSigs {
		if !canonical(s) {
			return Checkpoint{}, nil, errors.New("a signature is not in canonical base64")
		}
	}
	return c, n, nil
}

func canonical(s note.Signature) bool {
	_, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
	return err == nil
}

// line returns a signature as it stands under a note.
func line(s note.Signature) string { return "— " + s.Name + " " + s.Base64 + "\n" }
