package adminclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"sigill/internal/cardhttp"
	"sigill/internal/wire"
)

const (
	// maxAnswer bounds an answer: that to a delivery carries a certificate for
	// each of at most 10 000 cards.
	maxAnswer = 32 << 20
	maxTries  = 3
	// importTimeout bounds one try of a file that may make thousands of
	// certificates.
	importTimeout = 10 * time.Minute
)

// path is the address of elements in the API.
func path(elements ...string) []string { return append([]string{"api", "v1"}, elements...) }

func get[T any](ctx context.Context, l *login, path []string, query url.Values) (*T, error) {
	return send[T](ctx, l, cardhttp.Request{Method: "GET", Path: path, Query: query})
}

func post[T any](ctx context.Context, l *login, path []string, body any) (*T, error) {
	return send[T](ctx, l, cardhttp.Request{Method: "POST", Path: path, JSON: body})
}

// revoke makes a request that revokes, and waits where the client is to.
func revoke[T any](ctx context.Context, l *login, path []string, body any) (*T, error) {
	if l.seen == nil {
		return post[T](ctx, l, path, body)
	}
	answer, err := send[json.RawMessage](ctx, l, cardhttp.Request{Method: "POST", Path: path, JSON: body, Query: url.Values{"wait": {"visible"}}})
	if err != nil {
		return nil, err
	}
	out, visible := new(T), wire.Visible{}
	if err := errors.Join(json.Unmarshal(*answer, out), json.Unmarshal(*answer, &visible)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	l.seen(visible)
	return out, nil
}

// send makes a request as l. Every request of the API gives the same result when
// it is repeated.
func send[T any](ctx context.Context, l *login, r cardhttp.Request) (*T, error) {
	out := new(T)
	if err := l.Do(ctx, r, out); err != nil {
		return nil, err
	}
	return out, nil
}
