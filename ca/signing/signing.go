// Package signing owns signatures as certificates, CRLs and OCSP answers carry them:
// which algorithm belongs to a key, and the structure of what is signed, algorithm and
// signature (RFC 5280, 4.1.1).
//
// It must not know what is signed, nor where keys are.
package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // linked in for crypto.Hash.New
	_ "crypto/sha512" // likewise
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSAWithSHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECDSAWithSHA512 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
	oidRSAWithSHA256   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidEd25519         = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// Key signs certificates, CRLs and OCSP answers. Its methods may be called concurrently
// if the signer's may.
type Key struct {
	signer    crypto.Signer
	hash      crypto.Hash // 0: the algorithm takes the message itself
	algorithm []byte      // AlgorithmIdentifier in DER
}

// New returns the key of cert, which signer MUST hold.
func New(cert *x509.Certificate, signer crypto.Signer) (Key, error) {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(signer.Public()) {
		return Key{}, fmt.Errorf("the key is not the key of %q", cert.Subject)
	}
	k := Key{signer: signer, hash: crypto.SHA256}
	oid, null := oidECDSAWithSHA256, false
	switch pub := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
		case elliptic.P384():
			oid, k.hash = oidECDSAWithSHA384, crypto.SHA384
		case elliptic.P521():
			oid, k.hash = oidECDSAWithSHA512, crypto.SHA512
		default:
			return Key{}, fmt.Errorf("curve %s is not supported", pub.Params().Name)
		}
	case *rsa.PublicKey:
		oid, null = oidRSAWithSHA256, true // RFC 4055, 5: parameters are NULL
	case ed25519.PublicKey:
		oid, k.hash = oidEd25519, 0
	default:
		return Key{}, fmt.Errorf("keys of type %T are not supported", pub)
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if null {
			b.AddASN1NULL()
		}
	})
	var err error
	k.algorithm, err = b.Bytes()
	return k, err
}

// Signer returns what holds the private key.
func (k Key) Signer() crypto.Signer { return k.signer }

// Algorithm returns the AlgorithmIdentifier in DER. Nobody changes it.
func (k Key) Algorithm() []byte { return k.algorithm }

// Sign returns the signature over tbs.
func (k Key) Sign(tbs []byte) ([]byte, error) {
	message := tbs
	if k.hash != 0 {
		h := k.hash.New()
		h.Write(tbs)
		message = h.Sum(nil)
	}
	return k.signer.Sign(rand.Reader, message, k.hash)
}

// Seal returns SEQUENCE {tbs, algorithm, signature}.
func (k Key) Seal(tbs []byte) ([]byte, error) {
	signature, err := k.Sign(tbs)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(k.algorithm)+len(signature)+32))
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(k.algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// Digester takes in what is to be signed.
type Digester interface {
	io.Writer
	Message() []byte // for [crypto.Signer] and for verifying
}

type hashDigester struct{ io.Writer }

func (h hashDigester) Message() []byte { return h.Writer.(interface{ Sum([]byte) []byte }).Sum(nil) }

type wholeDigester struct{ *bytes.Buffer }

func (b wholeDigester) Message() []byte { return b.Bytes() }

// Digester returns one for a message of this size in octets, which is to be signed.
func (k Key) Digester(size int64) Digester { return NewDigester(k.hash, size) }

// NewDigester returns one for a message of this size in octets; hash 0 is of an algorithm
// that takes the message itself.
func NewDigester(hash crypto.Hash, size int64) Digester {
	if hash == 0 {
		return wholeDigester{bytes.NewBuffer(make([]byte, 0, size))}
	}
	return hashDigester{hash.New()}
}

// SignatureSize is the length of every signature that SignSized returns.
func (k Key) SignatureSize() (int, error) {
	switch public := k.signer.Public().(type) {
	case *rsa.PublicKey:
		return public.Size(), nil
	case ed25519.PublicKey:
		return ed25519.SignatureSize, nil
	case *ecdsa.PublicKey:
		return ecdsaSize(public.Curve), nil
	}
	return 0, fmt.Errorf("keys of type %T are not supported", k.signer.Public())
}

// ecdsaSize is the commonest length of a signature on curve.
func ecdsaSize(curve elliptic.Curve) int {
	octets := (curve.Params().BitSize + 7) / 8
	content := 2 * (2 + octets)
	if curve.Params().BitSize%8 == 0 {
		content++ // one of r and s begins with a 1 bit and needs an octet before it
	}
	return headerSize(content) + content
}

// headerSize is the length of tag and length before that many octets, fewer than 256.
func headerSize(content int) int {
	if content < 128 {
		return 2
	}
	return 3
}

// SignSized signs message so that the signature has size octets: the length of
// the whole list is written before anything is signed, and ECDSA's DER is not
// always as long.
//
// For every ECDSA signature (r, s) there is a second one, (r, n-s), which every
// verifier takes alike (SEC 1, 4.1.4 does not tell them apart). One of s and n-s
// has its highest bit set and is encoded in an octet more, so that the length
// can be chosen after signing, without a second signature in all but rare cases.
func (k Key) SignSized(message []byte, size int, cert *x509.Certificate) ([]byte, error) {
	// P-521 needs a second one in one of four cases, P-256 and P-384 in fewer than
	// one of 200; 50 in a row are a broken key.
	for range 50 {
		signature, err := k.signer.Sign(rand.Reader, message, k.hash)
		if err != nil {
			return nil, err
		}
		if public, ok := cert.PublicKey.(*ecdsa.PublicKey); ok {
			if signature, err = resize(signature, size, public.Curve.Params().N); err != nil {
				return nil, err
			}
		}
		if err := VerifyDigest(cert.PublicKey, k.hash, false, message, signature); err != nil {
			return nil, err
		}
		if len(signature) == size {
			return signature, nil
		}
	}
	return nil, fmt.Errorf("the key makes no signature of %d octets", size)
}

// resize returns signature or its twin, whichever has size octets; signature if
// neither has.
func resize(signature []byte, size int, n *big.Int) ([]byte, error) {
	if len(signature) == size {
		return signature, nil
	}
	var r, s big.Int
	in := cryptobyte.String(signature)
	var body cryptobyte.String
	if !in.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !in.Empty() || !body.ReadASN1Integer(&r) || !body.ReadASN1Integer(&s) || !body.Empty() {
		return nil, errors.New("the key made something that is no signature")
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(&r)
		b.AddASN1BigInt(s.Sub(n, &s))
	})
	twin, err := b.Bytes()
	if err != nil || len(twin) != size {
		return signature, err
	}
	return twin, nil
}

// VerifyDigest verifies a signature; message is the digest, or the message itself
// for Ed25519, whose hash is 0.
func VerifyDigest(public crypto.PublicKey, hash crypto.Hash, pss bool, message, signature []byte) error {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if pss {
			return rsa.VerifyPSS(public, hash, message, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.VerifyPKCS1v15(public, hash, message, signature)
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(public, message, signature) {
			return nil
		}
	case ed25519.PublicKey:
		if ed25519.Verify(public, message, signature) {
			return nil
		}
	}
	return errors.New("the signature does not verify")
}
