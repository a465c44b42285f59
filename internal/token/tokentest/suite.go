package tokentest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"sigill/internal/card"
	"sigill/internal/token"
	"sigill/policy"
)

const number = "9752000000000000017"

// TestCard is the suite that every kind of card passes. open opens the card of
// one subtest; opened again it is the same card, empty at first, with its right
// PINs. It needs a P-256 and an RSA key in each subtest at most.
func TestCard(t *testing.T, newCard func(t *testing.T) (open func() token.Card)) {
	for name, run := range map[string]func(*testing.T, func() token.Card){
		"EmptyCard": emptyCard, "LifeOfAKey": lifeOfAKey, "BesideNeverReplacing": beside,
		"Slots": slots, "RSA": rsaKeys, "TLS": handshakes, "Concurrent": concurrent, "NotThere": notThere,
		"Mending": mending,
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t)) })
	}
}

// on opens a card and closes it with the test.
func on(t *testing.T, open func() token.Card) token.Card {
	t.Helper()
	c := open()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing the card: %v", err)
		}
	})
	return c
}

func objects(t *testing.T, c token.Card) []token.Object {
	t.Helper()
	all, err := c.Objects(t.Context())
	if err != nil {
		t.Fatalf("Objects: %v", err)
	}
	return all
}

func object(t *testing.T, c token.Card, id []byte) token.Object {
	t.Helper()
	for _, o := range objects(t, c) {
		if bytes.Equal(o.ID, id) {
			return o
		}
	}
	t.Fatalf("object %x is not listed", id)
	return token.Object{}
}

func newKey(t *testing.T, c token.Card, slot policy.Slot, a token.Algorithm) ([]byte, crypto.Signer) {
	t.Helper()
	id, err := c.GenerateKey(t.Context(), slot, a)
	if err != nil {
		t.Fatalf("GenerateKey(%s, %s): %v", slot, a, err)
	}
	key, err := c.Signer(t.Context(), id)
	if err != nil {
		t.Fatalf("Signer: %v", err)
	}
	return id, key
}

func emptyCard(t *testing.T, open func() token.Card) {
	c := on(t, open)
	if all := objects(t, c); len(all) != 0 {
		t.Errorf("an empty card lists %d objects", len(all))
	}
}

// lifeOfAKey: made, signs a request, gets its certificate, is there after the
// card was opened again, is deleted.
func lifeOfAKey(t *testing.T, open func() token.Card) {
	ctx := t.Context()
	c := open()
	id, key := newKey(t, c, policy.Authentication, token.P256)
	der, err := card.NewRequest(key, card.Binding{Download: "dl_1", Slot: "authentication", Card: number})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := card.ParseRequest(der); err != nil {
		t.Fatalf("request of the card: %v", err)
	}
	if _, err := c.ReadCertificate(ctx, id); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("certificate before it was written: %v, want ErrNotFound", err)
	}
	ca := NewAuthority(t, "TEST CA")
	cert := ca.Issue(t, key.Public(), policy.Authentication, number)
	for range 2 { // again is no error: an answer may have been lost
		if err := c.WriteCertificate(ctx, id, cert); err != nil {
			t.Fatalf("WriteCertificate: %v", err)
		}
	}
	if err := c.WriteCertificate(ctx, id, ca.Issue(t, key.Public(), policy.Authentication, number)); !errors.Is(err, token.ErrOccupied) {
		t.Errorf("another certificate over the first: %v, want ErrOccupied", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	c = on(t, open)
	o := object(t, c, id)
	if !o.HasKey || o.Slot != policy.Authentication || !bytes.Equal(o.Certificate, cert) || !token.SameKey(o.Public, key.Public()) {
		t.Errorf("after opening again: %+v", o)
	}
	if got := c.Info().Number; got != number {
		t.Errorf("card number = %q, want %q", got, number)
	}
	if got, err := c.ReadCertificate(ctx, id); err != nil || !bytes.Equal(got, cert) {
		t.Errorf("ReadCertificate: %v, equal %t", err, bytes.Equal(got, cert))
	}
	if key, err = c.Signer(ctx, id); err != nil {
		t.Fatalf("Signer after opening again: %v", err)
	}
	verify(t, key, "after opening again")
	if err := c.Delete(ctx, id); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if all := objects(t, c); len(all) != 0 {
		t.Errorf("after Delete: %d objects", len(all))
	}
	if _, err := c.Signer(ctx, id); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("Signer after Delete: %v, want ErrNotFound", err)
	}
}

