package read

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1" // names issuers in CertIDs, protects nothing
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Request encodes the question for cert of issuer (RFC 6960, 4.1.1), naming it by
// SHA-256 or SHA-1 hashes, with the value of a nonce extension unless that is nil.
func Request(cert, issuer *x509.Certificate, hash crypto.Hash, nonce []byte) ([]byte, error) {
	name, key, err := issuerHashes(issuer, hash)
	if err != nil {
		return nil, err
	}
	oid := oidHashSHA256
	if hash == crypto.SHA1 {
		oid = oidHashSHA1
	}
	var b cryptobyte.Builder
	sequence := func(b *cryptobyte.Builder, fn func(*cryptobyte.Builder)) { b.AddASN1(cbasn1.SEQUENCE, fn) }
	certID := func(b *cryptobyte.Builder) {
		sequence(b, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(name)
		b.AddASN1OctetString(key)
		b.AddASN1BigInt(cert.SerialNumber)
	}
	extensions := func(b *cryptobyte.Builder) {
		sequence(b, func(b *cryptobyte.Builder) {
			sequence(b, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidNonce)
				b.AddASN1OctetString(nonce)
			})
		})
	}
	sequence(&b, func(b *cryptobyte.Builder) { // OCSPRequest
		sequence(b, func(b *cryptobyte.Builder) { // TBSRequest
			sequence(b, func(b *cryptobyte.Builder) { // requestList
				sequence(b, func(b *cryptobyte.Builder) { sequence(b, certID) })
			})
			if nonce != nil {
				b.AddASN1(explicit(2), extensions)
			}
		})
	})
	return b.Bytes()
}

// nonceLength is what RFC 9654, 2.1, has clients send.
const nonceLength = 32

// NewNonce returns the value of a nonce extension: an OCTET STRING in the
// extension's own (RFC 9654, 2.1).
func NewNonce() []byte {
	random := make([]byte, nonceLength)
	rand.Read(random) // never fails
	return append([]byte{0x04, nonceLength}, random...)
}

// issuerHashes are the hashes of a CertID (RFC 6960, 4.1.1).
func issuerHashes(issuer *x509.Certificate, hash crypto.Hash) (name, key []byte, err error) {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, nil, fmt.Errorf("the issuer's key: %w", err)
	}
	bits := spki.Key.RightAlign()
	if hash == crypto.SHA1 {
		n, k := sha1.Sum(issuer.RawSubject), sha1.Sum(bits)
		return n[:], k[:], nil
	}
	n, k := sha256.Sum256(issuer.RawSubject), sha256.Sum256(bits)
	return n[:], k[:], nil
}
