// Package clocktest is a server of time for tests, whose clock is as wrong as a test
// wants. It listens on the loopback interface alone.
package clocktest

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// Server answers NTP as a server does whose clock is ahead by offset; one that is not
// in step says so. It returns its address and ends with the test.
func Server(t testing.TB, offset time.Duration, inStep bool) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(in)
			if err != nil {
				return
			}
			if n >= 48 {
				conn.WriteTo(ntpAnswer(in[:n], time.Now().Add(offset), inStep), from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

// ntpAnswer is a server's answer (RFC 5905, 7.3).
func ntpAnswer(question []byte, now time.Time, inStep bool) []byte {
	out := make([]byte, 48)
	out[0] = question[0]&0x38 | 4 // the question's version, mode server
	if !inStep {
		out[0] |= 3 << 6
	}
	out[1] = 1 // stratum
	copy(out[12:], "TEST")
	stamp := func(at int, t time.Time) {
		seconds := uint64(t.Unix() + 2_208_988_800)
		binary.BigEndian.PutUint64(out[at:], seconds<<32|uint64(t.Nanosecond())<<32/1_000_000_000)
	}
	stamp(16, now.Add(-time.Minute)) // when it was last set
	copy(out[24:32], question[40:48])
	stamp(32, now)
	stamp(40, now)
	return out
}
