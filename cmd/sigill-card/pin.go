package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"

	"sigill/internal/terminal"
	"sigill/policy"
)

// pinReader gets PINs from --pin-fd or the terminal and keeps them for this
// run: a signing key asks for its PIN at each signature, the holder types it
// once.
type pinReader struct {
	app   *app
	fd    *bufio.Reader
	known [2][]byte // PIN1, PIN2
	lines int       // read from the descriptor
	spent [2]bool   // was known, and was dropped
}

// ask gets the PIN of a slot before a card asks for it.
func (p *pinReader) ask(ctx context.Context, slot policy.Slot) error {
	pin, err := p.PIN(ctx, slot)
	clear(pin)
	return err
}

// drop zeroes the PIN of a slot: it is not needed any more.
func (p *pinReader) drop(slot policy.Slot) {
	i := place(slot)
	if p.known[i] != nil {
		clear(p.known[i])
		p.known[i], p.spent[i] = nil, true
	}
}

// place is where the PIN of a slot is kept: PIN1, PIN2.
func place(slot policy.Slot) int {
	if slot == policy.Signing {
		return 1
	}
	return 0
}

// PIN implements [sigill/internal/token.PIN]. The caller zeroes the copy it
// gets.
func (p *pinReader) PIN(ctx context.Context, slot policy.Slot) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	i := place(slot)
	if p.known[i] == nil {
		if p.spent[i] { // rare: the server could do nothing with the first signature
			p.app.note("pin.again")
		}
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
		var err error
		if p.fd, err = terminal.OpenPINs(p.app.flags.PINFD, p.app.in); err != nil {
			return fmt.Errorf("--pin-fd %d: %w", p.app.flags.PINFD, err)
		}
	}
	if p.spent[i] {
		return errors.New(p.app.say("pinspent"))
	}
	for p.lines <= i {
		pin, err := terminal.ReadPIN(p.fd)
		if err != nil {
			return errors.New(p.app.say("pinline", p.lines+1))
		}
		p.known[p.lines] = pin
		p.lines++
	}
	return nil
}

// prompt asks on the terminal, without echo.
func (p *pinReader) prompt(ctx context.Context, slot policy.Slot) ([]byte, error) {
	pin, err := terminal.AskPIN(ctx, p.app.stdin, p.app.notes, p.app.say("pin."+string(slot)))
	switch {
	case errors.Is(err, terminal.ErrNone):
		return nil, errors.New(p.app.say("noterminal"))
	case errors.Is(err, terminal.ErrNoPIN):
		return nil, errors.New(p.app.say("nopin"))
	}
	return pin, err
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
	return terminal.Yes(a.ctx, a.in)
}
