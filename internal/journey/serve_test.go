//go:build unix

package journey

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"

	_ "modernc.org/sqlite" // to tamper with a database that nobody serves

	"sigill/internal/stage"
)

// serve starts `sigill serve` on dir, waits until it is ready, and returns it
// with the address of its operators' listener.
func serve(t *testing.T, dir string) (s *stage.Service, ops string) {
	t.Helper()
	s = stage.Start(t, programs.Sigill(t), "serve", "--dir", dir, "--json")
	line, err := bufio.NewReader(s.Out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("sigill serve ended before it was ready: %v\n%s", err, s.Log())
	}
	var at struct{ Ops string }
	if err := json.Unmarshal(line, &at); err != nil || at.Ops == "" {
		t.Fatalf("sigill serve said %q: %v", line, err)
	}
	return s, at.Ops
}

func initialised(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	a := stage.FreeAddresses(t, 3)
	args := []string{"init", "--dir", dir, "--partitions", "2", "--status", a[0], "--card", a[1], "--ops", a[2]}
	stage.Run(t, stage.Command(programs.Sigill(t), args...)).Want(t, 0, "sigill init")
	again := stage.Run(t, stage.Command(programs.Sigill(t), args...)).Want(t, 1, "sigill init over what is there")
	stage.Says(t, "sigill init over what is there", again.Err, "never overwrites", dir)
	return dir
}

func ready(t *testing.T, ops string) {
	t.Helper()
	resp, err := http.Get(ops + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("ready")) {
		t.Errorf("/readyz: %s %s, %v", resp.Status, body, err)
	}
}

func TestServeStopsCleanly(t *testing.T) {
	dir := initialised(t)
	s, ops := serve(t, dir)
	ready(t, ops)
	second := stage.Run(t, stage.Command(programs.Sigill(t), "serve", "--dir", dir)).Want(t, 1, "a second sigill serve")
	stage.Says(t, "a second sigill serve", second.Err, dir, "in use by another sigill process")
	ready(t, ops) // the first does not mind
	programs.Examined(t, dir, "beside serve")
	if code := s.Stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM: exit code %d\n%s", code, s.Log())
	}
	programs.Examined(t, dir, "after SIGTERM")

	s, ops = serve(t, dir)
	ready(t, ops)
	if code := s.Stop(t, syscall.SIGKILL); code != -1 {
		t.Errorf("killed: exit code %d\n%s", code, s.Log())
	}
	s, ops = serve(t, dir)
	ready(t, ops)
	programs.Examined(t, dir, "after a kill")
	if code := s.Stop(t, syscall.SIGINT); code != 0 {
		t.Errorf("after Ctrl-C: exit code %d\n%s", code, s.Log())
	}
	programs.Examined(t, dir, "at the end")
}

// TestTamperedEvent: who writes to the table of events behind the program's back
// is found, by the event's name.
func TestTamperedEvent(t *testing.T) {
	dir := initialised(t)
	s, _ := serve(t, dir)
	if code := s.Stop(t, syscall.SIGTERM); code != 0 {
		t.Fatalf("after SIGTERM: exit code %d\n%s", code, s.Log())
	}
	programs.Examined(t, dir, "before")
	db, err := sql.Open("sqlite", filepath.Join(dir, "sigill.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var number int64
	var id string
	var body []byte
	row := db.QueryRow("SELECT number, id, body FROM events WHERE number = (SELECT max(number) / 2 FROM events)")
	if err := row.Scan(&number, &id, &body); err != nil {
		t.Fatal(err)
	}
	tampered := bytes.Replace(body, []byte(`"act":"`), []byte(`"act":"x`), 1)
	if bytes.Equal(tampered, body) {
		t.Fatalf("this body has no act: %s", body)
	}
	for _, step := range []struct {
		set   []byte
		found bool
	}{{tampered, true}, {body, false}} {
		if _, err := db.Exec("UPDATE events SET body = $1 WHERE id = $2", step.set, id); err != nil {
			t.Fatal(err)
		}
		if !step.found { // put back, the chain is whole again
			programs.Examined(t, dir, "after it was put back")
			continue
		}
		o := stage.Run(t, stage.Command(programs.Sigill(t), "audit", "verify", "--dir", dir)).Want(t, 1, "sigill audit verify")
		stage.Says(t, "sigill audit verify", o.Out, "FOUND", "changed", id, "1 findings")
		o = stage.Run(t, stage.Command(programs.Sigill(t), "doctor", "--dir", dir)).Want(t, 1, "sigill doctor")
		stage.Says(t, "sigill doctor", o.Out, "red    chain", id)
	}
}
