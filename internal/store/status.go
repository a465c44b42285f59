package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/revocation"
	"sigill/revocation/status"
)

// StatusReader reads the status of certificates for OCSP: one statement outside of
// any transaction, on connections of its own that can't write, so that neither lists
// nor the writer keep an answer waiting. It is safe for concurrent use.
type StatusReader struct {
	sessions chan *session // SQLite; nil: one that is not connected yet
	pool     *sql.DB
	own      bool // pool is closed with the reader
}

// statusWithin bounds one reading: who asks has given up by then.
const statusWithin = 2 * time.Second

// StatusReader opens a reader with at most this many connections. Close it before
// the database.
func (db *DB) StatusReader(connections int) (*StatusReader, error) {
	switch e := db.engine.(type) {
	case *lite:
		r := &StatusReader{sessions: make(chan *session, connections), pool: e.pool}
		for range connections {
			r.sessions <- nil
		}
		return r, nil
	case *postgres:
		pool, err := openPool(e.url, connections, map[string]string{"statement_timeout": viewTimeout, "default_transaction_read_only": "on"})
		if err != nil {
			return nil, err
		}
		return &StatusReader{pool: pool, own: true}, nil
	}
	return nil, fmt.Errorf("%T has no reader of statuses", db.engine)
}

// Status reports whether a certificate with this serial was released by issuer, and
// the entry of the highest version if the serial is revoked, as of what is committed
// when it is called.
func (r *StatusReader) Status(ctx context.Context, issuer ca.IssuerID, s ca.Serial) (released bool, entry *revocation.Entry, err error) {
	if r.sessions == nil {
		// A reading that is given up costs its connection and nothing else.
		within, cancel := context.WithTimeout(ctx, statusWithin)
		defer cancel()
		return (&tx{ctx: within, run: poolRunner{r.pool, within}}).Status(issuer, s)
	}
	var session *session
	var ok bool
	select {
	case session, ok = <-r.sessions:
	case <-ctx.Done():
		return false, nil, ctx.Err()
	}
	if !ok {
		return false, nil, ErrClosed
	}
	sound := false
	defer func() {
		if !sound && session != nil {
			session.discard()
			session = nil
		}
		r.sessions <- session
	}()
	if session == nil {
		if session, err = newSession(ctx, r.pool); err != nil {
			return false, nil, err
		}
	}
	t := &tx{ctx: ctx, run: session}
	released, entry, err = t.Status(issuer, s)
	sound = t.err == nil
	return released, entry, err
}

// Close waits for the readings under way and closes the connections.
func (r *StatusReader) Close() error {
	if r.own {
		return r.pool.Close()
	}
	var err error
	for range cap(r.sessions) {
		if s := <-r.sessions; s != nil {
			err = errors.Join(err, s.discard())
		}
	}
	close(r.sessions)
	return err
}

// poolRunner runs statements each in a transaction of its own, given up when ctx
// ends: they only read.
type poolRunner struct {
	pool *sql.DB
	ctx  context.Context
}

func (r poolRunner) exec(context.Context, string, []any) (int64, error) {
	return 0, errors.New("a reader of statuses does not write")
}

func (r poolRunner) query(_ context.Context, query string, args []any) (*sql.Rows, error) {
	return r.pool.QueryContext(r.ctx, query, args...)
}

// ReleasedAfter returns up to limit released certificates with a serial above after,
// by serial, with what OCSP would say of each. A page costs the same however many of
// its certificates have expired, so those are there too.
func (db *DB) ReleasedAfter(ctx context.Context, after ca.Serial, limit int) ([]status.Released, error) {
	var out []status.Released
	err := db.view(ctx, func(t *tx) error {
		found, err := list(t, "reading released certificates", `SELECT c.serial, c.issuer, c.not_after, r.at, r.reason
			FROM certificates c LEFT JOIN revocations r ON r.serial = c.serial AND r.issuer = c.issuer
				AND NOT EXISTS (SELECT 1 FROM revocations n WHERE n.serial = r.serial AND n.version > r.version)
			WHERE c.serial > $1 ORDER BY c.serial LIMIT $2`, []any{after[:], int64(limit)},
			func(l *status.Released) []any {
				return []any{intoOctets(l.Serial[:]), str(&l.Issuer), intoTime{&l.NotAfter}, intoTime{&l.RevokedAt}, intoInt{(*int)(&l.Reason)}}
			})
		out = values(found)
		return err
	})
	return out, err
}
