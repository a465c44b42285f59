// Package terminal is how the programs speak with the person before them: a PIN
// is asked for without echo or read from a descriptor, a question may be left by
// whoever ends the program, and foreign texts can't steer the screen.
//
// It has no words of its own and knows nothing of cards.
package terminal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// maxPIN bounds what is read as one PIN.
const maxPIN = 64

var (
	// ErrNone: there is no terminal to ask on.
	ErrNone = errors.New("there is no terminal")
	// ErrNoPIN: nothing was given, or what is too long to be a PIN.
	ErrNoPIN = errors.New("no PIN was given")
	// ErrNotOpen: there is no such descriptor.
	ErrNotOpen = errors.New("not open")
)

// Clean takes out of a text what would steer the terminal or turn the order of
// its characters round: names and texts come from files, cards and servers, and
// an escape sequence could rewrite what is on the screen.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
}

// AskPIN asks a question and reads its answer without echo: from in if that is a
// terminal, otherwise from the one that the program was started at. The error is
// [ErrNone], [ErrNoPIN] or that of ctx, among others.
func AskPIN(ctx context.Context, in io.Reader, out io.Writer, question string) ([]byte, error) {
	tty, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		var err error
		if tty, err = os.OpenFile("/dev/tty", os.O_RDWR, 0); err != nil {
			return nil, ErrNone
		}
		defer tty.Close()
	}
	fmt.Fprintf(out, "%s: ", question)
	fd := int(tty.Fd())
	echo, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	pin, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(out)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), term.Restore(fd, echo)) // the shell wants its echo back
	}
	if err == nil && len(pin) == 0 {
		err = ErrNoPIN
	}
	return pin, err
}

// OpenPINs returns the reader of descriptor fd, for [ReadPIN]. 0 is in: standard
// input is shared with the answers to questions, in the order in which people are
// asked. Any other is read to its end and closed, so that nothing is left in a
// buffer that outlives the need.
func OpenPINs(fd int, in *bufio.Reader) (*bufio.Reader, error) {
	if fd == 0 {
		return in, nil
	}
	f := os.NewFile(uintptr(fd), "pin-fd")
	if f == nil {
		return nil, ErrNotOpen
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4*maxPIN))
	if err != nil {
		return nil, err
	}
	return bufio.NewReader(bytes.NewReader(b)), nil
}

// ReadPIN reads one line, the last of which may lack its end. The error is
// [ErrNoPIN] if there is none, it is empty or too long.
func ReadPIN(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadBytes('\n')
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, ErrNoPIN
	}
	pin := bytes.TrimRight(line, "\r\n")
	if len(pin) == 0 || len(pin) > maxPIN {
		return nil, ErrNoPIN
	}
	return pin, nil
}

// Yes reads the answer to a question; only an explicit yes, in English or Swedish,
// is one.
func Yes(ctx context.Context, in *bufio.Reader) (bool, error) {
	line, err := interruptible(ctx, func() (string, error) { return in.ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "j", "ja":
		return true, nil
	}
	return false, nil
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
