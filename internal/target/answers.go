package target

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	typeOCSP  = "application/ocsp-response"
	maxAnswer = 64 << 10
)

// Answers puts OCSP answers that were signed ahead at a target. Put may be called
// concurrently.
type Answers struct {
	to      Target
	checked atomic.Bool
}

// NewAnswers returns what puts answers at a target.
func NewAnswers(to Target) *Answers { return &Answers{to: to} }

// answerKey is what the key of an answer looks like: base64, as clients ask by it.
var answerKey = regexp.MustCompile(`^ocsp/[A-Za-z0-9+/]+={0,2}$`)

// Put puts der under the path by which a client asks for it, decoded as servers decode what
// they are asked. Unlike with lists, what is there and cannot be read is replaced: an
// answer stands for itself, and ends soon. An older answer never replaces a newer one, nor
// one that says good another of the same second that says revoked; that is no error, as
// nothing older is given out.
//
// A target gives out what it has: relying parties refuse it from its nextUpdate on.
func (a *Answers) Put(ctx context.Context, path string, der []byte, _ time.Time) error {
	key, err := url.PathUnescape(strings.TrimPrefix(path, "/"))
	if err != nil || !answerKey.MatchString(key) {
		return fmt.Errorf("%q is no path of an answer", path)
	}
	mine, err := ocsp.ParseResponse(der, nil)
	if err != nil {
		return fmt.Errorf("the answer for %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, objectTime)
	defer cancel()
	if !a.checked.Load() {
		if err := a.to.Check(ctx); err != nil {
			return err
		}
		a.checked.Store(true)
	}
	for range contests {
		old, present, err := a.present(ctx, key)
		if err != nil {
			return err
		}
		if old != nil && !follows(mine, old) {
			return nil
		}
		content := Content{Body: bytes.NewReader(der), Size: int64(len(der)), SHA256: sha256.Sum256(der), Type: typeOCSP}
		if _, err = a.to.Put(ctx, key, content, present.Version); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return fmt.Errorf("another was faster %d times: %w", contests, ErrChanged)
}

// present returns the answer that is there, nil if none is that can be read.
func (a *Answers) present(ctx context.Context, key string) (*ocsp.Response, Present, error) {
	before, err := a.to.Look(ctx, key)
	if errors.Is(err, ErrNone) {
		return nil, Present{}, nil
	}
	if err != nil {
		return nil, Present{}, err
	}
	body, _, err := a.to.Open(ctx, key)
	if errors.Is(err, ErrNone) {
		return nil, before, nil // the put finds out
	}
	if err != nil {
		return nil, Present{}, err
	}
	defer body.Close()
	der, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return nil, Present{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	old, err := ocsp.ParseResponse(der, nil)
	if err != nil {
		return nil, before, nil
	}
	return old, before, nil
}

// follows reports whether an answer may replace another.
func follows(a, old *ocsp.Response) bool {
	if !a.ProducedAt.Equal(old.ProducedAt) {
		return a.ProducedAt.After(old.ProducedAt)
	}
	return old.Status != ocsp.Revoked || a.Status == ocsp.Revoked
}
