package token_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/policy"
)

const number = "9752000000000000017"

var config = token.SoftConfig{Number: number, Product: "none", PIN1: "123456", PIN2: "654321"}

func createSoft(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.card")
	if err := token.CreateSoft(path, config); err != nil {
		t.Fatal(err)
	}
	return path
}

func openSoft(t *testing.T, path string, pin token.PIN) *token.Soft {
	t.Helper()
	c, err := token.OpenSoft(path, pin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSoftCard(t *testing.T) {
	tokentest.TestCard(t, func(t *testing.T) func() token.Card {
		path := createSoft(t)
		return func() token.Card {
			c, err := token.Open(t.Context(), "soft:"+path, tokentest.PIN("123456", "654321"))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	})
}

// keep is a card in memory that outlives Close, as the suite's cards do.
type keep struct{ *token.Soft }

func (keep) Close() error { return nil }

func TestMemoryCard(t *testing.T) {
	tokentest.TestCard(t, func(t *testing.T) func() token.Card {
		c, err := token.NewMemory(token.SoftConfig{Number: number})
		if err != nil {
			t.Fatal(err)
		}
		return func() token.Card { return keep{c} }
	})
}

// asker is a PIN that answers from a list and counts.
type asker struct {
	pins  []string
	asked int
	given [][]byte
}

func (a *asker) PIN(context.Context, policy.Slot) ([]byte, error) {
	pin := []byte(a.pins[min(a.asked, len(a.pins)-1)])
	a.asked++
	a.given = append(a.given, pin)
	return pin, nil
}

func TestWrongPINsAreCountedDurably(t *testing.T) {
	path := createSoft(t)
	try := func(pin string) error {
		c := openSoft(t, path, (&asker{pins: []string{pin}}).PIN)
		defer c.Close()
		_, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
		return err
	}
	left := func(err error) int {
		if e, ok := errors.AsType[token.ErrPIN](err); ok {
			return e.Left
		}
		return -2
	}
	if got := left(try("000000")); got != 2 {
		t.Errorf("after one wrong PIN: %d tries left, want 2", got)
	}
	if err := try("123456"); err != nil {
		t.Errorf("right PIN: %v", err)
	}
	for i, want := range []int{2, 1} { // the right one gave all tries back
		if got := left(try("000000")); got != want {
			t.Errorf("wrong PIN %d: %d tries left, want %d", i, got, want)
		}
	}
	if err := try("000000"); !errors.Is(err, token.ErrPINLocked) {
		t.Errorf("third wrong PIN: %v, want ErrPINLocked", err)
	}
	locked := &asker{pins: []string{"123456"}}
	c := openSoft(t, path, locked.PIN)
	if _, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256); !errors.Is(err, token.ErrPINLocked) || locked.asked != 0 {
		t.Errorf("right PIN on a locked card: %v, asked %d times", err, locked.asked)
	}
	two := openSoft(t, path, tokentest.PIN("", "654321"))
	if _, err := two.GenerateKey(t.Context(), policy.Signing, token.P256); err != nil {
		t.Errorf("the other PIN is locked too: %v", err)
	}
}

func TestPINIsAskedOnceAndZeroed(t *testing.T) {
	a := &asker{pins: []string{"123456"}}
	c := openSoft(t, createSoft(t), a.PIN)
	if _, err := c.Objects(t.Context()); err != nil || a.asked != 0 {
		t.Errorf("listing: %v, asked %d times for a PIN", err, a.asked)
	}
	for range 2 {
		if _, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256); err != nil {
			t.Fatal(err)
		}
	}
	if a.asked != 1 || !bytes.Equal(a.given[0], make([]byte, 6)) {
		t.Errorf("asked %d times, PIN left behind: %q", a.asked, a.given[0])
	}
}

func TestSoftFile(t *testing.T) {
	path := createSoft(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if err := token.CreateSoft(path, config); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second card over the first: %v", err)
	}
	c := openSoft(t, path, tokentest.PIN("123456", "654321"))
	id, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	// The same card open twice: what one does the other sees, nothing is lost.
	other := openSoft(t, path, tokentest.PIN("123456", "654321"))
	if _, err := other.GenerateKey(t.Context(), policy.Authentication, token.P256); err != nil {
		t.Fatal(err)
	}
	if all, err := c.Objects(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%d objects, %v, want both", len(all), err)
	}
	if err := other.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files beside the card: %v, %v", left, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := token.OpenSoft(path, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a card that others can read: %v", err)
	}
}

func TestSoftDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := token.OpenSoft(dir, nil); !errors.Is(err, token.ErrNoCard) {
		t.Errorf("empty directory: %v, want ErrNoCard", err)
	}
	if _, err := token.OpenSoft(filepath.Join(dir, "none.card"), nil); !errors.Is(err, token.ErrNoCard) {
		t.Errorf("no file: %v, want ErrNoCard", err)
	}
	for i, name := range []string{"a.card", "b.card"} {
		if err := token.CreateSoft(filepath.Join(dir, name), config); err != nil {
			t.Fatal(err)
		}
		c, err := token.OpenSoft(dir, nil)
		if i == 0 && (err != nil || c.Info().Number != number) {
			t.Errorf("one card: %v", err)
		}
		if i == 1 && err == nil {
			t.Error("two cards: one of them was taken")
		}
	}
}

