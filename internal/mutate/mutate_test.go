package mutate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	root = "../.."
	// each bounds one run of one test, compiling included.
	each = 5 * time.Minute
)

// mutation is one way to make the product worse.
type mutation struct {
	name string
	why  string // what could be done, or would be lost, if the product were so
	in   string // package of the module
	old  string // stands in it exactly once, tests left out
	new  string
	pkg  string // of the test
	test string // that fails
	core bool   // tried in continuous integration too
}

func mutations() []mutation {
	return slices.Concat(ofAdmission(), ofIssuing(), ofConfirming(), ofEnding(), ofRecovery(), ofSigning(), ofKeys(), ofListener(), ofRequests(), ofClient(), ofLists(), ofStatus(), ofLogged(), ofAuditors(), ofRetention(),
		ofPromises(), ofHeads(), ofNumbering(), ofReading(), ofWatching())
}

// apply returns the file that the mutation changes, and what it makes of it.
func (m mutation) apply() (path string, changed []byte, err error) {
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(m.in), "*.go"))
	if err != nil {
		return "", nil, err
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return "", nil, err
		}
		if n := bytes.Count(text, []byte(m.old)); n > 0 {
			found += n
			path, changed = name, bytes.Replace(text, []byte(m.old), []byte(m.new), 1)
		}
	}
	if found != 1 {
		return "", nil, fmt.Errorf("package %s has moved on: the text to change stands in it %d times, not once:\n%s", m.in, found, m.old)
	}
	return path, changed, nil
}

// TestMutationsFitTheSource holds the list to the source: what is to be changed
// is there once, what comes of it is Go, and the test that watches exists.
func TestMutationsFitTheSource(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutations() {
		if names[m.name] || m.name == "" || len(m.why) < 30 || m.old == m.new || strings.ContainsAny(m.name, "/\n") {
			t.Errorf("%q: the name stands twice, or something is missing", m.name)
		}
		names[m.name] = true
		name, text, err := m.apply()
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution); err != nil {
			t.Errorf("%s: it would not be Go: %v", m.name, err)
		}
		if !exists(t, m) {
			t.Errorf("%s: package %s has no test %s", m.name, m.pkg, m.test)
		}
	}
}

// exists reports whether the package has the test.
func exists(t *testing.T, m mutation) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(m.pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("\nfunc "+m.test+"(")) {
			return true
		}
	}
	return false
}

// TestMutations tries them: SIGILL_MUTATE=1 all (make mutate), SIGILL_REQUIRE=1
// those that matter most.
func TestMutations(t *testing.T) {
	list, all := mutations(), os.Getenv("SIGILL_MUTATE") == "1"
	switch {
	case all:
	case os.Getenv("SIGILL_REQUIRE") == "1":
		list = slices.DeleteFunc(list, func(m mutation) bool { return !m.core })
	default:
		t.Skip("takes minutes: make mutate")
	}
	seen := map[string]error{} // what the tests say of the product as it is
	var table strings.Builder
	for _, m := range list {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			green, asked := seen[m.pkg+" "+m.test]
			if !asked && all { // else the tests themselves run beside this one
				green = passes(t, m)
				seen[m.pkg+" "+m.test] = green
			}
			if green != nil {
				t.Fatalf("without any mutation: %v", green)
			}
			begun := time.Now()
			err := m.seen(t)
			verdict := "red"
			if err != nil {
				verdict = "NOT SEEN"
				t.Errorf("%v\nIf the product were so: %s", err, m.why)
			}
			fmt.Fprintf(&table, "%-9s %4.0f s  %-58s %s %s\n", verdict, time.Since(begun).Seconds(), m.name, m.pkg, m.test)
		})
	}
	t.Logf("%d mutations\n%s", len(list), table.String())
}

// run runs the mutation's test with further arguments and returns what it prints.
func (m mutation) run(t *testing.T, more ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), each)
	defer cancel()
	args := append([]string{"test", "-count=1", "-v", "-short", "-vet=off", "-run", "^" + m.test + "$"}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+m.pkg)...)
	cmd.Dir = root
	// What fails on purpose leaves no case behind for the product as it is.
	cmd.Env = append(os.Environ(), "RAPID_NOFAILFILE=1")
	// The processes below it hold the pipes too.
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(out), err
}

func passes(t *testing.T, m mutation) error {
	t.Helper()
	out, err := m.run(t)
	if err != nil || !strings.Contains(out, "\n--- PASS: "+m.test+" ") {
		return fmt.Errorf("%s does not pass: %v\n%s", m.test, err, tail(out))
	}
	return nil
}

// panicked is how a program ends that no test has judged.
var panicked = regexp.MustCompile(`(?m)^(panic: |fatal error: |SIGSEGV)`)

// seen makes the mutation and returns nil if the test fails. A mutation that does
// not compile, panics or hangs shows nothing: no test has judged it.
func (m mutation) seen(t *testing.T) error {
	t.Helper()
	name, text, err := m.apply()
	if err != nil {
		return err
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, filepath.Base(name)), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(changed, text, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return err
	}
	out, err := m.run(t, "-overlay="+overlay)
	_, exited := err.(*exec.ExitError)
	switch {
	case err == nil:
		return fmt.Errorf("%s in %s sees nothing of it", m.test, m.pkg)
	case !exited:
		return fmt.Errorf("%s: %w\n%s", m.test, err, tail(out))
	case panicked.MatchString(out):
		return fmt.Errorf("%s panics instead of failing\n%s", m.test, tail(out))
	case !strings.Contains(out, "\n--- FAIL: "+m.test+" "):
		return fmt.Errorf("%s does not fail; is it that the mutation does not compile?\n%s", m.test, tail(out))
	}
	return nil
}

// tail is the end of a long output.
func tail(out string) string {
	const most = 3000
	if len(out) > most {
		return "…" + out[len(out)-most:]
	}
	return out
}
