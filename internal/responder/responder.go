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
package responder

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"sigill/ca"
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
// Answer MUST return an answer to send even if it returns an error, which is for
// the operator. It is called concurrently.
type Answerer interface {
	Answer(ctx context.Context, der []byte) (status.Answer, error)
}

// Config is what a handler needs.
type Config struct {
	OCSP Answerer
	// Dir is the public directory with crl/ and aia/ below it.
	Dir string
	Now func() time.Time
	Log *slog.Logger
}

// Handler serves the status listener. It must be mounted as the server's handler
// itself and not below an http.ServeMux, which answers a path with // in it, as
// base64 has now and then, by a redirect.
type Handler struct {
	ocsp Answerer
	dir  *os.Root
	now  func() time.Time
	log  *slog.Logger
}

// New returns a handler. Close it when the server has ended.
func New(c Config) (*Handler, error) {
	if c.OCSP == nil || c.Now == nil || c.Log == nil {
		return nil, errors.New("status listener: responder, clock or log is missing")
	}
	dir, err := os.OpenRoot(c.Dir) // nothing outside is reached, by whatever name or link
	if err != nil {
		return nil, fmt.Errorf("status listener: %w", err)
	}
	return &Handler{ocsp: c.OCSP, dir: dir, now: c.Now, log: c.Log}, nil
}

// Close closes the public directory.
func (h *Handler) Close() error { return h.dir.Close() }

// ServeHTTP dispatches on the path as it was sent, before anything cleans it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	path := r.URL.EscapedPath()
	if path == "/ocsp" || path == "/ocsp/" {
		h.serveOCSP(w, r, "")
		return
	}
	if text, ok := strings.CutPrefix(path, "/ocsp/"); ok {
		h.serveOCSP(w, r, text)
		return
	}
	name, mediaType, ok := publicFile(path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, "GET, HEAD")
		return
	}
	h.serveFile(w, r, name, mediaType)
}

func notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
}

// serveOCSP answers with HTTP 200 whatever the answer is: OCSP tells its errors
// in the body, and many clients read no body under another status.
func (h *Handler) serveOCSP(w http.ResponseWriter, r *http.Request, text string) {
	var request []byte // empty is malformed, which the answerer says
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		request, _ = decodeRequest(text)
	case r.Method == http.MethodPost && text == "":
		var err error
		request, err = io.ReadAll(http.MaxBytesReader(w, r.Body, ca.MaxOCSPRequest))
		if err != nil {
			request = nil // too long, or broken off: not to be answered in part
		}
	case text == "":
		notAllowed(w, "GET, HEAD, POST")
		return
	default:
		notAllowed(w, "GET, HEAD")
		return
	}
	answer, err := h.ocsp.Answer(r.Context(), request)
	if err != nil && r.Context().Err() == nil {
		h.log.Error("answering OCSP", "err", err)
	}
	h.writeAnswer(w, r, answer)
}

func (h *Handler) writeAnswer(w http.ResponseWriter, r *http.Request, answer status.Answer) {
	header := w.Header()
	header.Set("Content-Type", typeOCSP)
	header.Set("Content-Length", strconv.Itoa(len(answer.DER)))
	now := h.now()
	// A POST is not cached whatever its headers say (RFC 9111, 2); they are the
	// same for those who look.
	if age := min(maxAge, answer.NextUpdate.Sub(now)).Truncate(time.Second); answer.Cacheable && age > 0 {
		sum := sha256.Sum256(answer.DER)
		setCache(header, now, age)
		header.Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		header.Set("Last-Modified", answer.ProducedAt.UTC().Format(http.TimeFormat))
	} else {
		header.Set("Cache-Control", "no-store")
	}
	if r.Method == http.MethodHead {
		return
	}
	w.Write(answer.DER) // an error here is the client's going away
}

// setCache lets caches keep the body for age and not longer (RFC 5019, 6.2,
// without its Expires = nextUpdate: a revocation would stay unseen for as long).
func setCache(header http.Header, now time.Time, age time.Duration) {
	header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d, no-transform, must-revalidate", int(age/time.Second)))
	header.Set("Expires", now.Add(age).UTC().Format(http.TimeFormat))
}

// maxRequestText is what MaxOCSPRequest octets are in base64 with every
// character percent-encoded.
const maxRequestText = 3 * ((ca.MaxOCSPRequest + 2) / 3 * 4)

// decodeRequest reads the OCSP request in the path after /ocsp/ (RFC 6960, A.1:
// the URL-encoding of the base64 of the DER). Clients differ in what they encode,
// so that every form with one meaning is read: + / = as they are or
// percent-encoded, the alphabet for URLs, no padding, + turned into a space on
// its way, and slashes in front, from clients that add one to an address that
// ends in one (a request begins with the octet 0x30 and its base64 with M).
func decodeRequest(text string) ([]byte, error) {
	if len(text) > maxRequestText {
		return nil, errors.New("request is too long")
	}
	text, err := url.PathUnescape(text)
	if err != nil {
		return nil, err
	}
	text = strings.TrimLeft(text, "/")
	text = strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(text)
	body := strings.TrimRight(text, "=")
	if len(text)-len(body) > 2 {
		return nil, errors.New("request has too much padding")
	}
	return base64.RawStdEncoding.Strict().DecodeString(body)
}

// publicFile returns the name of the file that path means, below the public
// directory, and its media type. Names are made of a closed alphabet, so that
// no path climbs, hides or names a temporary file.
func publicFile(path string) (name, mediaType string, ok bool) {
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 4 && parts[0] == "" && parts[1] == "crl" && isIssuer(parts[2]):
		partition, isCRL := strings.CutSuffix(parts[3], ".crl")
		if !isCRL || partition != "full" && !isPartition(partition) {
			return "", "", false
		}
		return "crl/" + parts[2] + "/" + partition + ".crl", typeCRL, true
	case len(parts) == 3 && parts[0] == "" && parts[1] == "aia":
		issuer, isCertificate := strings.CutSuffix(parts[2], ".cer")
		if !isCertificate || !isIssuer(issuer) {
			return "", "", false
		}
		return "aia/" + issuer + ".cer", typeCertificate, true
	}
	return "", "", false
}

func isIssuer(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// isPartition accepts each number in one form only.
func isPartition(s string) bool {
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// serveFile serves one file, opened anew for each request: the publisher puts a
// new file under the name, and this response goes on with the one it opened.
func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, name, mediaType string) {
	f, err := h.dir.Open(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			h.log.Error("opening a public file", "name", name, "err", err)
		}
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", mediaType)
	setCache(header, h.now(), maxAge)
	// A file is never written over but replaced by a later one: time and size
	// name its content without reading it.
	header.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, "", info.ModTime(), f)
}
