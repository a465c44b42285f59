// Package httpload is a load generator for small HTTP/1.1 requests that costs as
// little as it can, because it shares the cores with what it measures: requests are
// bytes made beforehand, connections are raw sockets that stay open, and of an
// answer the status, its length and its first octets are looked at and no more.
//
// It owns sending and counting, and knows neither OCSP nor Sigill. It is a process
// of its own ([Serve]), so that its CPU time is not taken for the server's.
package httpload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Job is what the generator is to do.
type Job struct {
	Address string `json:"address"` // host:port
	// Requests replace those of earlier jobs, if there are any: whole requests
	// as they are sent.
	Requests [][]byte `json:"requests,omitempty"`
	// Zipf draws request k with a probability that falls with k as 1/(1+k)^Zipf,
	// Zipf being above 1; 0: all alike.
	Zipf float64 `json:"zipf,omitempty"`
	// InTurn sends every request once, in order, and ends then, or goes round
	// until Time is over.
	InTurn      bool   `json:"inTurn,omitempty"`
	Seed        uint64 `json:"seed"`
	Connections int    `json:"connections"`
	// Depth is how many requests a connection sends before it reads the answers
	// (pipelining). 0: 1.
	Depth int `json:"depth,omitempty"`
	// Anew opens a connection for each request, for servers that keep none.
	Anew bool          `json:"anew,omitempty"`
	Time time.Duration `json:"time,omitempty"`
	// Rate, if set, is how many requests are begun a second, whatever becomes of
	// those before; times count from when a request should have been sent.
	Rate int `json:"rate,omitempty"`
	// Want must stand in each answer within the first octets of its body.
	Want []byte `json:"want,omitempty"`
}

// Report is what became of a job.
type Report struct {
	Answers int           `json:"answers"`
	Took    time.Duration `json:"took"`
	CPU     time.Duration `json:"cpu"`    // of the generator's process
	Octets  int64         `json:"octets"` // of bodies
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	Most    time.Duration `json:"most"`
	Error   string        `json:"error,omitempty"`
}

// PerSecond is the answers a second.
func (r Report) PerSecond() float64 { return float64(r.Answers) / r.Took.Seconds() }

// Length is the mean length of a body.
func (r Report) Length() int { return int(r.Octets / int64(max(r.Answers, 1))) }

// Serve reads jobs until there are no more and answers each with a report.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	decode, encode := json.NewDecoder(in), json.NewEncoder(out)
	var requests [][]byte
	for {
		var j Job
		if err := decode.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("load generator: %w", err)
		}
		if j.Requests != nil {
			requests = j.Requests
		}
		j.Requests = requests
		if err := encode.Encode(Run(ctx, j)); err != nil {
			return fmt.Errorf("load generator: %w", err)
		}
	}
}

// Run carries a job out.
func Run(ctx context.Context, j Job) Report {
	if len(j.Requests) == 0 || j.Connections < 1 {
		return Report{Error: "no requests or no connections"}
	}
	if j.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.Time)
		defer cancel()
	}
	if j.InTurn {
		j.Connections = min(j.Connections, len(j.Requests))
	}
	workers := make([]*worker, j.Connections)
	cpu, began := cpuTime(), time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		w := &worker{job: &j, at: i, began: began, rand: rand.New(rand.NewPCG(j.Seed, uint64(i)))}
		if j.Zipf > 0 {
			w.zipf = rand.NewZipf(w.rand, j.Zipf, 1, uint64(len(j.Requests)-1))
		}
		workers[i] = w
		wg.Go(func() { w.err = w.run(ctx) })
	}
	wg.Wait()
	r := Report{Took: time.Since(began), CPU: cpuTime() - cpu}
	var times []time.Duration
	for _, w := range workers {
		r.Answers += w.answers
		r.Octets += w.octets
		times = append(times, w.times...)
		if w.err != nil && r.Error == "" {
			r.Error = w.err.Error()
		}
	}
	if len(times) > 0 {
		slices.Sort(times)
		r.P50, r.P99, r.Most = times[len(times)/2], times[len(times)*99/100], times[len(times)-1]
	}
	return r
}

// worker is one connection.
type worker struct {
	job   *Job
	at    int
	began time.Time
	rand  *rand.Rand
	zipf  *rand.Zipf

	conn    net.Conn
	buf     []byte // read and not yet used: buf[from:to]
	from    int
	to      int
	send    []byte
	sent    int // requests
	answers int
	octets  int64
	times   []time.Duration
	err     error
}

// sampled bounds the times that a worker keeps: of long runs it keeps every n-th.
const sampled = 100_000

