package responder

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/revocation/status"
)

// buffer holds a request. A longest one and one octet more fit: what fills it is too
// long.
type buffer [ca.MaxOCSPRequest + 1]byte

// serveOCSP answers with HTTP 200 whatever the answer is: OCSP tells its errors
// in the body, and many clients read no body under another status. text is what
// follows /ocsp/ in the path.
func (h *Handler) serveOCSP(w http.ResponseWriter, r *http.Request, text string) {
	b, ok := h.buffers.Get().(*buffer)
	if !ok {
		b = new(buffer)
	}
	defer h.buffers.Put(b)
	var request []byte // empty is malformed, which the answerer says
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		request = readText(b[:], text)
	case r.Method == http.MethodPost && text == "":
		request = readBody(b[:], w, r)
	case text == "":
		notAllowed(w, "GET, HEAD, POST")
		return
	default:
		notAllowed(w, "GET, HEAD")
		return
	}
	answer, err := h.ocsp.Reply(r.Context(), status.Question{DER: request, From: r.RemoteAddr})
	if err != nil && r.Context().Err() == nil {
		h.failed.Do(func() { h.log.Error("answering OCSP", "err", err) })
	}
	h.writeAnswer(w, r, answer)
}

// readBody reads the body of a POST; nil if it is too long, or was broken off: a
// request is not to be answered in part.
func readBody(b []byte, w http.ResponseWriter, r *http.Request) []byte {
	n := 0
	if r.ContentLength <= ca.MaxOCSPRequest {
		for n < len(b) {
			read, err := r.Body.Read(b[n:])
			n += read
			if errors.Is(err, io.EOF) {
				return b[:n]
			}
			if err != nil {
				return nil
			}
		}
	}
	// What is left of it is not worth the reading.
	w.Header()["Connection"] = []string{"close"}
	return nil
}

// writeAnswer writes an answer with what caches may do with it. The values are made
// once and shared: net/http reads them only.
func (h *Handler) writeAnswer(w http.ResponseWriter, r *http.Request, answer *status.Answer) {
	header := w.Header()
	header["Content-Type"] = mediaOCSP[:]
	now := h.now()
	if age := answer.NextUpdate.Sub(now); answer.Cacheable && age >= time.Second {
		// A POST is not cached whatever its headers say (RFC 9111, 2); they are the
		// same for those who look.
		t := h.texts.at(now)
		if age < maxAge {
			t = newMoment(now, age)
		}
		header["Cache-Control"], header["Expires"] = t.cache[:], t.expires[:]
		header["Etag"], header["Last-Modified"] = answer.Tag[:], answer.Since[:]
		if r.Method != http.MethodPost && matches(r.Header["If-None-Match"], answer.Tag[0]) {
			delete(header, "Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	} else {
		header["Cache-Control"] = noStore[:]
	}
	header["Content-Length"] = h.texts.length(len(answer.DER))
	if r.Method == http.MethodHead {
		return
	}
	w.Write(answer.DER) // an error here is the client's going away
}

// matches reports whether one of the tags is this one (RFC 9110, 13.1.2). There is no
// If-Modified-Since beside it: two answers of one second may differ, and the later one
// is the revocation.
func matches(lines []string, tag string) bool {
	for _, line := range lines {
		for each := range strings.SplitSeq(line, ",") {
			each = strings.TrimSpace(each)
			if each == "*" || strings.TrimPrefix(each, "W/") == tag {
				return true
			}
		}
	}
	return false
}

var (
	mediaOCSP = [1]string{typeOCSP}
	noStore   = [1]string{"no-store"}
)

// moment is what is told to caches at one time.
type moment struct {
	second         int64 // Unix time
	cache, expires [1]string
}

// newMoment lets caches keep a body for age and not longer (RFC 5019, 6.2, without its
// Expires = nextUpdate: a revocation would stay unseen for as long).
func newMoment(now time.Time, age time.Duration) *moment {
	age = age.Truncate(time.Second)
	return &moment{second: now.Unix(),
		cache:   [1]string{"public, max-age=" + strconv.Itoa(int(age/time.Second)) + ", no-transform, must-revalidate"},
		expires: [1]string{now.Add(age).UTC().Format(http.TimeFormat)}}
}

// texts holds header values that many answers share.
type texts struct {
	now     atomic.Pointer[moment]
	lengths [2048]atomic.Pointer[[1]string]
}

// at returns what is told for maxAge, made once a second.
func (t *texts) at(now time.Time) *moment {
	if last := t.now.Load(); last != nil && last.second == now.Unix() {
		return last
	}
	next := newMoment(now, maxAge)
	t.now.Store(next)
	return next
}

// length returns a Content-Length; usual ones are made once.
func (t *texts) length(n int) []string {
	if n >= len(t.lengths) {
		return []string{strconv.Itoa(n)}
	}
	if p := t.lengths[n].Load(); p != nil {
		return p[:]
	}
	p := &[1]string{strconv.Itoa(n)}
	t.lengths[n].Store(p)
	return p[:]
}

// maxRequestText is what MaxOCSPRequest octets are in base64 with every
// character percent-encoded.
const maxRequestText = 3 * ((ca.MaxOCSPRequest + 2) / 3 * 4)

// readText reads the request in a path, into the buffer where it is written as most
// clients do.
func readText(b []byte, text string) []byte {
	if n, ok := decodeUsual(b, text); ok {
		return b[:n]
	}
	request, err := decodeRequest(text)
	if err != nil {
		return nil
	}
	return request
}

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

// Values of characters that are not of the alphabet.
const (
	valueNone = 0xff
	valuePad  = 0xfe
)

// sextets are the values of base64's characters, in both alphabets.
var sextets = func() (t [256]byte) {
	for i := range t {
		t[i] = valueNone
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'], t['='] = 62, 63, valuePad
	return t
}()

// decodeUsual reads base64, percent-encoded or not, into out, in one pass and without
// garbage. false says only that decodeRequest must read it; what is read here is read
// the same there (FuzzDecodeUsual).
func decodeUsual(out []byte, text string) (n int, ok bool) {
	var bits, have uint
	pads := 0
	for i := 0; i < len(text); {
		c := text[i]
		i++
		if c == '%' {
			if i+2 > len(text) {
				return 0, false
			}
			high, low := hexDigit(text[i]), hexDigit(text[i+1])
			if high > 15 || low > 15 {
				return 0, false
			}
			c = high<<4 | low
			i += 2
		}
		if c == '/' && n == 0 && have == 0 && pads == 0 {
			continue // in front of the request
		}
		v := sextets[c]
		switch {
		case v == valuePad:
			pads++
			continue
		case v == valueNone || pads > 0:
			return 0, false
		}
		bits, have = bits<<6|uint(v), have+6
		if have >= 8 {
			if n == len(out) {
				return 0, false
			}
			have -= 8
			out[n] = byte(bits >> have)
			n++
		}
	}
	// Loose bits are zero, and there is no character that says nothing.
	return n, pads <= 2 && have < 6 && bits&(1<<have-1) == 0
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
