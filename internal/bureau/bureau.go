// Package bureau is a card bureau for TEST installations: it makes cards of
// software, each with a transport key of its own, and the signed delivery file
// that registers them; later it writes the transport certificates to the cards.
//
// A real bureau does the same with real cards on its own premises. The package
// knows the delivery's form and no server.
package bureau

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"sigill/internal/card"
	"sigill/internal/token"
	"sigill/orders/register"
	"sigill/policy"
)

// Bureau has the key that signs deliveries.
type Bureau struct {
	key *ecdsa.PrivateKey
}

// New makes a bureau with a new key.
func New() (*Bureau, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Bureau{key}, nil
}

// Load reads a bureau's key, PKCS#8 in PEM, as PrivatePEM writes it.
func Load(text []byte) (*Bureau, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("bureau: not a private key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("bureau: not a private key in PKCS#8") // without the parser's words about the key
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("bureau: keys of type %T do not sign deliveries", key)
	}
	return &Bureau{ec}, nil
}

// PublicPEM returns the public key, for the installation's configuration.
func (b *Bureau) PublicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(b.key.Public())
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

// PrivatePEM returns the private key.
func (b *Bureau) PrivatePEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(b.key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// Card is a card to be made.
type Card struct {
	Path    string // of the soft card's file, which must not exist
	Number  string
	Product string
	Kind    string // "ordinary" or "reserve"
	Expires time.Time
	PIN1    string
	PIN2    string
}

// Make makes the cards and returns the delivery file that registers them, with the
// bureau's signature over it.
func (b *Bureau) Make(ctx context.Context, cards []Card) (file, signature []byte, err error) {
	file = []byte("number,product,kind,expires,csr\n")
	for _, c := range cards {
		csr, err := c.make(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("card %s: %w", c.Number, err)
		}
		file = fmt.Appendf(file, "%s,%s,%s,%s,%s\n", c.Number, c.Product, c.Kind, c.Expires.Format(time.DateOnly), base64.StdEncoding.EncodeToString(csr))
	}
	if _, err := register.ParseDelivery(bytes.NewReader(file)); err != nil { // what will be asked of it
		return nil, nil, err
	}
	signature, err = register.SignDelivery(b.key, file)
	return file, signature, err
}

func (c Card) make(ctx context.Context) (csr []byte, err error) {
	if err := token.CreateSoft(c.Path, token.SoftConfig{Number: c.Number, Product: c.Product, PIN1: c.PIN1, PIN2: c.PIN2}); err != nil {
		return nil, err
	}
	soft, err := token.OpenSoft(c.Path, PINs(c.PIN1, c.PIN2))
	if err != nil {
		return nil, err
	}
	defer soft.Close()
	id, err := soft.GenerateKey(ctx, policy.Transport, token.P256)
	if err != nil {
		return nil, err
	}
	key, err := soft.Signer(ctx, id)
	if err != nil {
		return nil, err
	}
	return card.NewPlainRequest(key, c.Number)
}

// PINs answers for both PINs of a card.
func PINs(pin1, pin2 string) token.PIN {
	return func(_ context.Context, slot policy.Slot) ([]byte, error) {
		if slot == policy.Signing {
			return []byte(pin2), nil
		}
		return []byte(pin1), nil
	}
}

// Write puts a transport certificate on the soft card in the file path, beside
// the key that it is for. The same again changes nothing.
func Write(ctx context.Context, path string, pin token.PIN, der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("transport certificate: %w", err)
	}
	soft, err := token.OpenSoft(path, pin)
	if err != nil {
		return err
	}
	defer soft.Close()
	objects, err := soft.Objects(ctx)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.Slot == policy.Transport && token.SameKey(o.Public, cert.PublicKey) {
			return soft.WriteCertificate(ctx, o.ID, der)
		}
	}
	return fmt.Errorf("card %s has no transport key for this certificate", path)
}
