// Package logapi is how the two Merkle logs are read over HTTP: by auditors, who see
// all that is in them (checkpoints, tiles, entries, RFC 6962, what an order rests on),
// and by the public, who sees checkpoints and proofs and nothing of a person.
//
// It owns addresses, parameters, forms and caching, and gives out no entry that does
// not hash to the leaf in the tree. It must not know who may read: that is judged by
// who calls it. It changes nothing and signs nothing.
package logapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/store"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/orders/issue"
	"sigill/policy"
)

// Trees are the trees as they were signed. translog.ErrNotFound says that there is no
// such thing.
type Trees interface {
	// Head returns the newest checkpoint that is stored.
	Head(ctx context.Context, tree tiles.Name) (translog.Signed, error)
	// Tile returns the first width hashes of a tile.
	Tile(ctx context.Context, tree tiles.Name, level int, n int64, width int) ([]byte, error)
	// Inclusion and Consistency prove as RFC 6962, 2.1.1 and 2.1.2 have it.
	Inclusion(ctx context.Context, tree tiles.Name, index, size int64) ([]tlog.Hash, error)
	Consistency(ctx context.Context, tree tiles.Name, before, after int64) ([]tlog.Hash, error)
	// IndexOf returns where the leaf of a certificate is.
	IndexOf(ctx context.Context, leaf tlog.Hash) (int64, error)
}

// Entries are what the database has of the entries and behind them.
type Entries interface {
	// LoggedCertificates returns up to limit entries of the certificate log from index
	// first on, in order.
	LoggedCertificates(ctx context.Context, first int64, limit int) ([]store.LoggedCertificate, error)
	// LoggedActs returns the bodies of up to limit acts from index first on, in order.
	// An empty one was erased.
	LoggedActs(ctx context.Context, first int64, limit int) ([][]byte, error)
	// Evidence returns what an order rests on, or issue.ErrNotFound.
	Evidence(ctx context.Context, order policy.OrderID) (*store.Evidence, error)
	// SignedStatement returns a statement, or issue.ErrNotFound.
	SignedStatement(ctx context.Context, id policy.StatementID) (*store.SignedStatement, error)
}

// Config is what a [Service] reads from.
type Config struct {
	Trees   Trees
	Entries Entries
	// Certificates is the certificate log as others see it.
	Certificates *checkpoint.Log
	// Chain returns the certificates of an issuing CA, its own first and the root's
	// last; nil: there is no such CA.
	Chain func(ca.IssuerID) []*x509.Certificate
	// Roots are the roots that a chain may end in.
	Roots []*x509.Certificate
	Log   *slog.Logger
}

// Service answers auditors. It is safe for concurrent use.
type Service struct {
	Config
	broken atomic.Int64
}

// New returns the service.
func New(c Config) (*Service, error) {
	if c.Trees == nil || c.Entries == nil || c.Certificates == nil || c.Chain == nil || len(c.Roots) == 0 || c.Log == nil {
		return nil, errors.New("reading the logs: something to read from is missing")
	}
	return &Service{Config: c}, nil
}

// Broken counts the entries that were not given out because they are not what the tree
// says: somebody changed rows of the database, or lost some.
func (s *Service) Broken() int64 { return s.broken.Load() }

// Answer is what goes back with status 200.
type Answer struct {
	Type  string // media type
	Cache string // Cache-Control
	Body  []byte
}

// What may be kept. Only auditors get answers of a [Service], so no cache that is shared
// may keep one.
const (
	cacheNever   = "no-store"
	cacheAsk     = "private, no-cache"
	cacheForever = "private, max-age=31536000, immutable"
)

// ErrErased is returned for what retention has deleted: that it was there is in the log.
var ErrErased = errors.New("erased at the end of its retention")

// errBroken is returned for what must not be given out.
var errBroken = errors.New("the database does not have what the log says")

// Read answers a GET of an address below /log/. A [policy.Refusal] says what is wrong
// with the request, issue.ErrNotFound that there is no such thing; other errors but
// [ErrErased] are the service's own.
func (s *Service) Read(r *http.Request) (*Answer, error) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/log/")
	if !ok {
		return nil, issue.ErrNotFound
	}
	first, rest, _ := strings.Cut(rest, "/")
	answer, err := s.read(r, first, rest)
	if errors.Is(err, translog.ErrNotFound) {
		return nil, issue.ErrNotFound
	}
	if errors.Is(err, errBroken) {
		s.broken.Add(1)
		s.Log.Error("an entry of the log is not given out: it is not what the log says", "path", r.URL.Path, "err", err)
	}
	return answer, err
}

func (s *Service) read(r *http.Request, first, rest string) (*Answer, error) {
	if first == "evidence" {
		return s.evidence(r, rest)
	}
	tree, ok := treeNamed(first)
	if !ok {
		return nil, issue.ErrNotFound
	}
	if rest == "checkpoint" {
		return s.checkpoint(r, tree)
	}
	if path, ok := strings.CutPrefix(rest, "tile/"); ok {
		return s.tile(r, tree, path)
	}
	if method, ok := strings.CutPrefix(rest, "ct/v1/"); ok && tree == audit.CertificateTree {
		return s.ct(r, method)
	}
	return nil, issue.ErrNotFound
}

// treeNamed returns the tree of that name in addresses.
func treeNamed(name string) (tiles.Name, bool) {
	for _, tree := range []tiles.Name{audit.ActTree, audit.CertificateTree} {
		if name == string(tree) {
			return tree, true
		}
	}
	return "", false
}

func (s *Service) checkpoint(r *http.Request, tree tiles.Name) (*Answer, error) {
	if err := plain(r); err != nil {
		return nil, err
	}
	head, err := s.Trees.Head(r.Context(), tree)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of %s: %w", tree, err)
	}
	return &Answer{typeText, cacheAsk, head.Note}, nil
}

// Media types.
const (
	typeText   = "text/plain; charset=utf-8"
	typeOctets = "application/octet-stream"
	typeJSON   = "application/json"
)
