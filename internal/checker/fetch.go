package checker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Media types (RFC 2585, 4; RFC 6960, A.1).
const (
	typeCRL         = "application/pkix-crl"
	typeCertificate = "application/pkix-cert"
	typeOCSP        = "application/ocsp-response"
	typeRequest     = "application/ocsp-request"
)

// longestCache is how long a cache may keep what says who is revoked: a revocation stays
// unseen behind it for as long.
const longestCache = time.Hour

// newClient returns a client that follows nothing and waits for nobody for ever. Lists are
// large and lines are slow, so that a whole answer has time.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       5 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			ResponseHeaderTimeout: 30 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   atOnce,
			DisableCompression:    true, // relying parties ask for none either
		},
	}
}

// do sends a request. An answer comes back if there is one, whatever its status; its
// caller closes it.
func (r *round) do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, bool) {
	if err := r.c.limit.Wait(ctx); err != nil {
		return nil, false
	}
	address := r.c.Base + path
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		r.say(Failure, HTTPUnreachable, address, "%v", err)
		return nil, false
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := r.c.HTTP.Do(request)
	if err != nil {
		if ctx.Err() == nil {
			r.say(Failure, HTTPUnreachable, subjectPath(address), "%s", short(err))
		}
		return nil, false
	}
	r.clock(response)
	return response, true
}

// short leaves the address out, which stands beside the error already.
func short(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		if _, ok := err.(net.Error); !ok {
			return err.Error()
		}
		err = inner
	}
}

// subjectPath shortens the address of an OCSP request by GET, which is all request.
func subjectPath(address string) string {
	if i := strings.Index(address, "/ocsp/"); i >= 0 {
		return address[:i+len("/ocsp/")] + "…"
	}
	return address
}

// clock compares the server's clock with the one here.
func (r *round) clock(response *http.Response) {
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return
	}
	age, _ := strconv.Atoi(response.Header.Get("Age")) // what a cache kept is as old as it says
	date = date.Add(time.Duration(age) * time.Second)
	// What is told does not tell the seconds: it would be another finding in each round.
	switch off := date.Sub(r.c.Now()); {
	case off > r.c.Skew:
		r.say(Warning, ClockSkew, r.c.Base, "the server's clock is ahead of the one here by more than %v", r.c.Skew)
	case off < -r.c.Skew:
		r.say(Warning, ClockSkew, r.c.Base, "the server's clock is behind the one here by more than %v", r.c.Skew)
	}
}

// accept judges the head of an answer that must be 200 and of a media type.
func (r *round) accept(response *http.Response, path, mediaType string) bool {
	subject := subjectPath(r.c.Base + path)
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		r.say(Failure, HTTPRedirect, subject, "it redirects (%d) to %s, and relying parties do not follow", response.StatusCode, response.Header.Get("Location"))
		return false
	case response.StatusCode != http.StatusOK:
		r.say(Failure, HTTPStatus, subject, "it answers %d", response.StatusCode)
		return false
	}
	if got, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || got != mediaType {
		r.say(Failure, HTTPType, subject, "its Content-Type is %q and must be %s", response.Header.Get("Content-Type"), mediaType)
	}
	return true
}

var maxAge = regexp.MustCompile(`(?:^|[,\s])(?:s-)?max-?age=([0-9]{1,9})`)

// cache judges how long caches may keep what was answered.
func (r *round) cache(response *http.Response, path string) {
	control := strings.ToLower(response.Header.Get("Cache-Control"))
	if strings.Contains(control, "no-store") {
		return
	}
	m := maxAge.FindStringSubmatch(control)
	if m == nil {
		r.say(Warning, HTTPCache, subjectPath(r.c.Base+path), "it does not say how long caches may keep it, so that each decides for itself")
		return
	}
	if age, _ := strconv.Atoi(m[1]); time.Duration(age)*time.Second > longestCache {
		r.say(Warning, HTTPCache, subjectPath(r.c.Base+path), "caches may keep it for %s s, and a revocation is unseen behind them for as long", m[1])
	}
}

// fetch returns a small object.
func (r *round) fetch(ctx context.Context, path, mediaType string, most int64) ([]byte, bool) {
	response, ok := r.do(ctx, http.MethodGet, path, nil, nil)
	if !ok {
		return nil, false
	}
	defer response.Body.Close()
	if !r.accept(response, path, mediaType) {
		return nil, false
	}
	body, err := readAll(response.Body, most)
	if err != nil {
		r.say(Failure, HTTPUnreachable, r.c.Base+path, "%v", err)
		return nil, false
	}
	return body, true
}

func readAll(body io.Reader, most int64) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(all)) > most {
		err = fmt.Errorf("it is longer than %d octets", most)
	}
	return all, err
}
