// Package process is what the other processes of a measurement of status do: the
// service, a second one on the same database, a server that answers with a constant,
// and those that issue lists. They read orders and write outcomes, JSON documents, and
// end when there is nothing more to read.
//
// It measures only what no other process can: the time of an act, the memory of its
// own. What the figures are is not its business.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"sigill/internal/app"
	"sigill/internal/bench/httpload"
	"sigill/internal/responder"
)

// Kinds of processes.
const (
	Requests = "requests" // the load generator
	Serve    = "serve"    // the service, which revokes what it is told to
	Other    = "other"    // a second process on the same database, with its own cache
	Constant = "constant" // a server that answers with a constant
	Lists    = "lists"    // issues the full CRL
	Library  = "library"  // issues as long a list by crypto/x509 alone
)

// Spec is the first document that a process reads.
type Spec struct {
	Dir    string `json:"dir,omitempty"`
	Length int    `json:"length,omitempty"` // of the constant
	Count  int    `json:"count,omitempty"`
	// Answer is the constant itself, in place of one of Length.
	Answer []byte `json:"answer,omitempty"`
}

// Ready is the first document that it writes.
type Ready struct {
	Status string `json:"status,omitempty"` // host:port
	Ops    string `json:"ops,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Child is one of the processes of a measurement. It ends when there is nothing more
// to read.
func Child(ctx context.Context, kind string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if kind == Requests {
		return httpload.Serve(ctx, in, out)
	}
	w := &wire{decode: json.NewDecoder(in), encode: json.NewEncoder(out)}
	var s Spec
	if err := w.decode.Decode(&s); err != nil {
		return fmt.Errorf("what to be: %w", err)
	}
	run, ok := map[string]func(context.Context, Spec, *wire) error{
		Serve: serveChild, Other: otherChild, Constant: constantChild, Lists: listsChild, Library: libraryChild,
	}[kind]
	if !ok {
		return fmt.Errorf("no process %q", kind)
	}
	err := run(ctx, s, w)
	if err != nil {
		w.encode.Encode(Ready{Error: err.Error()}) // whoever waits for an answer gets the reason
	}
	return err
}

// wire is what a process reads and writes: JSON documents.
type wire struct {
	decode *json.Decoder
	encode *json.Encoder
}

// obey carries out what comes, until there is nothing more.
func obey[Q, A any](w *wire, do func(Q) A) error {
	for {
		var q Q
		if err := w.decode.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := w.encode.Encode(do(q)); err != nil {
			return err
		}
	}
}

// serveChild is the service: what `sigill serve` does, and revoking.
func serveChild(ctx context.Context, s Spec, w *wire) (err error) {
	a, err := app.Open(ctx, s.Dir, app.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	up, ended := make(chan app.Addresses, 1), make(chan error, 1)
	go func() { ended <- a.Serve(ctx, func(at app.Addresses) { up <- at }) }()
	defer func() {
		cancel()
		if e := <-ended; !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}()
	select {
	case at := <-up:
		err = w.encode.Encode(Ready{Status: strings.TrimPrefix(at.Status, "http://"), Ops: strings.TrimPrefix(at.Ops, "http://")})
	case err := <-ended:
		ended <- context.Canceled
		return err
	}
	if err != nil {
		return err
	}
	r := &Revoker{a: a, dir: s.Dir}
	return obey(w, func(q Order) Outcome { return r.do(ctx, q) })
}

// constantChild answers everything with the same octets, by the server that the
// service uses.
func constantChild(ctx context.Context, s Spec, w *wire) error {
	answer := s.Answer
	if answer == nil {
		answer = bytes.Repeat([]byte{0x0a, 1, 0}, (s.Length+2)/3)[:s.Length]
	}
	media := []string{"application/ocsp-response"}
	return listen(w, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			io.Copy(io.Discard, r.Body)
		}
		w.Header()["Content-Type"] = media
		w.Write(answer)
	}), func(Order) Outcome { return Outcome{} })
}

// listen serves h on a free port until there is nothing more to read.
func listen(w *wire, h http.Handler, do func(Order) Outcome) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := responder.NewServer(h, responder.NewConnections(1<<14, slog.New(slog.DiscardHandler)))
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	if err := w.encode.Encode(Ready{Status: l.Addr().String()}); err != nil {
		return err
	}
	err = obey(w, do)
	server.Close()
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
