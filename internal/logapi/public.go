package logapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/internal/translog"
)

// Proofs are what the public asks for: hashes and checkpoints, and nothing that could be
// a person's.
type Proofs interface {
	// Head returns the newest checkpoint that is stored.
	Head(ctx context.Context, tree tiles.Name) (translog.Signed, error)
	// Tile returns the first width hashes of a tile.
	Tile(ctx context.Context, tree tiles.Name, level int, n int64, width int) ([]byte, error)
	// IndexOf returns where the leaf of a certificate is, ActIndex where that of an event.
	IndexOf(ctx context.Context, leaf tlog.Hash) (int64, error)
	ActIndex(ctx context.Context, event string) (int64, error)
	// Proof returns the text that proves a leaf (C2SP tlog-proof).
	Proof(ctx context.Context, tree tiles.Name, index int64) ([]byte, error)
}

// Limit bounds what one address may ask.
type Limit interface {
	// Allow counts one request and reports false if it is one too many. from is the
	// remote address of a request.
	Allow(from string, now time.Time) bool
}

// Public answers everybody, on the status listener:
//
//	GET /log/acts/checkpoint, /log/certificates/checkpoint
//	GET /log/certificates/proof/<leaf>
//	GET /log/acts/proof/<leaf>?index=<place>, /log/acts/proof/<leaf>?event=<id>
//
// A leaf is 64 hexadecimal digits. Who asks with one has the act already, or the
// certificate: ids of events can be guessed, and whether a card was blocked is nobody's
// business, but a leaf hashes all of what was done. Its place in the tree, or the event's
// id, only says where to look: acts have no index by leaf, which each of them would have
// to be written into.
// It is an [http.Handler] and safe for concurrent use.
type Public struct {
	proofs Proofs
	limit  Limit
	now    func() time.Time
	log    *slog.Logger
	failed rate.Sometimes
}

// NewPublic returns the handler. limit may be nil: then there is none.
func NewPublic(p Proofs, limit Limit, now func() time.Time, log *slog.Logger) *Public {
	return &Public{proofs: p, limit: limit, now: now, log: log, failed: rate.Sometimes{Interval: time.Second}}
}

// question is what somebody asks for.
type question struct {
	tree  tiles.Name
	proof bool // of leaf; else the checkpoint
	leaf  tlog.Hash
	// Where it is to be, in the log of acts: the event's id, or else the place.
	event string
	index int64
}

// ServeHTTP implements [http.Handler].
func (p *Public) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, ok := asked(r.URL.EscapedPath(), r.URL.RawQuery)
	if !ok {
		fail(w, http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed)
		return
	}
	// All of it reads the database, and strangers ask.
	if p.limit != nil && !p.limit.Allow(r.RemoteAddr, p.now()) {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusTooManyRequests)
		return
	}
	answer, err := p.answer(r.Context(), q)
	switch {
	case err == nil:
		w.Header().Set("Content-Type", answer.Type)
		w.Header().Set("Cache-Control", answer.Cache)
		w.Write(answer.Body) // an error here is the client's going away
	case errors.Is(err, translog.ErrNotFound):
		fail(w, http.StatusNotFound)
	default:
		if r.Context().Err() == nil {
			p.failed.Do(func() { p.log.Error("proving what is in a log", "log", q.tree, "err", err) })
		}
		fail(w, http.StatusServiceUnavailable)
	}
}

// asked reads an address. Each question has one form.
func asked(path, query string) (q question, ok bool) {
	rest, ok := strings.CutPrefix(path, "/log/")
	if !ok {
		return q, false
	}
	name, rest, _ := strings.Cut(rest, "/")
	if q.tree, ok = treeNamed(name); !ok {
		return q, false
	}
	if rest == "checkpoint" {
		return q, query == ""
	}
	text, ok := strings.CutPrefix(rest, "proof/")
	if !ok || len(text) != hex.EncodedLen(tlog.HashSize) || strings.ToLower(text) != text {
		return q, false
	}
	q.proof = true
	_, err := hex.Decode(q.leaf[:], []byte(text))
	if err != nil {
		return q, false
	}
	if q.tree != audit.ActTree {
		return q, query == ""
	}
	if text, ok := strings.CutPrefix(query, "index="); ok {
		q.index, err = count("index", text)
		return q, err == nil
	}
	q.event, ok = strings.CutPrefix(query, "event=")
	return q, ok && eventID.MatchString(q.event)
}

var eventID = regexp.MustCompile(`^evt_[a-z0-9]{1,60}$`)

func (p *Public) answer(ctx context.Context, q question) (*Answer, error) {
	if !q.proof {
		head, err := p.proofs.Head(ctx, q.tree)
		return &Answer{typeText, "no-cache", head.Note}, err
	}
	index, err := p.index(ctx, q)
	if err != nil {
		return nil, err
	}
	text, err := p.proofs.Proof(ctx, q.tree, index)
	return &Answer{typeText, cacheNever, text}, err
}

// index returns the place of a leaf.
func (p *Public) index(ctx context.Context, q question) (int64, error) {
	if q.tree == audit.CertificateTree {
		return p.proofs.IndexOf(ctx, q.leaf)
	}
	index := q.index
	if q.event != "" {
		var err error
		if index, err = p.proofs.ActIndex(ctx, q.event); err != nil {
			return 0, err
		}
	}
	width := int(index%tiles.Width) + 1
	hashes, err := p.proofs.Tile(ctx, q.tree, 0, index/tiles.Width, width)
	if err != nil {
		return 0, err
	}
	if !bytes.HasSuffix(hashes, q.leaf[:]) {
		return 0, translog.ErrNotFound // another act: it is told to who knows it
	}
	return index, nil
}

// fail answers in HTTP's words. No cache may keep it: a leaf that is not there now can be
// in a second.
func fail(w http.ResponseWriter, code int) {
	w.Header().Set("Cache-Control", cacheNever)
	http.Error(w, http.StatusText(code), code)
}
