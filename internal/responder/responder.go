// Package responder is the status listener: OCSP, CRLs and CA certificates over
// plain HTTP for relying parties.
//
// It owns paths, headers and the decoding of requests. What an answer says comes
// from its [Answerer], and files are what the publisher has put in place. It
// changes no state, never redirects (relying parties do not follow, and https
// would need the status of its own certificate), lists no directory and serves
// no path but those below:
//
//	GET, POST  /ocsp
//	GET        /ocsp/<request in base64>
//	GET        /crl/<issuer>/<partition>.crl, /crl/<issuer>/full.crl
//	GET        /aia/<issuer>.cer
//	GET        /log/… (what of the logs is for everybody; not this package's)
package responder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sigill/revocation/status"
)

// maxAge is how long a cache may give out what it has, and thereby how much
// later than here a revocation is seen behind it. An attacker may replay an
// answer until its nextUpdate all the same; that is for relying parties to bound.
const maxAge = 60 * time.Second

// Media types (RFC 6960, A.1; RFC 2585, 4).
const (
	typeOCSP        = "application/ocsp-response"
	typeCRL         = "application/pkix-crl"
	typeCertificate = "application/pkix-cert"
)

// Answerer answers OCSP requests.
//
// Reply MUST return an answer to send even if it returns an error, which is for
// the operator. It is called concurrently, and the request's octets are not its own
// after it has returned.
type Answerer interface {
	Reply(ctx context.Context, q status.Question) (*status.Answer, error)
}

// Config is what a handler needs.
type Config struct {
	OCSP Answerer
	// Dir is the public directory with crl/ and aia/ below it.
	Dir string
	// Logs answers what is below /log/; nil: nothing is there.
	Logs http.Handler
	Now  func() time.Time
	Log  *slog.Logger
}

// Handler serves the status listener. It must be mounted as the server's handler
// itself and not below an http.ServeMux, which answers a path with // in it, as
// base64 has now and then, by a redirect.
type Handler struct {
	ocsp Answerer
	dir  string
	logs http.Handler
	now  func() time.Time
	log  *slog.Logger

	texts   texts
	buffers sync.Pool // of *buffer
	// What fails each request is not told for each.
	failed, unreadable rate.Sometimes
}

// New returns a handler.
func New(c Config) (*Handler, error) {
	if c.OCSP == nil || c.Now == nil || c.Log == nil {
		return nil, errors.New("status listener: responder, clock or log is missing")
	}
	dir, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("status listener: %w", err)
	}
	return &Handler{ocsp: c.OCSP, dir: c.Dir, logs: c.Logs, now: c.Now, log: c.Log,
		failed: rate.Sometimes{Interval: time.Second}, unreadable: rate.Sometimes{Interval: time.Second}}, dir.Close()
}

// ServeHTTP dispatches on the path as it was sent, before anything cleans it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["X-Content-Type-Options"] = nosniff[:]
	path := sentPath(r)
	if text, ok := strings.CutPrefix(path, "/ocsp"); ok && (text == "" || text[0] == '/') {
		h.serveOCSP(w, r, strings.TrimPrefix(text, "/"))
		return
	}
	if h.logs != nil && strings.HasPrefix(path, "/log/") {
		h.logs.ServeHTTP(w, r)
		return
	}
	name, mediaType, ok := publicFile(path)
	if !ok {
		fail(w, http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, "GET, HEAD")
		return
	}
	h.serveFile(w, r, name, mediaType)
}

var nosniff = [1]string{"nosniff"}

// sentPath returns the path of the request line. A client that sends the whole
// address there, as to a proxy, has it taken from what net/http made of it.
func sentPath(r *http.Request) string {
	if !strings.HasPrefix(r.RequestURI, "/") {
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	fail(w, http.StatusMethodNotAllowed)
}

// fail answers in HTTP's words what is no question here. No cache may keep it: a list
// that is not there now can be in a second.
func fail(w http.ResponseWriter, code int) {
	w.Header()["Cache-Control"] = noStore[:]
	http.Error(w, http.StatusText(code), code)
}
