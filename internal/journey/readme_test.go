//go:build unix

package journey

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigill/internal/stage"
)

// commandsOf returns the commands of a document in their order: the lines of its
// sh blocks, and what stands as a command in its sentences.
func commandsOf(text string) (found []string) {
	code := regexp.MustCompile("`((?:make|bin/sigill) [^`]+)`")
	block := ""
	for line := range strings.SplitSeq(text, "\n") {
		if mark, ok := strings.CutPrefix(line, "```"); ok {
			if block == "" {
				block = mark + "." // of any language, even of none
			} else {
				block = ""
			}
			continue
		}
		switch {
		case block == "sh.":
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				found = append(found, line)
			}
		case block == "":
			for _, m := range code.FindAllStringSubmatch(line, -1) {
				found = append(found, m[1])
			}
		}
	}
	return found
}

// forever tells the commands that go on until they are told to end, which the
// other tests here start and stop.
func forever(line string) bool {
	words := strings.Fields(line)
	return slices.Contains(words, "serve") || slices.Contains(words, "--serve")
}

// TestREADMECommands runs what README.md tells people to run, in its order, in a
// fresh directory. Targets of make are looked for only: they are this very test,
// among others.
func TestREADMECommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Dir(programs.Sigill(t)), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	made, ran := 0, 0
	for _, line := range commandsOf(string(text)) {
		switch {
		case strings.HasPrefix(line, "make "):
			for _, target := range strings.Fields(line)[1:] {
				if strings.Contains(target, "=") {
					continue
				}
				made++
				if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
					t.Errorf("README.md says %q: the Makefile has no target %s", line, target)
				}
			}
		case strings.HasPrefix(line, "bin/sigill "):
			if forever(line) {
				continue
			}
			ran++
			cmd := stage.Command("/bin/sh", "-c", line)
			cmd.Dir = dir
			stage.Run(t, cmd).Want(t, 0, line)
		default:
			t.Errorf("README.md has the command %q, which this test does not know how to try", line)
		}
	}
	if made < 3 || ran < 3 {
		t.Errorf("only %d targets and %d commands were found in README.md", made, ran)
	}
}
