package app

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/internal/batchgcd"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/internal/weakkeys"
	"sigill/orders/issue"
	"sigill/policy"
)

// weakLists reads the lists of weak keys that the configuration names. One that
// cannot be read whole is an error: what it would refuse must not pass because a
// file was cut off.
func weakLists(cfg *config.Config) (*weakkeys.Lists, error) {
	var lists weakkeys.Lists
	read := func(names []string, parse func(string, []byte) (*weakkeys.List, error), into *[]*weakkeys.List) error {
		for _, name := range names {
			path := name
			if !filepath.IsAbs(name) {
				path = cfg.Path(name)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("weak_keys: %w", err)
			}
			l, err := parse(name, text)
			if err != nil {
				return fmt.Errorf("weak_keys: %w", err)
			}
			*into = append(*into, l)
		}
		return nil
	}
	err := errors.Join(read(cfg.WeakKeys.Debian, weakkeys.ParseDebian, &lists.Debian),
		read(cfg.WeakKeys.Badkeys, weakkeys.ParseBadkeys, &lists.Badkeys))
	return &lists, err
}

// wholeBadkeys is the least that the list of the badkeys project holds with all of
// Debian's keys in it, which alone are over two million.
const wholeBadkeys = 2_000_000

// listFindings says which lists of weak keys there are, and what they lack.
func listFindings(lists *weakkeys.Lists, say sayer) {
	covered := false
	for _, l := range lists.Badkeys {
		whole := l.Len() >= wholeBadkeys
		covered = covered || whole
		if whole {
			say(Green, "lists", "%s: %d keys", l.Name(), l.Len())
		} else {
			say(Yellow, "lists", "%s holds %d keys: with all that Debian's OpenSSL made there would be over %d", l.Name(), l.Len(), wholeBadkeys)
		}
	}
	for _, l := range lists.Debian {
		if l.Len() < weakkeys.OneArchitecture {
			say(Yellow, "lists", "%s holds %d keys: one architecture and length alone has %d, so it is not whole", l.Name(), l.Len(), weakkeys.OneArchitecture)
		} else {
			say(Green, "lists", "%s: %d keys", l.Name(), l.Len())
			covered = true
		}
	}
	if !covered {
		say(Yellow, "lists", "no whole list of the keys of CVE-2008-0166 is in place (weak_keys in %s): an RSA key that Debian's OpenSSL made from 2006 to 2008 is not recognised", config.File)
	}
}

// KeyReport is what DoctorKeys found.
type KeyReport struct {
	Certificates int       `json:"certificates"`
	Keys         int       `json:"keys"` // different ones
	Moduli       int       `json:"rsaModuli"`
	Findings     []Finding `json:"findings"`
}

// KeyOptions are how DoctorKeys works.
type KeyOptions struct {
	Now func() time.Time
	// Progress is called often, with how much of a stage is done; total 0: not
	// known. nil: not.
	Progress func(stage string, done, total int)
	// Batch is as in [batchgcd.Finder].
	Batch int
}

// DoctorKeys judges every key that was ever certified, with the rules and lists of
// today: each by itself as the gate would, whether two cards have it, and whether
// RSA moduli share a prime. It changes nothing. It keeps in memory a fingerprint
// and a card number for each key, the RSA moduli, and what batchgcd says.
func DoctorKeys(ctx context.Context, dir string, o KeyOptions) (*KeyReport, error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	h, err := keys.Load(cfg.Dir)
	if err != nil {
		return nil, err
	}
	lists, err := weakLists(cfg)
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	s := &survey{KeyOptions: o, rules: service.KeyRules(lists), first: map[ca.KeyFingerprint]place{},
		finder: batchgcd.Finder{Batch: o.Batch, Progress: func(done, total int) { o.Progress("shared primes", done, total) }}}
	listFindings(lists, s.say)
	for _, each := range append([]keys.CA{h.Root}, h.Issuers...) {
		own := owner{name: "CA " + each.Certificate.Subject.CommonName, place: place{ca: true}, alive: func() (bool, error) { return true, nil }}
		if err := s.key(own, each.Certificate.PublicKey); err != nil {
			return nil, err
		}
	}
	if err := s.population(ctx, db); err != nil {
		return nil, err
	}
	if err := s.sharedPrimes(ctx); err != nil {
		return nil, err
	}
	bad := 0
	for _, f := range s.report.Findings {
		if f.Grade == Red {
			bad++
		}
	}
	if bad == 0 {
		s.say(Green, "keys", "%d keys in %d certificates: none is weak, on two cards, or shares a prime with another", s.report.Keys, s.report.Certificates)
	}
	return &s.report, nil
}

// survey is one run of DoctorKeys.
type survey struct {
	KeyOptions
	rules  policy.KeyRules
	report KeyReport
	first  map[ca.KeyFingerprint]place
	finder batchgcd.Finder
	moduli []string // whose, in the order of finder
}

// place is where a key is.
type place struct {
	card policy.CardNumber // empty: of a technical certificate, or a CA's
	ca   bool
}