func (w *worker) run(ctx context.Context) error {
	defer func() {
		if w.conn != nil {
			w.conn.Close()
		}
	}()
	w.buf = make([]byte, 64<<10)
	depth := max(w.job.Depth, 1)
	for ctx.Err() == nil {
		begin := time.Now()
		if w.job.Rate > 0 {
			depth = 1
			begin = w.due()
			if !sleep(ctx, time.Until(begin)) {
				return nil
			}
		}
		w.send = w.send[:0]
		n := 0
		for ; n < depth; n++ {
			k, more := w.next()
			if !more {
				break
			}
			w.send = append(w.send, w.job.Requests[k]...)
		}
		if n == 0 {
			return nil
		}
		if err := w.exchange(n, begin); err != nil {
			return err
		}
	}
	return nil
}

// due is when this worker's next request is to be sent: the workers take turns.
func (w *worker) due() time.Time {
	k := w.sent*w.job.Connections + w.at
	return w.began.Add(time.Duration(float64(k) / float64(w.job.Rate) * float64(time.Second)))
}

// next chooses a request.
func (w *worker) next() (k int, more bool) {
	n := len(w.job.Requests)
	switch {
	case w.job.InTurn:
		k = w.sent*w.job.Connections + w.at
		if k >= n && w.job.Time == 0 {
			return 0, false
		}
		k %= n
	case w.zipf != nil:
		k = int(w.zipf.Uint64())
	default:
		k = w.rand.IntN(n)
	}
	w.sent++
	return k, true
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// patience is how long a server may take: one that hangs is an error and not an
// endless measurement.
const patience = 30 * time.Second

// exchange sends what is in w.send and reads n answers.
func (w *worker) exchange(n int, begin time.Time) error {
	if w.conn == nil {
		// The end of the time does not cut a request off.
		conn, err := net.DialTimeout("tcp", w.job.Address, patience)
		if err != nil {
			return err
		}
		w.conn, w.from, w.to = conn, 0, 0
	}
	if err := w.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := w.conn.Write(w.send); err != nil {
		return err
	}
	closes := false
	for range n {
		last, err := w.answer()
		if err != nil {
			return err
		}
		closes = closes || last
		w.answers++
		if len(w.times) < sampled || w.answers%16 == 0 && len(w.times) < 10*sampled {
			w.times = append(w.times, time.Since(begin))
		}
	}
	if closes || w.job.Anew {
		err := w.conn.Close()
		w.conn = nil
		return err
	}
	return nil
}

var (
	headEnd = []byte("\r\n\r\n")
	ok11    = []byte("HTTP/1.1 200 ")
	ok10    = []byte("HTTP/1.0 200 ")
	length  = []byte("\r\nContent-Length: ")
	closing = []byte("\r\nConnection: close\r\n")
)

// answer reads one answer; last: the server closes the connection after it.
func (w *worker) answer() (last bool, err error) {
	end := -1
	for {
		if i := bytes.Index(w.buf[w.from:w.to], headEnd); i >= 0 {
			end = w.from + i
			break
		}
		if err := w.more(); err != nil {
			return false, err
		}
	}
	head := w.buf[w.from : end+2]
	if !bytes.HasPrefix(head, ok11) && !bytes.HasPrefix(head, ok10) {
		return false, fmt.Errorf("answer %.40q", head)
	}
	last = bytes.HasPrefix(head, ok10) || bytes.Contains(head, closing)
	n, err := contentLength(head)
	if err != nil {
		return false, err
	}
	body := end + len(headEnd) - w.from
	for w.to-w.from < body+n {
		if err := w.more(); err != nil {
			return false, err
		}
	}
	content := w.buf[w.from+body : w.from+body+n]
	if want := w.job.Want; want != nil && !bytes.Contains(content[:min(len(content), 16)], want) {
		return false, fmt.Errorf("the body begins %x", content[:min(len(content), 16)])
	}
	w.from += body + n
	w.octets += int64(n)
	return last, nil
}

// contentLength reads the length in a head, whose line others write in another
// case.
func contentLength(head []byte) (int, error) {
	i := bytes.Index(head, length)
	if i < 0 {
		if i = bytes.Index(bytes.ToLower(head), bytes.ToLower(length)); i < 0 {
			return 0, fmt.Errorf("answer without length: %.200q", head)
		}
	}
	digits, _, _ := bytes.Cut(head[i+len(length):], []byte("\r\n"))
	n, err := strconv.Atoi(string(digits))
	if err != nil || n < 0 || n > 1<<30 {
		return 0, fmt.Errorf("length %q", digits)
	}
	return n, nil
}

// more reads what there is.
func (w *worker) more() error {
	if w.from > 0 && w.from == w.to {
		w.from, w.to = 0, 0
	}
	if w.to == len(w.buf) {
		if w.from > 0 {
			w.to = copy(w.buf, w.buf[w.from:w.to])
			w.from = 0
		} else {
			w.buf = append(w.buf, make([]byte, len(w.buf))...)
		}
	}
	n, err := w.conn.Read(w.buf[w.to:])
	w.to += n
	if n > 0 {
		return nil
	}
	return err
}

// Get and Post return whole requests.
func Get(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
}

// Post returns a request with a body.
func Post(host, path, mediaType string, body []byte) []byte {
	return append(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", path, host, mediaType, len(body)), body...)
}
