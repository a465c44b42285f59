// Package loopback finds addresses of this machine that a service can be told to listen
// on before it starts, and listen on again after it was ended. It owns the choice of
// ports, and knows nothing of who uses them.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports below those that systems give out by themselves: to whoever listens on port 0,
// and to this end of every outgoing connection (Linux from 32768, others from 49152, RFC
// 6335, section 6). A port from there can be anybody's as soon as nobody listens on it;
// of these, only who asked for one has it.
const lowest, highest = 12000, 32000

// Free returns n different addresses, host and port, that nobody listens on. It is safe
// for concurrent use, also by several processes: each port is drawn at random.
func Free(n int) ([]string, error) {
	var out []string
	for tries := 0; len(out) < n; tries++ {
		port := lowest + rand.IntN(highest-lowest)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil && tries < 1000 {
			continue // taken
		}
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close() // all are held until all are chosen
		out = append(out, l.Addr().String())
	}
	return out, nil
}
