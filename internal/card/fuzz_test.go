package card_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"testing"

	"sigill/internal/card"
)

// FuzzSignedRequest: the signature is right for whatever the request says, so that
// a parser that lets something pass is not saved by the proof of possession. There
// is one request info for a key and a binding, and it is the only one accepted.
func FuzzSignedRequest(f *testing.F) {
	key := ecKey(f, elliptic.P256())
	digest := binding.Digest()
	bound, err := card.NewRequest(key, binding)
	if err != nil {
		f.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(bound)
	if err != nil {
		f.Fatal(err)
	}
	right := csr.RawTBSCertificateRequest
	spki := csr.RawSubjectPublicKeyInfo
	at := bytes.Index(right, spki)
	if at < 0 {
		f.Fatal("the request has no key")
	}
	before, after := right[3:at], right[at+len(spki):]
	f.Add(before, after)
	f.Add([]byte{2, 1, 0, 0x30, 0}, []byte{0xa0, 0})
	f.Add([]byte{2, 0, 0x30, 0}, after)
	f.Add([]byte{2, 1, 0xff, 0x30, 0}, after)
	f.Add([]byte{2, 1, 0, 0x30, 2, 0x31, 0}, after)
	f.Add(before, append(bytes.Clone(after), 5, 0))
	f.Add(before, append([]byte{0xa0, 0x81}, after[1:]...))
	f.Add(before, append([]byte{0x80}, after[1:]...))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		if len(before)+len(after) > 1<<12 {
			return
		}
		// The key differs in each process that fuzzes: it stands in no input.
		content := bytes.Join([][]byte{before, spki, after}, nil)
		info := append([]byte{0x30, 0x82, byte(len(content) >> 8), byte(len(content))}, content...)
		if len(content) < 0x100 {
			info = append([]byte{0x30, 0x81, byte(len(content))}, content...)
		}
		der := resign(t, key, func([]byte) []byte { return info })
		r, err := card.ParseRequest(der)
		if err != nil {
			return
		}
		want := bytes.Replace(right, digest[:], r.Digest[:], 1)
		if !bytes.Equal(info, want) || !key.PublicKey.Equal(r.PublicKey) {
			t.Errorf("accepted %x", info)
		}
	})
}
