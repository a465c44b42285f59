package world

import (
	"context"
	"path/filepath"

	"sigill/internal/service"
	"sigill/internal/store"
)

// OpenStore creates a database in dir and opens it.
func OpenStore(ctx context.Context, dir string) (*store.DB, error) {
	cfg := store.Config{URL: "sqlite:" + filepath.Join(dir, "sigill.db")}
	if err := store.Create(ctx, cfg); err != nil {
		return nil, err
	}
	return store.Open(ctx, cfg)
}

// StoresOf returns the views of a database that services work in.
func StoresOf(db *store.DB) service.Stores {
	return service.Stores{Downloads: db.Downloads(), Orders: db.Orders(), Register: db.Register(), Issue: db.Issue(),
		Privacy: db.Privacy()}
}
