package tiles

import "slices"

// Memory keeps trees in memory: for tests, and for trees that are built to be compared.
// It is not safe for concurrent use.
type Memory map[Place][]byte

// Place is where a tile is.
type Place struct {
	Tree  Name
	Level int
	N     int64
}

// Tile implements [Records].
func (m Memory) Tile(tree Name, level int, n int64) ([]byte, error) {
	return m[Place{tree, level, n}], nil
}

// PutTile implements [Records].
func (m Memory) PutTile(tree Name, level int, n int64, hashes []byte) error {
	m[Place{tree, level, n}] = slices.Clone(hashes)
	return nil
}

// LastTile implements [Records].
func (m Memory) LastTile(tree Name) (int64, []byte, error) {
	last := int64(-1)
	for p := range m {
		if p.Tree == tree && p.Level == 0 {
			last = max(last, p.N)
		}
	}
	return last, m[Place{tree, 0, last}], nil
}
