package auditortest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/auditor"
)

func profileText(p *ca.Profile) (string, error) {
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	err := e.Encode(p.Config())
	return b.String(), err
}

// Source is what an installation shows. It implements [auditor.Source].
type Source struct{ *Scene }

// Checkpoint implements [auditor.Source].
func (s Source) Checkpoint(_ context.Context, tree auditor.Tree) ([]byte, error) {
	return s.Logs[tree].Note, nil
}

// Tile implements [auditor.Source].
func (s Source) Tile(_ context.Context, tree auditor.Tree, tile tlog.Tile) ([]byte, error) {
	return tlog.ReadTileData(tile, s.Logs[tree])
}

// Acts implements [auditor.Source].
func (s Source) Acts(_ context.Context, n int64, width int) ([][]byte, error) {
	var out [][]byte
	for i := n * 256; i < n*256+int64(width); i++ {
		if err := s.Shown[i]; err != nil {
			return nil, err
		}
		out = append(out, s.Bodies[i])
	}
	return out, nil
}

// Certificates implements [auditor.Source]: a few at a time.
func (s Source) Certificates(_ context.Context, first int64, count int) ([]auditor.Leaf, error) {
	var out []auditor.Leaf
	for i := first; i < first+int64(min(count, 100)); i++ {
		if err := s.Hidden[i]; err == auditor.ErrErased && len(out) > 0 {
			break
		} else if err != nil {
			return nil, err
		}
		out = append(out, s.Leaves[i])
	}
	return out, nil
}

// Evidence implements [auditor.Source].
func (s Source) Evidence(_ context.Context, order string) (*auditor.Evidence, error) {
	e, ok := s.Scene.Evidence[order]
	if !ok {
		return nil, auditor.ErrUnshown
	}
	return e, nil
}

// Fork returns a copy of the installation as it is now, which goes on by itself: with the
// same keys, as a copy of the machine has them.
func (s *Scene) Fork() *Scene {
	f := *s
	f.Logs = map[auditor.Tree]*Log{}
	for name, l := range s.Logs {
		c := *l
		c.Hashes, c.Note = slices.Clone(l.Hashes), bytes.Clone(l.Note)
		f.Logs[name] = &c
	}
	f.Bodies, f.Leaves = slices.Clone(s.Bodies), slices.Clone(s.Leaves)
	f.Evidence, f.Shown, f.Hidden = maps.Clone(s.Evidence), maps.Clone(s.Shown), maps.Clone(s.Hidden)
	for i, a := range s.Admins {
		if a != nil {
			p := *a
			f.Admins[i] = &p
		}
	}
	return &f
}
