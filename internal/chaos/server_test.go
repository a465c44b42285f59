//go:build unix && cgo

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sigill/internal/stage"
)

// steps are the requests that a kill is to fall into, by their routes.
var steps = map[string]string{
	"GET /card/v1/me":         "me",
	"POST /card/v1/downloads": "begin",
	"POST /card/v1/downloads/{id}/items/{slot}/challenge": "challenge",
	"POST /card/v1/downloads/{id}/items/{slot}":           "submit",
	"POST /card/v1/downloads/{id}/confirm":                "confirm",
	"POST /card/v1/downloads/{id}/removed":                "removed",
}

// request is one that the server has begun.
type request struct {
	step  string // or the route, of requests that are not aimed at
	id    string // of the download, where the address has it
	began time.Time
}

// line is what the server logs.
type line struct {
	Time                           time.Time
	Level, Msg, Request, Route, ID string
}

// server is the serving process, one after the other on the same directory.
type server struct {
	program, dir string

	mu     sync.Mutex
	rand   *rand.Rand // guarded by mu, as all below
	cmd    *exec.Cmd
	open   map[string]request // begun and not ended
	took   map[string]float64 // seconds that a step takes
	reach  map[string]float64 // how far into a step kills are aimed for a place, as a share of what it takes
	aimed  *aim
	wrong  []string      // lines of the log that should not be there
	up     chan struct{} // closed while the server answers
	ended  chan error    // the process is gone and its log read to the end
	served int
}

// aim is a kill that waits for its request.
type aim struct {
	place string        // in the histogram
	step  string        // in which the place is
	taken bool          // a request is in sight
	fired chan struct{} // closed when the signal was sent
}

func newServer(program, dir string, seed uint64) *server {
	return &server{program: program, dir: dir, rand: rand.New(rand.NewPCG(seed, 1)), took: map[string]float64{}, reach: map[string]float64{},
		up: make(chan struct{})}
}

// start starts the server and waits until it answers. A port may be taken for a
// moment by a client's end of a connection, whose number the system chose: then
// it is tried again.
func (s *server) start() error {
	for {
		started := time.Now()
		err := s.launch(func(*exec.Cmd) {})
		if err == nil {
			s.mu.Lock()
			s.took["start"] = time.Since(started).Seconds()
			s.served++
			close(s.up)
			s.mu.Unlock()
			return nil
		}
		if !strings.Contains(err.Error(), "address already in use") {
			return err
		}
	}
}

// startKilled starts the server and kills it before it answers, unless it is
// faster.
func (s *server) startKilled() (killed bool, err error) {
	s.mu.Lock()
	after := time.Duration(s.rand.Float64() * s.took["start"] * float64(time.Second))
	s.mu.Unlock()
	err = s.launch(func(cmd *exec.Cmd) {
		time.AfterFunc(after, func() { cmd.Process.Kill() })
	})
	s.mu.Lock()
	cmd, ended := s.cmd, s.ended
	s.mu.Unlock()
	<-ended // also if it answered just before
	if killed := cmd.ProcessState.ExitCode() == -1; !killed {
		return false, err
	}
	return true, nil
}

// launch starts a process, follows its log, and waits until it answers or is gone.
func (s *server) launch(started func(*exec.Cmd)) error {
	cmd := stage.Command(s.program, "serve", "--dir", s.dir, "--json", "--log-level", "debug")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cmd, s.open, s.ended = cmd, map[string]request{}, make(chan error, 1)
	ended := s.ended
	s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	release, err := guard(cmd)
	if err != nil {
		return err
	}
	started(cmd)
	said := make(chan string, 1)
	answers := make(chan bool, 1)
	go func() {
		_, err := bufio.NewReader(out).ReadString('\n')
		answers <- err == nil
		io.Copy(io.Discard, out)
		tail := <-said
		err = cmd.Wait()
		release()
		if err != nil {
			err = fmt.Errorf("sigill serve: %w: %s", err, tail)
		}
		if cmd.ProcessState.ExitCode() > 0 {
			s.mu.Lock()
			s.wrong = append(s.wrong, err.Error())
			s.mu.Unlock()
		}
		ended <- err
	}()
	go func() { said <- s.follow(log) }()
	if <-answers {
		return nil
	}
	err = <-ended
	ended <- err // for who asks again
	return errors.Join(errors.New("sigill serve ended before it answered"), err)
}

