package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/scrypt"
)

const (
	// scryptN with r = 8 takes some 20 ms. Whoever copies the file tries the
	// million PINs of six digits in hours, whatever the parameter: no cost that
	// a person would wait for protects a PIN without a card that counts. That
	// is why a soft card is a test card, accepted in a TEST hierarchy alone.
	scryptN  = 1 << 13
	maxTries = 3
	minPIN   = 4
	maxPIN   = 16
)

var errWrongPIN = errors.New("wrong PIN")

// pinArea is what a PIN opens: a random key that seals the keys of its slots.
type pinArea struct {
	Salt    []byte `json:"salt"`
	Wrapped []byte `json:"wrapped"`
	Left    int    `json:"left"` // tries left; 0: locked
}

// newPINArea draws a master key and wraps it under pin.
func newPINArea(name string, pin []byte) (*pinArea, error) {
	if len(pin) < minPIN || len(pin) > maxPIN {
		return nil, fmt.Errorf("PIN %s: a PIN has %d to %d characters", name, minPIN, maxPIN)
	}
	a := &pinArea{Salt: make([]byte, 16), Left: maxTries}
	rand.Read(a.Salt)
	wrap, err := scrypt.Key(pin, a.Salt, scryptN, 8, 1, 32)
	if err != nil {
		return nil, fmt.Errorf("PIN %s: %w", name, err)
	}
	master := make([]byte, 32)
	rand.Read(master)
	a.Wrapped, err = seal(wrap, master, []byte("pin "+name))
	return a, err
}

// open returns the master key, or errWrongPIN.
func (a *pinArea) open(name string, pin []byte) ([]byte, error) {
	wrap, err := scrypt.Key(pin, a.Salt, scryptN, 8, 1, 32)
	if err != nil {
		return nil, err
	}
	master, err := unseal(wrap, a.Wrapped, []byte("pin "+name))
	if err != nil {
		return nil, errWrongPIN
	}
	return master, nil
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts and authenticates plain; what it is sealed for goes with it, so
// that a sealed key can't be moved to another id or slot.
func seal(key, plain, what []byte) ([]byte, error) {
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, plain, what), nil
}

func unseal(key, sealed, what []byte) ([]byte, error) {
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Open(nil, nil, sealed, what)
}
