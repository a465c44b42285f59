package keys

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/durable"
	"sigill/revocation"
)

// rootCRLLife is how long a root CRL is valid. The root is offline; it is brought
// out once a year at least.
const rootCRLLife = year

// lastRootCRL is, beside the root's key, the newest list that was signed with it:
// the key's own memory of its numbers, which no other machine can turn back.
const lastRootCRL = "root.crl"

// RevokedCA is a CA certificate that the root takes back.
type RevokedCA struct {
	Serial ca.Serial
	At     time.Time
	Reason ca.Reason
}

// caReasons are why a root takes a CA certificate back.
var caReasons = []ca.Reason{ca.CACompromise, ca.Superseded, ca.CessationOfOperation, ca.AffiliationChanged}

// CAReasons returns the reasons for which a root takes a CA certificate back.
func CAReasons() []ca.Reason { return slices.Clone(caReasons) }

// Root is the directory with the root's key, wherever it is kept: nothing else of
// the hierarchy need be there. It is not for concurrent use.
type Root struct {
	Certificate *x509.Certificate
	dir         string
	last        *x509.RevocationList // nil: none was signed since this is kept
}

// LoadRoot reads the root's certificate and the newest list signed here from dir,
// the directory that [Create] made for the root. It opens no key.
func LoadRoot(dir string) (*Root, error) {
	text, err := os.ReadFile(filepath.Join(dir, string(RootID)+".pem"))
	if err != nil {
		return nil, fmt.Errorf("reading the root's directory: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("reading the root's directory: %s.pem is no certificate in PEM", RootID)
	}
	r := &Root{dir: dir}
	if r.Certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("reading the root's directory: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, lastRootCRL))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the root's directory: %w", err)
	}
	if r.last, err = r.ParseCRL(raw); err != nil {
		return nil, fmt.Errorf("%s beside the root's key: %w", lastRootCRL, err)
	}
	return r, nil
}

// Test reports whether it is the root of a TEST hierarchy.
func (r *Root) Test() bool {
	return strings.HasPrefix(r.Certificate.Subject.CommonName, string(Test)+" ")
}

// ParseCRL reads a CRL of this root and verifies it.
func (r *Root) ParseCRL(der []byte) (*x509.RevocationList, error) {
	return parseRootCRL(r.Certificate, der)
}

func parseRootCRL(root *x509.Certificate, der []byte) (*x509.RevocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("reading root CRL: %w", err)
	}
	if err := list.CheckSignatureFrom(root); err != nil {
		return nil, fmt.Errorf("root CRL is not the root's: %w", err)
	}
	if list.Number == nil {
		return nil, errors.New("root CRL has no number")
	}
	return list, nil
}

// CheckIssued reports why cert is not a CA's certificate that this root issued.
func (r *Root) CheckIssued(cert *x509.Certificate) error {
	switch {
	case cert.Equal(r.Certificate):
		return errors.New("it is the root's own: nobody can take back a root but by no longer trusting it")
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("it is not a CA's: its own issuer takes it back")
	}
	if err := cert.CheckSignatureFrom(r.Certificate); err != nil {
		return fmt.Errorf("it is not one of this root's: %w", err)
	}
	return nil
}

// Previous returns what [Root.Next] goes on from if it is given previous.
func (r *Root) Previous(previous *x509.RevocationList) *x509.RevocationList {
	if previous == nil {
		return r.last
	}
	return previous
}

// Next returns what a new list at the time at would say: what was revoked before
// stays, with its date and at least as grave a reason, revoked is added, and the
// number goes up. previous is the list that is public now; nil stands for the
// newest one signed here. It refuses a previous list that is older than that
// one, and a time before either.
func (r *Root) Next(at time.Time, previous *x509.RevocationList, revoked []RevokedCA) (*x509.RevocationList, error) {
	if previous == nil && r.last == nil {
		return nil, errors.New("no root CRL was signed here since this is kept: give the one that is public now")
	}
	if previous != nil && r.last != nil && previous.Number.Cmp(r.last.Number) < 0 {
		return nil, fmt.Errorf("the previous root CRL given has number %v, but number %v was signed here: give the newest one, or none", previous.Number, r.last.Number)
	}
	// Both, if they are not the same: where copies of the root's key each signed a
	// list, what either of them revoked is revoked.
	// The dates are those that relying parties have seen.
	return nextRootCRL(r.Certificate, at, []*x509.RevocationList{previous, r.last}, revoked)
}

// Sign opens the key keyURI with the passphrase (empty: the key file beside the
// certificate), signs a list that Next returned, and keeps it as the newest.
func (r *Root) Sign(ctx context.Context, keyURI string, pass Passphrase, next *x509.RevocationList) ([]byte, error) {
	if keyURI == "" {
		keyURI = FileURI(filepath.Join(r.dir, string(RootID)+".key"))
	}
	key, err := openFor(ctx, CA{ID: RootID, Certificate: r.Certificate}, keyURI, pass)
	if err != nil {
		return nil, fmt.Errorf("opening root: %w", err)
	}
	raw, err := r.sign(key.Signer, next)
	return raw, errors.Join(err, key.Close())
}

