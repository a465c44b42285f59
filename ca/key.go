package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// FingerprintKey returns the fingerprint of a public key: SHA-256 over "rsa" and
// the modulus, or over the curve's name and the x-coordinate. It does not depend
// on the encoding, on the RSA exponent or on the sign of y, so that a key that was
// refused can't come back in another dress: who holds the private key of one such
// form holds them all.
func FingerprintKey(key crypto.PublicKey) (KeyFingerprint, error) {
	h := sha256.New()
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key == nil || key.N == nil || key.N.Sign() <= 0 {
			return KeyFingerprint{}, errors.New("RSA key without a modulus")
		}
		h.Write([]byte("rsa"))
		h.Write(key.N.Bytes())
	case *ecdsa.PublicKey:
		if key == nil || (key.Curve != elliptic.P256() && key.Curve != elliptic.P384()) {
			return KeyFingerprint{}, errors.New("elliptic key is not on P-256 or P-384")
		}
		point, err := key.Bytes() // uncompressed: 4, x, y
		if err != nil {
			return KeyFingerprint{}, fmt.Errorf("elliptic key: %w", err)
		}
		h.Write([]byte(key.Curve.Params().Name))
		h.Write(point[1 : 1+len(point)/2])
	default:
		return KeyFingerprint{}, fmt.Errorf("keys of type %T have no fingerprint", key)
	}
	return KeyFingerprint(h.Sum(nil)), nil
}

// subjectKeyID returns the leftmost 160 bits of the SHA-256 of the key's BIT
// STRING (RFC 7093, 2, method 1).
func subjectKeyID(key crypto.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	in := cryptobyte.String(spki)
	var body cryptobyte.String
	var bits []byte
	if !in.ReadASN1(&body, casn1.SEQUENCE) || !body.SkipASN1(casn1.SEQUENCE) || !body.ReadASN1BitStringAsBytes(&bits) {
		return nil, errors.New("encoded key is no SubjectPublicKeyInfo")
	}
	sum := sha256.Sum256(bits)
	return sum[:20], nil
}
