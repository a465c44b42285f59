package store

import (
	"context"
	"maps"
	"slices"

	"sigill/internal/tiles"
)

// Remembered implements keep.Memory.
func (db *DB) Remembered(ctx context.Context) (map[string]map[tiles.Name]int64, error) {
	type row struct {
		place, log string
		size       int64
	}
	var rows []*row
	err := db.view(ctx, func(t *tx) (err error) {
		rows, err = list(t, "reading what places have had", `SELECT place, log, size FROM log_places`, nil,
			func(r *row) []any { return []any{&r.place, &r.log, &r.size} })
		return err
	})
	if err != nil {
		return nil, err
	}
	out := map[string]map[tiles.Name]int64{}
	for _, r := range rows {
		if out[r.place] == nil {
			out[r.place] = map[tiles.Name]int64{}
		}
		out[r.place][tiles.Name(r.log)] = r.size
	}
	return out, nil
}

// Remember implements keep.Memory: what is remembered never becomes less.
func (db *DB) Remember(ctx context.Context, place string, sizes map[tiles.Name]int64) error {
	return db.update(ctx, func(t *tx) error { return t.putPlace(place, sizes, ` WHERE log_places.size < excluded.size`) })
}

// AcceptPlace implements reconcile.Places.
func (t *tx) AcceptPlace(place string, sizes map[tiles.Name]int64) error {
	return t.putPlace(place, sizes, "")
}

func (t *tx) putPlace(place string, sizes map[tiles.Name]int64, where string) error {
	for _, log := range slices.Sorted(maps.Keys(sizes)) {
		_, err := t.exec("writing what a place has had", `INSERT INTO log_places (place, log, size) VALUES ($1, $2, $3)
			ON CONFLICT (place, log) DO UPDATE SET size = excluded.size`+where, text(place), string(log), sizes[log])
		if err != nil {
			return err
		}
	}
	return nil
}
