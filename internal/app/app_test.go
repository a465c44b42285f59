package app

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/store/pgtest"
)

var postgres pgtest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.Stop()
	if dir, err := pattern(); err == nil {
		os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

// pattern is an installation that is made once: its keys' passphrases are slow on
// purpose. It may be copied, because an installation may be moved.
var pattern = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sigill-app-test-")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "pattern"), initialise(context.Background(), filepath.Join(dir, "pattern"), "sqlite:sigill.db")
})

func initialise(ctx context.Context, dir, database string) error {
	s := config.Defaults()
	s.Status, s.Card, s.Ops, s.Partitions, s.Database = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", 2, database
	made, err := Init(ctx, InitOptions{Dir: dir, Settings: s, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err == nil && made.Root != "TEST Sigill Root CA v1" {
		err = fmt.Errorf("root is %q", made.Root)
	}
	return err
}

// make1 makes an installation that listens on free ports.
func make1(t *testing.T, database string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "installation")
	if database != "" {
		if err := initialise(t.Context(), dir, database); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	from, err := pattern()
	if err != nil {
		t.Fatal(err)
	}
	copyTree(t, from, dir)
	return dir
}

// copyTree makes the installation at from another one at dir, of the same hierarchy.
func copyTree(t *testing.T, from, dir string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(to, info.Mode().Perm())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string, now func() time.Time) (*App, error) {
	t.Helper()
	return Open(t.Context(), dir, Options{Log: slog.New(slog.DiscardHandler), Now: now})
}

// serving runs fn while the installation is served, and expects a clean stop.
func serving(t *testing.T, dir string, fn func(Addresses)) {
	t.Helper()
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done, ready := make(chan error, 1), make(chan Addresses, 1)
	go func() { done <- a.Serve(ctx, func(at Addresses) { ready <- at }) }()
	select {
	case at := <-ready:
		fn(at)
	case err := <-done:
		t.Fatalf("Serve ended before it was ready: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestServe(t *testing.T) {
	for _, test := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(*testing.T) string { return "" }},
		{"PostgreSQL", func(t *testing.T) string { return postgres.URL(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := make1(t, test.database(t))
			serving(t, dir, func(at Addresses) {
				for _, path := range []string{"/crl/root/0.crl", "/crl/person-hsa-id-3-v1/0.crl", "/crl/card-v1/1.crl", "/aia/function-v1.cer"} {
					if status, body := get(t, at.Status+path); status != http.StatusOK || body == "" {
						t.Errorf("%s: %d, %d octets", path, status, len(body))
					}
				}
				status, body := get(t, at.Ops+"/metrics")
				for _, want := range []string{"sigill_pending_certificates 0", "# TYPE sigill_store_commits_total counter", "# TYPE sigill_store_updates_total counter"} {
					if status != http.StatusOK || !strings.Contains(body, want) {
						t.Errorf("metrics: %d, without %q\n%s", status, want, body)
					}
				}
				if status, _ := get(t, at.Ops+"/readyz"); status != http.StatusOK {
					t.Errorf("readyz: %d", status)
				}
			})
			steps := map[string]bool{}
			findings, err := DoctorTelling(t.Context(), dir, time.Now, func(step string, _, _ int) { steps[step] = true })
			if err != nil {
				t.Fatal(err)
			}
			if len(steps) < 20 || !steps["trees of the logs"] {
				t.Errorf("doctor told of the steps %v", steps)
			}
			for _, f := range findings {
				if f.Grade == Red {
					t.Errorf("doctor: %+v", f)
				}
			}
			if heads, err := os.ReadFile(filepath.Join(dir, HeadFile)); err != nil || !strings.HasPrefix(string(heads), "sigill-head-v1 ") {
				t.Errorf("heads = %q, %v", heads, err)
			}
			serving(t, dir, func(Addresses) {}) // again, over what is there
		})
	}
}

func TestInitNeverOverwrites(t *testing.T) {
	dir := make1(t, "")
	before, err := os.ReadFile(filepath.Join(dir, "hierarchy.json"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Init(t.Context(), InitOptions{Dir: dir, Settings: config.Defaults(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "never overwrites") {
		t.Errorf("Init over an installation = %v", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "hierarchy.json"))
	if err != nil || string(after) != string(before) {
		t.Errorf("the hierarchy changed (%v)", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".sigill-init-*")); len(left) > 0 {
		t.Errorf("init left %v", left)
	}
}

// replaced changes a file of an installation.
func replaced(name, from, to string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(b), from, to, 1)
		if changed == string(b) {
			t.Fatalf("%s does not say %q", name, from)
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// refusesStart spoils a new installation and expects that it does not open.
func refusesStart(t *testing.T, spoil func(t *testing.T, dir string), now func() time.Time, want string) {
	t.Helper()
	dir := make1(t, "")
	spoil(t, dir)
	a, err := open(t, dir, now)
	if err == nil {
		a.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not name %q", err, want)
	}
}

// TestHostileStart: what is not as it should be stops a start, and says what to do.
func TestHostileStart(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		now   func() time.Time
		want  string
	}{
		{"clock before the newest record", func(t *testing.T, dir string) { serving(t, dir, func(Addresses) {}) },
			func() time.Time { return time.Now().Add(-time.Hour) }, "set the clock"},
		{"key readable by others", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "keys", "card-v1.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, time.Now, "card-v1.key"},
		{"passphrase readable by others", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "secrets", "passphrase"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, time.Now, "passphrase"},
		{"another status address than the certificates'", replaced("sigill.yaml", "status_url: http://127.0.0.1:8080", "status_url: http://status.example"), time.Now, "status_url"},
		{"TEST tree as production", func(t *testing.T, dir string) {
			replaced("sigill.yaml", "environment: test", "environment: production")(t, dir)
			replaced("sigill.yaml", "passphrase: file", "passphrase: credential")(t, dir)
			replaced("sigill.yaml", "accept_session_keys: false", "accept_session_keys: true")(t, dir)
		}, time.Now, "never mix"},
		{"exchanged key", func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, "keys", "function-v1.key"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "keys", "card-v1.key"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, time.Now, "card-v1"},
		{"no database", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "sigill.db")); err != nil {
				t.Fatal(err)
			}
		}, time.Now, "sigill.db"},
	} {
		t.Run(test.name, func(t *testing.T) { refusesStart(t, test.spoil, test.now, test.want) })
	}
}

// TestProductionStart: production asks for more. Both the configuration and the
// hierarchy say here that they are of production.
func TestProductionStart(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"root within reach", func(*testing.T, string) {}, "take the root's directory offline"},
		{"nothing but the passphrase is missing", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "root")); err != nil {
				t.Fatal(err)
			}
		}, "credential"},
		{"session keys at level 3", replaced("sigill.yaml", "accept_session_keys: true", "accept_session_keys: false"), "accept_session_keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			refusesStart(t, func(t *testing.T, dir string) {
				replaced("hierarchy.json", `"environment": "TEST"`, `"environment": ""`)(t, dir)
				replaced("sigill.yaml", "environment: test", "environment: production")(t, dir)
				replaced("sigill.yaml", "passphrase: file", "passphrase: credential")(t, dir)
				replaced("sigill.yaml", "accept_session_keys: false", "accept_session_keys: true")(t, dir)
				test.spoil(t, dir)
			}, time.Now, test.want)
		})
	}
}