// verify signs with key and checks with the public key.
func verify(t testing.TB, key crypto.Signer, when string) {
	sum := sha256.Sum256([]byte(when))
	signature, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		t.Errorf("%s: Sign: %v", when, err)
		return
	}
	switch public := key.Public().(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(public, sum[:], signature) {
			t.Errorf("%s: signature does not verify", when)
		}
	case *rsa.PublicKey:
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	default:
		t.Errorf("%s: public key of type %T", when, public)
	}
}

// beside: the second key leaves the first alone, and so does deleting it.
func beside(t *testing.T, open func() token.Card) {
	c := on(t, open)
	ca := NewAuthority(t, "TEST CA")
	old, oldKey := newKey(t, c, policy.Authentication, token.P256)
	oldCert := ca.Issue(t, oldKey.Public(), policy.Authentication, number)
	if err := c.WriteCertificate(t.Context(), old, oldCert); err != nil {
		t.Fatal(err)
	}
	id, key := newKey(t, c, policy.Authentication, token.P256)
	if bytes.Equal(id, old) || token.SameKey(key.Public(), oldKey.Public()) {
		t.Fatal("the new key is the old one")
	}
	if err := c.WriteCertificate(t.Context(), id, oldCert); err == nil {
		t.Error("the certificate of another key was written")
	}
	verify(t, oldKey, "old key beside the new one")
	if err := c.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	verify(t, oldKey, "old key after the new one was deleted")
	if got, err := c.ReadCertificate(t.Context(), old); err != nil || !bytes.Equal(got, oldCert) {
		t.Errorf("old certificate: %v", err)
	}
}

func slots(t *testing.T, open func() token.Card) {
	c := on(t, open)
	for _, slot := range []policy.Slot{policy.Authentication, policy.Signing, policy.Transport} {
		id, key := newKey(t, c, slot, token.P256)
		verify(t, key, string(slot))
		verify(t, key, string(slot)+" again")
		if got := object(t, c, id).Slot; got != slot {
			t.Errorf("slot of a key made for %s = %s", slot, got)
		}
	}
	if _, err := c.GenerateKey(t.Context(), "bogus", token.P256); err == nil {
		t.Error("a key was made in a slot that does not exist")
	}
	if _, err := c.GenerateKey(t.Context(), policy.Authentication, "RSA-512"); err == nil {
		t.Error("a key of an unknown kind was made")
	}
}

func rsaKeys(t *testing.T, open func() token.Card) {
	c := on(t, open)
	_, key := newKey(t, c, policy.Authentication, token.RSA2048)
	verify(t, key, "RSA")
	if n := key.Public().(*rsa.PublicKey).N.BitLen(); n != 2048 {
		t.Errorf("RSA key of %d bits", n)
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		hash := h.New()
		hash.Write([]byte("PSS"))
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
		signature, err := key.Sign(nil, hash.Sum(nil), opts)
		if err != nil {
			t.Errorf("PSS with %v: %v", h, err)
			continue
		}
		if err := rsa.VerifyPSS(key.Public().(*rsa.PublicKey), h, hash.Sum(nil), signature, opts); err != nil {
			t.Errorf("PSS with %v: %v", h, err)
		}
	}
	if _, err := key.Sign(nil, make([]byte, 20), crypto.SHA1); err == nil {
		t.Error("a SHA-1 was signed")
	}
	verify(t, key, "RSA after a refused signature")
	der, err := card.NewRequest(key, card.Binding{Download: "dl_1", Slot: "authentication", Card: number})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := card.ParseRequest(der); err != nil {
		t.Errorf("request of an RSA key: %v", err)
	}
}

