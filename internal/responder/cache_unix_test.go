//go:build unix

package responder

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/stage"
)

const nginxCache = `daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	proxy_cache_path %[1]s/cache keys_zone=status:1m;
	server {
		listen unix:%[1]s/front;
		location / {
			proxy_pass http://%[2]s;
			proxy_cache status;
			proxy_cache_revalidate on;
			add_header X-Cache $upstream_cache_status always;
		}
	}
}
`

// behindNginx is a client of nginx, which keeps what this listener lets it keep.
func (h *hall) behindNginx(t *testing.T) *http.Client {
	t.Helper()
	path := "/usr/sbin/nginx" // where Debian has it, which may be in root's PATH only
	if _, err := os.Stat(path); err != nil {
		path = stage.Need(t, "nginx", "nginx-light")
	}
	dir, err := os.MkdirTemp("", "nginx") // the name of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxCache, dir, h.address), 0o600); err != nil {
		t.Fatal(err)
	}
	stage.Start(t, path, "-p", dir, "-e", "stderr", "-c", config)
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "front"))
	}}}
	t.Cleanup(c.CloseIdleConnections)
	h.until(t, func() bool {
		r, err := c.Get("http://front/")
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	})
	return c
}

// until asks again and again.
func (h *hall) until(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stage.Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("it never came to that")
		case <-tick.C:
		}
	}
}

// A cache in front, nginx, keeps good and lists and nothing else; what is old it asks
// about by ETag and is told that it is the same; and it gives out nothing that has ended.
func TestBehindACache(t *testing.T) {
	h := newHall(t, 100).listens(t)
	put(t, h.dir, "crl/root/0.crl", "a list")
	c := h.behindNginx(t)
	ask := func(path string) (says, cache string) {
		t.Helper()
		r, err := c.Get("http://front" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return h.say(t, r), r.Header.Get("X-Cache")
	}
	good, unknown := pathOf(h.question(t, h.good())), pathOf(h.question(t, ca.NewSerial()))
	for _, test := range []struct{ path, says, first, then string }{
		{good, "good", "MISS", "HIT"}, {"/crl/root/0.crl", "200", "MISS", "HIT"},
		{unknown, "unknown", "MISS", "MISS"}, {"/ocsp/MAA", "malformed", "MISS", "MISS"}, {"/crl/root/1.crl", "404", "MISS", "MISS"},
	} {
		for _, want := range []string{test.first, test.then, test.then} {
			if says, cache := ask(test.path); says != test.says || cache != want {
				t.Errorf("%s: %s, %s, want %s, %s", test.path, says, cache, test.says, want)
			}
		}
	}
	// An answer that nobody renews, a second before its end: it may be kept for a second.
	other := pathOf(h.question(t, h.good()))
	if says := h.say(t, h.do(t, other)); says != "good" {
		t.Fatal(says)
	}
	h.ledger.set(errors.New("the database is away"))
	h.pass(time.Hour - time.Second)
	if says, cache := ask(other); says != "good" || cache != "MISS" {
		t.Errorf("%s, %s", says, cache)
	}
	h.until(t, func() bool {
		says, cache := ask(other)
		if says != "good" || cache != "HIT" && cache != "REVALIDATED" {
			t.Fatalf("%s, %s", says, cache)
		}
		return cache == "REVALIDATED"
	})
	h.pass(time.Second)
	h.until(t, func() bool {
		says, cache := ask(other)
		if (says != "good" || cache != "HIT") && says != "later" {
			t.Fatalf("%s, %s", says, cache)
		}
		return says == "later"
	})
	if says, _ := ask(other); says != "later" {
		t.Errorf("after its end: %s", says)
	}
}

// do asks this listener itself.
func (h *hall) do(t *testing.T, path string) *http.Response {
	t.Helper()
	r, err := http.Get("http://" + h.address + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close(); http.DefaultClient.CloseIdleConnections() })
	return r
}
