package responder

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// file is the answer to a request for a list: the status and what came.
func (h *hall) file(t testing.TB, c *http.Client, path string) (int, string, http.Header) {
	t.Helper()
	r, err := c.Get("http://" + h.address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	return r.StatusCode, bodyOf(t, r), r.Header
}

// put writes a list below a directory.
func put(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What is in the public directory's place when a request comes is what is served: a
// listener that held on to the one before would give out its lists until they end.
func TestPublicDirectoryIsReplaced(t *testing.T) {
	h := newHall(t, 100).listens(t)
	c := client(1)
	defer c.CloseIdleConnections()
	put(t, h.dir, "crl/root/0.crl", "before")
	if code, body, _ := h.file(t, c, "/crl/root/0.crl"); code != 200 || body != "before" {
		t.Fatalf("%d %q", code, body)
	}
	old := h.dir + ".old"
	if err := os.Rename(h.dir, old); err != nil {
		t.Fatal(err)
	}
	for range 50 { // nothing is there: that is no "not found", which somebody might believe
		if code, _, header := h.file(t, c, "/crl/root/0.crl"); code != 500 || header.Get("Cache-Control") != "no-store" {
			t.Fatalf("without the directory: %d %v", code, header)
		}
	}
	if n := strings.Count(h.log.String(), "opening a public file"); n < 1 || n > 10 {
		t.Errorf("told %d times", n)
	}
	put(t, h.dir, "crl/root/0.crl", "after it")
	if code, body, header := h.file(t, c, "/crl/root/0.crl"); code != 200 || body != "after it" || header.Get("ETag") == "" {
		t.Errorf("%d %q", code, body)
	}
	h.served(t) // OCSP was never touched by this
}

// A file that cannot be served is an error of the server's, which is told; a name that
// no file has is not found, and no cache keeps either.
func TestPublicFilesThatAreNone(t *testing.T) {
	h := newHall(t, 100).listens(t)
	c := client(1)
	defer c.CloseIdleConnections()
	outside := filepath.Join(t.TempDir(), "key.pem")
	put(t, filepath.Dir(outside), "key.pem", "the key")
	put(t, h.dir, "crl/root/0.crl", "a list")
	put(t, h.dir, "crl/here", "no directory")
	if err := os.Mkdir(filepath.Join(h.dir, "crl", "root", "1.crl"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"2": outside, "3": "../../../key.pem", "4": "4.crl", "5": "gone.crl", "6": "/etc/passwd", "7": "0.crl"} {
		if err := os.Symlink(to, filepath.Join(h.dir, "crl", "root", name+".crl")); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{
		"/crl/root/0.crl": 200, "/crl/root/1.crl": 404, "/crl/root/2.crl": 500, "/crl/root/3.crl": 500, "/crl/root/4.crl": 500, "/crl/root/5.crl": 404,
		"/crl/root/6.crl": 500, "/crl/root/7.crl": 200, "/crl/here/0.crl": 500, "/crl/none/0.crl": 404, "/aia/root.cer": 404,
	} {
		code, body, header := h.file(t, c, path)
		if code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
		if strings.Contains(body, "key") || strings.Contains(body, "/") || strings.Contains(body, "root:") {
			t.Errorf("%s: %q", path, body)
		}
		if code != 200 && header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, header)
		}
	}
	if n := strings.Count(h.log.String(), "opening a public file"); n < 1 || n > 5 {
		t.Errorf("told %d times", n)
	}
}

// While a list is replaced again and again, whoever fetches it gets one of them, whole.
func TestListIsReplacedWhileItIsRead(t *testing.T) {
	h := newHall(t, 100).listens(t)
	whole := func(n int) string { return strings.Repeat(string(rune('a'+n%26)), 100_000+n) }
	put(t, h.dir, "crl/root/0.crl", whole(0))
	done := make(chan struct{})
	var publisher, wg sync.WaitGroup
	publisher.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			next := filepath.Join(h.dir, "crl", "root", ".0.crl.tmp")
			if err := os.WriteFile(next, []byte(whole(n)), 0o644); err != nil {
				t.Error(err)
			}
			if err := os.Rename(next, filepath.Join(h.dir, "crl", "root", "0.crl")); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 4 {
		wg.Go(func() {
			c := client(i)
			defer c.CloseIdleConnections()
			for range 100 {
				code, body, _ := h.file(t, c, "/crl/root/0.crl")
				if code != 200 || len(body) < 100_000 || strings.Trim(body, body[:1]) != "" || body != whole(len(body)-100_000) {
					t.Errorf("%d: %d octets, which are not one list", code, len(body))
				}
			}
		})
	}
	wg.Wait()
	close(done)
	publisher.Wait()
}
