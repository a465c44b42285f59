package loopback

import (
	"net"
	"slices"
	"testing"
)

// What is given out can be listened on, differs, and is none that a system gives out by
// itself.
func TestFree(t *testing.T) {
	all, err := Free(20)
	if err != nil || len(all) != 20 {
		t.Fatalf("%v, %v", all, err)
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != 20 {
		t.Errorf("one address twice: %v", all)
	}
	for _, address := range all {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		at := l.Addr().(*net.TCPAddr)
		if !at.IP.IsLoopback() || at.Port < lowest || at.Port >= highest {
			t.Errorf("%s", address)
		}
	}
}
