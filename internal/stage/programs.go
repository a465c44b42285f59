//go:build unix

// Package stage is what tests of the whole stand on: the programs as they are
// built for people, run as processes, and an installation in which the demo was
// played, with its people and cards.
//
// It knows how programs are started, ended and asked, and no rule of what they do.
package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigill/internal/loopback"
)

// Programs builds the programs, each once, when the first test asks for it. A
// package has one for all its tests and calls Remove in TestMain.
type Programs struct {
	// Root is the path of the module's directory.
	Root string

	mu    sync.Mutex
	dir   string            // guarded by mu
	built map[string]result // guarded by mu
}

type result struct {
	path string
	err  error
}

// Sigill returns the path of sigill.
func (p *Programs) Sigill(t testing.TB) string {
	t.Helper()
	return p.get(t, "sigill", "CGO_ENABLED=0")
}

// Card returns the path of sigill-card, which is in the same directory.
func (p *Programs) Card(t testing.TB) string {
	t.Helper()
	return p.get(t, "sigill-card", "CGO_ENABLED=1")
}

// Remove removes what was built.
func (p *Programs) Remove() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	dir := p.dir
	p.dir, p.built = "", nil
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// Main runs the tests of a package and removes what was built.
func (p *Programs) Main(m *testing.M) (code int) {
	code = m.Run()
	if err := p.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

func (p *Programs) get(t testing.TB, name, cgo string) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.built[name]
	if !ok {
		r.path, r.err = p.build(name, cgo)
		if p.built == nil {
			p.built = map[string]result{}
		}
		p.built[name] = r
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.path
}

func (p *Programs) build(name, cgo string) (path string, err error) {
	if err := p.dependOnSources(); err != nil {
		return "", err
	}
	if p.dir == "" {
		if p.dir, err = os.MkdirTemp("", "sigill-programs-"); err != nil {
			return "", err
		}
	}
	path = filepath.Join(p.dir, "bin", name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/"+name)
	cmd.Dir = p.Root
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// dependOnSources looks at every file that a program may be built of. The go
// command repeats a test when a file that it looked at has changed; without this
// it would report the result that older programs had.
func (p *Programs) dependOnSources() error {
	for _, top := range []string{"cmd", "ca", "policy", "orders", "revocation", "internal", "testdata"} {
		err := filepath.WalkDir(filepath.Join(p.Root, top), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				_, err = os.Stat(path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // an editor's file, gone again
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Need skips a test where a program is not installed; with SIGILL_REQUIRE=1 it
// fails instead.
func Need(t testing.TB, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatalf("%s is not installed (Debian: %s)", program, debian)
		}
		t.Skipf("%s is not installed (Debian: %s): this is not tested", program, debian)
	}
	return path
}

// Outcome is how a program ended.
type Outcome struct {
	Code     int // -1: by a signal
	Out, Err string
}

// String tells all of it.
func (o Outcome) String() string {
	return fmt.Sprintf("exit code %d\n--- stdout\n%s--- stderr\n%s", o.Code, o.Out, o.Err)
}

// Want fails the test unless a program ended with code.
func (o Outcome) Want(t testing.TB, code int, what string) Outcome {
	t.Helper()
	if o.Code != code {
		t.Fatalf("%s: %v", what, o)
	}
	return o
}

// Patience is how long a program may take before it is taken for hung; nothing
// is concluded from how long one takes.
const Patience = 2 * time.Minute

// Command prepares a program. Each is the head of a process group of its own, so
// that in the end its children go with it.
func Command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Run runs a program to its end.
func Run(t testing.TB, cmd *exec.Cmd) Outcome {
	t.Helper()
	o, err := Try(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Try is Run for other goroutines than the test's. An error says that the program
// did not run, or hung.
func Try(cmd *exec.Cmd) (Outcome, error) {
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Start(); err != nil {
		return Outcome{}, err
	}
	hung := time.AfterFunc(Patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !hung.Stop() {
		return Outcome{}, fmt.Errorf("%s hangs: %s%s", strings.Join(cmd.Args, " "), out.String(), notes.String())
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return Outcome{}, err
	}
	return Outcome{cmd.ProcessState.ExitCode(), out.String(), notes.String()}, nil
}

// Says fails the test unless a text contains every one of words.
func Says(t testing.TB, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", what, w, text)
		}
	}
}

// Service is a program that goes on until it is told to end.
type Service struct {
	*exec.Cmd
	Out   io.ReadCloser // standard output
	notes string        // file with standard error
	ended bool
}

// Start starts a service, which ends with the test at the latest.
func Start(t testing.TB, path string, args ...string) *Service {
	t.Helper()
	s := &Service{Cmd: Command(path, args...)}
	file, err := os.CreateTemp(t.TempDir(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s.notes, s.Stderr = file.Name(), file
	if s.Out, err = s.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(t, syscall.SIGTERM) })
	return s
}

// Stop sends a signal, waits for the end and returns the exit code (-1: by the
// signal). Whatever then is left of the process group is killed.
func (s *Service) Stop(t testing.TB, signal syscall.Signal) int {
	t.Helper()
	if s.ended {
		return s.ProcessState.ExitCode()
	}
	s.ended = true
	s.Process.Signal(signal)
	hung := time.AfterFunc(Patience, func() { syscall.Kill(-s.Process.Pid, syscall.SIGKILL) })
	io.Copy(io.Discard, s.Out) // to its end, before Wait closes it
	err := s.Wait()
	if !hung.Stop() {
		t.Errorf("%s did not end when told to:\n%s", strings.Join(s.Args, " "), s.Log())
	}
	syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Errorf("%v: %v", exit, err)
	}
	return s.ProcessState.ExitCode()
}

// Log returns what the service wrote to standard error so far.
func (s *Service) Log() string {
	b, _ := os.ReadFile(s.notes)
	return string(b)
}

// FreeAddresses returns loopback addresses that nobody listens on right now.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	out, err := loopback.Free(n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Examined runs doctor and audit verify, which have to find nothing wrong.
func (p *Programs) Examined(t testing.TB, dir, when string) {
	t.Helper()
	o := Run(t, Command(p.Sigill(t), "doctor", "--dir", dir)).Want(t, 0, "sigill doctor "+when)
	if strings.Contains("\n"+o.Out, "\nred ") || !strings.Contains(o.Out, "all rows agree") {
		t.Errorf("sigill doctor %s: %v", when, o)
	}
	o = Run(t, Command(p.Sigill(t), "audit", "verify", "--dir", dir)).Want(t, 0, "sigill audit verify "+when)
	Says(t, "sigill audit verify "+when, o.Out, " 0 findings")
}
