//go:build unix

package interop

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"sync"
	"testing"
)

// gate stands where certificates say that the status listener is, and passes
// octets on to it. It forgets nothing that is asked, and can be shut.
type gate struct {
	to string // address of the status listener

	mu    sync.Mutex
	shut  bool
	asked []*record
	open  map[net.Conn]bool
}

// record is what one connection asked.
type record struct {
	mu sync.Mutex
	bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Buffer.Write(b)
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Buffer.String()
}

// newGate opens a gate at an address until the test, or what stands for it, ends.
func newGate(t testing.TB, at, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{to: to, open: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		g.cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { g.pass(c) })
		}
	})
	return g
}

// pass carries one connection, or resets it while the gate is shut. The listener
// stays: a port that nobody listens on could become somebody else's meanwhile.
func (g *gate) pass(c net.Conn) {
	defer c.Close()
	asked := &record{}
	if !g.enter(c, asked) {
		c.(*net.TCPConn).SetLinger(0)
		return
	}
	defer g.leave(c)
	s, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer s.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(s, io.TeeReader(c, asked))
		s.(*net.TCPConn).CloseWrite()
	})
	io.Copy(c, s)
	c.(*net.TCPConn).CloseWrite()
	c.(*net.TCPConn).CloseRead()
	wg.Wait()
}

func (g *gate) enter(c net.Conn, asked *record) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.asked = append(g.asked, asked)
	g.open[c] = true
	return true
}

func (g *gate) leave(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
}

// cut ends what is open.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.open {
		c.Close()
	}
}

// down shuts the gate until the test ends: whoever connects is cut off.
func (g *gate) down(t *testing.T) {
	t.Helper()
	g.set(true)
	g.cut()
	t.Cleanup(func() { g.set(false) })
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
}

// since returns a function that tells what was asked since now: method and path
// of each request.
func (g *gate) since() func() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	from := len(g.asked)
	return func() (lines []string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, r := range g.asked[from:] {
			for _, m := range requestLine.FindAllStringSubmatch(r.text(), -1) {
				lines = append(lines, m[1]+" "+m[2])
			}
		}
		return lines
	}
}

var requestLine = regexp.MustCompile(`(GET|POST|HEAD) (\S+) HTTP/1\.[01]\r\n`)
