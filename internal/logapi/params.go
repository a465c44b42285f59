package logapi

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/policy"
)

// form refuses a request and says what is wrong with it.
func form(format string, args ...any) error {
	return policy.Refuse(policy.RequestForm, format, args...).Err()
}

// params returns the parameters of a request: exactly those of these names, each once.
// One that is there twice is read differently by different programs.
func params(r *http.Request, names ...string) (map[string]string, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, form("the query cannot be read")
	}
	out := map[string]string{}
	for _, name := range names {
		if len(q[name]) != 1 {
			return nil, form("%s must be there once", name)
		}
		out[name] = q[name][0]
		delete(q, name)
	}
	if len(q) > 0 {
		return nil, form("there is a parameter that is none")
	}
	return out, nil
}

// plain refuses parameters where there are none.
func plain(r *http.Request) error {
	_, err := params(r)
	return err
}

// counts reads parameters that are numbers from 0 on, each in its one decimal form.
func counts(r *http.Request, names ...string) ([]int64, error) {
	texts, err := params(r, names...)
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, name := range names {
		n, err := count(name, texts[name])
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func count(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return 0, form("%s is not a count", name)
	}
	return n, nil
}

// leafHash reads the hash of a leaf in base64 (RFC 6962, 4.5).
func leafHash(text string) (tlog.Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != tlog.HashSize || base64.StdEncoding.EncodeToString(b) != text { // it skips newlines
		return tlog.Hash{}, form("hash is not a SHA-256 in base64")
	}
	return tlog.Hash(b), nil
}
