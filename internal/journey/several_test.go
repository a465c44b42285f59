//go:build unix

package journey

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sigill/internal/keys"
	"sigill/internal/stage"
	"sigill/internal/store/pgtest"
	"sigill/revocation/publish"
)

// served starts `sigill serve` on dir and waits until it is ready.
func served(t *testing.T, dir string) *stage.Service {
	t.Helper()
	s := stage.Start(t, programs.Sigill(t), "serve", "--dir", dir, "--json")
	line, err := bufio.NewReader(s.Out).ReadBytes('\n')
	if err != nil || !json.Valid(line) {
		t.Fatalf("sigill serve said %q, %v\n%s", line, err, s.Log())
	}
	return s
}

// within waits until something is so.
func within(t *testing.T, s *stage.Service, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(stage.Patience); !is(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s\n%s", stage.Patience, what, s.Log())
		}
		<-time.After(20 * time.Millisecond)
	}
}

// TestLeaderIsKilled: two processes serve one database. While the first one publishes,
// a list that is lost at the second is copied again, with its number. When the first
// one is killed, the second publishes, above it; and when the first one comes back, it
// serves what the second has published.
func TestLeaderIsKilled(t *testing.T) {
	var server pgtest.Shared
	t.Cleanup(server.Stop)
	url := server.URL(t)
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	stage.Run(t, stage.Command(programs.Sigill(t), "init", "--dir", one, "--database", url, "--partitions", "1",
		"--status", "127.0.0.1:0", "--status-url", "http://status.example.test", "--card", "127.0.0.1:0", "--ops", "127.0.0.1:0")).Want(t, 0, "sigill init")
	stage.Run(t, stage.Command("cp", "-a", one, two)).Want(t, 0, "cp")
	list := func(dir string) []byte {
		der, err := os.ReadFile(filepath.Join((&keys.Hierarchy{Dir: dir}).PublicDir(), publish.CRLPath(keys.FunctionCA, 0)))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return der
	}
	number := func(dir string) int64 {
		t.Helper()
		l, err := x509.ParseRevocationList(list(dir))
		if err != nil {
			t.Fatal(err)
		}
		return l.Number.Int64()
	}
	lose := func(dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join((&keys.Hierarchy{Dir: dir}).PublicDir(), publish.CRLPath(keys.FunctionCA, 0))); err != nil {
			t.Fatal(err)
		}
	}
	alike := func() bool { return list(one) != nil && bytes.Equal(list(one), list(two)) }

	first := served(t, one)
	second := served(t, two)
	within(t, second, "the second serves what the first has published", alike)
	was := number(one)
	lose(two)
	within(t, second, "it is copied again", alike)
	if got := number(two); got != was {
		t.Errorf("number %d after %d: both publish", got, was)
	}

	if code := first.Stop(t, syscall.SIGKILL); code != -1 {
		t.Errorf("killed: exit code %d\n%s", code, first.Log())
	}
	within(t, second, "the second publishes", func() bool { // and copies, as long as it does not lead
		if list(two) == nil {
			return false
		}
		if number(two) == was {
			lose(two)
		}
		return list(two) != nil
	})
	if got := number(two); got != was+1 || number(one) != was {
		t.Errorf("number %d after %d", got, was)
	}

	first = served(t, one)
	within(t, first, "the first serves what the second has published", alike)
	if got := number(one); got != was+1 {
		t.Errorf("number %d, after %d: both publish", got, was)
	}
	for _, s := range []*stage.Service{second, first} {
		if code := s.Stop(t, syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d\n%s", code, s.Log())
		}
	}
	programs.Examined(t, one, "at the end")
}