func (p place) String() string {
	switch {
	case p.ca:
		return "a CA"
	case p.card == "":
		return "a technical certificate"
	}
	return "card " + string(p.card)
}

// owner is whose key it is.
type owner struct {
	name string
	place
	// alive tells whether relying parties accept it still: what is found then is
	// to be dealt with now.
	alive func() (bool, error)
}

func (s *survey) say(g Grade, area, format string, args ...any) {
	s.report.Findings = append(s.report.Findings, Finding{g, area, fmt.Sprintf(format, args...)})
}

// pageSize is how many certificates are read in one transaction, so that no reader
// stands in the way of the writer's checkpoints.
const pageSize = 1000

func (s *survey) population(ctx context.Context, db *store.DB) error {
	var after ca.Fingerprint
	for {
		var page []*issue.Certificate
		err := db.Issue().View(ctx, func(tx *issue.Tx) error {
			var err error
			page, err = tx.CertificatesAfter(after, pageSize)
			return err
		})
		if err != nil {
			return fmt.Errorf("reading certificates: %w", err)
		}
		for _, c := range page {
			if err := s.certificate(ctx, db, c); err != nil {
				return err
			}
			after = c.Fingerprint
			s.report.Certificates++
			s.Progress("certificates", s.report.Certificates, 0)
		}
		if len(page) < pageSize {
			return ctx.Err()
		}
	}
}

func (s *survey) certificate(ctx context.Context, db *store.DB, c *issue.Certificate) error {
	name := fmt.Sprintf("certificate %s (%s)", c.Serial, c.Profile)
	if c.Card != "" {
		name = fmt.Sprintf("certificate %s (%s on card %s)", c.Serial, c.Profile, c.Card)
	}
	if len(c.DER) == 0 {
		return nil // retention took it; its key is not known any more but by its fingerprint
	}
	parsed, err := x509.ParseCertificate(c.DER)
	if err != nil {
		s.say(Red, "keys", "%s cannot be read: %v", name, err)
		return nil
	}
	if fp, err := ca.FingerprintKey(parsed.PublicKey); err == nil && fp != c.Key {
		s.say(Red, "keys", "%s is stored under the key %x, and has the key %x: who looks for its key does not find it", name, c.Key, fp)
	}
	alive := func() (bool, error) {
		if s.Now().After(c.NotAfter) {
			return false, nil
		}
		var revoked bool
		err := db.Issue().View(ctx, func(tx *issue.Tx) error {
			var err error
			_, revoked, err = tx.Revocations.Revocation(c.Serial)
			return err
		})
		return !revoked, err
	}
	return s.key(owner{name, place{card: c.Card}, alive}, parsed.PublicKey)
}

// key judges one key.
func (s *survey) key(o owner, pub crypto.PublicKey) error {
	if d := policy.AdmitKey(pub, s.rules); !d.Allow {
		if err := s.found("keys", o, fmt.Sprintf("%s: %s", d.Rule, d.Detail)); err != nil {
			return err
		}
	}
	fp, err := fingerprint(pub)
	if err != nil {
		return nil // no kind of key that has a fingerprint: the gate has said so
	}
	first, again := s.first[fp]
	switch {
	case again && first != o.place:
		return s.found("duplicates", o, fmt.Sprintf("the key %x is that of %s too", fp, first))
	case again: // the same card with another certificate, as after an interruption
		return nil
	}
	s.first[fp] = o.place
	s.report.Keys++
	if key, ok := pub.(*rsa.PublicKey); ok && key.N.Cmp(big.NewInt(1)) > 0 {
		s.finder.Add(key.N)
		s.moduli = append(s.moduli, o.name)
		s.report.Moduli++
	}
	return nil
}

// found says what is wrong with a key: red while its certificate is believed.
func (s *survey) found(area string, o owner, text string) error {
	alive, err := o.alive()
	if err != nil {
		return err
	}
	if alive {
		s.say(Red, area, "%s: %s", o.name, text)
	} else {
		s.say(Yellow, area, "%s: %s; it is revoked or has expired", o.name, text)
	}
	return nil
}

func fingerprint(pub crypto.PublicKey) (ca.KeyFingerprint, error) {
	switch pub.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		return ca.FingerprintKey(pub)
	}
	return ca.KeyFingerprint{}, errors.New("no fingerprint")
}

// sharedPrimes says which moduli share a prime: both can be factored by anybody who
// has both certificates.
func (s *survey) sharedPrimes(ctx context.Context) error {
	hits, err := s.finder.Find(ctx)
	if err != nil {
		return fmt.Errorf("looking for shared primes: %w", err)
	}
	for _, h := range hits {
		with := "others"
		if h.With >= 0 {
			with = s.moduli[h.With]
		}
		s.say(Red, "primes", "%s shares a prime of %d bits with %s: anybody can compute both private keys", s.moduli[h.Index], h.Factor.BitLen(), with)
	}
	return nil
}