// handshakes: the keys log in over TLS 1.3 (RSA signs PSS there).
func handshakes(t *testing.T, open func() token.Card) {
	c := on(t, open)
	ca := NewAuthority(t, "TEST CA")
	for _, a := range []token.Algorithm{token.P256, token.RSA2048} {
		_, key := newKey(t, c, policy.Authentication, a)
		cert := tls.Certificate{Certificate: [][]byte{ca.Issue(t, key.Public(), policy.Authentication, number)}, PrivateKey: key}
		if err := handshake(t, ca, cert); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func handshake(t *testing.T, ca *Authority, client tls.Certificate) error {
	leaf, err := ca.Make(ca.Key.Public(), policy.Transport, number)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server := tls.Server(a, &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf}, PrivateKey: ca.Key}},
	})
	served := make(chan error, 1)
	go func() { served <- server.HandshakeContext(t.Context()) }()
	// The server's name is not what is tested; its key is.
	conn := tls.Client(b, &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: []tls.Certificate{client},
		VerifyConnection: func(s tls.ConnectionState) error { return s.PeerCertificates[0].CheckSignatureFrom(ca.Certificate) },
	})
	go func() { conn.Read(make([]byte, 1)) }() // takes the session ticket off the pipe
	if err := conn.HandshakeContext(t.Context()); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return <-served
}

func concurrent(t *testing.T, open func() token.Card) {
	c := on(t, open)
	_, key := newKey(t, c, policy.Authentication, token.P256)
	_, other := newKey(t, c, policy.Signing, token.P256)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 4 {
				if i%4 == 0 {
					verify(t, other, "signing, concurrently")
				}
				verify(t, key, "concurrently")
				if _, err := c.Objects(context.Background()); err != nil {
					t.Errorf("Objects, concurrently: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// mending: a certificate is taken from its key, and another one takes its place;
// nothing is without an id on a card that nobody has harmed.
func mending(t *testing.T, open func() token.Card) {
	ctx := t.Context()
	c := on(t, open)
	m, ok := c.(token.Mender)
	if !ok {
		t.Fatal("the card can't be mended")
	}
	ca := NewAuthority(t, "TEST CA")
	id, key := newKey(t, c, policy.Authentication, token.P256)
	for range 2 {
		cert := ca.Issue(t, key.Public(), policy.Authentication, number)
		if err := c.WriteCertificate(ctx, id, cert); err != nil {
			t.Fatal(err)
		}
		if err := c.WriteCertificate(ctx, id, ca.Issue(t, key.Public(), policy.Authentication, number)); !errors.Is(err, token.ErrOccupied) {
			t.Errorf("another certificate at the same place: %v, want ErrOccupied", err)
		}
		if err := m.DropCertificate(ctx, id); err != nil {
			t.Fatalf("DropCertificate: %v", err)
		}
		if o := object(t, c, id); o.Certificate != nil || !o.HasKey || o.Damaged || !o.Made() {
			t.Errorf("without its certificate: %+v", o)
		}
		verify(t, key, "key without its certificate")
	}
	if n, err := m.Nameless(ctx, true); n != 0 || err != nil {
		t.Errorf("Nameless: %d, %v", n, err)
	}
	if err := m.DropCertificate(ctx, []byte("0123456789abcdef")); !errors.Is(err, token.ErrNotFound) {
		t.Errorf("DropCertificate of nothing: %v, want ErrNotFound", err)
	}
}

func notThere(t *testing.T, open func() token.Card) {
	ctx := t.Context()
	c := on(t, open)
	ca := NewAuthority(t, "TEST CA")
	cert := ca.Issue(t, ca.Key.Public(), policy.Authentication, number)
	for _, id := range [][]byte{nil, {}, []byte("0123456789abcdef")} {
		_, err := c.Signer(ctx, id)
		if !errors.Is(err, token.ErrNotFound) {
			t.Errorf("Signer(%x): %v, want ErrNotFound", id, err)
		}
		if err := c.WriteCertificate(ctx, id, cert); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("WriteCertificate(%x): %v, want ErrNotFound", id, err)
		}
		if _, err := c.ReadCertificate(ctx, id); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("ReadCertificate(%x): %v, want ErrNotFound", id, err)
		}
		if err := c.Delete(ctx, id); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("Delete(%x): %v, want ErrNotFound", id, err)
		}
	}
}
