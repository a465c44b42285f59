package remote

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/source"
)

const (
	publicTimeout = time.Minute
	maxList       = 64 << 20
	maxSmall      = 1 << 20
)

// Public is what everybody may ask: lists and OCSP of certificates, checkpoints and
// proofs of the logs. It implements [source.Status] and is safe for concurrent use.
type Public struct {
	// Base is the address of the status service, http://host[:port].
	Base string
	http *http.Client
}

// NewPublic returns a Public for a status service.
func NewPublic(base string) *Public {
	return &Public{Base: strings.TrimRight(base, "/"), http: &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second},
		// A certificate, or the auditor, names the address, and nobody else does.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Close ends connections that are kept.
func (p *Public) Close() { p.http.CloseIdleConnections() }

// List implements [source.Status].
func (p *Public) List(ctx context.Context, address string) ([]byte, error) {
	return p.do(ctx, http.MethodGet, address, nil, maxList)
}

// OCSP implements [source.Status].
func (p *Public) OCSP(ctx context.Context, address string, request []byte) ([]byte, error) {
	return p.do(ctx, http.MethodPost, address, request, maxSmall)
}

// Checkpoint returns the newest signed note of a tree.
func (p *Public) Checkpoint(ctx context.Context, tree source.Tree) ([]byte, error) {
	return p.do(ctx, http.MethodGet, p.Base+"/log/"+string(tree)+"/checkpoint", nil, maxSmall)
}

// Proof returns the text that proves a leaf (C2SP tlog-proof), or [source.ErrUnshown].
// index is its place, without which acts are not found; those of certificates are.
func (p *Public) Proof(ctx context.Context, tree source.Tree, leaf tlog.Hash, index int64) ([]byte, error) {
	address := p.Base + "/log/" + string(tree) + "/proof/" + hex.EncodeToString(leaf[:])
	if tree == source.Acts {
		address += "?index=" + strconv.FormatInt(index, 10)
	}
	return p.do(ctx, http.MethodGet, address, nil, maxSmall)
}

func (p *Public) do(ctx context.Context, method, address string, body []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, publicTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", source.ErrNoAnswer, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", address, source.ErrUnshown)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %s: %w", address, resp.Status, source.ErrNoAnswer)
	}
	out, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(out)) > limit {
		err = errors.New("the answer is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", address, source.ErrNoAnswer, err)
	}
	return out, nil
}
