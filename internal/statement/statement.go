// Package statement is the form of what administrators sign with their cards:
// tagged, readable lines. The tag keeps a signature over a statement from being
// taken for one over a CSR, a TLS handshake or anything else (and the reverse).
package statement

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

const tag = "sigill-statement-v1"

// Acts that are stated. The list is closed: Parse refuses others.
const (
	ActPlace    = "order.place"
	ActApprove  = "order.approve"
	ActHandOut  = "card.handout"
	ActArm      = "card.arm"
	ActBlock    = "card.block"
	ActDelivery = "card.delivery"
	ActFound    = "ceremony.found"
	ActBranch   = "organisation.create"
	ActSigning  = "organisation.signing"
	ActGrant    = "role.grant"
	ActKeyBlock = "key.block"
	ActErase    = "person.erase"
	ActRevoke   = "certificates.revoke" // many at once, by a list
)

var acts = map[string]bool{ActPlace: true, ActApprove: true, ActHandOut: true, ActArm: true, ActBlock: true,
	ActDelivery: true, ActFound: true, ActBranch: true, ActSigning: true, ActGrant: true, ActKeyBlock: true, ActErase: true, ActRevoke: true}

// Statement is what is signed.
type Statement struct {
	Act     string
	Subject string   // what it is about: order id, card number, person id
	By      string   // who states it: person id, "officer:1"
	For     string   // person id it benefits; "-" for none
	Card    string   // card number; "-" for none
	Content [32]byte // SHA-256 of the document it stands for
	At      time.Time
}

// Bytes returns the statement as it is signed: eight lines, each ended by a
// newline. It is canonical: Parse(Bytes) gives the statement, and only these
// bytes do.
func (s Statement) Bytes() []byte {
	return fmt.Appendf(nil, "%s\nact: %s\nsubject: %s\nby: %s\nfor: %s\ncard: %s\ncontent: %s\nat: %s\n",
		tag, s.Act, s.Subject, s.By, s.For, s.Card, hex.EncodeToString(s.Content[:]), s.At.UTC().Format(time.RFC3339))
}

// Parse reads a statement and refuses every form but the canonical one.
func Parse(b []byte) (Statement, error) {
	if len(b) > 1024 {
		return Statement{}, errors.New("statement of more than 1024 octets")
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) != 9 || lines[0] != tag || lines[8] != "" {
		return Statement{}, fmt.Errorf("not a %s", tag)
	}
	var v [7]string
	for i, name := range []string{"act", "subject", "by", "for", "card", "content", "at"} {
		value, ok := strings.CutPrefix(lines[i+1], name+": ")
		if !ok || value == "" {
			return Statement{}, fmt.Errorf("statement: line %d is not %q", i+2, name)
		}
		v[i] = value
	}
	s := Statement{Act: v[0], Subject: v[1], By: v[2], For: v[3], Card: v[4]}
	if !acts[s.Act] {
		return Statement{}, fmt.Errorf("statement: unknown act %q", s.Act)
	}
	sum, err := hex.DecodeString(v[5])
	if err != nil || len(sum) != len(s.Content) {
		return Statement{}, errors.New("statement: content is not a SHA-256")
	}
	copy(s.Content[:], sum)
	if s.At, err = time.Parse(time.RFC3339, v[6]); err != nil {
		return Statement{}, fmt.Errorf("statement: %w", err)
	}
	if string(s.Bytes()) != string(b) {
		return Statement{}, errors.New("statement is not in canonical form")
	}
	return s, nil
}

// Sign returns the signature of key over content with SHA-256 (ECDSA in ASN.1;
// RSA with PSS, salt as long as the hash).
func Sign(key crypto.Signer, content []byte) ([]byte, error) {
	sum := sha256.Sum256(content)
	if _, ok := key.Public().(*rsa.PublicKey); ok {
		return key.Sign(rand.Reader, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	}
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// Verify reports by a nil error that signature is the one of Sign.
func Verify(key crypto.PublicKey, content, signature []byte) error {
	sum := sha256.Sum256(content)
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, sum[:], signature) {
			return nil
		}
		return errors.New("statement: signature does not verify")
	case *rsa.PublicKey:
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		if err := rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, opts); err != nil {
			return errors.New("statement: signature does not verify")
		}
		return nil
	default:
		return fmt.Errorf("statement: key of type %T cannot sign statements", key)
	}
}
