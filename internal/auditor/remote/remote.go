// Package remote is the auditor's way to the logs over the network: what auditors may
// read, over mutual TLS with the auditor's own card, and what everybody may, over http.
//
// It owns addresses and what an answer means: shown, erased, not shown, or no answer. It
// judges nothing; package auditor verifies all of it.
package remote

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
	"sigill/internal/cardclient"
	"sigill/internal/cardhttp"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// ErrNoRight says that the card's person may not read the logs: who may not learns no
// more than who asks for what is not there.
var ErrNoRight = errors.New("the server shows no logs to this card: its person needs the role auditor, in an organisation that is below none")

const (
	tries = 4
	// maxAnswer bounds an answer: 256 entries of a log, in base64.
	maxAnswer = 32 << 20
	// connections is how many requests are made at once.
	connections = 4
)

// Source reads the logs as an source. It implements [source.Source] and is safe for
// concurrent use. Close it.
type Source struct {
	free chan *cardhttp.Session
	all  []*cardhttp.Session
}

// Login says which card logs in, and where.
type Login struct {
	Server   string
	Roots    *x509.CertPool
	Card     token.Card
	With     []byte // the object on the card; nil: the newest that is accepted
	Language string
}

// Open logs in with a card and returns the logs that it may read.
func Open(ctx context.Context, l Login) (*Source, error) {
	all, err := (&cardclient.Client{Card: l.Card}).Identities(ctx)
	if err != nil {
		return nil, err
	}
	err = errors.New("there is no authentication certificate on the card to log in with")
	for _, i := range all {
		if i.Slot != policy.Authentication || l.With != nil && string(l.With) != string(i.ID) {
			continue
		}
		var s *Source
		if s, err = open(ctx, l, i); err == nil {
			return s, nil
		}
		if p, ok := errors.AsType[*wire.Problem](err); !ok || !strings.HasPrefix(p.Rule, "login.") {
			return nil, err
		}
	}
	return nil, err
}

func open(ctx context.Context, l Login, i cardclient.Identity) (*Source, error) {
	s := &Source{free: make(chan *cardhttp.Session, connections)}
	for range connections {
		session, err := cardhttp.Open(ctx, cardhttp.Config{Server: l.Server, Roots: l.Roots, Card: l.Card, Agent: "sigill-audit", Language: l.Language,
			Tries: tries, MaxAnswer: maxAnswer, Keep: true}, i.ID, i.Certificate)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.all = append(s.all, session)
		s.free <- session
	}
	_, err := s.do(ctx, []string{"log", "acts", "checkpoint"}, nil)
	if p, ok := errors.AsType[*wire.Problem](err); ok && p.Status == http.StatusNotFound {
		err = ErrNoRight
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the connections.
func (s *Source) Close() {
	for _, session := range s.all {
		session.Close()
	}
}

// do makes a request on a connection that is free.
func (s *Source) do(ctx context.Context, path []string, query url.Values) ([]byte, error) {
	var session *cardhttp.Session
	select {
	case session = <-s.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { s.free <- session }()
	var body []byte
	err := session.Do(ctx, cardhttp.Request{Method: http.MethodGet, Path: path, Query: query}, &body)
	return body, err
}

// get is do, with errors in the auditor's words.
func (s *Source) get(ctx context.Context, path []string, query url.Values) ([]byte, error) {
	body, err := s.do(ctx, path, query)
	if err == nil || ctx.Err() != nil {
		return body, errors.Join(err, ctx.Err())
	}
	meaning := source.ErrNoAnswer
	if p, ok := errors.AsType[*wire.Problem](err); ok {
		switch p.Status {
		case http.StatusGone:
			meaning = source.ErrErased
		case http.StatusNotFound, http.StatusInternalServerError:
			meaning = source.ErrUnshown
		}
	}
	return nil, fmt.Errorf("%s: %w: %w", strings.Join(path, "/"), meaning, err)
}

// Checkpoint implements [source.Source].
func (s *Source) Checkpoint(ctx context.Context, tree source.Tree) ([]byte, error) {
	return s.get(ctx, []string{"log", string(tree), "checkpoint"}, nil)
}

// place is the path of a tile below tile/: its number in groups of three digits, and its
// width if it is not full (C2SP tlog-tiles).
func place(t tlog.Tile) []string {
	return strings.Split(t.Path(), "/")[3:] // without tile, height and level
}

// Tile implements [source.Source].
func (s *Source) Tile(ctx context.Context, tree source.Tree, t tlog.Tile) ([]byte, error) {
	return s.get(ctx, append([]string{"log", string(tree), "tile", strconv.Itoa(t.L)}, place(t)...), nil)
}

// Acts implements [source.Source].
func (s *Source) Acts(ctx context.Context, n int64, width int) ([][]byte, error) {
	t := tlog.Tile{H: 8, N: n, W: width}
	body, err := s.get(ctx, append([]string{"log", string(source.Acts), "tile", "entries"}, place(t)...), nil)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for len(body) > 0 {
		if len(body) < 2 {
			break
		}
		size := int(binary.BigEndian.Uint16(body))
		if body = body[2:]; size > len(body) {
			break
		}
		out, body = append(out, body[:size:size]), body[size:]
	}
	if len(body) > 0 || len(out) != width {
		return nil, fmt.Errorf("bundle %d: %d acts of %d: %w", n, len(out), width, source.ErrUnshown)
	}
	return out, nil
}

// Certificates implements [source.Source].
func (s *Source) Certificates(ctx context.Context, first int64, count int) ([]source.Leaf, error) {
	body, err := s.get(ctx, []string{"log", string(source.Certificates), "ct", "v1", "get-entries"},
		url.Values{"start": {strconv.FormatInt(first, 10)}, "end": {strconv.FormatInt(first+int64(count)-1, 10)}})
	if err != nil {
		return nil, err
	}
	var answer ct.GetEntriesResponse
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Entries) == 0 || len(answer.Entries) > count {
		return nil, fmt.Errorf("entries from %d: the answer is not understood: %w", first, source.ErrUnshown)
	}
	var out []source.Leaf
	for i, e := range answer.Entries {
		final, err := certificateOf(e.ExtraData)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w: %w", first+int64(i), err, source.ErrUnshown)
		}
		out = append(out, source.Leaf{Input: e.LeafInput, Final: final})
	}
	return out, nil
}

// certificateOf returns the certificate beside a leaf; nil if there is none: then its
// to-be-signed bytes stand there under an empty signature.
func certificateOf(extra []byte) ([]byte, error) {
	var chain ct.PrecertChainEntry
	if rest, err := tls.Unmarshal(extra, &chain); err != nil || len(rest) > 0 {
		return nil, errors.New("what stands beside the leaf is no chain")
	}
	der := chain.PreCertificate.Data
	cert, err := ctx509.ParseCertificate(der)
	if !ctx509.IsFatal(err) && len(cert.Signature) == 0 {
		return nil, nil
	}
	return der, nil // if it is none, that is a finding
}

// Evidence implements [source.Source].
func (s *Source) Evidence(ctx context.Context, id string) (*source.Evidence, error) {
	body, err := s.get(ctx, []string{"log", "evidence", id}, nil)
	if err != nil {
		return nil, err
	}
	var answer wire.Evidence
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("evidence %s: the answer is not understood: %w", id, source.ErrUnshown)
	}
	out := &source.Evidence{Order: answer.Order}
	for _, st := range answer.Statements {
		out.Statements = append(out.Statements, rederive.Statement{Content: st.Content, Signature: st.Signature, Certificate: st.Certificate})
	}
	return out, nil
}
