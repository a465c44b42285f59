package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
)

// ErrInconsistent says that a witness refuses a checkpoint because it is not shown to
// begin with what the witness has seen of the log: the proof is wrong, or the log has two
// histories.
var ErrInconsistent = errors.New("the witness has seen a tree that this one is not shown to begin with")

// ConflictError says that a witness has cosigned a tree of another size than the request
// began at. A size beyond the log's own is what a log finds that was restored from
// something old.
type ConflictError struct {
	Witness string
	Size    int64
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("witness %s has cosigned a tree of %d", e.Witness, e.Size)
}

// requestTime bounds one request.
const requestTime = 10 * time.Second

// maxAnswer bounds an answer: some cosignatures.
const maxAnswer = 16 << 10

// Client asks one witness. It is safe for concurrent use.
type Client struct {
	url  string
	key  checkpoint.Witness
	http *http.Client
}

// NewClient returns a client for the witness at address, the prefix of its requests (http
// or https), which is believed only under its key.
func NewClient(address string, key checkpoint.Witness) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("witness %s: %q is not the address of one: http:// or https://, host and path", key.Name(), address)
	}
	return &Client{url: strings.TrimRight(address, "/") + path, key: key, http: &http.Client{
		Timeout:       requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, DisableCompression: true,
			MaxResponseHeaderBytes: maxAnswer, TLSHandshakeTimeout: requestTime},
	}}, nil
}

// Witness is who is asked.
func (c *Client) Witness() checkpoint.Witness { return c.key }

// Add asks the witness to cosign the log's note, whose tree proof shows to begin with
// that of size old, the last one that this witness cosigned, as far as the caller knows.
// It returns the witness's signature lines, which are verified, for
// [checkpoint.Log.Merge]. To ask again after a lost answer is harmless.
//
// The error is a *[ConflictError] if old is not what the witness cosigned last, and
// [ErrInconsistent] if the witness is not shown that the log has grown. After any other
// error the witness may have cosigned or not.
func (c *Client) Add(ctx context.Context, log *checkpoint.Log, old int64, proof []tlog.Hash, note []byte) ([]byte, error) {
	lines, err := c.add(ctx, log, request{old: old, proof: proof, note: note})
	if err != nil {
		return nil, fmt.Errorf("witness %s, %s: %w", c.key.Name(), log.Origin(), err)
	}
	return lines, nil
}

func (c *Client) add(ctx context.Context, log *checkpoint.Log, r request) ([]byte, error) {
	bare, err := log.Bare(r.note)
	if err != nil {
		return nil, err
	}
	r.note = bare
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(r.text()))
	if err != nil {
		return nil, err
	}
	post.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := c.http.Do(post)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("its answer has more than %d octets", maxAnswer)
	}
	switch response.StatusCode {
	case http.StatusOK:
		merged, err := log.Merge(bare, body, []checkpoint.Witness{c.key})
		if err != nil {
			return nil, fmt.Errorf("what it answers: %w", err)
		}
		return merged[len(bare):], nil
	case http.StatusConflict:
		return nil, c.conflict(response, body, r.old)
	case http.StatusUnprocessableEntity:
		return nil, ErrInconsistent
	}
	return nil, fmt.Errorf("it answers %d: %s", response.StatusCode, excerpt(body))
}

// conflict reads an answer 409. Witnesses of before 2026 give it also where two trees
// have one size.
func (c *Client) conflict(response *http.Response, body []byte, old int64) error {
	if media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type")); err != nil || media != typeSize {
		return ErrInconsistent
	}
	text, ok := strings.CutSuffix(string(body), "\n")
	size, err := parseSize(text)
	if !ok || err != nil {
		return fmt.Errorf("it answers 409 and no size: %s", excerpt(body))
	}
	if size == old {
		return ErrInconsistent
	}
	return &ConflictError{Witness: c.key.Name(), Size: size}
}

// excerpt is what of a stranger's text may stand on a line of ours.
func excerpt(body []byte) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(body[:min(len(body), 200)]))
	return strings.TrimSpace(text)
}

// tries bounds how often Submit learns that the witness is elsewhere than it thought.
const tries = 3

// Submit is [Client.Add] by a caller who does not know how far the witness is: it begins
// at known, 0 if nothing is, and goes on from where the witness says that it is. prove
// returns the consistency proof between two sizes of the log, for 0 < old < new. A
// witness that is ahead of the note, or says that it has cosigned less than least, is a
// *[ConflictError]; least is at most known.
func (c *Client) Submit(ctx context.Context, log *checkpoint.Log, known, least int64, note []byte,
	prove func(ctx context.Context, old, new int64) ([]tlog.Hash, error)) ([]byte, error) {
	head, err := log.Open(note)
	if err != nil {
		return nil, err
	}
	old := known
	if old < 0 || old > head.Size {
		old = 0 // the witness says itself where it is
	}
	for try := 1; ; try++ {
		var proof []tlog.Hash
		if old > 0 && old < head.Size {
			if proof, err = prove(ctx, old, head.Size); err != nil {
				return nil, fmt.Errorf("witness %s, %s: proof from %d to %d: %w", c.key.Name(), log.Origin(), old, head.Size, err)
			}
		}
		lines, err := c.Add(ctx, log, old, proof, note)
		conflict, ok := errors.AsType[*ConflictError](err)
		if !ok || conflict.Size > head.Size || conflict.Size < least || try == tries {
			return lines, err
		}
		old = conflict.Size
	}
}
