package store

import (
	"context"
	"sync/atomic"
)

// Stats are counters since the database was opened.
type Stats struct {
	Commits    int64 // durable commits
	Updates    int64 // closures that were committed; several share a commit
	Failed     int64 // closures that ended in an error or a panic
	Reruns     int64 // closures run again: PostgreSQL's retries, SQLite's broken groups
	Unknown    int64 // commits whose outcome is unknown
	Views      int64
	Statements int64 // statements run in updates
	Rows       int64 // rows inserted, updated or deleted by committed updates
}

// counters is [Stats] while it is being counted.
type counters struct {
	commits, updates, failed, reruns, unknown, views, statements, rows atomic.Int64
}

// Stats returns the counters. They are read one by one, so that a sum over them
// holds only when nothing is under way.
func (db *DB) Stats() Stats {
	c := db.count
	return Stats{
		Commits: c.commits.Load(), Updates: c.updates.Load(), Failed: c.failed.Load(), Reruns: c.reruns.Load(),
		Unknown: c.unknown.Load(), Views: c.views.Load(), Statements: c.statements.Load(), Rows: c.rows.Load(),
	}
}

// Written returns how many bytes went to the write-ahead log since the database
// was opened: pages on SQLite; on PostgreSQL those of the whole server.
func (db *DB) Written(ctx context.Context) (int64, error) { return db.written(ctx) }

// ended counts one closure that ended as t did.
func (c *counters) ended(t *tx, failed bool) {
	c.statements.Add(t.statements)
	if failed {
		c.failed.Add(1)
		return
	}
	c.updates.Add(1)
	c.rows.Add(t.changed)
}
