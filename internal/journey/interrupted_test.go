//go:build unix && cgo

package journey

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigill/internal/stage"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
)

// direction of octets between program and server.
type direction string

const (
	request direction = "request"
	answer  direction = "answer"
)

// network carries connections between a program and the server. When the first
// octets come in a direction after the program has printed a step, it kills the
// program instead of carrying them.
//
// A program prints a step before it sends what follows, into a file: so what
// stands in the file when octets arrive is what was done before they were sent,
// and the kill always comes at the same point. Answers of a handshake are carried:
// what is cut off is an answer to what the program asked.
type network struct {
	net.Listener
	server, notes, step string
	at                  direction
	kill                func()

	carrying sync.WaitGroup
	mu       sync.Mutex
	killed   bool
}

// between starts a network on a port of its own. Call close in the end.
func between(t *testing.T, server, notes, step string, at direction, kill func()) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{Listener: l, server: strings.TrimPrefix(server, "https://"), notes: notes, step: step, at: at, kill: kill}
	n.carrying.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n.carrying.Go(func() { n.carry(conn) })
		}
	})
	return n
}

func (n *network) address() string { return "https://" + n.Addr().String() }

func (n *network) close() bool {
	n.Close()
	n.carrying.Wait()
	return n.killed
}

func (n *network) carry(program net.Conn) {
	defer program.Close()
	server, err := net.Dial("tcp", n.server)
	if err != nil {
		return
	}
	defer server.Close()
	turns := &turns{}
	var both sync.WaitGroup
	both.Go(func() { n.pass(server, program, request, turns) })
	both.Go(func() { n.pass(program, server, answer, turns) })
	both.Wait()
}

// turns counts how often the direction changed on a connection. In TLS 1.3 the
// program speaks in the first turn and the server in the second; with the third
// begins what the program has to say.
type turns struct {
	last direction
	n    int
}

func (t *turns) turn(at direction) int {
	if t.last != at {
		t.last = at
		t.n++
	}
	return t.n
}

// pass carries octets until one side ends or the time has come to kill.
func (n *network) pass(to, from net.Conn, at direction, t *turns) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 32<<10)
	for {
		read, err := from.Read(b)
		if n.over(at, read, t) {
			return
		}
		if _, werr := to.Write(b[:read]); err != nil || werr != nil {
			return
		}
	}
}

// alert is the size of a TLS 1.3 record that holds an alert: header, alert, its
// type, tag (RFC 8446, 5.2). The sides take leave of each other by one.
const alert = 5 + 2 + 1 + 16

// over reports whether nothing is carried any more.
func (n *network) over(at direction, octets int, t *turns) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killed || octets <= alert {
		return n.killed
	}
	if turn := t.turn(at); at != n.at || at == answer && turn <= 2 {
		return false
	}
	told, err := os.ReadFile(n.notes)
	if err != nil || strings.Contains(string(told), n.step) {
		n.killed = true
		n.kill()
	}
	return n.killed
}

// fetchKilled runs fetch and kills the program at a point; it returns what the
// program had told by then.
func (c *hardCard) fetchKilled(step string, at direction) string {
	c.t.Helper()
	notes, err := os.Create(filepath.Join(c.t.TempDir(), "notes"))
	c.Must(err)
	defer notes.Close()
	var cmd *exec.Cmd
	n := between(c.t, c.Server, notes.Name(), step, at, func() { cmd.Process.Kill() })
	cmd = c.holderProgram(c.uri, n.address(), pin1+"\n", "fetch", "--yes")
	cmd.Stderr = notes
	c.Must(cmd.Start())
	hung := time.AfterFunc(stage.Patience, func() { cmd.Process.Kill() })
	cmd.Wait() // by the signal; looked at below
	hung.Stop()
	killed := n.close()
	told, err := os.ReadFile(notes.Name())
	c.Must(err)
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !killed || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		c.t.Fatalf("the program was not killed at %s %s: %v\n%s", step, at, cmd.ProcessState, told)
	}
	return string(told)
}

// TestInterruptedFetchOverSoftHSM kills the holder's program in the middle and
// runs it again: the holder has one current eID before and after, and never a
// certificate whose key is lost.
func TestInterruptedFetchOverSoftHSM(t *testing.T) {
	stage.Need(t, "pkcs11-tool", "opensc")
	hsm := tokentest.StartSoftHSM(t)
	p, h := play(t), björn()
	c := p.hard(hsm, h, token.P256, "PIN1 card", "PIN2 card")
	before := ""
	for _, at := range []struct {
		name  string
		step  string // the program is killed after it has printed this
		next  string // and before it prints this
		at    direction
		lives string // which one is current after the kill
		rest  string // what is left to be done
	}{
		{"certificate written, confirmation not sent", "4/7", "6/7", request, "old", "all"},
		{"key made, request not sent", "2/7", "3/7", request, "old", "all"},
		{"certificate issued, answer lost", "2/7", "3/7", answer, "old", "all"},
		{"confirmed, answer lost", "5/7", "6/7", answer, "new", "removal"},
		{"confirmed, old one removed, not reported", "6/7", "8/7", request, "new", "report"},
	} {
		kind := "update"
		if before == "" {
			kind = "ordinary"
		}
		order := p.Order(kind, h)
		told := c.fetchKilled(at.step, at.at)
		if !strings.Contains(told, at.step) || strings.Contains(told, at.next) {
			t.Fatalf("%s: killed at another point:\n%s", at.name, told)
		}
		if lived := c.livesOn(); before != "" && (lived == before) != (at.lives == "old") {
			t.Errorf("%s: current is %s, was %s", at.name, lived, before)
		}
		c.again(at.name, at.rest, order, before)
		now := c.current().Serial
		if now == before {
			t.Errorf("%s: still %s", at.name, now)
		}
		before = now
		programs.Examined(t, p.Dir, "after: "+at.name)
	}
}

// again runs fetch after it was killed. What is left is the rest of the download,
// only the certificate that was replaced on the card, or nothing.
func (c *hardCard) again(name, rest, order, before string) {
	c.t.Helper()
	had := c.list("authentication")
	o := c.run("fetch", "--yes", "--json")
	var r result
	if err := json.Unmarshal([]byte(o.Want(c.t, 0, name+": fetch again").Out), &r); err != nil {
		c.t.Fatal(err)
	}
	if !r.Resumed || r.Order != order || len(r.Installed) != 1 {
		c.t.Errorf("%s: fetch again: %v", name, o)
	}
	for _, f := range r.Removed {
		if !slices.ContainsFunc(had, func(o object) bool { return o.Fingerprint == f && o.Serial == before }) {
			c.t.Errorf("%s: %s was removed; the card had %+v, current was %s", name, f, had, before)
		}
	}
	if want := before != "" && rest != "report"; (len(r.Removed) == 1) != want {
		c.t.Errorf("%s: %d certificates were removed", name, len(r.Removed))
	}
}

// livesOn returns the serial of the one certificate that is current now, "" for
// none.
func (c *hardCard) livesOn() (serial string) {
	c.t.Helper()
	var me wire.Me
	c.read(&me, "login")
	for _, e := range me.EIDs {
		for _, cert := range e.Certificates {
			if cert.State == "current" {
				if serial != "" {
					c.t.Errorf("two are current: %s, %s", serial, cert.Serial)
				}
				serial = cert.Serial
			}
		}
	}
	return serial
}
