package target

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/durable"
	"sigill/internal/loopback"
	"sigill/internal/peers"
	"sigill/internal/revtest"
)

// here is a public directory with its CAs.
type here struct {
	t     testing.TB
	dir   string
	root  *revtest.Authority
	ca    *revtest.Authority
	certs map[ca.IssuerID]*x509.Certificate
}

func newHere(t testing.TB) *here {
	t.Helper()
	h := &here{t: t, dir: t.TempDir(), root: revtest.NewAuthority(t, revtest.Root, nil)}
	h.ca = revtest.NewAuthority(t, revtest.Person, h.root)
	h.certs = map[ca.IssuerID]*x509.Certificate{revtest.Root: h.root.Cert, revtest.Person: h.ca.Cert}
	for id, cert := range h.certs {
		h.put("aia/"+string(id)+".cer", cert.Raw)
	}
	h.put("crl/root/0.crl", h.root.CRL(t, crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0)}))
	return h
}

// another is a second public directory of the same CAs, as a second publisher has it.
func (h *here) another() *here {
	o := *h
	o.dir = h.t.TempDir()
	for id, cert := range h.certs {
		o.put("aia/"+string(id)+".cer", cert.Raw)
	}
	return &o
}

func (h *here) put(key string, data []byte) {
	h.t.Helper()
	path := filepath.Join(h.dir, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := durable.WriteFile(path, data, 0o644); err != nil {
		h.t.Fatal(err)
	}
}

const (
	firstKey  = "crl/" + string(revtest.Person) + "/0.crl"
	secondKey = "crl/" + string(revtest.Person) + "/1.crl"
	fullKey   = "crl/" + string(revtest.Person) + "/full.crl"
)

// list signs a list of the partition at minute number after the start.
func (h *here) list(partition int, number int64, entries ...crl.Revoked) []byte {
	return h.listAt(partition, number, revtest.Start.Add(time.Duration(number)*time.Minute), entries...)
}

func (h *here) listAt(partition int, number int64, at time.Time, entries ...crl.Revoked) []byte {
	h.t.Helper()
	c := crl.List{Number: number, ThisUpdate: at, NextUpdate: at.Add(24 * time.Hour), Entries: entries}
	if partition >= 0 {
		c.DistributionPoint = revtest.URLOf(revtest.Person, partition)
	}
	return h.ca.CRL(h.t, c)
}

func (h *here) mirror(to Target) *Mirror {
	h.t.Helper()
	m := &Mirror{Name: "there", Dir: h.dir, Target: to, Issuers: h.certs, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Interval: time.Millisecond, PauseMin: time.Millisecond, PauseMax: 20 * time.Millisecond}
	if err := m.Check(); err != nil {
		h.t.Fatal(err)
	}
	return m
}

// run runs a mirror until the test, or stop, ends it.
func run(t testing.TB, m *Mirror) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// until looks again until ok, or fails the test after a time in which it must have been.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	give := time.After(time.Minute)
	for !ok() {
		select {
		case <-give:
			t.Fatalf("never: %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// got returns what a target has under key, nil if nothing.
func got(t testing.TB, to Target, key string) []byte {
	t.Helper()
	body, _, err := to.Open(t.Context(), key)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func directory(t testing.TB) *Directory {
	t.Helper()
	d, err := NewDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// server is an S3 server over a directory, started by the test.
type server struct {
	t       testing.TB
	program string
	data    string
	address string
	sidecar bool // see start
	cmd     *exec.Cmd
}

var testKeys = Keys{AccessKey: "sigill-test-access", SecretKey: "sigill-test-secret-0123456789"}

const bucket = "status"

func startServer(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, program: peers.Need(t, peers.Versitygw), data: t.TempDir(), address: freeAddress(t)}
	for _, d := range []string{"objects/" + bucket, "meta"} {
		if err := os.MkdirAll(filepath.Join(s.data, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.stop)
	s.start()
	return s
}

func freeAddress(t testing.TB) string {
	t.Helper()
	free, err := loopback.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	return free[0]
}

// start starts the server. Where the file system has no extended attributes it keeps what
// belongs to an object beside it, and then does not replace both in one step.
func (s *server) start() {
	s.t.Helper()
	args := []string{"--port", s.address, "--access", testKeys.AccessKey, "--secret", testKeys.SecretKey, "--health", "/health", "--quiet", "posix"}
	if s.sidecar = !attributes(filepath.Join(s.data, "meta")); s.sidecar {
		args = append(args, "--sidecar", filepath.Join(s.data, "meta"))
	}
	s.cmd = exec.Command(s.program, append(args, filepath.Join(s.data, "objects"))...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, "versitygw answers", func() bool {
		r, err := http.Get("http://" + s.address + "/health")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	s.cmd.Wait()
	s.cmd = nil
}

func (s *server) target(prefix string) *S3 {
	s.t.Helper()
	to, err := NewS3(S3Config{Endpoint: "http://" + s.address, Bucket: bucket, Prefix: prefix, Keys: func() (Keys, error) { return testKeys, nil }})
	if err != nil {
		s.t.Fatal(err)
	}
	return to
}

// eachTarget runs a test over both kinds of target.
func eachTarget(t *testing.T, test func(t *testing.T, to Target)) {
	t.Run("directory", func(t *testing.T) { test(t, directory(t)) })
	t.Run("s3", func(t *testing.T) { test(t, startServer(t).target("pki/status")) })
}

// eachAtomic is eachTarget for tests that need what every S3 server promises and the
// test's own only gives on file systems with extended attributes.
func eachAtomic(t *testing.T, test func(t *testing.T, to Target)) {
	t.Run("directory", func(t *testing.T) { test(t, directory(t)) })
	t.Run("s3", func(t *testing.T) {
		s := startServer(t)
		if s.sidecar {
			t.Skip("the file system of temporary files has no extended attributes: the server would not replace an object and its version in one step")
		}
		test(t, s.target("pki/status"))
	})
}

func drain(t testing.TB, m *Mirror) {
	t.Helper()
	if err := m.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// refusedDrain drains a mirror of which something must be refused for a reason.
func refusedDrain(t testing.TB, m *Mirror, reason string) {
	t.Helper()
	err := m.Drain(t.Context())
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Fatalf("drained with %v, want an error with %q", err, reason)
	}
}
