// Package peers builds the programs of others that tests and benchmarks run beside
// this one: a server that objects are put into, responders to be compared with.
//
// It knows where their versions are pinned (a module file each, beside this file, so
// that the product's own go.mod does not grow by what is never linked into it) and how
// they are built. It starts none of them and knows nothing of what they do.
package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Names of the peers.
const (
	Versitygw = "versitygw" // S3 over a directory
	CTScan    = "ctscan"    // scanlog of certificate-transparency-go reads a certificate log
	CFSSL     = "cfssl"     // its `ocspserve` answers OCSP
	StepCRL   = "stepcrl"   // the authority of step-ca, generating CRLs
)

// forBenchmarks are the peers that only benchmarks run; these build them themselves.
func forBenchmarks(name string) bool { return name == CFSSL || name == StepCRL }

//go:embed *.mod *.sum *.go.txt
var pinned embed.FS

var nameOf = regexp.MustCompile(`^[a-z0-9-]+$`)

// Build returns the path of the peer, built from the module file NAME.mod beside this
// package, whose one tool directive says which program it is; where there is a
// NAME.go.txt, that is the program, of the modules that NAME.mod pins. It is built once
// for each content of those files and version of Go, into the user's cache, where it stays;
// without the modules in Go's cache that needs the network. It may be called
// concurrently, by several processes too.
func Build(ctx context.Context, name string) (string, error) {
	if !nameOf.MatchString(name) {
		return "", fmt.Errorf("peer %q: no such name", name)
	}
	sum := sha256.New()
	for _, file := range files(name) {
		text, err := fs.ReadFile(pinned, file)
		if err != nil {
			return "", fmt.Errorf("peer %s is not pinned here: %w", name, err)
		}
		sum.Write(text)
	}
	sum.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH))
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("peer %s: %w", name, err)
	}
	dir := filepath.Join(cache, "sigill-peers", name+"-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	path := filepath.Join(dir, name)
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("peer %s: %w", name, err)
	}
	if err := build(ctx, name, dir, path); err != nil {
		return "", fmt.Errorf("peer %s: %w", name, err)
	}
	return path, nil
}

// files names what a peer is built from.
func files(name string) []string {
	list := []string{name + ".mod", name + ".sum"}
	if _, err := fs.Stat(pinned, name+".go.txt"); err == nil {
		list = append(list, name+".go.txt")
	}
	return list
}

// build makes path by way of a directory beside it, so that nobody ever starts half
// a program.
func build(ctx context.Context, name, dir, path string) error {
	temp, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	what := "tool" // what the tool directives of a module name
	for _, file := range files(name) {
		text, err := fs.ReadFile(pinned, file)
		if err != nil {
			return err
		}
		to := "go" + filepath.Ext(file)
		if filepath.Ext(file) == ".txt" {
			to, what = "main.go", "."
		}
		if err := os.WriteFile(filepath.Join(temp, to), text, 0o644); err != nil {
			return err
		}
	}
	// A module of its own.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", "bin"+string(filepath.Separator), what)
	cmd.Dir = temp
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w\n%s", err, lastLines(out, 20))
	}
	built, err := os.ReadDir(filepath.Join(temp, "bin"))
	if err != nil {
		return err
	}
	if len(built) != 1 {
		return fmt.Errorf("its module file names %d programs and not one", len(built))
	}
	return os.Rename(filepath.Join(temp, "bin", built[0].Name()), path)
}

func lastLines(out []byte, n int) string {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// TB is the part of testing.TB that Need uses: benchmarks link this package into the
// program, and testing with its flags does not belong there.
type TB interface {
	Helper()
	Context() context.Context
	Fatal(...any)
	Skipf(string, ...any)
}

// Need returns the path of the peer, or skips the test where it cannot be built, which
// with SIGILL_REQUIRE=1 is a failure.
func Need(t TB, name string) string {
	t.Helper()
	path, err := Build(t.Context(), name)
	if err == nil {
		return path
	}
	if os.Getenv("SIGILL_REQUIRE") == "1" {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	t.Skipf("%s: this is not tested", text)
	return ""
}
