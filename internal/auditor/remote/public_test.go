package remote_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/remote"
	"sigill/internal/auditor/source"
)

// What an answer of the public address means: not there, or nothing at all.
func TestPublicAnswers(t *testing.T) {
	var asked string
	answer := func(w http.ResponseWriter) {}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RequestURI()
		answer(w)
	}))
	defer server.Close()
	p := remote.NewPublic(server.URL + "/")
	defer p.Close()
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter)
		want   error
	}{
		{"text", func(w http.ResponseWriter) { w.Write([]byte("text")) }, nil},
		{"not there", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, source.ErrUnshown},
		{"broken", func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, source.ErrNoAnswer},
		{"busy", func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, source.ErrNoAnswer},
		{"elsewhere", func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(http.StatusFound)
		}, source.ErrNoAnswer},
		{"too large", func(w http.ResponseWriter) { w.Write(make([]byte, 2<<20)) }, source.ErrNoAnswer},
	} {
		answer = c.answer
		text, err := p.Proof(t.Context(), source.Acts, tlog.Hash{1}, 7)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && string(text) != "text" {
			t.Errorf("%s: %d octets, %v", c.name, len(text), err)
		}
		if want := "/log/acts/proof/01" + strings.Repeat("00", 31) + "?index=7"; asked != want {
			t.Errorf("asked for %s, want %s", asked, want)
		}
	}
	server.Close()
	if _, err := p.Checkpoint(t.Context(), source.Acts); !errors.Is(err, source.ErrNoAnswer) {
		t.Errorf("nobody is there: %v", err)
	}
}
