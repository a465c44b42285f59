// Package demo plays the whole journey against a serving installation and tells
// it as a story. Every fact it tells was read back over the network from where a
// relying party or a card would read it; a fact that is not as it should be ends
// the demo with an error.
//
// It goes through the API like everybody and opens no database.
package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// listened is a writer that ends the demo when nobody reads any longer.
type listened struct {
	io.Writer
	end context.CancelCauseFunc
}

// Write implements [io.Writer].
func (l listened) Write(b []byte) (int, error) {
	n, err := l.Writer.Write(b)
	if err != nil {
		l.end(fmt.Errorf("telling the story: %w", err))
	}
	return n, err
}

// story writes the tale.
type story struct {
	out     io.Writer
	chapter int
}

// begin opens a chapter.
func (s *story) begin(title string) {
	s.chapter++
	fmt.Fprintf(s.out, "\n%d. %s\n", s.chapter, title)
}

// tell writes what happens.
func (s *story) tell(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(s.out, "   %s\n", strings.ReplaceAll(text, "\n", "\n   "))
}

// fact writes what was seen to be true.
func (s *story) fact(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(s.out, "   ✓ %s\n", strings.ReplaceAll(text, "\n", "\n     "))
}

// expect is an error unless ok.
func expect(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("the demo expected otherwise: "+format, args...)
}
