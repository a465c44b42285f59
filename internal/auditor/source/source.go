// Package source is how an auditor reads the logs: what is asked, what an answer may be,
// and the tree under a signed checkpoint, of which every hash is authenticated against
// the root before it is used. It also says whether two checkpoints are of one history.
//
// It believes nothing that is answered, and judges nothing of what entries say.
package source

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/auditor/book"
	"sigill/internal/auditor/rederive"
)

// Tree names one of the two logs.
type Tree string

// The logs of an installation.
const (
	Certificates Tree = book.Certificates
	Acts         Tree = book.Acts
)

// What a Source answers for what it has not.
var (
	// ErrErased: retention has deleted it; that it was there is in the log.
	ErrErased = errors.New("erased at the end of its retention")
	// ErrUnshown: the log does not show what must be there.
	ErrUnshown = errors.New("the log does not show it")
	// ErrNoAnswer: the source could not be asked. Nothing is concluded from it.
	ErrNoAnswer = errors.New("no answer")
)

// Leaf is an entry of the log of certificates.
type Leaf struct {
	Input []byte // MerkleTreeLeaf (RFC 6962, 3.4)
	Final []byte // the certificate that was made of it; nil: none is stored
}

// Evidence is what an order rests on, or one statement.
type Evidence struct {
	Order      []byte // the document; nil: it is a statement that was asked for
	Statements []rederive.Statement
}

// Source is where the logs are read. Nothing that it answers is believed. Its methods
// are called concurrently.
type Source interface {
	// Checkpoint returns the newest signed note of a tree.
	Checkpoint(ctx context.Context, tree Tree) ([]byte, error)
	// Tile returns the hashes of a tile (height 8).
	Tile(ctx context.Context, tree Tree, tile tlog.Tile) ([]byte, error)
	// Acts returns the first width bodies of bundle n; an empty one was erased. All or
	// ErrUnshown.
	Acts(ctx context.Context, n int64, width int) ([][]byte, error)
	// Certificates returns entries from first on, at least one and at most count;
	// ErrErased if the first of them was.
	Certificates(ctx context.Context, first int64, count int) ([]Leaf, error)
	// Evidence returns what an order rests on, or the one statement of that id; ErrErased
	// if it was, ErrUnshown if there is none.
	Evidence(ctx context.Context, id string) (*Evidence, error)
}
