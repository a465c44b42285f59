//go:build unix

package main

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"sigill/policy"
)

// TestPINDescriptor reads from a pipe, as the program is called by others.
func TestPINDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("123456\r\n654321"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer r.Close()
	// The reader owns and closes the descriptor that it is named.
	fd, err := syscall.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{flags: &cli{PINFD: fd}, lang: "en"}
	p := &pinReader{app: a}
	for slot, want := range map[policy.Slot]string{policy.Signing: "654321", policy.Transport: "123456", policy.Authentication: "123456"} {
		for range 2 {
			pin, err := p.PIN(t.Context(), slot)
			if err != nil || string(pin) != want {
				t.Errorf("PIN for %s = %q, %v", slot, pin, err)
			}
			clear(pin) // as a card does: what is kept must not be this
		}
	}
	first := p.known[0]
	p.forget()
	if !bytes.Equal(first, make([]byte, 6)) {
		t.Errorf("PIN left behind: %q", first)
	}
}
