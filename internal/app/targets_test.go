package app

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withTarget gives an installation a target that is a directory.
func withTarget(t *testing.T, dir, at string) {
	t.Helper()
	path := filepath.Join(dir, "sigill.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "\n  targets: {}\n", fmt.Sprintf("\n  targets: {elsewhere: {directory: %q}}\n", at), 1)
	if changed == string(text) {
		t.Fatal("the configuration has no empty list of targets")
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTargets: what is public comes to a target while it is served and at the latest when
// that ends, and operators see how the target stands.
func TestTargets(t *testing.T) {
	dir, at := make1(t, ""), t.TempDir()
	withTarget(t, dir, at)
	eventually := func(what string, ok func() bool) {
		t.Helper()
		give := time.After(time.Minute)
		for !ok() {
			select {
			case <-give:
				t.Fatalf("never: %s", what)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	serving(t, dir, func(a Addresses) {
		eventually("the target has all", func() bool {
			_, body := get(t, a.Ops+"/metrics")
			return strings.Contains(body, `sigill_publish_behind{target="elsewhere"} 0`) && exists(filepath.Join(at, "crl/card-v1/1.crl"))
		})
		_, body := get(t, a.Ops+"/metrics")
		for _, want := range []string{`sigill_publish_lag_seconds{target="elsewhere"} 0`, `sigill_publish_failures_total{target="elsewhere"} 0`,
			`sigill_publish_refused{target="elsewhere"} 0`, `sigill_publish_ahead{target="elsewhere"} 0`} {
			if !strings.Contains(body, want) {
				t.Errorf("metrics have no %q", want)
			}
		}
	})
	for _, key := range []string{"aia/root.cer", "crl/root/0.crl", "crl/person-hsa-id-3-v1/0.crl", "crl/card-v1/1.crl"} {
		here, err := os.ReadFile(filepath.Join(dir, "public", key))
		if err != nil {
			t.Fatal(err)
		}
		if there, err := os.ReadFile(filepath.Join(at, key)); err != nil || !bytes.Equal(here, there) {
			t.Errorf("%s is not at the target as it is here: %v", key, err)
		}
	}
	if f := targetFinding(t, dir); f.Grade != Green {
		t.Errorf("doctor: %+v", f)
	}

	// Somebody writes over a list there: it is told, and nothing is put over it.
	spoilt := filepath.Join(at, "crl/card-v1/1.crl")
	if err := os.WriteFile(spoilt, []byte("spoilt"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f := targetFinding(t, dir); f.Grade != Red || !strings.Contains(f.Text, "crl/card-v1/1.crl") {
		t.Errorf("doctor: %+v", f)
	}
	serving(t, dir, func(a Addresses) {
		eventually("it is told", func() bool {
			status, body := get(t, a.Ops+"/readyz")
			return status == http.StatusOK && strings.Contains(body, `"degraded"`) && strings.Contains(body, "crl/card-v1/1.crl")
		})
	})
	if text, err := os.ReadFile(spoilt); err != nil || string(text) != "spoilt" {
		t.Errorf("it was replaced: %q, %v", text, err)
	}
	if err := os.Remove(spoilt); err != nil {
		t.Fatal(err)
	}
	if f := targetFinding(t, dir); f.Grade != Yellow {
		t.Errorf("doctor: %+v", f)
	}
}

// TestTargetAwayStopsNothing: a start and a stop without the target, and what is told.
func TestTargetAwayStopsNothing(t *testing.T) {
	dir := make1(t, "")
	withTarget(t, dir, filepath.Join(t.TempDir(), "not-mounted"))
	serving(t, dir, func(a Addresses) {
		if status, _ := get(t, a.Status+"/crl/card-v1/0.crl"); status != http.StatusOK {
			t.Errorf("lists are not served: %d", status)
		}
		if status, _ := get(t, a.Ops+"/readyz"); status != http.StatusOK {
			t.Errorf("readyz: %d", status)
		}
	})
	if f := targetFinding(t, dir); f.Grade != Red || !strings.Contains(f.Text, "cannot be compared") {
		t.Errorf("doctor: %+v", f)
	}
}

// TestAnswersAheadAtATarget: answers that are signed ahead come to a target of publication.
func TestAnswersAheadAtATarget(t *testing.T) {
	dir, at := make1(t, ""), t.TempDir()
	withTarget(t, dir, at)
	path := filepath.Join(dir, "sigill.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("\n    target: \"\"\n"), []byte("\n    target: elsewhere\n"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	serving(t, dir, func(Addresses) {
		give := time.After(time.Minute)
		for {
			if found, _ := filepath.Glob(filepath.Join(at, "ocsp", "*")); len(found) > 0 {
				break
			}
			select {
			case <-give:
				t.Fatal("never: an answer is at the target")
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
}

// TestTargetWithoutCredentials: that is the configuration's fault, and is told at once.
func TestTargetWithoutCredentials(t *testing.T) {
	dir := make1(t, "")
	path := filepath.Join(dir, "sigill.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("\n  targets: {}\n"), []byte("\n  targets: {cdn: {s3: {endpoint: 'https://s3.example', bucket: b, credentials: 'file:secrets/none'}}}\n"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := open(t, dir, time.Now)
	if err == nil {
		a.Close()
		t.Fatal("it was opened")
	}
	if !strings.Contains(err.Error(), "publish.targets.cdn") || !strings.Contains(err.Error(), "secrets/none") {
		t.Errorf("it says %v", err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// targetFinding returns the worst that the doctor says of targets.
func targetFinding(t *testing.T, dir string) Finding {
	t.Helper()
	all, err := Doctor(t.Context(), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	worst := Finding{}
	for _, f := range all {
		if f.Area == "targets" && (worst.Grade == "" || f.Grade == Red || worst.Grade == Green) {
			worst = f
		}
	}
	return worst
}

// A target within the installation, or around it, would have the publisher and the
// mirror write each other's files.
func TestTargetLiesElsewhere(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"/srv/sigill", "/srv/sigill", true}, {"/srv/sigill/public", "/srv/sigill", true}, {"/srv/sigill/../sigill/x", "/srv/sigill", true},
		{"/srv/sigill2", "/srv/sigill", false}, {"/srv", "/srv/sigill", false}, {"/", "/srv", false}, {"/srv/..data", "/srv", true},
	} {
		if got := below(c.path, c.dir); got != c.want {
			t.Errorf("below(%s, %s) = %v", c.path, c.dir, got)
		}
	}
}

// A machine that was restored with its disks, lists and database alike, is told by its
// target that relying parties have seen more, and gives no number out again.
func TestRestoredBehindATarget(t *testing.T) {
	dir, at := make1(t, ""), t.TempDir()
	withTarget(t, dir, at)
	serving(t, dir, func(Addresses) {}) // the stop brings the lists there
	there := filepath.Join(at, "crl/card-v1/0.crl")
	was, err := os.ReadFile(there)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "sigill.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`DELETE FROM publications`)
	if err := errors.Join(err, db.Close(), os.RemoveAll(filepath.Join(dir, "public", "crl", "card-v1"))); err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), dir, Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Serve(t.Context(), func(Addresses) { t.Error("it serves") }); err == nil || !strings.Contains(err.Error(), "card-v1/0: the public CRL has number 1, the newest in the database is 0") {
		t.Errorf("Serve = %v", err)
	}
	if is, err := os.ReadFile(there); err != nil || !bytes.Equal(is, was) {
		t.Errorf("the list there has changed, %v", err)
	}
}
