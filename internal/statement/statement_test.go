package statement_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"sigill/internal/statement"
)

func example() statement.Statement {
	return statement.Statement{Act: statement.ActPlace, Subject: "ord_1", By: "per_1", For: "per_2", Card: "9752000000000000001",
		Content: [32]byte{1, 2, 3}, At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
}

func TestParseReadsItsOwnForm(t *testing.T) {
	want := example()
	got, err := statement.Parse(want.Bytes())
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if n := bytes.Count(want.Bytes(), []byte("\n")); n != 8 {
		t.Errorf("%d lines", n)
	}
}

// Only one form is read: two that mean the same would be two statements to who
// compares bytes, and one that means two things would be signed as the one and
// used as the other.
func TestParseRefusesOtherForms(t *testing.T) {
	right := string(example().Bytes())
	replace := func(old, new string) string {
		t.Helper()
		s := strings.Replace(right, old, new, 1)
		if s == right {
			t.Fatalf("%q is not in a statement", old)
		}
		return s
	}
	for name, text := range map[string]string{
		"nothing":          "",
		"no tag":           replace("sigill-statement-v1\n", ""),
		"another tag":      replace("sigill-statement-v1", "sigill-statement-v2"),
		"no last newline":  strings.TrimSuffix(right, "\n"),
		"one more newline": right + "\n",
		"one more line":    right + "more: 1\n",
		"line twice":       replace("for: per_2\n", "for: per_2\nfor: per_2\n"),
		"line missing":     replace("for: per_2\n", ""),
		"lines swapped":    replace("by: per_1\nfor: per_2\n", "for: per_2\nby: per_1\n"),
		"empty value":      replace("for: per_2", "for: "),
		"no space":         replace("for: per_2", "for:per_2"),
		"CRLF":             strings.ReplaceAll(right, "\n", "\r\n"),
		"unknown act":      replace("order.place", "order.invent"),
		"content short":    replace("010203", "0102"),
		"content capitals": replace("content: 010203", "content: 01020A"),
		"content not hex":  replace("content: 01", "content: xy"),
		"time with zone":   replace("12:00:00Z", "13:00:00+01:00"),
		"time finer":       replace("12:00:00Z", "12:00:00.5Z"),
		"time not one":     replace("2026-11-22T12:00:00Z", "now"),
		"too long":         replace("ord_1", strings.Repeat("o", 1024)),
	} {
		if _, err := statement.Parse([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	broken := example()
	broken.Subject = "ord_1\nby: per_9"
	if _, err := statement.Parse(broken.Bytes()); err == nil {
		t.Error("a newline in a value makes another statement")
	}
}

func TestSignVerify(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	content := example().Bytes()
	for name, key := range map[string]crypto.Signer{"P-256": p256, "P-384": p384, "RSA": rsaKey} {
		signature, err := statement.Sign(key, content)
		if err != nil {
			t.Fatal(err)
		}
		if err := statement.Verify(key.Public(), content, signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		other := bytes.Clone(content)
		other[len(other)-2] ^= 1
		if statement.Verify(key.Public(), other, signature) == nil {
			t.Errorf("%s: verifies another statement", name)
		}
		signature[len(signature)-1] ^= 1
		if statement.Verify(key.Public(), content, signature) == nil || statement.Verify(key.Public(), content, nil) == nil {
			t.Errorf("%s: a broken signature verifies", name)
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if statement.Verify(public, content, ed25519.Sign(private, content)) == nil {
		t.Error("Ed25519 is not among the keys of cards")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example().Bytes())
	f.Add([]byte("sigill-statement-v1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := statement.Parse(b)
		if err == nil && !bytes.Equal(s.Bytes(), b) {
			t.Errorf("%q is read as %q", b, s.Bytes())
		}
	})
}
