//go:build unix

// Package pgtest gives tests a PostgreSQL server of their own: started on a unix
// socket in a temporary directory, with no network, and gone with the tests.
package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"
)

// ErrMissing says that there is no PostgreSQL on this machine.
var ErrMissing = errors.New("no PostgreSQL server found (package postgresql)")

// Server is a running server.
type Server struct {
	dir  string
	cmd  *exec.Cmd
	life io.Closer // the server ends when it is closed
}

// Shared is one server for all tests of a binary, started when the first asks
// for it. Stop it in TestMain.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// TB is the part of testing.TB that URL uses: benchmarks link this package into the
// program, and testing with its flags does not belong there.
type TB interface {
	Helper()
	Context() context.Context
	Fatal(...any)
	Skip(...any)
}

// URL returns the address of a fresh, empty database. Where there is no server
// the test is skipped, or fails if SIGILL_REQUIRE is 1.
func (s *Shared) URL(t TB) string {
	t.Helper()
	s.once.Do(func() { s.server, s.err = Start() })
	if errors.Is(s.err, ErrMissing) && os.Getenv("SIGILL_REQUIRE") != "1" {
		t.Skip(s.err)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	url, err := s.server.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// Stop stops the server if it was started.
func (s *Shared) Stop() {
	if s.server != nil {
		s.server.Stop()
	}
}

// Start starts a server. PostgreSQL refuses to run as root, so that for root it
// runs as the user postgres or nobody.
func Start() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	cred, err := credential()
	if err == nil && cred != nil {
		err = os.Chown(dir, int(cred.Uid), int(cred.Gid))
	}
	if err == nil {
		err = s.run(cred, filepath.Join(bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").Run()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w", err), os.RemoveAll(dir))
	}
	if err := s.start(cred, bin); err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return s, nil
}

// start runs the server under a shell that ends it when this process's end of
// the pipe closes, so that it does not outlive tests that are killed.
func (s *Server) start(cred *syscall.Credential, bin string) error {
	s.cmd = s.run(cred, "/bin/sh", "-c", `"$@" & read _; kill -QUIT $!; wait $!`, "sh",
		filepath.Join(bin, "postgres"), "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "log_min_messages=fatal")
	var err error
	if s.life, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(time.Minute)
	for {
		err := s.run(cred, filepath.Join(bin, "pg_isready"), "-q", "-h", s.dir).Run()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after a minute: %w", err)
		}
		time.Sleep(20 * time.Millisecond) // between two questions, not for an answer
	}
}

// Stop ends the server and removes its files.
func (s *Server) Stop() error {
	var err error
	if s.life != nil {
		err = s.life.Close()
		s.cmd.Wait() // 128 + a signal: it was asked to go
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// NewDatabase makes an empty database and returns its URL.
func (s *Server) NewDatabase(ctx context.Context) (string, error) { return Empty(ctx, s.URL()) }

// URL is the address of the server, for Empty.
func (s *Server) URL() string { return s.url("postgres") }

// Empty makes an empty database on the server at an address that a [Server]
// gave, perhaps to another process, and returns its URL.
func Empty(ctx context.Context, server string) (string, error) {
	at, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		return "", err
	}
	defer admin.Close()
	name := "t" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("creating database: %w", err)
	}
	at.Path = "/" + name
	return at.String(), nil
}

func (s *Server) url(database string) string {
	return "postgres:///" + database + "?user=postgres&host=" + url.QueryEscape(s.dir)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) run(cred *syscall.Credential, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	return cmd
}

// binaries finds the directory with the server's programs: where Debian puts the
// newest version, or in PATH.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", ErrMissing
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return "", err
	}
	return filepath.Dir(initdb), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// credential returns whom the server runs as, nil for the own user.
func credential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
