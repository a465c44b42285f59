package logapi

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/audit"
	"sigill/internal/tiles"
	"sigill/orders/issue"
)

// place is a tile as an address names it.
type place struct {
	entries bool  // the entries themselves; level is 0
	level   int   // of the tiles
	n       int64 // number within the level
	width   int   // 1 to tiles.Width
}

// maxTileLevel is the highest level that a tree can have.
const maxTileLevel = 63 / tiles.Height

// parsePlace reads what follows tile/ in an address (C2SP tlog-tiles): the level, or
// "entries", the number in groups of three digits, and the width if it is not full.
// Each tile has one form.
func parsePlace(path string) (p place, ok bool) {
	level, rest, _ := strings.Cut(path, "/")
	if level == "data" { // tlog's word
		return place{}, false
	}
	if level == "entries" {
		p.entries, level = true, "0"
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s/%s", tiles.Height, level, rest))
	if err != nil || t.L > maxTileLevel {
		return place{}, false
	}
	p.level, p.n, p.width = t.L, t.N, t.W
	return p, true
}

// within reports whether the tile is there, so wide, in a tree of size leaves.
func (p place) within(size int64) bool {
	have := size >> (tiles.Height * p.level) // hashes of this level
	return p.n < have/tiles.Width || p.n == have/tiles.Width && int64(p.width) <= have%tiles.Width
}

func (s *Service) tile(r *http.Request, tree tiles.Name, path string) (*Answer, error) {
	p, ok := parsePlace(path)
	if !ok || p.entries && tree != audit.ActTree {
		return nil, issue.ErrNotFound
	}
	if err := plain(r); err != nil {
		return nil, err
	}
	head, err := s.Trees.Head(r.Context(), tree)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of %s: %w", tree, err)
	}
	// Tiles can be ahead of what was signed. Nobody can prove anything with those.
	if !p.within(head.Size) {
		return nil, issue.ErrNotFound
	}
	if p.entries {
		return s.bundle(r.Context(), p)
	}
	hashes, err := s.hashes(r.Context(), tree, p)
	if err != nil {
		return nil, err
	}
	cache := cacheNever // it grows, and will be asked for under another name
	if p.width == tiles.Width {
		cache = cacheForever
	}
	return &Answer{typeOctets, cache, hashes}, nil
}

// hashes returns a tile of which the caller knows that it is there.
func (s *Service) hashes(ctx context.Context, tree tiles.Name, p place) ([]byte, error) {
	hashes, err := s.Trees.Tile(ctx, tree, p.level, p.n, p.width)
	if err != nil {
		return nil, fmt.Errorf("tile %d/%d of %s: %w", p.level, p.n, tree, err)
	}
	if len(hashes) != p.width*tlog.HashSize {
		return nil, fmt.Errorf("tile %d/%d of %s has %d octets: %w", p.level, p.n, tree, len(hashes), errBroken)
	}
	return hashes, nil
}

// leaves returns the leaf hashes of the tree from first on.
func (s *Service) leaves(ctx context.Context, tree tiles.Name, first int64, count int) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for len(out) < count {
		at := first + int64(len(out))
		skip := int(at % tiles.Width)
		p := place{n: at / tiles.Width, width: min(tiles.Width, skip+count-len(out))}
		hashes, err := s.hashes(ctx, tree, p)
		if err != nil {
			return nil, err
		}
		for ; skip < p.width; skip++ {
			out = append(out, tlog.Hash(hashes[skip*tlog.HashSize:]))
		}
	}
	return out, nil
}

// bundle returns the entries of a tile of acts, each with its length in two octets in
// front. What was erased has length 0. It is never kept by anybody: retention could not
// reach it.
func (s *Service) bundle(ctx context.Context, p place) (*Answer, error) {
	first := p.n * tiles.Width
	leaves, err := s.leaves(ctx, audit.ActTree, first, p.width)
	if err != nil {
		return nil, err
	}
	bodies, err := s.Entries.LoggedActs(ctx, first, p.width)
	if err != nil {
		return nil, fmt.Errorf("reading acts from %d: %w", first, err)
	}
	if len(bodies) != p.width {
		return nil, fmt.Errorf("%d of %d acts from %d: %w", len(bodies), p.width, first, errBroken)
	}
	var out []byte
	for i, body := range bodies {
		if len(body) > 0 && tlog.Hash(audit.LeafHash(body)) != leaves[i] {
			return nil, fmt.Errorf("act %d has another leaf: %w", first+int64(i), errBroken)
		}
		if len(body) > math.MaxUint16 {
			return nil, fmt.Errorf("act %d has %d octets: it fits no bundle", first+int64(i), len(body))
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(body))), body...)
	}
	return &Answer{typeOctets, cacheNever, out}, nil
}
