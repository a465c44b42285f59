//go:build unix && cgo

package journey

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigill/internal/stage"
)

// TestFirstDay runs docs/FIRST-DAY.md as it stands: the block before the service,
// the service, the blocks after it. Only the addresses are the test's own.
func TestFirstDay(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "FIRST-DAY.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	programs.Sigill(t)
	programs.Card(t)
	dir, at := t.TempDir(), stage.FreeAddresses(t, 3)
	const line = "sigill init --bureau test=bureau/key.pem.pub\n"
	before := strings.Replace(blocks[0][1], line, strings.TrimSpace(line)+" --status "+at[0]+" --card "+at[1]+" --ops "+at[2]+"\n", 1)
	if before == blocks[0][1] {
		t.Fatal("the first block makes no installation")
	}
	shell(t, dir, at[1], before)
	serve(t, filepath.Join(dir, "sigill-data"))
	o := shell(t, dir, at[1], blocks[1][1]+blocks[2][1])
	stage.Says(t, "whoami of the first administrator", o.Out, "Karin Bergström", "administrator of org_")
	programs.Examined(t, filepath.Join(dir, "sigill-data"), "after the first day")
}

// shell runs a script with the built programs on its PATH and expects success.
func shell(t *testing.T, dir, card, script string) stage.Outcome {
	t.Helper()
	cmd := stage.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(programs.Sigill(t))+":"+os.Getenv("PATH"),
		"SIGILL_SERVER=https://"+card, "LANG=en_US.UTF-8")
	return stage.Run(t, cmd).Want(t, 0, "docs/FIRST-DAY.md")
}
