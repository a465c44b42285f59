// Package admintest is a serving installation for tests of the administrators'
// side: a TEST hierarchy, officers with soft cards, a bureau, all behind the real
// listeners. It prepares nothing that the API can do: organisations, persons and
// cards come by the calls that are tested.
package admintest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigill/internal/app"
	"sigill/internal/card"
	"sigill/internal/cardclient"
	"sigill/internal/config"
	"sigill/internal/loopback"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
)

// Bureau is the name of the bureau; PIN opens every card that [Installation.NewCard]
// makes.
const (
	Bureau = "bureau"
	PIN    = "274163"
)

// Installation serves until its test ends.
type Installation struct {
	app.Addresses
	Dir      string
	RootFile string // the root's certificate
	Roots    *x509.CertPool
	Root     *x509.Certificate
	bureau   *ecdsa.PrivateKey
	stop     func() error
}

// Start makes an installation and serves it.
func Start(t testing.TB) *Installation {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	s := config.Defaults()
	status, err := loopback.Free(1) // certificates name it before it is listened on
	must(t, err)
	s.Status, s.StatusURL, s.Card, s.Ops, s.Partitions = status[0], "http://"+status[0], "127.0.0.1:0", "127.0.0.1:0", 2
	s.Bureaus = map[string]string{Bureau: filepath.Join("bureau", "public.pem")}
	in := &Installation{Dir: filepath.Join(t.TempDir(), "installation"), bureau: key}
	log := slog.New(slog.DiscardHandler)
	_, err = app.Init(t.Context(), app.InitOptions{Dir: in.Dir, Settings: s, Log: log, Now: time.Now,
		Files: map[string][]byte{filepath.Join("bureau", "public.pem"): pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})}})
	must(t, err)
	a, err := app.Open(t.Context(), in.Dir, app.Options{Log: log, Now: time.Now})
	must(t, err)
	t.Cleanup(func() { in.Stop(t) })
	in.serve(t, a)
	in.RootFile, in.Root, in.Roots = a.Hierarchy.CertificatePath("root"), a.Hierarchy.Root.Certificate, x509.NewCertPool()
	in.Roots.AddCert(in.Root)
	return in
}

func (in *Installation) serve(t testing.TB, a *app.App) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan app.Addresses, 1), make(chan error, 1)
	go func() { done <- a.Serve(ctx, func(at app.Addresses) { ready <- at }) }()
	in.stop = func() error {
		stop()
		return errors.Join(<-done, a.Close())
	}
	select {
	case in.Addresses = <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("serving: %v", err)
	}
}

// Stop ends serving, if it has not ended.
func (in *Installation) Stop(t testing.TB) {
	t.Helper()
	if in.stop == nil {
		return
	}
	stop := in.stop
	in.stop = nil
	if err := stop(); err != nil {
		t.Errorf("serving: %v", err)
	}
}

// Again serves the installation, or what a test put in its place: a copy of it, which is
// of the same hierarchy and listens where it did.
func (in *Installation) Again(t testing.TB, dir string) {
	t.Helper()
	in.Stop(t)
	a, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	must(t, err)
	in.serve(t, a)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Officer returns the path of an officer's card (1 or 2) and its PIN.
func (in *Installation) Officer(t testing.TB, n int) (path, pin string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(in.Dir, "officers", fmt.Sprintf("officer-%d.pin", n)))
	must(t, err)
	return filepath.Join(in.Dir, "officers", fmt.Sprintf("officer-%d.json", n)), string(b[:len(b)-1])
}

// Open opens a card file.
func Open(t testing.TB, path, pin string) token.Card {
	t.Helper()
	c, err := token.OpenSoft(path, func(context.Context, policy.Slot) ([]byte, error) { return []byte(pin), nil })
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// Heading of a delivery file.
const Heading = "number,product,kind,expires,csr\n"

// NewCard makes a card as the bureau does: a transport key in it, and its row of
// a delivery file.
func (in *Installation) NewCard(t testing.TB, number string) (path, row string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), number+".json")
	must(t, token.CreateSoft(path, token.SoftConfig{Number: number, Product: "7XX", PIN1: PIN}))
	c := Open(t, path, PIN)
	id, err := c.GenerateKey(t.Context(), policy.Transport, token.P256)
	must(t, err)
	key, err := c.Signer(t.Context(), id)
	must(t, err)
	csr, err := card.NewPlainRequest(key, number)
	must(t, err)
	return path, fmt.Sprintf("%s,7XX,ordinary,%s,%s\n", number, time.Now().AddDate(3, 0, 0).Format(time.DateOnly), base64.StdEncoding.EncodeToString(csr))
}

// SignDelivery signs a delivery file as the bureau.
func (in *Installation) SignDelivery(t testing.TB, file []byte) []byte {
	t.Helper()
	signature, err := register.SignDelivery(in.bureau, file)
	must(t, err)
	return signature
}

// Install writes a transport certificate to its card.
func Install(t testing.TB, c token.Card, der []byte) {
	t.Helper()
	objects, err := c.Objects(t.Context())
	must(t, err)
	for _, o := range objects {
		if o.Slot == policy.Transport {
			must(t, c.WriteCertificate(t.Context(), o.ID, der))
			return
		}
	}
	t.Fatal("the card has no transport key")
}

type agree struct{}

func (agree) Approve(context.Context, *wire.Me, policy.Plan) (bool, error) { return true, nil }
func (agree) Progress(string, policy.Slot)                                 {}

// Fetch has the holder fetch the order that waits for the card.
func (in *Installation) Fetch(t testing.TB, c token.Card) {
	t.Helper()
	client := &cardclient.Client{Server: in.Card, Roots: in.Roots, Card: c, Version: "0.1.0", Language: "en"}
	_, err := client.Fetch(t.Context(), "", agree{})
	must(t, err)
}
