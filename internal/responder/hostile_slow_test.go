package responder

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// pipes is a listener whose connections are in memory, so that the server's own times
// pass at once.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// inTime runs fn with a hall of so many connections whose server has the real times of a
// clock that jumps. A goroutine that is left when the server has ended fails the test.
func inTime(t *testing.T, connections int, fn func(*testing.T, *hall, *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t, connections)
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- h.server.Serve(p) }()
		fn(t, h, p)
		if err := h.server.Close(); err != nil {
			t.Error(err)
		}
		<-ended
		synctest.Wait()
		if n, _ := h.clients.Count(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// slowly sends one octet a second until the server has had enough or all is sent, and
// returns when the connection ended and what came.
func slowly(conn net.Conn, text string, pause time.Duration) (time.Duration, []byte) {
	began := time.Now()
	came := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(conn)
		came <- b
	}()
	for _, c := range []byte(text) {
		if _, err := conn.Write([]byte{c}); err != nil {
			break
		}
		time.Sleep(pause)
	}
	b := <-came
	conn.Close()
	return time.Since(began), b
}

// Whoever sends an octet now and then is cut off, wherever in a request he is, and
// others are served meanwhile.
func TestHostileSlowSenders(t *testing.T) {
	for name, test := range map[string]struct {
		before string // sent at once
		slow   string
		within time.Duration
		says   string // in the last answer
	}{
		"nothing":         {"", "", headerTime, ""},
		"the first octet": {"G", "", headerTime, ""},
		"request line":    {"", "GET /ocsp/" + strings.Repeat("M", 100), headerTime, ""},
		"header":          {"GET /ocsp/MAA HTTP/1.1\r\nHost: x\r\nX: ", strings.Repeat("y", 100), headerTime, ""},
		"many headers":    {"GET /ocsp/MAA HTTP/1.1\r\nHost: x\r\n", strings.Repeat("a:b\r\n", 100), headerTime, ""},
		"body":            {"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 83\r\n\r\n", strings.Repeat("0", 83), readTime, "\r\n\r\n0\x03\n\x01\x01"},
		"chunk":           {"POST /ocsp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n", strings.Repeat("0", 64), readTime, "\r\n\r\n0\x03\n\x01\x01"},
		"chunk's length":  {"POST /ocsp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", strings.Repeat("0", 100), readTime, "\r\n\r\n0\x03\n\x01\x01"},
		"promised body":   {"POST /ocsp HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 83\r\n\r\n", "", readTime, "\r\n\r\n0\x03\n\x01\x01"},
		"body of a GET":   {"GET /ocsp/MAA HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n", strings.Repeat("0", 999), readTime, "200 OK"},
		"after an answer": {"GET /ocsp/MAA HTTP/1.1\r\nHost: x\r\n\r\n", "", idleTime, "200 OK"},
		"second request":  {"GET /ocsp/MAA HTTP/1.1\r\nHost: x\r\n\r\n", "GET /ocsp/" + strings.Repeat("M", 100), 3*time.Second + headerTime, "200 OK"}, // it begins with the fourth octet
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, 100, func(t *testing.T, h *hall, p *pipes) {
				conn := p.dial()
				if test.before != "" {
					go io.WriteString(conn, test.before) // who never reads is another test's
				}
				time.AfterFunc(headerTime/2, func() {
					other := p.dial()
					if got := h.one(t, other, get(h.question(t, h.good()))); got != "good" {
						t.Errorf("somebody else is told %q meanwhile", got)
					}
					other.Close()
				})
				synctest.Wait()
				took, came := slowly(conn, test.slow, time.Second)
				// net/http waits half a second when it has to break off.
				if took > test.within+time.Second || took < test.within-time.Second {
					t.Errorf("ended after %v, want %v", took, test.within)
				}
				if !bytes.Contains(came, []byte(test.says)) {
					t.Errorf("came %q, and not %q", came, test.says)
				}
			})
		})
	}
}

// Who asks and never reads holds a connection for the time of one answer, whatever he
// asked, and no more of its answers than one.
func TestHostileNeverReads(t *testing.T) {
	inTime(t, 100, func(t *testing.T, h *hall, p *pipes) {
		asked := 0
		h.ledger.reading = func(context.Context) { asked++ }
		conn := p.dial()
		began := time.Now()
		for {
			if _, err := io.WriteString(conn, get(h.question(t, h.good()))); err != nil {
				break
			}
		}
		if took := time.Since(began); took != writeTime {
			t.Errorf("ended after %v, want %v", took, writeTime)
		}
		synctest.Wait()
		if asked > 8 { // those that fit into one reading of the server
			t.Errorf("%d answers were made for who reads none", asked)
		}
		conn.Close()
	})
}

// A large list comes through a bad line, and not to who takes an octet now and then.
func TestHostileSlowReaders(t *testing.T) {
	list := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	for name, test := range map[string]struct {
		pace  int // octets a second
		comes bool
	}{"as slowly as may be": {slowest, true}, "too slowly": {slowest / 2, false}, "an octet now and then": {1, false}} {
		t.Run(name, func(t *testing.T) {
			inTime(t, 100, func(t *testing.T, h *hall, p *pipes) {
				path := filepath.Join(h.dir, "crl", "root")
				if err := os.MkdirAll(path, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(path, "full.crl"), list, 0o644); err != nil {
					t.Fatal(err)
				}
				conn := p.dial()
				began := time.Now()
				io.WriteString(conn, "GET /crl/root/full.crl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				var came []byte
				b := make([]byte, test.pace)
				for {
					n, err := io.ReadFull(conn, b)
					came = append(came, b[:n]...)
					if err != nil {
						break
					}
					time.Sleep(time.Second)
				}
				took := time.Since(began)
				if bytes.HasSuffix(came, list) != test.comes {
					t.Errorf("%d octets came in %v", len(came), took)
				}
				if most := writeTime + time.Duration(len(list)/slowest+2)*time.Second; took < writeTime || took > most {
					t.Errorf("ended after %v, want at most %v", took, most)
				}
				conn.Close()
			})
		})
	}
}

// busy is a handler that holds each request until its client or the test ends it.
func busy(hold <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	})
}

