package cardclient

import (
	"context"
	"time"

	"sigill/internal/cardhttp"
	"sigill/internal/wire"
)

const (
	maxAnswer = 1 << 20
	// Each request may be tried this often: every step of the protocol gives
	// the same result when it is repeated.
	maxTries      = 4
	headerTimeout = 30 * time.Second
)

// session is connections to the server under one certificate, at most one at a
// time.
type session struct {
	*cardhttp.Session
	identity Identity
}

// session prepares connections that present the certificate of i.
func (c *Client) session(ctx context.Context, i Identity) (*session, error) {
	s, err := cardhttp.Open(ctx, cardhttp.Config{Server: c.Server, Roots: c.Roots, Card: c.Card, Agent: wire.CardAgent + c.Version, Language: c.Language,
		Tries: maxTries, MaxAnswer: maxAnswer, HeaderTimeout: headerTimeout, Keep: true, Redial: true, Wait: c.Wait, Transport: c.Transport}, i.ID, i.Certificate)
	if err != nil {
		return nil, err
	}
	return &session{Session: s, identity: i}, nil
}

// get and post make a request to the address of elements in the card protocol and
// read its answer into out. A refusal is a [*wire.Problem].
func (s *session) get(ctx context.Context, out any, elements ...string) error {
	return s.Do(ctx, cardhttp.Request{Method: "GET", Path: path(elements)}, out)
}

func (s *session) post(ctx context.Context, in, out any, elements ...string) error {
	return s.Do(ctx, cardhttp.Request{Method: "POST", Path: path(elements), JSON: in}, out)
}

func path(elements []string) []string { return append([]string{"card", "v1"}, elements...) }
