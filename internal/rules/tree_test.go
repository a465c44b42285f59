package rules

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// tracked lists the files of the repository: those in git and those that would be
// added. What git ignores is nobody's business.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "-c", "-o", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return walked(t) // an unpacked archive has no git
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			files = append(files, name)
		}
	}
	if len(files) < 10 {
		t.Fatalf("git lists only %d files", len(files))
	}
	return files
}

func walked(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if name == "bin" || name == "sigill-data" {
			return filepath.SkipDir
		}
		if err == nil && !d.IsDir() {
			files = append(files, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The top level is the vocabulary of a CA, and nothing else.
func TestTopLevel(t *testing.T) {
	known := []string{"cmd", "ca", "policy", "orders", "revocation", "internal", "testdata", "docs",
		"go.mod", "go.sum", "Makefile", "README.md", "LICENSE"}
	for _, name := range tracked(t) {
		top, _, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(known, top) {
			t.Errorf("%s does not belong at the top level", top)
		}
	}
}

// What ties the text to one machine or one registry, or is no product's business.
// The patterns are put together so that this file does not find itself.
var foreign = regexp.MustCompile(strings.Join([]string{
	`(^|[\s"'=(])/(wo` + `rk|ro` + `ot|ho` + `me/[a-z]+|tm` + `p/h)/`,
	`proxy\.gol` + `ang\.org`, `sum\.gol` + `ang\.org`, `registry\.np` + `mjs\.org`, `pypi\.o` + `rg`, `deb\.deb` + `ian\.org`,
	`artifa` + `ctory`, `GOPR` + `OXY=`,
	`sound` + `ness [0-9]`, `sound` + `ness\.md`, `libra` + `ries\.md`,
}, "|"))

func TestTextIsNotOfThisMachine(t *testing.T) {
	for _, name := range tracked(t) {
		if name == "go.sum" {
			continue
		}
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || !info.Mode().IsRegular() || info.Size() > 4<<20 {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			continue // not text
		}
		for i, line := range strings.Split(string(text), "\n") {
			if found := foreign.FindString(line); found != "" {
				t.Errorf("%s:%d has %q", name, i+1, found)
			}
		}
	}
}

// Build products in the repository are never the ones that the text would make.
func TestNoBuildProducts(t *testing.T) {
	magic := [][]byte{[]byte("\x7fELF"), []byte("\xcf\xfa\xed\xfe"), []byte("MZ\x90\x00"), []byte("!<arch>\n"), []byte("SQLite format 3\x00")}
	for _, name := range tracked(t) {
		f, err := os.Open(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 16)
		n, _ := f.Read(head)
		f.Close()
		for _, m := range magic {
			if bytes.HasPrefix(head[:n], m) {
				t.Errorf("%s is a build product or a database", name)
			}
		}
	}
}

// A line of make help for every target that people call.
func TestMakefileHasItsTargets(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"help", "build", "demo", "run", "test", "deps", "lint", "race", "bench", "fuzz", "golden", "clean"} {
		if !regexp.MustCompile(`(?m)^` + target + `:.*## \S`).Match(text) {
			t.Errorf("make %s is missing or has no line in make help", target)
		}
	}
}
