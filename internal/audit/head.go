package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const headTag = "sigill-head-v1"

// Head is the end of the chain at a time. Whoever can write the database can
// cut the chain or write it anew; a head kept where he cannot write shows both.
type Head struct {
	Number int64 // 0 for the empty chain
	Hash   [32]byte
	At     time.Time // when it was read, UTC, whole seconds
}

// String returns the head as it is written to files and publications, one line
// without its newline:
//
//	sigill-head-v1 <number> <hash, 64 hexadecimal digits> <time, RFC 3339 UTC>
func (h Head) String() string {
	return fmt.Sprintf("%s %d %s %s", headTag, h.Number, hex.EncodeToString(h.Hash[:]), h.At.UTC().Format(time.RFC3339))
}

// ParseHead reads what String writes and refuses every other form.
func ParseHead(line string) (Head, error) {
	part := strings.Split(line, " ")
	if len(part) != 4 || part[0] != headTag {
		return Head{}, fmt.Errorf("not a %s line", headTag)
	}
	number, err := strconv.ParseInt(part[1], 10, 64)
	if err != nil || number < 0 {
		return Head{}, errors.New("head: number is not a count")
	}
	sum, err := hex.DecodeString(part[2])
	if err != nil || len(sum) != 32 {
		return Head{}, errors.New("head: hash is not a SHA-256")
	}
	at, err := time.Parse(time.RFC3339, part[3])
	if err != nil {
		return Head{}, fmt.Errorf("head: %w", err)
	}
	h := Head{Number: number, Hash: [32]byte(sum), At: at.UTC()}
	if h.String() != line {
		return Head{}, errors.New("head: not in canonical form")
	}
	if h.Number == 0 && h.Hash != [32]byte{} {
		return Head{}, errors.New("head: an empty chain has no hash")
	}
	return h, nil
}

// ParseHeads reads a file of heads, one a line; empty lines are skipped. A line
// that is no head is an error, not skipped: a damaged witness is worth knowing.
func ParseHeads(file []byte) ([]Head, error) {
	var heads []Head
	n := 0
	for line := range bytes.Lines(file) {
		n++
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			continue
		}
		h, err := ParseHead(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// ReadHead reads the end of the chain; at is the time it is told for.
func ReadHead(ctx context.Context, store Store, at time.Time) (Head, error) {
	var link Link
	err := store.View(ctx, func(tx *Tx) (err error) {
		link, err = headOrNone(tx)
		return err
	})
	if err != nil {
		return Head{}, fmt.Errorf("reading the head of the chain: %w", err)
	}
	return Head{Number: link.Number, Hash: link.Hash, At: at.UTC().Truncate(time.Second)}, nil
}

// headOrNone returns the last link, or the zero one before the first: number 0
// and a hash of zeros is what link 1 follows.
func headOrNone(tx *Tx) (Link, error) {
	link, err := tx.HeadLink()
	if errors.Is(err, ErrNotFound) {
		return Link{}, nil
	}
	if err != nil {
		return Link{}, fmt.Errorf("reading the head: %w", err)
	}
	return *link, nil
}
