package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/time/rate"

	"sigill/internal/checkpoint"
	"sigill/internal/durable"
)

// atOnce bounds the requests that are looked at together; anybody can send them.
const atOnce = 32

// Config is what a witness needs.
type Config struct {
	Dir  string            // made by [Init]
	Logs []*checkpoint.Log // whose checkpoints it cosigns
	Now  func() time.Time
	Log  *slog.Logger
}

// Server is a witness: a handler of POST <prefix>/add-checkpoint, to be mounted with the
// prefix stripped. For each log it cosigns only what begins with all that it has cosigned
// before, also after it was killed at any moment, as long as its directory is not
// replaced by an older one.
type Server struct {
	dir   string
	key   *checkpoint.Cosigner
	heads map[string]*head
	now   func() time.Time
	log   *slog.Logger
	lock  *os.File
	slots chan struct{}
	// What can be sent again and again is not told for each.
	refused, unproved, forked rate.Sometimes
}

// Open opens the witness in c.Dir, which no other process may have open.
func Open(c Config) (*Server, error) {
	if c.Now == nil || c.Log == nil || len(c.Logs) == 0 {
		return nil, errors.New("witness: logs, clock or log is missing")
	}
	key, err := readKey(c.Dir)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: c.Dir, key: key, heads: map[string]*head{}, now: c.Now, log: c.Log, lock: lock,
		slots: make(chan struct{}, atOnce)}
	for _, each := range []*rate.Sometimes{&s.refused, &s.unproved, &s.forked} {
		*each = rate.Sometimes{First: 10, Interval: time.Second}
	}
	if err := s.remember(c.Logs); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) remember(logs []*checkpoint.Log) error {
	if err := durable.Sweep(filepath.Join(s.dir, headsDir)); err != nil {
		return fmt.Errorf("the witness's memory: one that has forgotten must not go on under its key: %w", err)
	}
	if err := durable.Sweep(filepath.Join(s.dir, evidenceDir)); err != nil {
		return err
	}
	for _, l := range logs {
		if s.heads[l.Origin()] != nil {
			return fmt.Errorf("log %s is named twice", l.Origin())
		}
		h, err := remember(s.dir, l)
		if err != nil {
			return err
		}
		s.heads[l.Origin()] = h
		s.log.Info("log", "origin", l.Origin(), "size", h.Size)
	}
	return nil
}

// Close lets another process open the directory. No request may be under way.
func (s *Server) Close() error { return s.lock.Close() }

// Witness is who cosigns here.
func (s *Server) Witness() checkpoint.Witness { return s.key.Witness() }

// Serve answers on l, which it closes, until ctx ends; requests under way are finished.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.URL.Path != path:
		http.Error(w, "a witness answers POST "+path, http.StatusNotFound)
		return
	case r.Method != http.MethodPost:
		h.Set("Allow", http.MethodPost)
		http.Error(w, "POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		http.Error(w, fmt.Sprintf("more than %d octets", maxRequest), http.StatusRequestEntityTooLarge)
		return
	} else if err != nil {
		http.Error(w, "the request was cut off", http.StatusBadRequest)
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		h.Set("Retry-After", "1")
		http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
		return
	}
	lines, err := s.add(r.Context(), body)
	s.answer(w, lines, err)
}

// answer is where outcomes become HTTP.
func (s *Server) answer(w http.ResponseWriter, lines []byte, err error) {
	code := http.StatusInternalServerError
	switch refused, ok := errors.AsType[*refusal](err); {
	case err == nil:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(lines)
		return
	case ok:
		code = refused.code
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = http.StatusServiceUnavailable
	}
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		w.Header().Set("Content-Type", typeSize)
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", conflict.Size)
		return
	}
	if code == http.StatusInternalServerError {
		s.log.Error("cosigning", "error", err.Error())
		http.Error(w, http.StatusText(code), code)
		return
	}
	s.refused.Do(func() { s.log.Info("refused", "status", code, "error", err.Error()) })
	http.Error(w, err.Error(), code)
}

// refusal is a request that is answered by a status of its own.
type refusal struct {
	code int
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// add looks at a request, remembers what it shows and returns the cosignature.
func (s *Server) add(ctx context.Context, body []byte) ([]byte, error) {
	r, err := parseRequest(body)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, err}
	}
	origin, _, _ := bytes.Cut(r.note, []byte("\n"))
	h := s.heads[string(origin)]
	if err := checkpoint.CheckOrigin(string(origin)); err != nil {
		return nil, &refusal{http.StatusBadRequest, err}
	}
	if h == nil {
		return nil, &refusal{http.StatusNotFound, errors.New("a log that this witness does not know")}
	}
	c, err := h.log.Open(r.note)
	if errors.Is(err, checkpoint.ErrSignature) {
		return nil, &refusal{http.StatusForbidden, err}
	} else if err != nil {
		return nil, &refusal{http.StatusBadRequest, err}
	}
	if r.old > c.Size {
		return nil, &refusal{http.StatusBadRequest, fmt.Errorf("the old size %d is beyond the checkpoint's %d", r.old, c.Size)}
	}
	if err := h.take(ctx); err != nil {
		return nil, err
	}
	defer h.give()
	return s.cosign(h, r, c)
}

// cosign decides, in the log's turn. The memory is on disk before the signature exists:
// a cosignature that leaves was never of a tree that a later start has forgotten.
func (s *Server) cosign(h *head, r request, c checkpoint.Checkpoint) ([]byte, error) {
	// Two roots of one size are evidence wherever the request says that it begins.
	fork := c.Size == h.Size && c.Root != h.Root
	if fork {
		s.keep(kindFork, h, r, c)
	}
	if r.old != h.Size {
		return nil, &ConflictError{Witness: s.key.Witness().Name(), Size: h.Size}
	}
	if err := checkpoint.CheckGrowth(h.Checkpoint, c, r.proof); err != nil {
		if !fork {
			s.keep(kindUnproved, h, r, c)
		}
		return nil, &refusal{http.StatusUnprocessableEntity, err}
	}
	if err := h.grow(c, r.note); err != nil {
		return nil, fmt.Errorf("remembering %s at %d: %w", c.Origin, c.Size, err)
	}
	lines, err := s.key.Cosign(c, s.now())
	if err != nil {
		return nil, err
	}
	s.log.Info("cosigned", "origin", c.Origin, "size", c.Size)
	return lines, nil
}

// keep writes down a checkpoint that does not agree with what was cosigned.
func (s *Server) keep(kind string, h *head, r request, c checkpoint.Checkpoint) {
	if h.note == nil {
		return // it disagrees with nothing
	}
	file, err := keepEvidence(s.dir, evidence{Kind: kind, Log: c.Origin, Key: h.log.SPKI(), At: s.now().UTC(),
		Kept: string(h.note), Submitted: string(r.note), Proof: r.proof}, c)
	if err != nil {
		s.log.Error("keeping evidence", "origin", c.Origin, "size", c.Size, "error", err.Error())
	}
	tell := func(level slog.Level, text string) {
		s.log.Log(context.Background(), level, text, "origin", c.Origin, "cosigned", h.Size, "root", h.Root.String(), "submitted", c.Size, "submittedRoot", c.Root.String(), "evidence", file)
	}
	if kind == kindFork {
		s.forked.Do(func() { tell(slog.LevelError, "FORK: the log has signed two trees of one size") })
	} else {
		s.unproved.Do(func() {
			tell(slog.LevelWarn, "a checkpoint that is not shown to begin with what was cosigned")
		})
	}
}
