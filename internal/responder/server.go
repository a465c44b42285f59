package responder

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Times that a client has. All that it sends fits into a few packets.
const (
	headerTime = 5 * time.Second  // for the request line and headers
	readTime   = 10 * time.Second // for these and the body
	writeTime  = 20 * time.Second // for an answer; a file has more, see serveFile
	idleTime   = 30 * time.Second // between requests
)

// maxHeader is what request line and headers may have, to which net/http adds 4 kB: the
// longest request, with each of its characters percent-encoded, and ordinary headers.
const maxHeader = 16 << 10

// busyTime is what a request has before its connection may be given to others, when
// every connection there is serves a request: an answer takes a thousandth of it.
const busyTime = time.Second

// NewServer returns the HTTP server of a status listener, for plain HTTP/1. Every wait
// for a client is bounded, and what connections there may be is bounded by c, which is
// for this server only.
func NewServer(h http.Handler, c *Connections) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true, ConnState: c.changed,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelError)}
}

// Connections bounds how many connections a server holds, so that strangers cannot take
// every file descriptor of the process, nor its memory.
//
// When there is one too many, the connection that has waited longest for a request is
// closed: HTTP lets a server close it at any time, and who fills the listener with
// connections that ask nothing, or a request octet by octet, closes his own. A bound on
// accepting would instead keep everybody waiting behind them. If none waits, the request
// that has taken longest ends, if it has had a second: its client sends or reads slowly.
// If there is no such one either, the new connection is closed.
//
// Its methods may be called concurrently.
type Connections struct {
	most int
	log  *slog.Logger
	told rate.Sometimes

	mu      sync.Mutex
	places  map[net.Conn]*place
	waiting queue // for a request
	busy    queue // with a request
	closed  int64
}

// place is a connection in one of the queues.
type place struct {
	conn         net.Conn
	in           *queue
	before, next *place
	since        time.Time // a request is being served
}

// queue has who has been in it for longest in front. Its links are in its places: two
// moves for each request must leave no garbage.
type queue struct {
	front, back *place
	length      int
}

func (q *queue) push(p *place) {
	p.in, p.before, p.next = q, q.back, nil
	if q.back == nil {
		q.front = p
	} else {
		q.back.next = p
	}
	q.back = p
	q.length++
}

// leave takes a place out of its queue.
func (p *place) leave() {
	q := p.in
	if p.before == nil {
		q.front = p.next
	} else {
		p.before.next = p.next
	}
	if p.next == nil {
		q.back = p.before
	} else {
		p.next.before = p.before
	}
	q.length--
}

// NewConnections allows so many connections at once.
func NewConnections(most int, log *slog.Logger) *Connections {
	return &Connections{most: most, log: log, told: rate.Sometimes{Interval: time.Minute}, places: map[net.Conn]*place{}}
}

// Count returns how many connections are open, and how many were closed to make room.
func (c *Connections) Count() (open int, closed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.places), c.closed
}

// changed is told by net/http what becomes of each connection.
func (c *Connections) changed(conn net.Conn, state http.ConnState) {
	if out := c.note(conn, state, time.Now()); out != nil {
		out.Close()
		c.told.Do(func() {
			c.log.Warn("the status listener is full: connections are closed to make room", "connections", c.most)
		})
	}
}

// note returns the connection that must make room, or nil.
func (c *Connections) note(conn net.Conn, state http.ConnState, now time.Time) (out net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateNew {
		p := &place{conn: conn}
		c.places[conn] = p
		c.waiting.push(p)
		if len(c.places) > c.most {
			return c.makeRoom(p, now)
		}
		return nil
	}
	p, ok := c.places[conn]
	if !ok {
		return nil // it made room
	}
	switch {
	case state == http.StateActive && p.in == &c.waiting:
		p.leave()
		p.since = now
		c.busy.push(p)
	case state == http.StateIdle:
		p.leave()
		c.waiting.push(p)
	case state == http.StateClosed || state == http.StateHijacked:
		p.leave()
		delete(c.places, conn)
	}
	return nil
}

// makeRoom takes a connection out for the latest, which waits behind all others.
func (c *Connections) makeRoom(latest *place, now time.Time) net.Conn {
	p := c.waiting.front
	if oldest := c.busy.front; p == latest && oldest != nil && now.Sub(oldest.since) >= busyTime {
		p = oldest
	}
	p.leave()
	delete(c.places, p.conn)
	c.closed++
	return p.conn
}
