// Package witness is the protocol by which somebody else sees that a log only grows
// (C2SP tlog-witness): the witness, which remembers the largest tree it has seen of each
// log and signs only what that tree is the beginning of, and the client that asks it.
//
// It owns the requests and answers, the witness's memory and its evidence. It must not
// know what the leaves are, nor when a log asks or how many witnesses are enough. The
// witness runs with people who do not run the log: beside it, it proves nothing.
package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
)

// path of the only request, below a witness's prefix.
const path = "/add-checkpoint"

// typeSize is the media type of an answer that tells how far a witness is.
const typeSize = "text/x.tlog.size"

// maxRequest bounds a request: the old size, the hashes, the note.
const maxRequest = 64 + checkpoint.MaxHashes*45 + checkpoint.MaxNote

// request asks a witness to cosign.
type request struct {
	old   int64       // size of the tree that the witness has cosigned last, 0 for none
	proof []tlog.Hash // that the new tree begins with it
	note  []byte
}

func (r request) text() []byte {
	out := fmt.Appendf(nil, "old %d\n", r.old)
	for _, h := range r.proof {
		out = append(base64.StdEncoding.AppendEncode(out, h[:]), '\n')
	}
	out = append(out, '\n')
	return append(out, r.note...)
}

// parseRequest reads what text writes and refuses every other form. The note is not
// looked at.
func parseRequest(body []byte) (request, error) {
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	number, ok := bytes.CutPrefix(first, []byte("old "))
	if !ok {
		return request{}, errors.New("the first line is not the old size")
	}
	old, err := parseSize(string(number))
	if err != nil {
		return request{}, err
	}
	r := request{old: old}
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return request{}, errors.New("no empty line before the checkpoint")
		}
		rest = after
		if len(line) == 0 {
			r.note = rest
			return r, nil
		}
		if len(r.proof) == checkpoint.MaxHashes {
			return request{}, fmt.Errorf("more than %d hashes", checkpoint.MaxHashes)
		}
		var h tlog.Hash
		raw, err := base64.StdEncoding.Strict().DecodeString(string(line))
		if err != nil || len(raw) != len(h) || base64.StdEncoding.EncodeToString(raw) != string(line) {
			return request{}, errors.New("a line of the proof is not a hash")
		}
		copy(h[:], raw)
		r.proof = append(r.proof, h)
	}
}

// parseSize reads a size in decimal, without leading zeros.
func parseSize(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > checkpoint.MaxSize || strconv.FormatInt(n, 10) != text {
		return 0, errors.New("not the size of a tree")
	}
	return n, nil
}
