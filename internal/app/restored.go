package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/durable"
	"sigill/internal/keys"
	"sigill/internal/reconcile"
	"sigill/internal/target"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// takeEvery is how often the public lists are looked at while nothing is numbered.
const takeEvery = 5 * time.Second

// public is what relying parties have seen of an installation's lists, here and at the
// targets.
type public struct {
	dir     string
	issuers []keys.CA
	mirrors []*target.Mirror
	scopes  []revocation.List
	store   reconcile.Store
	log     *slog.Logger
	now     func() time.Time
}

func (a *App) public() public {
	p := public{dir: a.Hierarchy.PublicDir(), issuers: a.Hierarchy.Issuers, mirrors: a.mirrors, store: a.DB.Reconcile(), log: a.log, now: a.now}
	for _, s := range a.Publisher.Scopes {
		p.scopes = append(p.scopes, revocation.List{Issuer: s.Issuer, Partition: s.Partition})
	}
	return p
}

// takeLists gives the ledger what the public lists have, as long as the database may be
// old.
func (a *App) takeLists(ctx context.Context) {
	t := time.NewTicker(takeEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			a.takeListsOnce(ctx)
		}
	}
}

func (a *App) takeListsOnce(ctx context.Context) {
	if !a.held() {
		return
	}
	if _, err := a.public().take(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("taking over what public lists say", "err", err)
	}
}

// take brings the newest lists of the targets here, and gives the ledger what the lists
// have that the table of publications does not know. It returns how many revocations that
// were.
func (p public) take(ctx context.Context) (int, error) {
	total := 0
	var errs []error
	for _, list := range p.scopes {
		issuer := p.issuer(list.Issuer)
		path := filepath.Join(p.dir, publish.CRLPath(list.Issuer, list.Partition))
		for _, m := range p.mirrors {
			if err := p.fetch(ctx, m, list, issuer, path); err != nil {
				p.log.Warn("a target does not show its list", "target", m.Name, "list", list.String(), "err", err)
			}
		}
		number, err := p.unknown(ctx, list, issuer, path)
		if err != nil {
			errs = append(errs, fmt.Errorf("crl %s: %w", list, err))
		}
		if number == nil || list.Partition == revocation.Whole {
			continue
		}
		n, err := reconcile.TakeList(ctx, p.store, reconcile.List{List: list, Number: number, Ends: issuer.NotAfter,
			Open: func() (io.ReadCloser, error) { return os.Open(path) }}, p.now())
		total, errs = total+n, append(errs, err)
	}
	if total > 0 {
		p.log.Warn("revocations were taken over from public lists: the database did not have them", "count", total)
	}
	return total, errors.Join(errs...)
}

func (p public) issuer(id ca.IssuerID) *x509.Certificate {
	for _, each := range p.issuers {
		if each.ID == id {
			return each.Certificate
		}
	}
	return nil
}

// unknown returns the number of a public list if the table of publications does not know
// so high a one; nil otherwise.
func (p public) unknown(ctx context.Context, list revocation.List, issuer *x509.Certificate, path string) (*big.Int, error) {
	number, err := numberOf(path, issuer)
	if number == nil || err != nil {
		return nil, err
	}
	var newest int64
	err = p.store.View(ctx, func(tx *reconcile.Tx) error {
		last, err := tx.Publications.NewestPublication(list.Issuer, list.Scope(), "")
		if errors.Is(err, revocation.ErrNotFound) {
			newest = 0
			return nil
		} else if err != nil {
			return err
		}
		newest = last.Number
		return nil
	})
	if err != nil || number.Cmp(big.NewInt(newest)) <= 0 {
		return nil, err
	}
	return number, nil
}

// numberOf verifies a list and returns its number; nil: there is none.
func numberOf(path string, issuer *x509.Certificate) (*big.Int, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	return readNumber(f, issuer)
}

func readNumber(r io.Reader, issuer *x509.Certificate) (*big.Int, error) {
	list, err := crl.NewReader(r, issuer)
	if err != nil {
		return nil, err
	}
	for list.Next() {
	}
	head, err := list.Finish()
	if err == nil && head.Number == nil {
		err = errors.New("it has no number")
	}
	if err != nil {
		return nil, err
	}
	return head.Number, nil
}

// fetch puts a target's list in the place of an older one here: what is public there was
// public here before the disk was restored.
func (p public) fetch(ctx context.Context, m *target.Mirror, list revocation.List, issuer *x509.Certificate, path string) error {
	key := filepath.ToSlash(publish.CRLPath(list.Issuer, list.Partition))
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	there, err := m.Number(ctx, key)
	if err != nil || there == nil {
		return err
	}
	here, err := numberOf(path, issuer)
	if err != nil {
		return err
	}
	if here != nil && here.Cmp(there) >= 0 {
		return nil
	}
	body, _, err := m.Target.Open(ctx, key)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := durable.Create(path, 0o644)
	if err != nil {
		return err
	}
	defer f.Abort()
	number, err := readNumber(io.TeeReader(io.LimitReader(body, crl.MaxOctets+1), f), issuer)
	if err != nil {
		return err
	}
	if here != nil && number.Cmp(here) <= 0 {
		return nil
	}
	return f.Commit()
}

// reserve uses up the numbers of the public lists, so that the next ones go above them.
func (p public) reserve(ctx context.Context) error {
	for _, list := range p.scopes {
		number, err := p.unknown(ctx, list, p.issuer(list.Issuer), filepath.Join(p.dir, publish.CRLPath(list.Issuer, list.Partition)))
		if err != nil {
			return fmt.Errorf("crl %s: %w", list, err)
		}
		if number == nil {
			continue
		}
		if !number.IsInt64() {
			return fmt.Errorf("crl %s: no number is above %v", list, number)
		}
		err = p.store.Update(ctx, func(tx *reconcile.Tx) error {
			return publish.Reserve(tx.Publications, list, number.Int64(), p.now())
		})
		if err != nil {
			return err
		}
	}
	return nil
}