// sign signs next. It is kept here before anybody else gets it: its number is
// used from then on.
func (r *Root) sign(signer crypto.Signer, next *x509.RevocationList) ([]byte, error) {
	raw, err := x509.CreateRevocationList(rand.Reader, next, r.Certificate, signer)
	if err != nil {
		return nil, fmt.Errorf("signing root CRL: %w", err)
	}
	parsed, err := r.ParseCRL(raw)
	if err != nil {
		return nil, fmt.Errorf("checking root CRL: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(r.dir, lastRootCRL), raw, 0o644); err != nil {
		return nil, fmt.Errorf("keeping root CRL: %w", err)
	}
	r.last = parsed
	return raw, nil
}

// SignRootCRL opens the root's key, which must be in this hierarchy's directory or
// in a token, signs a new root CRL and puts it in place of the public one.
func (h *Hierarchy) SignRootCRL(ctx context.Context, rootPass Passphrase, at time.Time, revoked []RevokedCA) error {
	old, err := h.RootCRL()
	if err != nil {
		return err
	}
	r, err := LoadRoot(h.RootDir())
	if err != nil {
		return err
	}
	next, err := r.Next(at, old, revoked)
	if err != nil {
		return err
	}
	raw, err := r.Sign(ctx, h.resolve(h.Root.KeyURI), rootPass, next)
	if err != nil {
		return err
	}
	return h.putRootCRL(raw)
}

func (h *Hierarchy) putRootCRL(raw []byte) error {
	if err := durable.WriteFile(h.RootCRLPath(), raw, 0o644); err != nil {
		return fmt.Errorf("writing root CRL: %w", err)
	}
	return nil
}

// firstRootCRL signs the empty list that a new hierarchy begins with.
func (h *Hierarchy) firstRootCRL(signer crypto.Signer, at time.Time) error {
	next, err := nextRootCRL(h.Root.Certificate, at, nil, nil)
	if err != nil {
		return err
	}
	raw, err := (&Root{Certificate: h.Root.Certificate, dir: h.RootDir()}).sign(signer, next)
	if err != nil {
		return err
	}
	return h.putRootCRL(raw)
}

// RootCRL reads the public root CRL and verifies it.
func (h *Hierarchy) RootCRL() (*x509.RevocationList, error) {
	raw, err := os.ReadFile(h.RootCRLPath())
	if err != nil {
		return nil, fmt.Errorf("reading root CRL: %w", err)
	}
	return parseRootCRL(h.Root.Certificate, raw)
}

// nextRootCRL returns the successor of all of before; nil stands for none.
func nextRootCRL(root *x509.Certificate, at time.Time, before []*x509.RevocationList, revoked []RevokedCA) (*x509.RevocationList, error) {
	at = at.UTC().Truncate(time.Second)
	next := &x509.RevocationList{Number: new(big.Int), ThisUpdate: at.Add(-backdate), NextUpdate: at.Add(rootCRLLife)}
	for _, old := range before {
		if old == nil {
			continue
		}
		if next.ThisUpdate.Before(old.ThisUpdate) {
			return nil, fmt.Errorf("root CRL would be older than number %v of %s: is the clock right?", old.Number, old.ThisUpdate.Format(time.RFC3339))
		}
		if old.Number.Cmp(next.Number) > 0 {
			next.Number.Set(old.Number)
		}
		for _, e := range old.RevokedCertificateEntries {
			addRevoked(next, e.SerialNumber, e.RevocationTime, ca.Reason(e.ReasonCode))
		}
	}
	next.Number.Add(next.Number, big.NewInt(1))
	for _, r := range revoked {
		switch {
		case r.Serial.IsZero() || r.Serial.Int().Cmp(root.SerialNumber) == 0:
			return nil, errors.New("a root CRL takes back certificates of issuing CAs, each by its serial")
		case r.At.Truncate(time.Second).After(at):
			return nil, fmt.Errorf("CA certificate %s would be revoked in the future", r.Serial)
		case !slices.Contains(caReasons, r.Reason):
			return nil, fmt.Errorf("a CA certificate is not revoked for %s", r.Reason)
		}
		addRevoked(next, r.Serial.Int(), r.At.UTC().Truncate(time.Second), r.Reason)
	}
	next.RevokedCertificateEntries = sorted(next)
	return next, nil
}

// addRevoked enters a serial. One that is there keeps the date that came first: a
// date that moved would give what was signed in between another meaning. A graver
// reason takes the place of a lesser one.
func addRevoked(list *x509.RevocationList, serial *big.Int, since time.Time, reason ca.Reason) {
	for i := range list.RevokedCertificateEntries {
		e := &list.RevokedCertificateEntries[i]
		if e.SerialNumber.Cmp(serial) != 0 {
			continue
		}
		if revocation.Graver(reason, ca.Reason(e.ReasonCode)) {
			e.ReasonCode = int(reason)
		}
		return
	}
	list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
		x509.RevocationListEntry{SerialNumber: serial, RevocationTime: since, ReasonCode: int(reason)})
}

// SameRevoked reports whether two lists revoke the same for the same reasons.
func SameRevoked(a, b *x509.RevocationList) bool {
	return slices.EqualFunc(sorted(a), sorted(b), func(x, y x509.RevocationListEntry) bool {
		return x.SerialNumber.Cmp(y.SerialNumber) == 0 && x.ReasonCode == y.ReasonCode
	})
}

// sorted returns the entries by serial.
func sorted(list *x509.RevocationList) []x509.RevocationListEntry {
	return slices.SortedFunc(slices.Values(list.RevokedCertificateEntries), func(a, b x509.RevocationListEntry) int { return a.SerialNumber.Cmp(b.SerialNumber) })
}
