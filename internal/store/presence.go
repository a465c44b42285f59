package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Presence is a process's sign of life to the others on the same PostgreSQL: an
// advisory lock on its name, held by a connection that does nothing else. The
// server lets go of it as soon as that connection ends, and the operating system
// ends it with the process, however it dies. So what a killed process left can be
// taken over at once, and not only when its time is up.
//
// It errs to one side only as far as it must. A process that hangs, or whose
// machine vanished from the network, still holds its lock: it is not called dead,
// and deadlines decide about it. One that lives but lost its connection is called
// dead until it has made another. So a verdict of dead permits no more than what
// is safe beside a living process: changes that are guarded, which one of the two
// loses.
type Presence struct {
	owner   string
	pool    *sql.DB // of the one connection
	readers *sql.DB
	stop    context.CancelFunc
	done    chan struct{}

	mu   sync.Mutex
	conn *sql.Conn       // guarded by mu; it holds the locks; nil: lost
	lead map[string]bool // guarded by mu; what conn holds besides
}

// renewEvery is how often a presence looks whether it is still there.
const renewEvery = 2 * time.Second

// ErrNotShared is returned by Announce for a database that one process has for
// itself.
var ErrNotShared = errors.New("store: the database is not shared")

// Announce shows this process to the others, under a name that no other ever
// has, until the presence is closed or the process ends. It MUST come before the
// process leaves anything under that name. A lost connection is made again; each
// failure to is given to report.
func (db *DB) Announce(ctx context.Context, owner string, report func(error)) (*Presence, error) {
	pg, ok := db.engine.(*postgres)
	if !ok {
		return nil, ErrNotShared
	}
	pool, err := openPool(pg.url, 1, nil)
	if err != nil {
		return nil, err
	}
	p := &Presence{owner: owner, pool: pool, readers: pg.readers, done: make(chan struct{})}
	if err := p.renew(ctx); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	go p.keep(keep, report)
	return p, nil
}

// keep renews the presence until ctx ends.
func (p *Presence) keep(ctx context.Context, report func(error)) {
	defer close(p.done)
	t := time.NewTicker(renewEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := p.renew(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}

// renew takes the lock unless it is held.
func (p *Presence) renew(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*renewEvery)
	defer cancel()
	if p.conn != nil {
		if err := p.conn.PingContext(ctx); err == nil {
			return nil
		}
		p.conn.Close() // a broken connection's error says nothing new
		p.conn, p.lead = nil, nil
	}
	conn, err := p.pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("announcing %s: %w", p.owner, err)
	}
	held := false
	err = conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(presenceKey(p.owner))).Scan(&held)
	if err == nil && !held {
		// The server has not noticed yet that the earlier connection is gone:
		// to the others this process is there.
		err = errors.New("an earlier connection holds its lock")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("announcing %s: %w", p.owner, err), conn.Close())
	}
	p.conn = conn
	return nil
}

// Dead reports whether the process that announced itself as owner is gone, or
// never did.
func (p *Presence) Dead(ctx context.Context, owner string) (bool, error) {
	key := presenceKey(owner)
	dead := false
	err := p.readers.QueryRowContext(ctx, `SELECT NOT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND CAST(classid AS BIGINT) = $1 AND CAST(objid AS BIGINT) = $2)`, int64(key>>32), int64(key&0xffffffff)).Scan(&dead)
	if err != nil {
		return false, fmt.Errorf("looking whether %s lives: %w", owner, err)
	}
	return dead, nil
}

// Lead reports whether this process leads in what is named: of those that ask, one
// does, until it closes its presence or its connection ends. Then the next one that
// asks does. Asking again costs a leader nothing.
//
// The lead is a lock of the presence's connection, and a leader notices only at its
// next renewal that the connection has ended: for some seconds there can be two who
// believe that they lead. So what a leader does MUST be harmless beside another one,
// and guarded by what it writes. Where there is no connection just now, nobody leads
// here.
func (p *Presence) Lead(ctx context.Context, what string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil || p.lead[what] {
		return p.conn != nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	held := false
	err := p.conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(lockKey("sigill lead "+what))).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("asking who leads in %s: %w", what, err)
	}
	if held {
		if p.lead == nil {
			p.lead = map[string]bool{}
		}
		p.lead[what] = true
	}
	return held, nil
}

// Close ends the presence: from now on the process is dead to the others.
func (p *Presence) Close() error {
	p.stop()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.conn != nil {
		// Let go in so many words: the end of a connection is noticed later.
		ctx, cancel := context.WithTimeout(context.Background(), renewEvery)
		_, err = p.conn.ExecContext(ctx, `SELECT pg_advisory_unlock_all()`)
		cancel()
		err = errors.Join(err, p.conn.Close())
		p.conn, p.lead = nil, nil
	}
	return errors.Join(err, p.pool.Close())
}

// presenceKey is the number that a name is locked by. If two names ever had the
// same, one would be taken for alive for as long as the other is.
func presenceKey(owner string) uint64 { return lockKey("sigill process " + owner) }

func lockKey(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:])
}
