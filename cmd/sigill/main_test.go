package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/app"
	"sigill/internal/config"

	"sigill/internal/wire"
)

// asProgram in the environment makes this test binary be the program itself, for
// what only a process of its own shows.
const asProgram = "SIGILL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestReportKeepsWhatStandsAroundAProblem(t *testing.T) {
	problem := &wire.Problem{Title: "No\x1b[2J", Detail: "a\nsigill: all is well\r", Rule: "login.revoked", Next: "Ask\u202e."}
	for _, c := range []struct {
		err  error
		want string
		code int
	}{
		{nil, "", exitDone},
		{problem, "sigill: No[2J: asigill: all is well [login.revoked]. Ask.\n", exitFailed},
		{fmt.Errorf("none of the 3 certificates: %w", problem), "sigill: none of the 3 certificates: No[2J: asigill: all is well [login.revoked]. Ask.\n", exitFailed},
		{errors.Join(errors.New("one\x07"), errors.New("two")), "sigill: one\ntwo\n", exitFailed},
		{usageError{"wrong"}, "sigill: wrong\n", exitUsage},
		{errTold, "", exitFailed},
	} {
		var out strings.Builder
		if code := report(&out, c.err); code != c.code || out.String() != c.want {
			t.Errorf("%v: %d, %q, want %d, %q", c.err, code, out.String(), c.code, c.want)
		}
	}
}

// TestWrongUse: what can't be meant ends with the exit code of wrong use and the
// words that help, before anything is made.
func TestWrongUse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"init", "--status", "0.0.0.0:8080"}, "--status-url"},
		{[]string{"init", "--status", ":8080"}, "--status-url"},
		{[]string{"init", "--status", "[::]:8080"}, "--status-url"},
		{[]string{"init", "--status", "127.0.0.1:0"}, "--status-url"},
		{[]string{"init", "--status-url", "http://0.0.0.0:8080"}, "names no host"},
		{[]string{"init", "--status-url", "https://status.example"}, "over http"},
		{[]string{"bench", "nosuch"}, "nosuch"},
		{[]string{"bench", "--scale", "0"}, "--scale"},
		{[]string{"--json", "demo"}, "--json"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "installation")
			args := c.args
			if args[0] == "init" {
				args = append(args, "--dir", dir)
			}
			o := program(t, "", args...)
			if o.code != exitUsage || !strings.Contains(o.err, c.want) || o.out != "" {
				t.Errorf("%d, %q, %q", o.code, o.out, o.err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was made: %v", err)
			}
		})
	}
}

// TestConfigJSON: the names and the times are those of sigill.yaml.
func TestConfigJSON(t *testing.T) {
	got := decoded[map[string]any](t, program(t, "", "--json", "config"))
	text, err := json.Marshal(got["download"])
	if err != nil || string(text) != `{"armed_for":"2h","order_open":"90d","pending_ttl":"24h","validity":"1825d"}` {
		t.Errorf("download: %s, %v", text, err)
	}
	for _, name := range []string{"environment", "status_url", "key_provenance", "accept_session_keys", "listen", "crl", "ocsp"} {
		if got[name] == nil {
			t.Errorf("no %s in %v", name, got)
		}
	}
	if got["Dir"] != nil || got["dir"] != nil {
		t.Error("the directory is no key")
	}
}

func TestMigrateUnderAServingProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "installation")
	log := slog.New(slog.DiscardHandler)
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: config.Defaults(), Log: log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	a, err := app.Open(t.Context(), dir, app.Options{Log: log, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if o := program(t, "", "migrate", "--dir", dir); o.code != exitFailed || !strings.Contains(o.err, "in use") {
		t.Errorf("while it is open: %+v", o)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if o := program(t, "", "migrate", "--dir", dir); o.code != exitDone || !strings.HasPrefix(o.out, "schema ") {
		t.Errorf("afterwards: %+v", o)
	}
}

// TestDemoWithoutListener: when the reader goes (| head), the demo ends and takes
// its temporary directory along.
func TestDemoWithoutListener(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary := t.TempDir()
	cmd := exec.CommandContext(t.Context(), self, "demo")
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temporary)
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReaderSize(out, 16).ReadString('\n'); err != nil {
		t.Errorf("the first line: %v", err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("ended with %v: %s", err, &told)
	}
	if !strings.Contains(told.String(), "broken pipe") {
		t.Errorf("said %q", &told)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
