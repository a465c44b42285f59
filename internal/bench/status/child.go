package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"sigill/internal/bench/process"
)

// service is a process as the one that started it sees it.
type service struct {
	process.Ready
	pid    int
	took   time.Duration // from its start until it was ready
	encode *json.Encoder
	decode *json.Decoder
	end    func() error
}

// command returns what makes the command of a kind of process.
func (s *Session) command(kind string) func(context.Context) *exec.Cmd {
	if s.c.Child == nil {
		return nil
	}
	return func(ctx context.Context) *exec.Cmd { return s.c.Child(ctx, kind) }
}

// begin starts a process and waits until it is ready.
func (s *Session) begin(ctx context.Context, kind string, what process.Spec) (*service, error) {
	make := s.command(kind)
	if make == nil {
		return nil, errors.New("status is measured with processes of its own, and there is no program for them")
	}
	began := time.Now()
	cmd := make(ctx)
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
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	p := &service{pid: cmd.Process.Pid, encode: json.NewEncoder(in), decode: json.NewDecoder(out),
		end: func() error { in.Close(); return cmd.Wait() }}
	err = p.encode.Encode(what)
	if err == nil {
		err = p.decode.Decode(&p.Ready)
	}
	if err == nil && p.Error != "" {
		err = errors.New(p.Error)
	}
	if err != nil {
		in.Close()
		return nil, errors.Join(fmt.Errorf("%s: %w", kind, err), cmd.Wait())
	}
	p.took = time.Since(began)
	return p, nil
}

// ask hands an order over and waits for its outcome.
func (p *service) ask(q process.Order) (process.Outcome, error) {
	var o process.Outcome
	if err := p.encode.Encode(q); err != nil {
		return o, err
	}
	if err := p.decode.Decode(&o); err != nil {
		return o, err
	}
	if o.Error != "" {
		return o, errors.New(o.Error)
	}
	return o, nil
}

// served returns the service over the population, started if need be.
func (s *Session) served(ctx context.Context) (*service, error) {
	if s.serve != nil {
		return s.serve, nil
	}
	p, err := s.population(ctx)
	if err != nil {
		return nil, err
	}
	s.c.Progress("starting the service")
	s.serve, err = s.begin(ctx, process.Serve, process.Spec{Dir: p.Dir})
	return s.serve, err
}

// stop ends the service: it has the population's directory to itself.
func (s *Session) stop() error {
	if s.serve == nil {
		return nil
	}
	err := s.serve.end()
	s.serve = nil
	return err
}
