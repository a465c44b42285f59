package simulate

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/store"
	"sigill/internal/texts"
	"sigill/internal/translog"
	"sigill/internal/world"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
	"sigill/revocation/publish"
)

// Base is where every schedule begins: an installation with two administrators
// and some holders, whose database file each schedule copies. Its keys are real
// and the same in every run. One schedule at a time uses it.
type Base struct {
	T      *testing.T
	dir    string
	world  *world.World
	texts  *texts.Catalogue
	people []person
	scopes []publish.Scope
	linter publish.Linter
	keys   map[ca.IssuerID]crypto.Signer
	// acts and certificates are the logs.
	acts, certificates translog.Keyed
	// promised are leaves, by certificate: what was once verified need not be again.
	promised map[[32]byte][32]byte

	sim *Sim // the schedule under way; nil: the base is being made
}

// person is a holder as the base has made them.
type person struct {
	holder *world.Holder
	branch policy.OrganisationID // another organisation where they work too
	hsaID  policy.HSAID          // there
}

// People of a base: most have an eID; the last has only what the bureau put on
// the card.
const basePeople = 5

// baseSeed is the seed of the base's own keys and identifiers. No schedule may have
// it: it would draw the same ones again.
const baseSeed = 1 << 63

// NewBase makes the installation in a directory of its own, in memory where there
// is a file system in memory.
func NewBase(t *testing.T) *Base {
	t.Helper()
	cryptotest.SetGlobalRandom(t, baseSeed)
	b := &Base{T: t, dir: memoryDir(t), keys: map[ca.IssuerID]crypto.Signer{}, promised: map[[32]byte][32]byte{}}
	if err := b.make(t.Context()); err != nil {
		t.Fatalf("making the base: %v", err)
	}
	return b
}

// memoryDir returns a directory where durable writing costs nothing, if there is
// one: a schedule that is not replayed loses nothing by a power cut.
func memoryDir(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "sigill-simulate-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func (b *Base) make(ctx context.Context) error {
	var err error
	if b.texts, err = texts.Load(); err != nil {
		return err
	}
	db, err := world.OpenStore(ctx, b.dir)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := b.makeLogs(); err != nil {
		return err
	}
	_, logs, err := b.logsOver(db.Audit(), db.Translog(), nil)
	if err != nil {
		return err
	}
	b.world, err = world.New(ctx, world.Config{Stores: world.StoresOf(db), Wrap: b.wrap, Log: logs, Now: b.now})
	if err != nil {
		return err
	}
	if err := b.world.DrawFrom(source{}); err != nil {
		return err
	}
	for i := range basePeople {
		if err := b.addPerson(ctx, i < basePeople-1); err != nil {
			return fmt.Errorf("person %d: %w", i, err)
		}
	}
	if err := b.world.SetSigning(ctx, b.world.Org, true); err != nil {
		return err
	}
	if err := b.addStatus(); err != nil {
		return err
	}
	return db.Close()
}

// source is the randomness of the schedule under way.
type source struct{}

// Read implements [io.Reader].
func (source) Read(p []byte) (int, error) { return rand.Read(p) }

func (b *Base) addPerson(ctx context.Context, equipped bool) error {
	h, err := b.world.NewHolder(ctx)
	if err != nil {
		return err
	}
	if equipped {
		id, err := b.world.Order(ctx, h, policy.OrderOrdinary)
		if err != nil {
			return err
		}
		if err := b.world.Fetch(ctx, h, id); err != nil {
			return err
		}
	}
	p := person{holder: h}
	if p.branch, err = b.world.AddOrganisation(ctx, fmt.Sprintf("Sjukhus %d", len(b.people)), h); err != nil {
		return err
	}
	if len(b.people)%2 == 0 { // every other branch allows signing certificates
		if err := b.world.SetSigning(ctx, p.branch, true); err != nil {
			return err
		}
	}
	err = b.world.Register.Store.View(ctx, func(tx *register.Tx) error {
		a, err := tx.Assignment(h.Person, p.branch)
		if err == nil {
			p.hsaID = a.HSAID
		}
		return err
	})
	b.people = append(b.people, p)
	return err
}

// addStatus makes what signs CRLs.
func (b *Base) addStatus() (err error) {
	if b.linter, err = world.NewLinter(); err != nil {
		return err
	}
	for _, id := range []ca.IssuerID{world.PersonCA, world.CardCA, world.FunctionCA} {
		issuer := b.world.Issuers[id]
		signer, err := crl.NewSigner(issuer.Certificate(), &issuingKey{b, listKey + id, b.keys[id]})
		if err != nil {
			return err
		}
		for p := range issuer.Partitions() {
			b.scopes = append(b.scopes, publish.Scope{Issuer: id, Partition: p, URL: issuer.CRLURL(p), Signer: signer})
		}
		b.scopes = append(b.scopes, publish.Scope{Issuer: id, Partition: revocation.Whole, Signer: signer})
	}
	return nil
}

func (b *Base) now() time.Time {
	if b.sim == nil {
		return epoch
	}
	return b.sim.clock
}

func (b *Base) wrap(id ca.IssuerID, key crypto.Signer) crypto.Signer {
	b.keys[id] = key
	return &issuingKey{b, id, key}
}

// copyTo gives a schedule its own database.
func (b *Base) copyTo(dir string) error {
	in, err := os.Open(filepath.Join(b.dir, "sigill.db"))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, "sigill.db"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if again := out.Close(); err == nil {
		err = again
	}
	return err
}

func (b *Base) open(ctx context.Context, dir string, now func() time.Time) (*store.DB, error) {
	return store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "sigill.db"), Readers: 1, Now: now})
}

// listKey is before the name of a key where it signs lists.
const listKey = "crl "

// issuingKey is the key of an issuing CA. It fails as the schedule says, and
// every digest that it signs is looked at: it must be one that the database
// knows, and must not have been signed before.
type issuingKey struct {
	b    *Base
	name ca.IssuerID
	key  crypto.Signer
}

// Public implements [crypto.Signer].
func (k *issuingKey) Public() crypto.PublicKey { return k.key.Public() }

// Sign implements [crypto.Signer].
func (k *issuingKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s := k.b.sim
	if s == nil {
		return k.key.Sign(random, digest, opts)
	}
	s.point("sign " + string(k.name))
	if err := s.alive(); err != nil {
		return nil, err
	}
	f := s.draw(SignRefused, SignLost, SignSlow)
	switch f {
	case SignRefused:
		return nil, fmt.Errorf("%w: %s", errInjected, f)
	case SignSlow:
		s.pause(s.between(10*time.Second, 2*time.Minute))
		if err := s.alive(); err != nil {
			return nil, err
		}
	}
	if !strings.HasPrefix(string(k.name), listKey) {
		s.signing(k.name, digest)
	}
	signature, err := k.key.Sign(random, digest, opts)
	s.note("sign "+string(k.name), outcome(err))
	if f == SignLost {
		return nil, fmt.Errorf("%w: %s", errInjected, f)
	}
	return signature, err
}
