package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"sigill/policy"
)

// maxPIN bounds what is read as one PIN.
const maxPIN = 64

// pinReader gets PINs from --pin-fd or the terminal and keeps them for this
// run: a signing key asks for its PIN at each signature, the holder types it
// once.
type pinReader struct {
	app   *app
	fd    *bufio.Reader
	known [2][]byte // PIN1, PIN2
	lines int       // read from the descriptor
}

// PIN implements [sigill/internal/token.PIN]. The caller zeroes the copy it
// gets.
func (p *pinReader) PIN(ctx context.Context, slot policy.Slot) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i := 0
	if slot == policy.Signing {
		i = 1
	}
	if p.known[i] == nil {
		var err error
		if p.app.flags.PINFD >= 0 {
			err = p.readLines(i)
		} else {
			p.known[i], err = p.prompt(ctx, slot)
		}
		if err != nil {
			return nil, err
		}
	}
	return slices.Clone(p.known[i]), nil
}

// readLines reads the descriptor up to line i: PIN1 on the first line, PIN2 on
// the second.
func (p *pinReader) readLines(i int) error {
	if p.fd == nil {
		switch fd := p.app.flags.PINFD; fd {
		case 0:
			p.fd = p.app.in
		default:
			f := os.NewFile(uintptr(fd), "pin-fd")
			if f == nil {
				return fmt.Errorf("--pin-fd %d: not open", fd)
			}
			defer f.Close()
			// All of it at once, so that nothing is left in a buffer that
			// outlives this run's need.
			b, err := io.ReadAll(io.LimitReader(f, 4*maxPIN))
			if err != nil {
				return fmt.Errorf("--pin-fd %d: %w", fd, err)
			}
			p.fd = bufio.NewReader(bytes.NewReader(b))
		}
	}
	for p.lines <= i {
		line, err := p.fd.ReadBytes('\n')
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return errors.New(p.app.say("pinline", p.lines+1))
		}
		pin := bytes.TrimRight(line, "\r\n")
		if len(pin) == 0 || len(pin) > maxPIN {
			return errors.New(p.app.say("pinline", p.lines+1))
		}
		p.known[p.lines] = pin
		p.lines++
	}
	return nil
}

// prompt asks on the terminal, without echo.
func (p *pinReader) prompt(ctx context.Context, slot policy.Slot) ([]byte, error) {
	tty, ok := p.app.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		var err error
		if tty, err = os.OpenFile("/dev/tty", os.O_RDWR, 0); err != nil {
			return nil, errors.New(p.app.say("noterminal"))
		}
		defer tty.Close()
	}
	fmt.Fprintf(p.app.notes, "%s: ", p.app.say("pin."+string(slot)))
	fd := int(tty.Fd())
	echo, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	pin, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(p.app.notes)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), term.Restore(fd, echo)) // the shell wants its echo back
	}
	if err != nil {
		return nil, err
	}
	if len(pin) == 0 {
		return nil, errors.New(p.app.say("nopin"))
	}
	return pin, nil
}

// interruptible runs read, which can't be cancelled, until ctx ends. The read
// that is left then waits for the end of the program.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	c := make(chan answer, 1)
	go func() {
		v, err := read()
		c <- answer{v, err}
	}()
	select {
	case a := <-c:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// forget zeroes the PINs.
func (p *pinReader) forget() {
	for _, pin := range p.known {
		clear(pin)
	}
}

// confirm asks a question; only an explicit yes is one.
func (a *app) confirm(key string) (bool, error) {
	fmt.Fprintf(a.notes, "%s ", a.say(key))
	line, err := interruptible(a.ctx, func() (string, error) { return a.in.ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "j", "ja":
		return true, nil
	}
	return false, nil
}
