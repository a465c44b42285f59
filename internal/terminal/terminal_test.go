package terminal_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"sigill/internal/terminal"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"Åsa Öberg – 1":         "Åsa Öberg – 1",
		"a\x1b[2Jb\r\nc\td\x7f": "a[2Jbcd",
		"a\u009b31mb\u202ec":    "a31mbc",
		"a\u2066b\u2069\xffc":   "abc",
	} {
		if got := terminal.Clean(text); got != want {
			t.Errorf("Clean(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestReadPIN(t *testing.T) {
	in, err := terminal.OpenPINs(0, bufio.NewReader(strings.NewReader("1234\r\n \n\n"+strings.Repeat("1", 65)+"\n654321")))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"1234", " ", "", "", "654321", ""} {
		pin, err := terminal.ReadPIN(in)
		if string(pin) != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, terminal.ErrNoPIN) {
			t.Errorf("line %d: %q, %v, want %q", i+1, pin, err, want)
		}
	}
	if _, err := terminal.ReadPIN(bufio.NewReader(io.MultiReader(strings.NewReader("12"), broken{}))); !errors.Is(err, terminal.ErrNoPIN) {
		t.Errorf("a PIN that was cut off: %v", err)
	}
	if _, err := terminal.OpenPINs(1<<20, nil); err == nil {
		t.Error("a descriptor that is not open was read")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestYes(t *testing.T) {
	for text, want := range map[string]bool{"y\n": true, "Yes\n": true, " j \r\n": true, "JA": true, "": false, "\n": false, "n\n": false, "yy\n": false, "yes please\n": false} {
		if got, err := terminal.Yes(t.Context(), bufio.NewReader(strings.NewReader(text))); got != want || err != nil {
			t.Errorf("%q: %t, %v", text, got, err)
		}
	}
	if ok, err := terminal.Yes(t.Context(), bufio.NewReader(broken{})); ok || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken: %t, %v", ok, err)
	}
	// Nobody answers, and the program is ended.
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := terminal.Yes(ctx, bufio.NewReader(r)); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %t, %v", ok, err)
	}
}
