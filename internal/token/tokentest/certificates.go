package tokentest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"sigill/policy"
)

// Authority is a throw-away CA for tests of cards and clients.
type Authority struct {
	Certificate *x509.Certificate
	Key         *ecdsa.PrivateKey
}

// NewAuthority makes a CA with the common name name.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{Certificate: cert, Key: key}
}

// Issue makes a certificate for a key on a card: key usage by slot, the card
// number in its extension.
func (a *Authority) Issue(t testing.TB, public crypto.PublicKey, slot policy.Slot, number string) []byte {
	t.Helper()
	der, err := a.Make(public, slot, number)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Make is Issue for code that runs in another goroutine than the test's.
func (a *Authority) Make(public crypto.PublicKey, slot policy.Slot, number string) ([]byte, error) {
	value, err := asn1.MarshalWithParams(number, "printable")
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Åsa Öberg"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 752, 34, 2, 1}, Value: value}},
	}
	switch slot {
	case policy.Signing:
		template.KeyUsage = x509.KeyUsageContentCommitment
	case policy.Authentication:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return x509.CreateCertificate(rand.Reader, template, a.Certificate, public, a.Key)
}

// PIN answers with one PIN for authentication and transport, and another for
// signing.
func PIN(pin1, pin2 string) func(context.Context, policy.Slot) ([]byte, error) {
	return func(_ context.Context, slot policy.Slot) ([]byte, error) {
		if slot == policy.Signing {
			return []byte(pin2), nil
		}
		return []byte(pin1), nil
	}
}
