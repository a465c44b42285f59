package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sigill/ca"
	"sigill/revocation"
	"sigill/revocation/status"
)

// StatusReader reads the status of certificates for OCSP: one statement outside of
// any transaction, on connections of its own that can't write, so that neither lists
// nor the writer keep an answer waiting. It is safe for concurrent use.
type StatusReader struct {
	sessions *statusSessions // SQLite
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
		return &StatusReader{sessions: newStatusSessions(connections), pool: e.pool}, nil
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
	session, err := r.sessions.take(ctx)
	if err != nil {
		return false, nil, err
	}
	sound := false
	defer func() {
		if !sound && session != nil {
			session.discard()
			session = nil
		}
		r.sessions.give(session)
	}()
	if session == nil {
		if session, err = newStatusSession(ctx, r.pool); err != nil {
			return false, nil, err
		}
	}
	good, err := session.good(issuer, s)
	if err != nil || good {
		sound = err == nil
		return good, nil, err
	}
	t := &tx{ctx: ctx, run: session.session}
	released, entry, err = t.Status(issuer, s)
	sound = t.err == nil
	return released, entry, err
}

// Close waits for the readings under way and closes the connections.
func (r *StatusReader) Close() error {
	if r.own {
		return r.pool.Close()
	}
	return r.sessions.close()
}

// statusSessions are the connections of a reader. The one that was given back last is
// taken first: what SQLite keeps of the database's pages is then in few places, and in
// the processor's own memory, instead of a little in each.
type statusSessions struct {
	places chan struct{} // one for each session that is free; closed with the reader
	most   int

	mu   sync.Mutex
	free []*statusSession // nil: one that is not connected yet
}

func newStatusSessions(most int) *statusSessions {
	p := &statusSessions{places: make(chan struct{}, most), most: most, free: make([]*statusSession, most)}
	for range most {
		p.places <- struct{}{}
	}
	return p
}

// take waits for a session until ctx ends. It may be nil: then the caller connects.
func (p *statusSessions) take(ctx context.Context) (*statusSession, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var ok bool
	select {
	case _, ok = <-p.places:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !ok {
		return nil, ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.free) - 1
	s := p.free[last]
	p.free = p.free[:last]
	return s, nil
}

// give gives a session back, nil for one that broke.
func (p *statusSessions) give(s *statusSession) {
	p.mu.Lock()
	p.free = append(p.free, s)
	p.mu.Unlock()
	p.places <- struct{}{}
}

// close waits for all sessions and closes them.
func (p *statusSessions) close() error {
	for range p.most {
		if _, ok := <-p.places; !ok {
			return ErrClosed
		}
	}
	close(p.places)
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, s := range p.free {
		if s != nil {
			err = errors.Join(err, s.discard())
		}
	}
	return err
}

// statusSession is a session with the question that nearly every reading is: whether a
// certificate was released and is not revoked. It is asked of the driver itself:
// database/sql and the columns of an entry cost as much again as the reading.
type statusSession struct {
	*session
	stmt driver.StmtQueryContext
	args [2]driver.NamedValue
	row  [1]driver.Value
}

func newStatusSession(ctx context.Context, pool *sql.DB) (*statusSession, error) {
	s, err := newSession(ctx, pool)
	if err != nil {
		return nil, err
	}
	return &statusSession{session: s, args: [2]driver.NamedValue{{Ordinal: 1}, {Ordinal: 2}}}, nil
}

// goodStatus has a row for what is released and not revoked, and none for anything
// else, which is asked again in full. It names no issuer of a revocation: SQLite would
// go through all that the issuer has revoked, by the index that begins with it.
const goodStatus = `SELECT 1 FROM certificates WHERE serial = $1 AND issuer = $2
	AND NOT EXISTS (SELECT 1 FROM revocations WHERE serial = $1)`

// good reports whether a certificate is released and not revoked. After an error the
// session is to be discarded.
func (s *statusSession) good(issuer ca.IssuerID, serial ca.Serial) (found bool, err error) {
	err = s.conn.Raw(func(c any) error {
		if err := s.prepareGood(c); err != nil {
			return err
		}
		s.args[0].Value, s.args[1].Value = serial[:], string(issuer)
		// Its end would interrupt the statement by a goroutine of its own.
		rows, err := s.stmt.QueryContext(context.Background(), s.args[:])
		if err != nil {
			return err
		}
		switch err := rows.Next(s.row[:]); {
		case err == nil:
			found = true
		case !errors.Is(err, io.EOF):
			return errors.Join(err, rows.Close())
		}
		return rows.Close()
	})
	if err != nil {
		return false, fmt.Errorf("reading status: %w", err)
	}
	return found, nil
}

// prepareGood prepares the statement on a connection that has none yet. It is used
// only while Raw holds the connection.
func (s *statusSession) prepareGood(c any) error {
	if s.stmt != nil {
		return nil
	}
	from, ok := c.(driver.ConnPrepareContext)
	if !ok {
		return fmt.Errorf("%T prepares no statements", c)
	}
	stmt, err := from.PrepareContext(context.Background(), goodStatus)
	if err != nil {
		return fmt.Errorf("preparing statement: %w", err)
	}
	if s.stmt, ok = stmt.(driver.StmtQueryContext); !ok {
		return errors.Join(fmt.Errorf("%T asks nothing", stmt), stmt.Close())
	}
	return nil
}

// discard closes the statement and then the connection; see [session.discard].
func (s *statusSession) discard() error {
	if stmt, ok := s.stmt.(driver.Stmt); ok {
		s.conn.Raw(func(any) error { return stmt.Close() })
	}
	return s.session.discard()
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
