//go:build unix

package journey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const root = "../.."

// buildDir is where the programs are built; TestMain makes and removes it.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sigill-journey-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// buildSigill and buildCard build a program once.
var (
	buildSigill = sync.OnceValues(func() (string, error) { return build("sigill", "CGO_ENABLED=0") })
	buildCard   = sync.OnceValues(func() (string, error) { return build("sigill-card", "CGO_ENABLED=1") })
)

func build(name, cgo string) (string, error) {
	if err := dependOnSources(); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "bin", name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/"+name)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// dependOnSources looks at every file that a program may be built of. The go
// command repeats a test when a file that it looked at has changed; without this
// it would report the result that older programs had.
func dependOnSources() error {
	for _, top := range []string{"cmd", "ca", "policy", "orders", "revocation", "internal", "testdata"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
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

// sigill returns the path of the built program.
func sigill(t *testing.T) string {
	t.Helper()
	path, err := buildSigill()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// need skips a test where a program is not installed; with SIGILL_REQUIRE=1 it
// fails instead.
func need(t *testing.T, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatalf("%s is not installed (Debian: %s)", program, debian)
		}
		t.Skipf("%s is not installed (Debian: %s): the journey is not tested", program, debian)
	}
	return path
}

// outcome is how a program ended.
type outcome struct {
	code     int // -1: by a signal
	out, err string
}

func (o outcome) String() string {
	return fmt.Sprintf("exit code %d\n--- stdout\n%s--- stderr\n%s", o.code, o.out, o.err)
}

// patience is how long a program may take before it is taken for hung; nothing
// is concluded from how long one takes.
const patience = 2 * time.Minute

// command prepares a program. Each is the head of a process group of its own, so
// that in the end its children go with it.
func command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run runs a program to its end.
func run(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !hung.Stop() {
		t.Fatalf("%s hangs: %s%s", strings.Join(cmd.Args, " "), out.String(), notes.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), notes.String()}
}

// want fails the test unless a program ended with code.
func (o outcome) want(t *testing.T, code int, what string) outcome {
	t.Helper()
	if o.code != code {
		t.Fatalf("%s: %v", what, o)
	}
	return o
}

// says fails the test unless a text contains every one of words.
func says(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", what, w, text)
		}
	}
}

// service is a program that goes on until it is told to end.
type service struct {
	*exec.Cmd
	out   io.ReadCloser // standard output
	notes string        // file with standard error
	ended bool
}

// start starts a service, which ends with the test at the latest.
func start(t *testing.T, path string, args ...string) *service {
	t.Helper()
	s := &service{Cmd: command(path, args...)}
	file, err := os.CreateTemp(t.TempDir(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s.notes, s.Stderr = file.Name(), file
	if s.out, err = s.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t, syscall.SIGTERM) })
	return s
}

// stop sends a signal, waits for the end and returns the exit code (-1: by the
// signal). Whatever then is left of the process group is killed.
func (s *service) stop(t *testing.T, signal syscall.Signal) int {
	t.Helper()
	if s.ended {
		return s.ProcessState.ExitCode()
	}
	s.ended = true
	s.Process.Signal(signal)
	hung := time.AfterFunc(patience, func() { syscall.Kill(-s.Process.Pid, syscall.SIGKILL) })
	io.Copy(io.Discard, s.out) // to its end, before Wait closes it
	err := s.Wait()
	if !hung.Stop() {
		t.Errorf("%s did not end when told to:\n%s", strings.Join(s.Args, " "), s.log())
	}
	syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Errorf("%v: %v", exit, err)
	}
	return s.ProcessState.ExitCode()
}

// log returns what the service wrote to standard error so far.
func (s *service) log() string {
	b, _ := os.ReadFile(s.notes)
	return string(b)
}

// freeAddresses returns loopback addresses that nobody listens on right now.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all are held until all are chosen
		out = append(out, l.Addr().String())
	}
	return out
}
