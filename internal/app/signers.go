package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sigill/ca"
	"sigill/internal/durable"
	"sigill/internal/strictjson"
	"sigill/orders/issue"
	"sigill/policy"
)

const (
	// signersFile tells which OCSP signers this installation's processes have had:
	// their keys were in memory only, and a memory may have been seen. Only the
	// serving process writes it.
	signersFile = "signers.json"
	// signerRequests tells which of them are to be revoked. Only a command writes
	// it. A file and no row, as an announced outage is one: who can write it holds
	// the installation.
	signerRequests = "signers.revoke.json"

	ruleSignerRevoked = "signer.revoked"
)

// SignerID names one certificate of an OCSP signer.
type SignerID struct {
	Serial   string      `json:"serial"`
	Issuer   ca.IssuerID `json:"issuer"`
	IssuedAt time.Time   `json:"issuedAt"`
	NotAfter time.Time   `json:"notAfter"`
}

// SignerRequest asks for the revocation of an OCSP signer.
type SignerRequest struct {
	Serial string    `json:"serial"`
	By     string    `json:"by"` // account
	At     time.Time `json:"at"`
}

// readJSON reads a small file strictly; one that is not there is empty.
func readJSON[T any](path string) ([]T, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var out struct {
		List []T `json:"signers"`
	}
	if err := strictjson.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return out.List, nil
}

func writeJSON[T any](path string, list []T) error {
	text, err := json.MarshalIndent(struct {
		List []T `json:"signers"`
	}{list}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(text, '\n'), 0o644)
}

// ReadSigners returns the OCSP signers of the installation in dir whose
// certificates have not expired at now, oldest first.
func ReadSigners(dir string, now time.Time) ([]SignerID, error) {
	all, err := readJSON[SignerID](filepath.Join(dir, signersFile))
	var out []SignerID
	for _, s := range all {
		if now.Before(s.NotAfter) {
			out = append(out, s)
		}
	}
	return out, err
}

// RequestSignerRevocation asks the process that serves dir, now or next, to revoke
// an OCSP signer. It reports whether that was not asked before.
func RequestSignerRevocation(dir string, r SignerRequest) (bool, error) {
	path := filepath.Join(dir, signerRequests)
	// Another command must not write in between: what it asked for would be lost.
	unlock, err := durable.LockDir(dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	all, err := readJSON[SignerRequest](path)
	if err != nil {
		return false, err
	}
	for _, old := range all {
		if old.Serial == r.Serial {
			return false, nil
		}
	}
	return true, writeJSON(path, append(all, r))
}

// signerBook knows the OCSP signers of this process and of those before it. It is
// safe for concurrent use; obey is one goroutine's.
type signerBook struct {
	dir string
	log *slog.Logger
	now func() time.Time
	// renew gives an issuing CA a new signer, revoke puts one on its CRL.
	renew  func(ctx context.Context, id ca.IssuerID) error
	revoke func(ctx context.Context, serial ca.Serial, by string) (ca.IssuerID, error)
	// forget makes unusable what was answered until since, by whichever signer.
	forget func(since time.Time)

	mu      sync.Mutex
	current map[ca.IssuerID]ca.Serial

	done map[string]bool // of obey: requests that were carried out
	said map[string]string
}

// add writes a signer down and then has it used: it signs nothing before, and the one
// before it nothing after.
func (b *signerBook) add(c *issue.Certificate, use func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, err := ReadSigners(b.dir, b.now())
	if err != nil {
		// What cannot be read is begun anew: without a signer there is no status.
		b.log.Error("OCSP signers of before are not known any more", "err", err)
	}
	all = append(all, SignerID{Serial: c.Serial.String(), Issuer: c.Issuer, IssuedAt: c.StoredAt.UTC(), NotAfter: c.NotAfter.UTC()})
	if err := writeJSON(filepath.Join(b.dir, signersFile), all); err != nil {
		return fmt.Errorf("writing down an OCSP signer: %w", err)
	}
	if err := use(); err != nil {
		return err
	}
	b.current[c.Issuer] = c.Serial
	return nil
}

// obey carries out what was asked for since. What fails is tried at the next look.
func (b *signerBook) obey(ctx context.Context) {
	all, err := readJSON[SignerRequest](filepath.Join(b.dir, signerRequests))
	b.say("reading which OCSP signers are to be revoked", err)
	for _, r := range all {
		if b.done[r.Serial] || ctx.Err() != nil {
			continue
		}
		err := b.obeyOne(ctx, r)
		b.say("revoking OCSP signer "+r.Serial, err)
		b.done[r.Serial] = err == nil || errors.Is(err, errNoSigner)
	}
}

// obeyOne replaces a signer that is in use, so that nothing is signed with it any
// more, and revokes it, whether or not there is another. What it has signed is not
// given out any more: whoever has its key can have made the like.
func (b *signerBook) obeyOne(ctx context.Context, r SignerRequest) error {
	serial, err := ca.ParseSerial(r.Serial)
	if err != nil {
		return err
	}
	id, revoked := b.revoke(ctx, serial, "operator:"+r.By)
	b.mu.Lock()
	inUse := id != "" && b.current[id] == serial
	b.mu.Unlock()
	if !inUse {
		if revoked == nil {
			b.forget(b.usedUntil(id, r))
		}
		return revoked
	}
	renewed := b.renew(ctx, id)
	if renewed == nil {
		b.forget(b.now())
	}
	b.log.Warn("OCSP signer is replaced", "issuer", id, "revoked", r.Serial, "err", renewed)
	return errors.Join(revoked, renewed)
}

// usedUntil returns until when a signer may have signed that is not in use any more:
// until the next one of its issuer was made, which was much later than asked for where
// it could not be replaced. That does not move, so that no later start, which obeys
// again, has everything signed ahead once more.
func (b *signerBook) usedUntil(id ca.IssuerID, r SignerRequest) time.Time {
	all, err := ReadSigners(b.dir, b.now())
	if err != nil {
		return b.now()
	}
	found := false
	for _, s := range all {
		if s.Issuer != id {
			continue
		}
		if found && s.IssuedAt.After(r.At) {
			return s.IssuedAt
		}
		if found {
			break
		}
		found = s.Serial == r.Serial
	}
	return r.At
}

// revokeEarlier revokes every signer of the processes before this one.
func (b *signerBook) revokeEarlier(ctx context.Context) (n int, err error) {
	all, err := ReadSigners(b.dir, b.now())
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		serial, err := ca.ParseSerial(s.Serial)
		if err != nil {
			return n, fmt.Errorf("%s: %w", signersFile, err)
		}
		b.mu.Lock()
		inUse := b.current[s.Issuer] == serial
		b.mu.Unlock()
		if inUse {
			continue
		}
		_, err = b.revoke(ctx, serial, "operator:restart")
		if errors.Is(err, errNoSigner) { // the database was restored from before it
			b.log.Warn("an OCSP signer of before is not in the database", "serial", s.Serial)
			continue
		} else if err != nil {
			return n, fmt.Errorf("revoking OCSP signer %s: %w", s.Serial, err)
		}
		n++
	}
	if n > 0 {
		b.forget(b.now())
	}
	return n, nil
}