// ended reports whether the server has closed a connection.
func ended(conn net.Conn) bool {
	conn.SetReadDeadline(time.Now())
	_, err := conn.Read(make([]byte, 1))
	return err == io.EOF
}

// When all connections are taken, who has waited longest makes room: those who only
// hold connections close their own.
func TestConnectionsMakeRoom(t *testing.T) {
	inTime(t, 4, func(t *testing.T, h *hall, p *pipes) {
		question := get(h.question(t, h.good()))
		asked, silent, slow, slower := p.dial(), p.dial(), p.dial(), p.dial()
		go io.WriteString(slow, "GET /ocsp/M")
		go io.WriteString(slower, "POST /ocsp HTTP/1.1\r\nHos")
		if got := h.one(t, asked, question); got != "good" {
			t.Error(got)
		}
		synctest.Wait()
		// In the order in which they began to wait: silent, slow, slower, asked.
		all := []net.Conn{silent, slow, slower, asked}
		for i := range all {
			next := p.dial()
			defer next.Close()
			if got := h.one(t, next, question); got != "good" {
				t.Errorf("the one too many is told %q", got)
			}
			for j, conn := range all {
				if want := j <= i; ended(conn) != want {
					t.Errorf("%d more: connection %d is ended: %t", i+1, j, !want)
				}
			}
			if open, closed := h.clients.Count(); open != 4 || closed != int64(i+1) {
				t.Errorf("%d open, %d closed", open, closed)
			}
		}
		for _, conn := range all {
			conn.Close()
		}
		if n := strings.Count(h.log.String(), "is full"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// Requests that are being served are not ended for a new connection, unless they have
// been served for so long that their clients must be slow.
func TestConnectionsAllBusy(t *testing.T) {
	inTime(t, 3, func(t *testing.T, h *hall, p *pipes) {
		hold := make(chan struct{})
		h.server.Handler = busy(hold)
		var all []net.Conn
		for range 3 {
			conn := p.dial()
			io.WriteString(conn, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
			all = append(all, conn)
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		refused := p.dial()
		synctest.Wait()
		if !ended(refused) || ended(all[0]) {
			t.Error("a request that is being served was ended, or one too many was let in")
		}
		refused.Close()
		time.Sleep(busyTime - 3*time.Millisecond) // the first has had its time, the second not yet
		late := p.dial()
		io.WriteString(late, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		for i, conn := range []net.Conn{all[0], all[1], all[2], late} {
			if want := i == 0; ended(conn) != want {
				t.Errorf("connection %d is ended: %t", i, !want)
			}
		}
		close(hold)
		for _, conn := range append(all, late) {
			conn.Close()
		}
	})
}

// Whatever becomes of connections in whatever order: each is on one list, there are never
// more than may be, and only who was there longest makes room.
func TestConnectionsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 5).Draw(t, "most")
		c := NewConnections(most, slog.New(slog.DiscardHandler))
		now := time.Unix(0, 0)
		type known struct {
			state http.ConnState
			since time.Time
			turn  int
		}
		open := map[net.Conn]known{}
		oldest := func(state http.ConnState) (out net.Conn) {
			for conn, k := range open {
				if (k.state == http.StateActive) == (state == http.StateActive) && (out == nil || k.turn < open[out].turn) {
					out = conn
				}
			}
			return out
		}
		for turn := range rapid.IntRange(1, 60).Draw(t, "turns") {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, busyTime / 2, busyTime}).Draw(t, "pause"))
			all := slices.SortedFunc(maps.Keys(open), func(a, b net.Conn) int { return a.(*numbered).n - b.(*numbered).n })
			if len(all) == 0 || rapid.Bool().Draw(t, "new") {
				conn := &numbered{n: turn}
				var want net.Conn
				if len(open) == most {
					if want = oldest(http.StateIdle); want == nil {
						if want = oldest(http.StateActive); now.Sub(open[want].since) < busyTime {
							want = conn
						}
					}
				}
				open[conn] = known{http.StateNew, now, turn}
				if got := c.note(conn, http.StateNew, now); got != want {
					t.Fatalf("%v makes room, want %v", got, want)
				}
				if want != nil {
					delete(open, want)
					c.note(want, rapid.SampledFrom([]http.ConnState{http.StateActive, http.StateIdle, http.StateClosed}).Draw(t, "after it"), now)
				}
			} else {
				conn := rapid.SampledFrom(all).Draw(t, "connection")
				next := rapid.SampledFrom([]http.ConnState{http.StateActive, http.StateIdle, http.StateClosed}).Draw(t, "state")
				if c.note(conn, next, now) != nil {
					t.Fatal("room is made for no new connection")
				}
				switch k := open[conn]; {
				case next == http.StateClosed:
					delete(open, conn)
				case next == http.StateIdle || k.state != http.StateActive:
					open[conn] = known{next, now, turn}
				}
			}
			if n, _ := c.Count(); n != len(open) || n != c.waiting.length+c.busy.length || n > most {
				t.Fatalf("%d connections, %d wait, %d are busy, want %d of at most %d", n, c.waiting.length, c.busy.length, len(open), most)
			}
		}
	})
}

// numbered stands for a connection.
type numbered struct {
	net.Conn
	n int
}
