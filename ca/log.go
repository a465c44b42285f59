package ca

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// PreCert is what a transparency log signs (RFC 6962, 3.2).
type PreCert struct {
	IssuerKeyHash [32]byte // SHA-256 of the issuer's SubjectPublicKeyInfo
	TBS           []byte   // without an SCT list
}

// LogLeaf is the place in a log's tree that a certificate was promised.
type LogLeaf struct {
	Hash [32]byte  // of the Merkle leaf (RFC 6962, 2.1 and 3.4)
	Time time.Time // of the promise, UTC, milliseconds
}

// IsZero reports whether there is no leaf: the certificate has no log.
func (l LogLeaf) IsZero() bool { return l == LogLeaf{} }

// Promise is what a log answers before a certificate exists. It is nothing but a
// promise: the log keeps it when the leaf, which is recorded with the intent, is in
// its tree.
type Promise struct {
	// SCTList is the SignedCertificateTimestampList of RFC 6962, 3.3, with its
	// length in front.
	SCTList []byte
	Leaf    LogLeaf
}

// Log is the transparency log of an installation's certificates, as the CA needs it.
// Its methods may be called concurrently.
type Log interface {
	// Promise signs that the log will have p.
	Promise(ctx context.Context, p PreCert) (Promise, error)
	// Check returns the leaf that a list promises for p. It MUST fail if the log's own
	// SCT is not there or does not verify.
	Check(sctList []byte, p PreCert) (LogLeaf, error)
	// Await returns nil when the leaf, which was recorded before, is in the log: it has
	// its number, is durable, and a signed tree head that is kept covers it.
	Await(ctx context.Context, leaf LogLeaf) error
}

func (s *work) preCert() PreCert {
	return PreCert{IssuerKeyHash: s.issuer.keyHash, TBS: slices.Clone(s.tbs0)}
}

// Await waits until the log has what was recorded, and is the only way to a
// [*Logged]. Before, it holds what was recorded against the promise: the SCT in the
// bytes to be signed verifies over those without it, and is that of the recorded leaf.
// Without a log it returns at once. An intent is awaited once, also when that fails:
// its serial must then be revoked.
func (r *Recorded) Await(ctx context.Context) (*Logged, error) {
	if r == nil || r.used == nil || !r.used.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("awaiting the log: %w", errUsed)
	}
	if err := r.awaitLog(ctx); err != nil {
		return nil, fmt.Errorf("awaiting the log for %s: %w", r.intent.Serial, err)
	}
	return &Logged{r.work, new(atomic.Bool)}, nil
}

func (r *Recorded) awaitLog(ctx context.Context) error {
	if r.log == nil {
		return nil // checkSigned sees to it that there is no SCT either
	}
	list, err := embeddedSCTList(r.intent.TBS)
	if err != nil {
		return err
	}
	leaf, err := r.log.Check(list, r.preCert())
	if err != nil {
		return err
	}
	if leaf != r.intent.Leaf {
		return errors.New("the promise is for another leaf than was recorded")
	}
	return r.log.Await(ctx, leaf)
}