// TestRootCRL: a new list follows the old one; one that was signed elsewhere is
// taken only if it goes on from there.
func TestRootCRL(t *testing.T) {
	dir := make1(t, "")
	h, err := keys.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(h.RootCRLPath())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := RootPassphrase(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := ca.SerialOf(h.Issuers[0].Certificate.SerialNumber)
	now := time.Now()
	revoked := []keys.RevokedCA{{Serial: serial, At: now, Reason: ca.CessationOfOperation}}
	if err := h.SignRootCRL(t.Context(), pass, now, revoked); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(h.RootCRLPath())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := InstallRootCRL(h, first, time.Now()); err == nil {
		t.Error("the older list was taken")
	}
	if changed, err := InstallRootCRL(h, second, time.Now()); err != nil || changed {
		t.Errorf("the same list again: %v, %v", changed, err)
	}
	list, err := h.RootCRL()
	if err != nil || list.Number.Int64() != 2 || len(list.RevokedCertificateEntries) != 1 {
		t.Errorf("root CRL = %+v, %v", list, err)
	}
}

func TestOneProcessADirectory(t *testing.T) {
	dir := make1(t, "")
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := open(t, dir, time.Now); err == nil {
		b.Close()
		t.Error("opened twice")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatalf("not free after Close: %v", err)
	}
	b.Close()
}
