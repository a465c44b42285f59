package cardhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sigill/internal/wire"
)

const (
	firstPause     = 250 * time.Millisecond
	longestPause   = 10 * time.Second
	requestTimeout = 60 * time.Second
)

var (
	// ErrAnswer: the server's answer is not of this protocol.
	ErrAnswer = errors.New("the server's answer is not understood")
	// errLost marks an answer that did not arrive.
	errLost = errors.New("no answer")
)

// Request is what is sent. It MUST have the same result when it is repeated.
type Request struct {
	Method string
	Path   []string // the elements of the address, as they are
	Query  url.Values
	JSON   any    // the body; nil: File
	File   []byte // a body that is no JSON document
	Kind   string // media type of File
	// Timeout bounds one try with everything in it, a slow card too. 0: one
	// minute.
	Timeout time.Duration
}

// encode checks the address and makes the body, once for all tries.
func (r Request) encode() (Request, error) {
	for _, e := range r.Path {
		// An id is one element: what is none would make another address of it.
		if e == "" || e == "." || e == ".." {
			return r, errors.New("request: an id is empty or no id")
		}
	}
	if r.JSON != nil {
		b, err := json.Marshal(r.JSON)
		if err != nil {
			return r, fmt.Errorf("request: %w", err)
		}
		r.File, r.Kind = b, "application/json"
	}
	if r.Timeout == 0 {
		r.Timeout = requestTimeout
	}
	return r, nil
}

// Do makes a request and reads its answer into out; nil: the answer is not looked
// at; a *[]byte: it is taken as it is. It tries again, with the same octets, when the answer is lost and when the
// server says so (Retry-After, RFC 9110, 10.2.3). What the server refuses is a
// [*wire.Problem] and final; what the card refuses is the card's own error.
func (s *Session) Do(ctx context.Context, r Request, out any) error {
	r, err := r.encode()
	if err != nil {
		return err
	}
	pause := firstPause
	for try := 1; ; try++ {
		after, err := s.once(ctx, r, out)
		if err == nil || !s.again(err, after) || try >= s.config.Tries || ctx.Err() != nil {
			return err
		}
		s.Close() // a lost answer says nothing good of its connection
		if err := s.wait(ctx, min(max(pause, after), longestPause)); err != nil {
			return err
		}
		pause *= 4
	}
}

func (s *Session) wait(ctx context.Context, d time.Duration) error {
	if s.config.Wait != nil {
		return s.config.Wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// again reports whether a request may be repeated after err.
func (s *Session) again(err error, after time.Duration) bool {
	if _, ok := errors.AsType[*wire.Problem](err); ok {
		return after > 0
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		switch op.Op {
		case "dial":
			return s.config.Redial
		case "remote error", "local error": // alerts of crypto/tls, a refused handshake
			return false
		}
	}
	// A server that is not who it must be will not change its mind.
	_, other := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	plain = plain || errors.Is(err, http.ErrSchemeMismatch)
	return !other && !plain && errors.Is(err, errLost)
}

// once makes one try. after is what Retry-After says.
func (s *Session) once(ctx context.Context, r Request, out any) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, s.address(r), bytes.NewReader(r.File))
	if err != nil {
		return 0, fmt.Errorf("request: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("Accept-Language", s.config.Language)
	req.Header.Set("User-Agent", s.config.Agent)
	if r.Kind != "" {
		req.Header.Set("Content-Type", r.Kind)
	}
	resp, err := s.http.Do(req)
	if refused := s.key.failure(); err != nil && refused != nil {
		return 0, fmt.Errorf("logging in with the card: %w", refused)
	}
	if err != nil {
		return 0, fmt.Errorf("server %s: %w: %w", s.base.Host, errLost, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, s.config.MaxAnswer+1))
	if err != nil {
		return 0, fmt.Errorf("server %s: %w: %w", s.base.Host, errLost, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return retryAfter(resp), problemOf(resp, b)
	}
	return 0, s.read(b, out)
}

func (s *Session) address(r Request) string {
	var b strings.Builder
	b.WriteString("https://" + s.base.Host)
	for _, e := range r.Path {
		b.WriteString("/" + url.PathEscape(e))
	}
	if len(r.Query) > 0 {
		b.WriteString("?" + r.Query.Encode())
	}
	return b.String()
}

func (s *Session) read(b []byte, out any) error {
	if out == nil {
		return nil
	}
	if int64(len(b)) > s.config.MaxAnswer {
		return fmt.Errorf("%w: larger than %d octets", ErrAnswer, s.config.MaxAnswer)
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = b
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

// retryAfter reads the seconds of Retry-After. 0 seconds are a wish to be asked
// again too; a date is none of this protocol.
func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return max(time.Duration(min(n, 3600))*time.Second, time.Millisecond)
}

// problemOf reads a problem document (RFC 9457), or makes one of an answer that is
// none (of a proxy, say).
func problemOf(resp *http.Response, body []byte) error {
	p := &wire.Problem{}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(body, p) != nil || p.Title == "" {
		p = &wire.Problem{Type: "about:blank", Title: "the server answered " + resp.Status}
	}
	p.Status = resp.StatusCode
	return p
}
