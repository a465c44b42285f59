// Package checkpoint is what a log says of itself to others: its size and root,
// signed. It owns the form of that (a signed note whose signature is an RFC 6962
// tree head), the cosignatures of witnesses under it, and proofs of inclusion that
// are checked without the log.
//
// It knows no tree, no store and no network, so that auditors and relying parties
// use the same code as the service without having to trust it.
package checkpoint

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxSize bounds what is believed to be a tree: 2^48 leaves are more than there will be.
const MaxSize = 1 << 48

// Checkpoint is the size and root of a log's Merkle tree (RFC 6962, 2.1) at a time.
type Checkpoint struct {
	// Origin names the log, one line without spaces or "+": "sigill.example.se/log/acts".
	Origin string
	Size   int64
	Root   tlog.Hash
	// Time is when the log signed it, UTC, milliseconds. It is in the signature and
	// not in the body.
	Time time.Time
}

// Body returns the text that log and witnesses sign, three lines: origin, size, root
// in base64 (C2SP tlog-checkpoint, without extension lines).
func (c Checkpoint) Body() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// parseBody reads what Body writes and refuses every other form, so that one
// checkpoint has one text.
func parseBody(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, errors.New("checkpoint: not three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > MaxSize {
		return Checkpoint{}, errors.New("checkpoint: size is not a count")
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != sha256.Size {
		return Checkpoint{}, errors.New("checkpoint: root is not a SHA-256")
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root)}
	if c.Body() != text {
		return Checkpoint{}, errors.New("checkpoint: not in canonical form")
	}
	if c.Size == 0 && c.Root != emptyRoot {
		return Checkpoint{}, errors.New("checkpoint: the root of an empty tree is another")
	}
	return c, nil
}

// emptyRoot is the root of a tree without leaves (RFC 6962, 2.1).
var emptyRoot = tlog.Hash(sha256.Sum256(nil))

// EmptyRoot returns the root of a tree without leaves.
func EmptyRoot() tlog.Hash { return emptyRoot }

// CheckOrigin refuses names that cannot stand in a note.
func CheckOrigin(origin string) error {
	if !validName(origin) {
		return fmt.Errorf("%q cannot name a log: no spaces, no plus sign, no control characters, at most 255 octets", origin)
	}
	return nil
}

// validName tells whether a log or a witness can be called that (C2SP signed-note).
func validName(name string) bool {
	return name != "" && len(name) <= 255 && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == '+' || unicode.IsSpace(r) || unicode.IsControl(r) })
}
