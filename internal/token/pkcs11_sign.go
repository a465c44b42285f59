//go:build cgo

package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	cb "golang.org/x/crypto/cryptobyte/asn1"
)

// Signer implements [Card].
func (c *hardCard) Signer(ctx context.Context, id []byte) (crypto.Signer, error) {
	p, err := c.placeOf(id)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.login(ctx); err != nil {
		return nil, err
	}
	handles, err := p.find(pkcs11.CKO_PRIVATE_KEY, id)
	if err != nil {
		return nil, err
	}
	if len(handles) != 1 {
		return nil, fmt.Errorf("%d private keys %x: %w", len(handles), id, ErrNotFound)
	}
	public, err := p.publicKey(id)
	if err != nil {
		return nil, err
	}
	s := &hardSigner{place: p, id: id, public: public}
	if always := p.value(handles[0], pkcs11.CKA_ALWAYS_AUTHENTICATE); len(always) == 1 && always[0] == 1 {
		s.each = func() error { return p.present(ctx, pkcs11.CKU_CONTEXT_SPECIFIC) }
	}
	return s, nil
}

// hardSigner signs with a private key that stays on the token.
type hardSigner struct {
	place  *place
	id     []byte
	public crypto.PublicKey
	each   func() error // presents the PIN for one signature; nil: not needed
}

// Public implements [crypto.Signer].
func (s *hardSigner) Public() crypto.PublicKey { return s.public }

// Sign implements [crypto.Signer]; the card uses its own randomness.
func (s *hardSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	mechanism, input, err := s.mechanism(digest, opts)
	if err != nil {
		return nil, err
	}
	p := s.place
	p.mu.Lock()
	defer p.mu.Unlock()
	handles, err := p.find(pkcs11.CKO_PRIVATE_KEY, s.id)
	if err != nil {
		return nil, err
	}
	if len(handles) != 1 {
		return nil, fmt.Errorf("private key %x: %w", s.id, ErrNotFound)
	}
	if err := p.ctx.SignInit(p.session, []*pkcs11.Mechanism{mechanism}, handles[0]); err != nil {
		return nil, fmt.Errorf("the card does not sign: %w", err)
	}
	signature, err := s.finish(input)
	if err != nil {
		return nil, errors.Join(err, p.renew())
	}
	if _, ok := s.public.(*ecdsa.PublicKey); ok {
		return ecdsaASN1(signature)
	}
	return signature, nil
}

// finish ends a signature that has begun.
func (s *hardSigner) finish(input []byte) ([]byte, error) {
	if s.each != nil {
		if err := s.each(); err != nil {
			return nil, err
		}
	}
	signature, err := s.place.ctx.Sign(s.place.session, input)
	if err != nil {
		return nil, fmt.Errorf("the card does not sign: %w", err)
	}
	return signature, nil
}

// hashes that RSA keys sign here, with the head of their DigestInfo (RFC 8017,
// 9.2, note 1) and their names in PKCS #11.
type hashNames struct {
	prefix    string
	hash, mgf uint
}

func namesOf(h crypto.Hash) (hashNames, bool) {
	switch h {
	case crypto.SHA256:
		return hashNames{"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20", pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256}, true
	case crypto.SHA384:
		return hashNames{"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30", pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384}, true
	case crypto.SHA512:
		return hashNames{"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40", pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512}, true
	}
	return hashNames{}, false
}

// mechanism returns how the card shall sign, and the octets it is given.
func (s *hardSigner) mechanism(digest []byte, opts crypto.SignerOpts) (*pkcs11.Mechanism, []byte, error) {
	hash := opts.HashFunc()
	names, ok := namesOf(hash)
	if !ok || len(digest) != hash.Size() {
		return nil, nil, fmt.Errorf("the card does not sign a %v of %d octets", hash, len(digest))
	}
	if _, ok := s.public.(*ecdsa.PublicKey); ok {
		return pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), digest, nil
	}
	pss, ok := opts.(*rsa.PSSOptions)
	if !ok {
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil), append([]byte(names.prefix), digest...), nil
	}
	salt := pss.SaltLength
	if salt == rsa.PSSSaltLengthEqualsHash || salt == rsa.PSSSaltLengthAuto {
		salt = hash.Size() // verifies under Auto too
	}
	if salt < 0 {
		return nil, nil, fmt.Errorf("the card does not sign PSS with a salt of %d octets", salt)
	}
	params := pkcs11.NewPSSParams(names.hash, names.mgf, uint(salt))
	return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, params), digest, nil
}

// ecdsaASN1 turns r ‖ s (PKCS #11, 2.3.1) into Ecdsa-Sig-Value (RFC 5480).
func ecdsaASN1(raw []byte) ([]byte, error) {
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("the card gave an ECDSA signature of %d octets", len(raw))
	}
	var b cryptobyte.Builder
	b.AddASN1(cb.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:len(raw)/2]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[len(raw)/2:]))
	})
	return b.Bytes()
}