// guard has a shell kill a process when this one ends without releasing it: a
// server in a process group of its own would outlive tests that are killed.
func guard(cmd *exec.Cmd) (release func(), err error) {
	sh := stage.Command("/bin/sh", "-c", `read _ || kill -9 "$1"`, "sh", strconv.Itoa(cmd.Process.Pid))
	line, err := sh.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := sh.Start(); err != nil {
		return nil, err
	}
	return func() {
		io.WriteString(line, "\n")
		line.Close()
		sh.Wait()
	}, nil
}

// follow reads the log to its end, and returns the end of what is no line of it.
func (s *server) follow(log io.Reader) (other string) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			other += lines.Text() + "\n"
			continue
		}
		s.mu.Lock()
		switch {
		case l.Msg == "request begins":
			s.begins(l)
		case l.Msg == "request ended":
			s.ends(l)
		case l.Level == "ERROR":
			s.wrong = append(s.wrong, lines.Text())
		}
		s.mu.Unlock()
	}
	return other
}

func (s *server) begins(l line) {
	step := steps[l.Route]
	if step == "" {
		step = l.Route
	}
	s.open[l.Request] = request{step, l.ID, l.Time}
	a := s.aimed
	if a == nil || a.taken || a.step != step {
		return
	}
	a.taken = true
	after := time.Duration(s.share(a.place) * s.took[step] * float64(time.Second))
	if after < 50*time.Microsecond { // less than a timer takes
		s.fire(a)
		return
	}
	time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.aimed != a {
			return
		}
		if _, open := s.open[l.Request]; open {
			s.fire(a)
			return
		}
		a.taken = false
		s.move(a.place, 0.9) // it was over before: nearer to its beginning
	})
}

// share draws how far into a step a kill for a place is to come: anywhere, but
// for the two late places in submit, which are looked for.
func (s *server) share(place string) float64 {
	if s.reach[place] == 0 {
		s.reach[place] = 1
	}
	if place == intentOpen || place == afterStore {
		return s.reach[place] * (0.8 + 0.3*s.rand.Float64())
	}
	return s.reach[place] * s.rand.Float64()
}

func (s *server) move(place string, by float64) { s.reach[place] = min(3, max(0.1, by*s.reach[place])) }

// learn takes in where a kill fell that was aimed at a place.
func (s *server) learn(place string, hit map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case hit[place] && place != afterStore:
	case place == intentOpen && hit[afterStore]:
		s.move(place, 0.95)
	default:
		s.move(place, 1.1)
	}
}

func (s *server) fire(a *aim) {
	s.cmd.Process.Signal(syscall.SIGKILL)
	s.aimed, s.up = nil, make(chan struct{})
	close(a.fired)
}

func (s *server) ends(l line) {
	r, ok := s.open[l.Request]
	if !ok {
		return
	}
	delete(s.open, l.Request)
	// A mean in which the last ones weigh most: other clients come and go.
	took := l.Time.Sub(r.began).Seconds()
	if old := s.took[r.step]; old > 0 {
		took = 0.8*old + 0.2*took
	}
	s.took[r.step] = took
}

// aimAt lets the next request be killed in which a place is.
func (s *server) aimAt(place string) (fired chan struct{}) {
	step, _, _ := strings.Cut(place, ",")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aimed = &aim{place: place, step: step, fired: make(chan struct{})}
	return s.aimed.fired
}

// lower takes the aim back; false: too late.
func (s *server) lower() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.aimed
	s.aimed = nil
	return a != nil
}

// dead waits until the killed process is gone, and returns the requests that had
// begun and not ended.
func (s *server) dead() (inside []request, err error) {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	<-ended
	s.mu.Lock()
	defer s.mu.Unlock()
	if state := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != syscall.SIGKILL {
		return nil, fmt.Errorf("the server ended by itself: %v", s.cmd.ProcessState)
	}
	for _, r := range s.open {
		inside = append(inside, r)
	}
	return inside, nil
}

// stop ends the server as an operator does.
func (s *server) stop() error {
	s.mu.Lock()
	cmd, ended := s.cmd, s.ended
	s.mu.Unlock()
	cmd.Process.Signal(os.Interrupt)
	hung := time.AfterFunc(stage.Patience, func() { cmd.Process.Kill() })
	defer hung.Stop()
	return <-ended
}

// end kills what may be left when the test ends.
func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil && s.cmd.Process != nil {
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// ready waits until the server answers.
func (s *server) ready(ctx context.Context) error {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
