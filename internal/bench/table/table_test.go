package table_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/bench/table"
)

func TestMake(t *testing.T) {
	in := `{"name":"a_b","value":45678.9,"unit":"1/s","ceiling":60000,"ratio":0.76,"note":"one | two."}
{"name":"c","value":0.1234,"unit":"ms","ceiling":12.5,"ratio":101.3}`
	text, err := table.Make(strings.NewReader(in), time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), "a machine")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Measured on 2026-05-04: a machine.", "| `a_b` | 45,679 1/s | 60,000 | 0.76 |", "| `c` | 0.123 ms | 12.5 | 101.30 |", "- `a_b`: one \\| two.\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for name, bad := range map[string]string{
		"nothing": "", "no ceiling": `{"name":"a","value":1,"unit":"s"}`, "no value": `{"name":"a","ceiling":1,"unit":"s"}`, "not JSON": "figures",
	} {
		if text, err := table.Make(strings.NewReader(bad), time.Now(), ""); err == nil {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestInto(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("# Head\n<!-- results -->\nold\n<!-- end -->\ntail\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again gives the same
		if err := table.Into(path, "new\n"); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); string(b) != "# Head\n<!-- results -->\n\nnew\n\n<!-- end -->\ntail\n" {
			t.Errorf("%q", b)
		}
	}
	if err := os.WriteFile(path, []byte("<!-- results -->\nno end"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := table.Into(path, "new"); err == nil {
		t.Error("a file without the marks was written")
	}
}

func TestMachine(t *testing.T) {
	if m := table.Machine(); !strings.Contains(m, "cores") || !strings.Contains(m, "go1.") {
		t.Error(m)
	}
}
