//go:build unix

package responder

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigill/internal/stage"
)

// idleClients tells the test binary to be the other end of the idle connections: both
// ends would not fit into the files that one process may have open.
const idleClients = "SIGILL_IDLE_CLIENTS"

// TestIdleClients is no test but those clients, in a process of their own: each asks once
// and then holds its connection until standard input ends.
func TestIdleClients(t *testing.T) {
	var n int
	var address string
	if _, err := fmt.Sscan(os.Getenv(idleClients), &n, &address); err != nil {
		t.Skip("this is a part of TestHostileIdle")
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	request := "GET /ocsp/MAA HTTP/1.1\r\nHost: x\r\n\r\n"
	for i, conn := range conns {
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || r.StatusCode != 200 {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	fmt.Println("all are there")
	io.Copy(io.Discard, os.Stdin)
}

// memory is what the process holds in objects and stacks.
func memory() uint64 {
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// Ten thousand connections that ask nothing are held at once, each for a few kilobytes;
// one more is served; and when they go, nothing of them stays.
func TestHostileIdle(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// The runtime has raised the limit already as far as it may be.
	if most := int(limit.Cur) - 200; n > most {
		t.Logf("%d files may be open: %d connections instead of %d", limit.Cur, most, n)
		n = most
	}
	h := newHall(t, n+10)
	// These connections stay for longer than the slowest machine needs to make them.
	h.server.IdleTimeout, h.server.ReadHeaderTimeout, h.server.ReadTimeout = 0, 0, 0
	h.listens(t)
	h.served(t)
	h.open.none()
	before, goroutines := memory(), runtime.NumGoroutine()

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestIdleClients$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", idleClients, n, h.address))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for in := bufio.NewScanner(io.TeeReader(stdout, &said)); ; {
		if !in.Scan() {
			t.Fatalf("the clients ended: %v\n%s", cmd.Wait(), said.String())
		}
		if in.Text() == "all are there" {
			break
		}
	}
	if open, closed := h.clients.Count(); open != n || closed != 0 {
		t.Errorf("%d connections are open, %d made room, want %d", open, closed, n)
	}
	h.served(t)
	each := (int64(memory()) - int64(before)) / int64(n)
	t.Logf("%d idle connections: %d octets each", n, each)
	if each > 64<<10 {
		t.Errorf("a connection takes %d octets", each)
	}

	stdin.Close()
	go io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	h.open.none()
	if open, _ := h.clients.Count(); open != 0 {
		t.Errorf("%d connections are left", open)
	}
	// The goroutine of a connection ends just after it has told that it does.
	for until := time.Now().Add(stage.Patience); runtime.NumGoroutine() > goroutines+2; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines, were %d", runtime.NumGoroutine(), goroutines)
		}
	}
}

// However many connect, the listener has no more connections than it may, and who asks
// something is served.
func TestHostileManyConnections(t *testing.T) {
	const most = 50
	h := newHall(t, most).listens(t)
	for i := range 20 * most {
		conn := h.dial(t) // stays until the end of the test
		if i%2 == 0 {
			io.WriteString(conn, "GET /ocsp/M")
		}
		if i%most == 0 {
			h.served(t)
		}
		if open, _ := h.clients.Count(); open > most {
			t.Fatalf("%d connections", open)
		}
	}
	if _, closed := h.clients.Count(); closed == 0 {
		t.Error("nobody made room: the test shows nothing")
	}
}