// say logs an error when it comes and when it changes.
func (b *signerBook) say(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if err != nil && b.said[what] != text {
		b.log.Error(what, "err", err)
	}
	b.said[what] = text
}

// run looks for requests until ctx ends.
func (b *signerBook) run(ctx context.Context) {
	t := time.NewTicker(authoritiesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			b.obey(ctx)
		}
	}
}

func (a *App) openSigners() {
	a.book = &signerBook{dir: a.Config.Dir, log: a.log, now: a.now, current: map[ca.IssuerID]ca.Serial{}, done: map[string]bool{}, said: map[string]string{},
		revoke: a.revokeSigner, forget: a.forget,
		renew: func(ctx context.Context, id ca.IssuerID) error {
			each, ok := a.Hierarchy.Issuer(id)
			if !ok {
				return fmt.Errorf("no issuing CA %s", id)
			}
			ctx, cancel := context.WithTimeout(ctx, renewWithin)
			defer cancel()
			return a.renewSigner(ctx, each)
		}}
}

// signersOfBefore revokes what was asked for while nobody served and, if the start
// says so, every signer of an earlier process.
func (a *App) signersOfBefore(ctx context.Context) error {
	a.book.obey(ctx)
	if !a.revokeSigners {
		return nil
	}
	n, err := a.book.revokeEarlier(ctx)
	a.log.Warn("OCSP signers of earlier processes are revoked", "count", n, "err", err)
	return err
}

// errNoSigner is returned for a serial that is not an OCSP signer's.
var errNoSigner = errors.New("it is no OCSP signer of this installation")

// revokeSigner puts an OCSP signer on its issuer's CRL. Once revoked it stays so:
// again it changes nothing.
func (a *App) revokeSigner(ctx context.Context, serial ca.Serial, by string) (id ca.IssuerID, err error) {
	err = a.DB.Issue().Update(ctx, func(tx *issue.Tx) error {
		c, err := tx.CertificateBySerial(serial)
		if errors.Is(err, issue.ErrNotFound) || err == nil && c.Profile != policy.ProfileOCSP {
			return errNoSigner
		} else if err != nil {
			return err
		}
		id = c.Issuer
		_, err = issue.Revoke(tx, c, ca.KeyCompromise, ruleSignerRevoked, by, a.now())
		return err
	})
	return id, err
}

// FindSigner reports whether serial is an OCSP signer's, and since when it is
// revoked, zero if it is not.
func FindSigner(ctx context.Context, view func(context.Context, func(*issue.Tx) error) error, serial ca.Serial) (c *issue.Certificate, revoked time.Time, err error) {
	err = view(ctx, func(tx *issue.Tx) error {
		revoked = time.Time{}
		if c, err = tx.CertificateBySerial(serial); errors.Is(err, issue.ErrNotFound) || err == nil && c.Profile != policy.ProfileOCSP {
			return errNoSigner
		} else if err != nil {
			return err
		}
		e, ok, err := tx.Revocations.Revocation(serial)
		if ok {
			revoked = e.At
		}
		return err
	})
	return c, revoked, err
}
