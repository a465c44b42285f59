//go:build cgo

package token_test

import (
	"crypto"
	"errors"
	"testing"

	"github.com/miekg/pkcs11"

	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/policy"
)

func openHSM(t *testing.T, uri string, pin token.PIN) token.Card {
	t.Helper()
	c, err := token.Open(t.Context(), uri, pin)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPKCS11Card(t *testing.T) {
	t.Run("one token", func(t *testing.T) {
		tokentest.TestCard(t, func(t *testing.T) func() token.Card {
			h := tokentest.StartSoftHSM(t)
			h.NewToken(t, "card", "123456")
			return func() token.Card { return openHSM(t, h.URI("card"), tokentest.PIN("123456", "unused")) }
		})
	})
	t.Run("two tokens", func(t *testing.T) {
		tokentest.TestCard(t, func(t *testing.T) func() token.Card {
			h := tokentest.StartSoftHSM(t)
			h.NewToken(t, "card", "123456")
			h.NewToken(t, "card sign", "654321")
			return func() token.Card {
				return openHSM(t, h.URI("card", "card sign"), tokentest.PIN("123456", "654321"))
			}
		})
	})
}

func TestPKCS11NoCard(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	if _, err := token.Open(t.Context(), h.URI(""), nil); !errors.Is(err, token.ErrNoCard) {
		t.Errorf("no token: %v, want ErrNoCard", err)
	}
	h.NewToken(t, "card", "123456")
	if _, err := token.Open(t.Context(), h.URI("other"), nil); !errors.Is(err, token.ErrNoCard) {
		t.Errorf("another token: %v, want ErrNoCard", err)
	}
	c := openHSM(t, h.URI(""), nil)
	if got := c.Info().Label; got != "card" {
		t.Errorf("the only token: label %q", got)
	}
	if _, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256); err == nil {
		t.Error("a key was made without a PIN")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := token.Open(t.Context(), "pkcs11:module-path=/nonexistent.so", nil); err == nil {
		t.Error("a module that is not there was loaded")
	}
}

func TestPKCS11WrongPIN(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", "123456")
	a := &asker{pins: []string{"000000", "123456"}}
	c := openHSM(t, h.URI("card"), a.PIN)
	defer c.Close()
	_, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
	if _, ok := errors.AsType[token.ErrPIN](err); !ok {
		t.Errorf("wrong PIN: %v, want ErrPIN", err)
	}
	if _, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256); err != nil {
		t.Errorf("right PIN afterwards: %v", err)
	}
	if string(a.given[1]) != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("PIN left behind: %q", a.given[1])
	}
}

// TestSigningKeyDemandsPIN: each signature asks, and a refused one leaves the
// card able to sign the next.
func TestSigningKeyDemandsPIN(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", "123456")
	a := &asker{pins: []string{"123456", "000000", "123456"}}
	c := openHSM(t, h.URI("card"), a.PIN)
	defer c.Close()
	id, err := c.GenerateKey(t.Context(), policy.Signing, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.Signer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	sum := make([]byte, 32)
	_, err = key.Sign(nil, sum, crypto.SHA256)
	if _, ok := errors.AsType[token.ErrPIN](err); !ok {
		t.Errorf("signature with a wrong PIN: %v, want ErrPIN", err)
	}
	for i := range 2 {
		if _, err := key.Sign(nil, sum, crypto.SHA256); err != nil {
			t.Errorf("signature %d after the refused one: %v", i, err)
		}
	}
	if a.asked != 4 {
		t.Errorf("asked %d times for the PIN, want 4", a.asked)
	}
}

// TestLeftovers: what a killed writer leaves (a public key without its private
// one, an object without anything) is listed for what it is, hinders nothing,
// and can be deleted. Private keys are sensitive and can't be read out.
func TestLeftovers(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", "123456")
	c := openHSM(t, h.URI("card"), tokentest.PIN("123456", ""))
	good, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	torn, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	tear(t, h.Module, good, torn)

	c = openHSM(t, h.URI("card"), tokentest.PIN("123456", ""))
	defer c.Close()
	if _, err := c.Signer(t.Context(), torn); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("Signer of a torn key: %v, want ErrNotFound", err)
	}
	if _, err := c.Signer(t.Context(), good); err != nil {
		t.Errorf("Signer of the whole key: %v", err)
	}
	all, err := c.Objects(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("%d objects, %v", len(all), err)
	}
	for _, o := range all {
		if want := string(o.ID) == string(good); o.HasKey != want {
			t.Errorf("object %x: HasKey = %t", o.ID, o.HasKey)
		}
	}
	if err := c.Delete(t.Context(), torn); err != nil {
		t.Errorf("deleting a torn key: %v", err)
	}
	if all, err := c.Objects(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d objects left, %v", len(all), err)
	}
}

// tear reaches past the package: it destroys the private key torn, leaves a data
// object without id, and tries to read the private key good.
func tear(t *testing.T, module string, good, torn []byte) {
	t.Helper()
	m := pkcs11.New(module)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(m.Initialize())
	defer m.Destroy()
	defer m.Finalize()
	slots, err := m.GetSlotList(true)
	must(err)
	s, err := m.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	must(err)
	must(m.Login(s, pkcs11.CKU_USER, "123456"))
	find := func(id []byte) pkcs11.ObjectHandle {
		must(m.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, id)}))
		found, _, err := m.FindObjects(s, 2)
		must(err)
		must(m.FindObjectsFinal(s))
		if len(found) != 1 {
			t.Fatalf("%d private keys %x", len(found), id)
		}
		return found[0]
	}
	must(m.DestroyObject(s, find(torn)))
	_, err = m.CreateObject(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
		pkcs11.NewAttribute(pkcs11.CKA_MODULUS, []byte{1, 2, 3}), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{3})})
	must(err)
	h := find(good)
	got, err := m.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, nil), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil)})
	must(err)
	if got[0].Value[0] != 1 || got[1].Value[0] != 0 {
		t.Errorf("private key: sensitive %v, extractable %v", got[0].Value, got[1].Value)
	}
	if v, err := m.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)}); err == nil && len(v[0].Value) > 0 {
		t.Error("the private key left the token")
	}
}