// TestSealedKeysStayWhereTheyAre: a key moved in the file to the other slot, so
// as to be used with the other PIN, does not open.
func TestSealedKeysStayWhereTheyAre(t *testing.T) {
	path := createSoft(t)
	c := openSoft(t, path, tokentest.PIN("123456", "654321"))
	id, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	moved := bytes.Replace(b, []byte(`"slot": "authentication"`), []byte(`"slot": "transport"`), 1)
	if bytes.Equal(b, moved) {
		t.Fatal("nothing was moved")
	}
	if err := os.WriteFile(path, moved, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openSoft(t, path, tokentest.PIN("123456", "654321"))
	if _, err := again.Signer(t.Context(), id); err == nil {
		t.Error("the moved key opened")
	}
}

func TestSoftCardRefuses(t *testing.T) {
	for name, c := range map[string]token.SoftConfig{
		"no number": {PIN1: "123456"}, "short PIN": {Number: number, PIN1: "123"}, "long PIN": {Number: number, PIN1: strings.Repeat("1", 17)},
		"no PIN": {Number: number},
	} {
		path := filepath.Join(t.TempDir(), "x.card")
		if err := token.CreateSoft(path, c); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: left a file", name)
		}
	}
	path := filepath.Join(t.TempDir(), "one.card")
	if err := token.CreateSoft(path, token.SoftConfig{Number: number, PIN1: "1234"}); err != nil {
		t.Fatal(err)
	}
	one := openSoft(t, path, tokentest.PIN("1234", "1234"))
	if _, err := one.GenerateKey(t.Context(), policy.Signing, token.P256); err == nil {
		t.Error("a card without signing PIN made a signing key")
	}
	for _, name := range []string{"", "file:x", "pkcs11:", "soft"} {
		if c, err := token.Open(t.Context(), name, nil); err == nil {
			t.Errorf("Open(%q) = %v", name, c)
		}
	}
}

func FuzzSoftFile(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "a.card")
	if err := token.CreateSoft(path, token.SoftConfig{Number: number, PIN1: "1234"}); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"sigill-soft-card-v1","pins":{"1":null},"objects":[null]}`))
	f.Add([]byte(`{"format":"sigill-soft-card-v1","pins":{"1":{"left":3}},"objects":[{"id":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.card")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := token.OpenSoft(path, tokentest.PIN("1234", "1234"))
		if err != nil {
			return
		}
		all, _ := c.Objects(t.Context()) // any error will do, a panic not
		for _, o := range all {
			c.ReadCertificate(t.Context(), o.ID)
		}
	})
}

func TestURI(t *testing.T) {
	for text, want := range map[string]token.URI{
		"pkcs11:module-path=/m.so":                                    {Module: "/m.so"},
		"pkcs11:module-path=/m.so;token=a%20b;token2=c;serial=12":     {Module: "/m.so", Token: "a b", Token2: "c", Serial: "12"},
		"pkcs11:token=a?module-path=/m.so":                            {Module: "/m.so", Token: "a"},
		"pkcs11:token=%C3%85sa?module-path=C:%5Ccard.dll&serial=a%3B": {Module: `C:\card.dll`, Token: "Åsa", Serial: "a;"},
	} {
		got, err := token.ParseURI(text)
		if err != nil || got != want {
			t.Errorf("ParseURI(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "pkcs11:", "soft:x", "pkcs11:token=a", "pkcs11:module-path=", "pkcs11:module-path=/m;pin-value=1", "pkcs11:module-path=/m?pin-source=x",
		"pkcs11:module-path=/m;bogus=1", "pkcs11:module-path=/m;token=a;token=b", "pkcs11:module-path=/m;token2=b", "pkcs11:module-path=/m;token=b;token2=b",
		"pkcs11:module-path=/m;token=%zz", "pkcs11:module-path=/m%00x", "pkcs11:module-path=/m;token=" + strings.Repeat("x", 5000),
	} {
		if u, err := token.ParseURI(text); err == nil {
			t.Errorf("ParseURI(%q) = %+v", text, u)
		}
	}
}

func FuzzURI(f *testing.F) {
	f.Add("pkcs11:module-path=/m.so;token=a%20b;token2=c;serial=12")
	f.Add("pkcs11:token=a?module-path=/m.so&serial=%25")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := token.ParseURI(text)
		if err != nil {
			return
		}
		again, err := token.ParseURI(u.String())
		if err != nil && len(u.String()) > 4096 {
			return // escaping made it longer than what is read
		}
		if err != nil || again != u {
			t.Fatalf("%q → %+v → %q → %+v, %v", text, u, u.String(), again, err)
		}
	})
}
