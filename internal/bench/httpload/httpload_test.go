package httpload_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/internal/bench/httpload"
)

// counter answers with what was asked, and counts.
type counter struct {
	mu    sync.Mutex
	asked map[string]int
	conns map[string]bool
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[r.Method+r.URL.Path+string(body)]++
	c.conns[r.RemoteAddr] = true
	answer := "ok:" + r.URL.Path + string(body) + strings.Repeat("x", 100_000*strings.Count(r.URL.Path, "long"))
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	io.WriteString(w, answer)
}

func serve(t *testing.T) (*counter, string) {
	c := &counter{asked: map[string]int{}, conns: map[string]bool{}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, s.Listener.Addr().String()
}

// TestInTurn: each request is sent once, over as many connections as were asked
// for, whether pipelined or not, and every answer is read to its end.
func TestInTurn(t *testing.T) {
	for _, depth := range []int{1, 3} {
		c, address := serve(t)
		g, err := httpload.Start(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		requests := [][]byte{httpload.Get(address, "/long"), httpload.Get(address, "/a"), httpload.Post(address, "/b", "text/plain", []byte("body")), httpload.Get(address, "/longlong")}
		for range 6 {
			requests = append(requests, httpload.Get(address, "/same"))
		}
		r, err := g.Do(httpload.Job{Address: address, Requests: requests, InTurn: true, Connections: 2, Depth: depth, Want: []byte("ok:/")})
		if err != nil || r.Answers != len(requests) || r.P99 <= 0 || r.Took <= 0 || r.Octets != int64(8+100_000+5+9+12+200_000+6*8) {
			t.Errorf("%+v, %v", r, err)
		}
		if c.asked["GET/a"] != 1 || c.asked["POST/bbody"] != 1 || c.asked["GET/same"] != 6 || len(c.conns) != 2 {
			t.Errorf("%v, %v", c.asked, c.conns)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestDraws: a Zipf draw prefers the first request, an even one none, and a
// connection for each request is one.
func TestDraws(t *testing.T) {
	for _, zipf := range []float64{0, 1.5} {
		c, address := serve(t)
		requests := [][]byte{httpload.Get(address, "/0"), httpload.Get(address, "/1"), httpload.Get(address, "/2"), httpload.Get(address, "/3")}
		r := httpload.Run(t.Context(), httpload.Job{Address: address, Requests: requests, Zipf: zipf, Connections: 2, Anew: true, Time: 200 * time.Millisecond})
		if r.Error != "" || r.Answers < 8 {
			t.Fatalf("%+v", r)
		}
		if len(c.conns) < r.Answers/2 {
			t.Errorf("%d answers over %d connections", r.Answers, len(c.conns))
		}
		first, last := c.asked["GET/0"], c.asked["GET/3"]
		if zipf > 0 && first < 3*last {
			t.Errorf("Zipf: %v", c.asked)
		}
		if zipf == 0 && (first == 0 || last == 0 || first > 3*last) {
			t.Errorf("even: %v", c.asked)
		}
	}
}

// TestPaced: as many requests as were asked for, not as many as there can be.
func TestPaced(t *testing.T) {
	_, address := serve(t)
	r := httpload.Run(t.Context(), httpload.Job{Address: address, Requests: [][]byte{httpload.Get(address, "/")}, Connections: 4, Rate: 100, Time: 500 * time.Millisecond})
	if r.Error != "" || r.Answers < 1 || r.Answers > 51 {
		t.Errorf("%+v", r)
	}
}

// TestWrongAnswers: what is not the wanted answer ends the run with its reason.
func TestWrongAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"status":    "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
		"no length": "HTTP/1.1 200 OK\r\n\r\n",
		"length":    "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
		"body":      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
		"cut off":   "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 1000))
			io.Copy(conn, bytes.NewReader([]byte(answer)))
			conn.Close()
		})
		r := httpload.Run(t.Context(), httpload.Job{Address: l.Addr().String(), Requests: [][]byte{httpload.Get("x", "/")}, InTurn: true, Connections: 1, Want: []byte("ok")})
		if r.Error == "" || r.Answers != 0 {
			t.Errorf("%s: %+v", name, r)
		}
		l.Close()
		wg.Wait()
	}
	if r := httpload.Run(t.Context(), httpload.Job{}); r.Error == "" {
		t.Error("nothing to do was done")
	}
}
