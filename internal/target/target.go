// Package target brings what is public here to other places from which relying parties
// fetch: another directory, an object store.
//
// It owns how two lists are compared before one replaces the other, how a put is made
// conditional on what was compared, and when what failed is tried again. The local public
// directory is the only source: what a target lacks is found by comparing, never by being
// told, so that a crash, an outage of the target or a new target lose nothing. It knows no
// ledger and signs nothing.
//
// Its central rule is the publisher's: whatever went wrong before, relying parties never see
// a list go backwards. Several installations may write one target.
package target

import (
	"context"
	"errors"
	"io"
)

// What a target says of one object. Everything else is an error of that object alone.
var (
	ErrNone        = errors.New("the target has no such object")
	ErrChanged     = errors.New("the target's object is not the one that was compared")
	ErrUnavailable = errors.New("the target does not answer") // all of it, for all that is known
)

// Version names the content of an object at its target for as long as it is not replaced:
// an entity tag, or what a file system says of a file. Empty: there is no object.
type Version string

// Present is an object as the target has it.
type Present struct {
	Version Version
	// SHA256 is what was noted beside the object when it was put; zero: nothing was. Who can
	// write the target can write this too, so it says only that nothing has to be done.
	SHA256 [32]byte
}

// Content is what is to be put.
type Content struct {
	Body   io.ReadSeeker // at its beginning
	Size   int64
	SHA256 [32]byte
	Type   string // media type
}

// Target holds objects by keys such as "crl/person-hsa-id-3-v1/0.crl". Its methods may be
// called concurrently.
type Target interface {
	// Check reports why nothing may be put at all. ErrUnavailable: it may be otherwise in
	// a moment.
	Check(ctx context.Context) error
	// Look returns what the target has, ErrNone if nothing.
	Look(ctx context.Context, key string) (Present, error)
	// Open is Look with the object itself. The caller closes it.
	Open(ctx context.Context, key string) (io.ReadCloser, Present, error)
	// Put replaces the object of version old, which MUST be compared and replaced in one
	// step, whoever else puts at the same time; empty: there MUST be none. It returns
	// ErrChanged if that is not so, and then MUST NOT have changed anything. After
	// another error the content may be there or not. Readers MUST see the old object or
	// the new one, whole.
	Put(ctx context.Context, key string, content Content, old Version) (Version, error)
}
