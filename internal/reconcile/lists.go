package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"sigill/ca/crl"
	"sigill/internal/audit"
	"sigill/orders/issue"
	"sigill/revocation"
)

// List is a partition's list that relying parties have seen.
type List struct {
	revocation.List
	Number *big.Int
	// Ends is when the issuing CA ends: until then a serial of which nothing is known
	// stays on its list.
	Ends time.Time
	// Open reads the list from its beginning. It MUST have been verified.
	Open func() (io.ReadCloser, error)
}

// TakeList writes into the ledger what a public list says is revoked and the ledger does
// not, with its date and reason, and returns how many that were. What was public once is
// never taken back: without this, a certificate that was revoked after the backup would
// be good again in OCSP, and no list could follow the public one.
func TakeList(ctx context.Context, store Store, l List, now time.Time) (int, error) {
	lines, err := l.read()
	if err != nil {
		return 0, fmt.Errorf("crl %s: %w", l.List, err)
	}
	taken := 0
	for at := 0; at < len(lines); at += defaultBatch {
		some := lines[at:min(at+defaultBatch, len(lines))]
		n := 0
		missing, err := l.missing(ctx, store, some)
		if err != nil {
			return taken, err
		}
		if len(missing) == 0 {
			continue
		}
		err = store.Update(ctx, func(tx *Tx) error {
			n = 0
			for _, line := range missing {
				fresh, err := l.take(tx, line, now)
				if err != nil {
					return fmt.Errorf("crl %s, serial %s: %w", l.List, line.Serial, err)
				}
				if fresh {
					n++
				}
			}
			return nil
		})
		if err != nil {
			return taken, err
		}
		taken += n
	}
	return taken, nil
}

func (l *List) read() ([]crl.Revoked, error) {
	f, err := l.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := crl.NewReader(f, nil)
	if err != nil {
		return nil, err
	}
	var out []crl.Revoked
	for r.Next() {
		line, err := crl.ParseRevoked(r.Line())
		if err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	_, err = r.Finish()
	return out, err
}

// missing returns the lines that the ledger does not have as they are.
func (l *List) missing(ctx context.Context, store Store, lines []crl.Revoked) (out []crl.Revoked, err error) {
	err = store.View(ctx, func(tx *Tx) error {
		out = nil
		for _, line := range lines {
			have, revoked, err := tx.Revocations.Revocation(line.Serial)
			if err != nil {
				return err
			}
			if !revoked || lacks(have, line) {
				out = append(out, line)
			}
		}
		return nil
	})
	return out, err
}

// lacks reports whether a list could not follow one with this line.
func lacks(have revocation.Entry, line crl.Revoked) bool {
	return !have.At.Equal(line.At) || have.Reason != line.Reason && !revocation.Graver(have.Reason, line.Reason)
}

func (l *List) take(tx *Tx, line crl.Revoked, now time.Time) (bool, error) {
	have, revoked, err := tx.Revocations.Revocation(line.Serial)
	if err != nil || revoked && !lacks(have, line) {
		return false, err
	}
	of := revocation.Entry{Serial: line.Serial, Issuer: l.Issuer, Partition: l.Partition, NotAfter: l.Ends, At: line.At, Reason: line.Reason, Rule: RuleListed}
	in, err := tx.Intent(line.Serial)
	var b issue.Binding
	act := audit.CertificateRevoked
	switch {
	case err == nil:
		of.NotAfter, b = in.NotAfter, in.Binding
		if in.State == issue.IntentOpen {
			act = audit.IntentAbandoned
			if err := tx.SettleIntent(in.Serial, in.Owner, issue.IntentAbandoned, micro(now)); err != nil {
				return false, err
			}
			if err := replan(tx, in); err != nil {
				return false, err
			}
		}
	case !errors.Is(err, issue.ErrNotFound):
		return false, err
	}
	if err := unstand(tx, line.Serial); err != nil {
		return false, err
	}
	ev := revokedEvent(of, act, b, now)
	if err := tx.Events.Append(ev); err != nil {
		return false, err
	}
	of.Event = ev.ID
	_, err = retell(tx, of, []revocation.Entry{of})
	return true, err
}
