package adminclient

import (
	"context"
	"net/url"
	"time"

	"sigill/internal/cardhttp"
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

// send makes a request as l. Every request of the API gives the same result when
// it is repeated.
func send[T any](ctx context.Context, l *login, r cardhttp.Request) (*T, error) {
	out := new(T)
	if err := l.Do(ctx, r, out); err != nil {
		return nil, err
	}
	return out, nil
}
