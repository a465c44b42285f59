// Package card owns the bytes that cards speak: certification requests
// (PKCS#10, RFC 2986) with proof of possession, bound to one item of one
// download.
//
// It is pure: it knows no network, no store, no token and no policy. Whether a
// key is good enough, or was seen before, is for policy to say; this package
// only says whose key it is and what it was made for.
package card

import (
	"crypto/sha256"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// bindingTag separates this hash from every other use of SHA-256 in the system,
// so that a digest made for something else can't be presented as a binding.
const bindingTag = "sigill-csr-v1"

// maxBindingString is the longest Download, Slot or Card: what a two-octet
// length can tell.
const maxBindingString = 1<<16 - 1

// bindingAttribute is the type of the attribute that carries the digest. It
// never stands in a certificate; the arc is the one for examples (ITU-T X.660,
// 2.999), and nothing outside this protocol reads it.
var bindingAttribute = asn1.ObjectIdentifier{2, 999, 752, 2, 1}

// Binding is what a request is made for. A request that is not tied to all of
// it could be moved: to another download or slot, to another person's session,
// to a plan that the holder never saw, or to a later time.
type Binding struct {
	Download  string   // id of the download
	Slot      string   // "authentication" or "signing"
	Card      string   // card number
	Login     [32]byte // SHA-256 of the DER of the log-in certificate
	PlanHash  [32]byte // SHA-256 of the plan's bytes
	Challenge [32]byte // of this item, from the server
}

// Digest returns
//
//	SHA-256( "sigill-csr-v1"
//	       ‖ uint16(len(Download)) ‖ Download
//	       ‖ uint16(len(Slot))     ‖ Slot
//	       ‖ uint16(len(Card))     ‖ Card
//	       ‖ Login ‖ PlanHash ‖ Challenge )
//
// with lengths in octets, big-endian; the last three are 32 octets each. Two
// different bindings never hash the same octets. Digest panics if a string is
// longer than 65535 octets; [NewRequest] refuses those with an error.
func (b Binding) Digest() [32]byte {
	buf := make([]byte, 0, len(bindingTag)+3*2+len(b.Download)+len(b.Slot)+len(b.Card)+3*32)
	w := cryptobyte.NewBuilder(buf)
	w.AddBytes([]byte(bindingTag))
	for _, s := range []string{b.Download, b.Slot, b.Card} {
		w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes([]byte(s)) })
	}
	w.AddBytes(b.Login[:])
	w.AddBytes(b.PlanHash[:])
	w.AddBytes(b.Challenge[:])
	return sha256.Sum256(w.BytesOrPanic())
}

func (b Binding) check() error {
	for _, f := range []struct{ name, value string }{{"download", b.Download}, {"slot", b.Slot}, {"card", b.Card}} {
		if f.value == "" || len(f.value) > maxBindingString {
			return fmt.Errorf("request binding: %s has %d octets", f.name, len(f.value))
		}
	}
	return nil
}
