package app

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"sigill/ca"
)

func TestStatusConnections(t *testing.T) {
	for _, test := range []struct {
		configured int
		files      uint64
		want       int
	}{
		{16384, 524288, 16384}, {16384, 1 << 63, 16384}, {16384, 20000, 9488}, {16384, 4096, 1536}, {100, 4096, 100},
		{16384, 2048, 512}, {16384, 1024, 256}, {1 << 20, 1 << 62, 1 << 20},
	} {
		if got := statusConnections(test.configured, test.files); got != test.want {
			t.Errorf("%d connections configured, %d files: %d, want %d", test.configured, test.files, got, test.want)
		}
	}
}

// Strangers who open connections without end to a served installation close their own:
// status goes on, and so do the database and the other listeners.
func TestStatusListenerIsBounded(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	const most = 16
	a.Config.Listen.StatusConnections = most
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done, ready := make(chan error, 1), make(chan Addresses, 1)
	go func() { done <- a.Serve(ctx, func(at Addresses) { ready <- at }) }()
	var at Addresses
	select {
	case at = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	var conns []net.Conn
	for i := range 5 * most {
		conn, err := net.Dial("tcp", strings.TrimPrefix(at.Status, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if i%most == 0 {
			fetch(t, at.Status+"/ocsp")
		}
		if n, _ := a.ocsp.clients.Count(); n > most {
			t.Fatalf("%d connections", n)
		}
	}
	metrics := fetch(t, at.Ops+"/metrics")
	for _, name := range []string{"sigill_status_connections ", "sigill_status_connections_closed_total "} {
		_, value, ok := strings.Cut(metrics, "\n"+name)
		if !ok || strings.HasPrefix(value, "0\n") {
			t.Errorf("%s is not told, or 0: the test shows nothing", name)
		}
	}
	if _, err := a.DB.ReleasedAfter(t.Context(), ca.Serial{}, 1); err != nil {
		t.Error(err)
	}
	for _, conn := range conns {
		conn.Close() // or stopping waits for them
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
