//go:build unix

package interop

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"sigill/internal/stage"
)

// programs are those that are tested here.
var programs = stage.Programs{Root: "../.."}

// shared is what all tests ask: one installation, served until the last of them
// has ended.
var shared struct {
	sync.Mutex
	tried bool
	*installation
	end lifetime
}

func TestMain(m *testing.M) {
	code := programs.Main(m)
	if err := shared.end.over(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// served returns the shared installation, with the gate open.
func served(t *testing.T) *installation {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		shared.installation = newInstallation(&longer{TB: t, until: &shared.end})
	}
	if shared.installation == nil {
		t.Fatal("the installation could not be made: see the first test that needed it")
	}
	return shared.installation
}

// lifetime is a time that several tests share, and what is to be done at its end.
type lifetime struct {
	mu   sync.Mutex
	dirs []string
	last []func()
	told []string
}

// longer is a test's handle for what must outlive the test: what it registers is
// cleaned up at the end of another lifetime, and what goes wrong then is told
// there.
type longer struct {
	testing.TB
	until *lifetime
}

func (l *longer) Cleanup(f func()) {
	l.until.mu.Lock()
	defer l.until.mu.Unlock()
	l.until.last = append(l.until.last, f)
}

func (l *longer) TempDir() string {
	dir, err := os.MkdirTemp("", "sigill-interop-")
	if err != nil {
		l.Fatal(err)
	}
	l.until.mu.Lock()
	defer l.until.mu.Unlock()
	l.until.dirs = append(l.until.dirs, dir)
	return dir
}

// Errorf is called by what is cleaned up, when the test has long ended.
func (l *longer) Errorf(format string, args ...any) {
	l.until.mu.Lock()
	defer l.until.mu.Unlock()
	l.until.told = append(l.until.told, fmt.Sprintf(format, args...))
}

func (l *longer) Helper() {}

// over ends the lifetime.
func (l *lifetime) over() error {
	for _, f := range slices.Backward(l.last) {
		f()
	}
	for _, dir := range l.dirs {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if len(l.told) > 0 {
		return fmt.Errorf("at the end: %v", l.told)
	}
	return nil
}
