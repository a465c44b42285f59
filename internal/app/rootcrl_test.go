package app

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRootCRLIsDamaged: while the root's public list is gone or none, operators hear of
// it at once, nothing is issued, and what is served goes on.
func TestRootCRLIsDamaged(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"gone":    os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, []byte("no list"), 0o644) },
	} {
		dir := make1(t, "")
		serving(t, dir, func(at Addresses) {
			if _, body := get(t, at.Ops+"/readyz"); !strings.Contains(body, `"state":"ready"`) {
				t.Errorf("%s: before: %s", name, body)
			}
			path := filepath.Join(dir, "public", "crl", "root", "0.crl")
			was, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			until(t, at.Ops+"/readyz", func(status int, body string) bool {
				return status == http.StatusOK && strings.Contains(body, `"state":"degraded"`) && strings.Contains(body, "nothing is issued") && strings.Contains(body, "who checks every level refuses everything")
			})
			if _, metrics := get(t, at.Ops+"/metrics"); !strings.Contains(metrics, "\nsigill_root_crl_remaining_seconds 0\n") {
				t.Errorf("%s: the metric tells of a list that is not there", name)
			}
			if err := os.WriteFile(path, was, 0o644); err != nil {
				t.Fatal(err)
			}
			until(t, at.Ops+"/readyz", func(_ int, body string) bool { return strings.Contains(body, `"state":"ready"`) })
		})
	}
}
