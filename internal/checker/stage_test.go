//go:build unix

package checker_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"sigill/internal/checker"
	"sigill/internal/config"
	"sigill/internal/stage"
)

var programs = stage.Programs{Root: "../.."}

func TestMain(m *testing.M) { os.Exit(programs.Main(m)) }

// TestCheckOfAnInstallation runs the program against an installation in which the demo was
// played: all is well, as it is and through a mirror; and what a mirror spoils is found.
func TestCheckOfAnInstallation(t *testing.T) {
	played := programs.Play(t)
	c, err := config.Load(played.Dir)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := url.Parse(c.StatusURL)
	if err != nil {
		t.Fatal(err)
	}
	var spoil atomic.Bool
	pass := httputil.NewSingleHostReverseProxy(behind)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if spoil.Load() && strings.HasSuffix(r.URL.Path, "/0.crl") {
			http.Redirect(w, r, c.StatusURL+r.URL.Path, http.StatusFound)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	defer mirror.Close()

	dir := t.TempDir()
	state, metrics, claims := filepath.Join(dir, "state"), filepath.Join(dir, "sigill.prom"), filepath.Join(dir, "claims")
	args := func(base string, more ...string) []string {
		return append([]string{"check", "--base", base, "--ca", filepath.Join(played.Dir, "public", "aia"),
			"--sample", filepath.Join(played.Dir, "certificates"), "--state", state}, more...)
	}
	check := func(code int, args []string) stage.Outcome {
		t.Helper()
		return stage.Run(t, stage.Command(programs.Sigill(t), args...)).Want(t, code, "sigill check")
	}
	out := check(0, append([]string{"--json"}, args(c.StatusURL)...)).Out
	var report checker.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	entries := 0
	for _, l := range report.Lists {
		entries += l.Entries
	}
	if report.Grade != checker.OK || entries < 4 || report.Answers < 20 || len(report.Signers) != 5 {
		t.Errorf("%s", out)
	}
	check(0, args(mirror.URL))
	spoil.Store(true)
	stage.Says(t, "of a mirror that redirects it", check(2, args(mirror.URL)).Out, "http.redirect", "failure")
	spoil.Store(false)

	if err := os.WriteFile(claims, []byte(`{"serial":"4711","status":"good"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stage.Says(t, "of a claim it", check(2, args(c.StatusURL, "--claims", claims)).Out, "claim.differs", "serial 4711", "unknown")
	check(3, args("ftp://status.example"))
	check(3, args(c.StatusURL, "--sample", filepath.Join(dir, "none")))

	// Going on, it tells the first round and then only changes.
	watch := stage.Start(t, programs.Sigill(t), args(mirror.URL, "--every", "1s", "--metrics", metrics)...)
	lines := bufio.NewScanner(watch.Out)
	expect := func(words ...string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("it ended: %s", watch.Log())
		}
		stage.Says(t, "going on, it", lines.Text(), words...)
	}
	expect("ok", "0 failures")
	spoil.Store(true)
	for range report.Signers { // of each CA, and the root has a list too
		expect("failure", "http.redirect")
	}
	expect("failure", "http.redirect")
	spoil.Store(false)
	expect("ok", "no longer")
	if text, err := os.ReadFile(metrics); err != nil || !strings.Contains(string(text), "sigill_check_last_round_seconds") {
		t.Errorf("metrics: %v\n%s", err, text)
	}
	if code := watch.Stop(t, syscall.SIGINT); code != 0 {
		t.Errorf("interrupted, it exits with %d", code)
	}
	if text, err := os.ReadFile(state); err != nil || !strings.Contains(string(text), fmt.Sprintf("%q", "/crl/root/0.crl")) {
		t.Errorf("state: %v\n%s", err, text)
	}
}
