package httpload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Generator is a generator at work, in a process of its own or here. It does one
// job at a time.
type Generator struct {
	encode *json.Encoder
	decode *json.Decoder
	end    func() error
	// Apart: it is a process of its own.
	Apart bool
}

// Start starts the process that command makes, which must call [Serve]; nil: the
// generator works in this process. Close it.
func Start(ctx context.Context, command func(context.Context) *exec.Cmd) (*Generator, error) {
	if command == nil {
		jobs, in := io.Pipe()
		out, reports := io.Pipe()
		done := make(chan error, 1)
		go func() {
			err := Serve(ctx, jobs, reports)
			reports.CloseWithError(errors.Join(err, io.EOF))
			done <- err
		}()
		return &Generator{encode: json.NewEncoder(in), decode: json.NewDecoder(out), end: func() error { in.Close(); out.Close(); return <-done }}, nil
	}
	cmd := command(ctx)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	return &Generator{encode: json.NewEncoder(in), decode: json.NewDecoder(out), Apart: true, end: func() error { in.Close(); return cmd.Wait() }}, nil
}

// Do hands a job over and waits for its report. A run in which an answer was wrong
// is an error: a figure over some of them would be none.
func (g *Generator) Do(j Job) (Report, error) {
	var r Report
	if err := g.encode.Encode(j); err != nil {
		return r, fmt.Errorf("load generator: %w", err)
	}
	if err := g.decode.Decode(&r); err != nil {
		return r, fmt.Errorf("load generator: %w", err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("load generator: after %d answers: %s", r.Answers, r.Error)
	}
	return r, nil
}

// Close ends the generator.
func (g *Generator) Close() error { return g.end() }
