// Package fault breaks the transactions and signatures of a world on purpose, so
// that a test can try every place where a server may stop. It counts both, so
// that a table of faults is made from what a clean run does and no new step
// escapes it.
//
// It knows nothing of what the transactions are for.
package fault

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/internal/translog"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/privacy"
	"sigill/orders/register"
)

// ErrInjected is in every error that an [Injector] makes.
var ErrInjected = errors.New("fault: injected")

// Fault is what befalls a transaction or a signature.
type Fault int

const (
	// None lets everything pass.
	None Fault = iota
	// NotBegun: the closure is not run, or the signer refuses.
	NotBegun
	// RolledBack: the closure runs and its writes are undone. Not for
	// signatures.
	RolledBack
	// Lost: it is committed, or signed, and the answer is an error.
	Lost
	// CancelBefore and CancelAfter cancel the caller's context (Cancel) before
	// or after it, which goes on as if nothing were.
	CancelBefore
	CancelAfter
	// DiesBefore and DiesAfter end the process before or after it: nothing is
	// written, read or signed any more, not even by clean-up code, until
	// [Injector.Clear].
	DiesBefore
	DiesAfter
)

// String names a fault in the names of tests.
func (f Fault) String() string {
	return [...]string{"none", "not begun", "rolled back", "answer lost", "cancelled before", "cancelled after", "died before", "died after"}[f]
}

// Transactions returns the faults that can befall a transaction.
func Transactions() []Fault {
	return []Fault{NotBegun, RolledBack, Lost, CancelBefore, CancelAfter, DiesBefore, DiesAfter}
}

// Signatures returns the faults that can befall a signature.
func Signatures() []Fault {
	return []Fault{NotBegun, Lost, CancelBefore, CancelAfter, DiesBefore, DiesAfter}
}

// Injector wraps stores and signers. It is safe for concurrent use.
type Injector struct {
	mu     sync.Mutex
	update step
	sign   step
	dead   bool
	cancel context.CancelFunc
	signed map[ca.IssuerID][][]byte
}

// step counts and says which one fails.
type step struct {
	n, at int // at 0: none
	fault Fault
}

func (s *step) next() Fault {
	s.n++
	if s.n == s.at {
		return s.fault
	}
	return None
}

// FailUpdate lets the n-th transaction from now on, counted from 1, end in f;
// cancel is for the faults that cancel.
func (in *Injector) FailUpdate(n int, f Fault, cancel context.CancelFunc) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.update, in.sign, in.cancel = step{at: n, fault: f}, step{}, cancel
}

// FailSign is FailUpdate for signatures.
func (in *Injector) FailSign(n int, f Fault, cancel context.CancelFunc) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.update, in.sign, in.cancel = step{}, step{at: n, fault: f}, cancel
}

// Clear ends all faults and counts from 0 again.
func (in *Injector) Clear() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.update, in.sign, in.dead, in.cancel = step{}, step{}, false, nil
}

// Counts returns how many transactions and signatures were begun since Clear or
// Fail.
func (in *Injector) Counts() (updates, signatures int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.update.n, in.sign.n
}

// Signed returns the digest of everything that an issuer's key ever signed: what
// was signed although nobody got the signature too.
func (in *Injector) Signed(id ca.IssuerID) [][]byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.signed[id])
}

// BeforeUpdate calls fn before the n-th transaction from now on, in which fn may
// use the same stores.
func (in *Injector) BeforeUpdate(n int, fn func()) { in.FailUpdate(n, CancelBefore, fn) }

// BeforeSign calls fn before the n-th signature.
func (in *Injector) BeforeSign(n int, fn func()) { in.FailSign(n, CancelBefore, fn) }

func (in *Injector) begin(s *step) (Fault, error) {
	in.mu.Lock()
	if in.dead {
		in.mu.Unlock()
		return None, fmt.Errorf("%w: the process is dead", ErrInjected)
	}
	f, cancel := s.next(), in.cancel
	in.dead = f == DiesBefore
	in.mu.Unlock()
	switch f {
	case NotBegun:
		return f, fmt.Errorf("%w: not begun", ErrInjected)
	case DiesBefore:
		return f, fmt.Errorf("%w: died before it", ErrInjected)
	case CancelBefore:
		cancel()
	}
	return f, nil
}

// end returns the error that hides a result.
func (in *Injector) end(f Fault) error {
	in.mu.Lock()
	cancel := in.cancel
	in.dead = in.dead || f == DiesAfter
	in.mu.Unlock()
	switch f {
	case Lost:
		return fmt.Errorf("%w: answer lost", ErrInjected)
	case DiesAfter:
		return fmt.Errorf("%w: died after it", ErrInjected)
	case CancelAfter:
		cancel()
	}
	return nil
}

func (in *Injector) alive() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.dead {
		return fmt.Errorf("%w: the process is dead", ErrInjected)
	}
	return nil
}

// Stores wraps all views of a store.
func (in *Injector) Stores(s service.Stores) service.Stores {
	return service.Stores{Downloads: wrapped[download.Tx]{s.Downloads, in}, Orders: wrapped[orders.Tx]{s.Orders, in},
		Register: wrapped[register.Tx]{s.Register, in}, Issue: wrapped[issue.Tx]{s.Issue, in}, Privacy: wrapped[privacy.Tx]{s.Privacy, in}}
}

// Logs wraps the views that the logs work in: what they write counts with the rest.
func (in *Injector) Logs(a audit.Store, l translog.Store) (audit.Store, translog.Store) {
	return wrapped[audit.Tx]{a, in}, wrapped[translog.Tx]{l, in}
}

type wrapped[T any] struct {
	next interface {
		Update(context.Context, func(*T) error) error
		View(context.Context, func(*T) error) error
	}
	in *Injector
}

func (w wrapped[T]) Update(ctx context.Context, fn func(*T) error) error {
	f, err := w.in.begin(&w.in.update)
	if err != nil {
		return err
	}
	err = w.next.Update(ctx, func(tx *T) error {
		if err := fn(tx); err != nil || f != RolledBack {
			return err
		}
		return fmt.Errorf("%w: rolled back", ErrInjected)
	})
	if err != nil {
		return err
	}
	if err := w.in.end(f); err != nil {
		return fmt.Errorf("%w: %w", store.ErrOutcomeUnknown, err)
	}
	return nil
}

func (w wrapped[T]) View(ctx context.Context, fn func(*T) error) error {
	if err := w.in.alive(); err != nil {
		return err
	}
	return w.next.View(ctx, fn)
}

// Wrap wraps the key of an issuing CA.
func (in *Injector) Wrap(id ca.IssuerID, key crypto.Signer) crypto.Signer {
	return &signer{key, id, in}
}

type signer struct {
	crypto.Signer
	id ca.IssuerID
	in *Injector
}

func (s *signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	f, err := s.in.begin(&s.in.sign)
	if err != nil {
		return nil, err
	}
	signature, err := s.Signer.Sign(rand, digest, opts)
	if err != nil {
		return nil, err
	}
	s.in.mu.Lock()
	if s.in.signed == nil {
		s.in.signed = map[ca.IssuerID][][]byte{}
	}
	s.in.signed[s.id] = append(s.in.signed[s.id], slices.Clone(digest))
	s.in.mu.Unlock()
	if err := s.in.end(f); err != nil {
		return nil, err
	}
	return signature, nil
}
