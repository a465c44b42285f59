package responder

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"sigill/ca"
)

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkHandler is what a hit costs beside net/http.
func BenchmarkHandler(b *testing.B) {
	d := newDesk(b)
	der := d.released(b)
	get := httptest.NewRequest("GET", pathOf(der), nil)
	post := httptest.NewRequest("POST", "/ocsp", nil)
	body := bytes.NewReader(der)
	for name, serve := range map[string]func(w *discard){
		"GET": func(w *discard) { d.ServeHTTP(w, get) },
		"POST": func(w *discard) {
			body.Reset(der)
			post.Body, post.ContentLength = reading{body}, int64(len(der))
			d.ServeHTTP(w, post)
		},
	} {
		b.Run(name, func(b *testing.B) {
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				serve(w)
			}
		})
	}
}

type reading struct{ *bytes.Reader }

func (reading) Close() error { return nil }

// A hit makes nothing on the heap beside what net/http makes.
func TestHitAllocatesNothing(t *testing.T) {
	d := newDesk(t)
	der := d.released(t)
	get := httptest.NewRequest("GET", pathOf(der), nil)
	w := &discard{header: http.Header{}}
	d.ServeHTTP(w, get)
	if n := testing.AllocsPerRun(100, func() {
		clear(w.header)
		d.ServeHTTP(w, get)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if w.header.Get("Content-Length") == "" || len(ca.OCSPError(ca.OCSPTryLater)) == 0 {
		t.Error("nothing was answered")
	}
}
