// Package app is an installation: it makes one (Init), opens one (Open) and
// serves it (Serve). It owns wiring, start and stop, and the lock on the
// directory; every rule is elsewhere.
//
// A start is hostile: a schema that is not known, a key that is not its
// certificate's, a file that others can read, a clock before the newest record
// each stop it, with what to do.
package app

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/clock"
	"sigill/internal/config"
	"sigill/internal/keep"
	"sigill/internal/keys"
	"sigill/internal/lanes"
	"sigill/internal/lint"
	"sigill/internal/logapi"
	"sigill/internal/mode"
	"sigill/internal/profiles"
	"sigill/internal/service"
	"sigill/internal/store"
	"sigill/internal/target"
	"sigill/internal/translog"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation"
	"sigill/revocation/publish"
	"sigill/revocation/status"
)

// Options are what Open is given beside the directory.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// Prompt is asked for the passphrase where the configuration says prompt.
	Prompt func() (keys.Passphrase, error)
	// PromptLogs is asked likewise for that of the logs' keys.
	PromptLogs func() (keys.Passphrase, error)
	// RevokeSigners revokes, when serving begins, the OCSP signers that earlier
	// processes of this installation had.
	RevokeSigners bool
}

// App is an open installation.
type App struct {
	*service.Services
	Config    *config.Config
	Hierarchy *keys.Hierarchy
	DB        *store.DB
	Issuers   issue.Issuers
	Sequencer *audit.Sequencer
	Logs      *translog.Service
	// Keep has the logs' heads kept elsewhere, and knows whether the database is old.
	Keep      *keep.Keeper
	Publisher *publish.Publisher
	// Modes knows the conditions that the service works under, Lane who issues.
	Modes *mode.Keeper
	Lane  *lanes.Lane

	log      *slog.Logger
	now      func() time.Time
	owner    string
	presence *store.Presence // nil: no other process can be on the database
	signers  status.Signers
	ocsp     ocspService
	logReads *logapi.Service // made with the card listener
	crl      []publish.CRLSigner
	linter   *lint.Linter
	profiles map[ca.ProfileName][]byte // as they were read
	closers  []io.Closer
	mirrors  []*target.Mirror
	// witnesses are believed when they cosign.
	witnesses []checkpoint.Witness

	precedence  precedence
	authorities *authorities
	retained    retained
	clock       *clock.Monitor
	book        *signerBook
	// revokeSigners: at start the signers of earlier processes are revoked.
	revokeSigners bool
}

// Open opens the installation in dir under its lock and checks it. Close it.
func Open(ctx context.Context, dir string, o Options) (app *App, err error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	a := &App{Config: cfg, log: o.Log, now: o.Now, owner: policy.NewID("proc"), revokeSigners: o.RevokeSigners}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, lock)
	if a.Hierarchy, err = keys.Load(cfg.Dir); err != nil {
		return nil, err
	}
	if err := a.checkEnvironment(); err != nil {
		return nil, err
	}
	if a.ocsp.cache, err = status.NewCache(uint64(cfg.OCSP.Cache), &a.signers); err != nil {
		return nil, err
	}
	if err := a.relieve(); err != nil {
		return nil, err
	}
	// What is revoked leaves the cache before whoever revoked it is told.
	if a.DB, err = store.Open(ctx, store.Config{URL: cfg.DatabaseURL(), Revoked: a.ocsp.cache.Revoked}); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.DB)
	if err := a.announce(ctx); err != nil {
		return nil, err
	}
	if err := a.checkClock(ctx); err != nil {
		return nil, err
	}
	if err := a.checkPartitions(ctx); err != nil {
		return nil, err
	}
	pass, err := Passphrase(cfg, o.Prompt)
	if err != nil {
		return nil, err
	}
	if err := a.openIssuers(ctx, pass); err != nil {
		return nil, err
	}
	return a, a.wire(ctx, o)
}

// Migrate brings the database of the installation in dir to this program's schema
// and returns the versions before and after. It takes the installation's lock: a
// process that serves would go on with the statements of the old schema.
func Migrate(ctx context.Context, dir string) (from, to int64, err error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return 0, 0, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return 0, 0, err
	}
	from, to, err = store.Migrate(ctx, store.Config{URL: cfg.DatabaseURL()})
	return from, to, errors.Join(err, lock.Close())
}

// Passphrase returns the passphrase of the issuing keys from where the
// configuration says.
func Passphrase(cfg *config.Config, prompt func() (keys.Passphrase, error)) (keys.Passphrase, error) {
	switch cfg.Passphrase {
	case "file":
		return keys.FromFile(cfg.Path("secrets", "passphrase"), environment(cfg.Environment))
	case "credential":
		return keys.FromCredential("sigill-passphrase", os.LookupEnv)
	}
	if prompt == nil {
		return keys.Passphrase{}, errors.New("the configuration asks for the passphrase by prompt, and there is no terminal")
	}
	return prompt()
}

func environment(name string) keys.Environment {
	if name == config.Production {
		return keys.Production
	}
	return keys.Test
}

// checkEnvironment refuses to run a TEST tree as production or the reverse, and
// in production a root key that this process could read.
func (a *App) checkEnvironment() error {
	if a.Hierarchy.Environment != environment(a.Config.Environment) {
		return fmt.Errorf("the hierarchy is %q and the configuration %q: they never mix", a.Hierarchy.Environment, a.Config.Environment)
	}
	if a.Hierarchy.StatusURL != strings.TrimRight(a.Config.StatusURL, "/") {
		return fmt.Errorf("status_url is %s, but the CA certificates name %s", a.Config.StatusURL, a.Hierarchy.StatusURL)
	}
	entries, err := os.ReadDir(a.Hierarchy.RootDir())
	if err == nil && len(entries) > 0 && a.Config.Environment == config.Production {
		return fmt.Errorf("%s is readable: take the root's directory offline before serving", a.Hierarchy.RootDir())
	}
	return nil
}

// checkClock refuses a clock before the newest record.
func (a *App) checkClock(ctx context.Context) error {
	var newest time.Time
	err := a.DB.Audit().View(ctx, func(tx *audit.Tx) error {
		head, err := tx.HeadLink()
		if errors.Is(err, audit.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		records, _, err := tx.Linked(head.Number-1, 1)
		if err == nil && len(records) == 1 {
			newest = records[0].At
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the newest record: %w", err)
	}
	if now := a.now(); now.Add(time.Minute).Before(newest) {
		return fmt.Errorf("the clock says %s, but the newest record is of %s: set the clock", now.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
	}
	return nil
}

// mayIssue are the profiles of each issuing CA of the default hierarchy.
var mayIssue = map[ca.IssuerID][]ca.ProfileName{
	keys.PersonHSA3: {policy.ProfileAuthentication, policy.ProfileSigning, policy.ProfileOCSP},
	keys.PersonHSA2: {policy.ProfileAuthentication, policy.ProfileSigning, policy.ProfileOCSP},
	keys.PersonID3:  {policy.ProfileAuthentication, policy.ProfileSigning, policy.ProfileOCSP},
	keys.CardCA:     {policy.ProfileTransport, policy.ProfileOCSP},
	keys.FunctionCA: {policy.ProfileOfficer, policy.ProfileServer, policy.ProfileOCSP},
}

// leadLists names what one process of a database does: publishing.
const leadLists = "lists"

// issuesFor names the issuing CA of each kind of eID.
var issuesFor = map[orders.Kind]ca.IssuerID{
	{IDKind: policy.ByHSAID, LoA: 3}:        keys.PersonHSA3,
	{IDKind: policy.ByHSAID, LoA: 2}:        keys.PersonHSA2,
	{IDKind: policy.ByPersonNumber, LoA: 3}: keys.PersonID3,
}

// NewLinter returns the linter for a set of profiles.
func NewLinter(all ca.Profiles) (*lint.Linter, error) {
	authentication := all[policy.ProfileAuthentication]
	if authentication == nil {
		return nil, fmt.Errorf("no profile %s", policy.ProfileAuthentication)
	}
	var policies []string
	for _, oid := range authentication.Assurance() {
		policies = append(policies, oid)
	}
	return lint.New(lint.Config{LoAPolicies: policies})
}

func (a *App) openIssuers(ctx context.Context, pass keys.Passphrase) error {
	all, written, err := profiles.LoadTexts(a.Config.Path("profiles"))
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	a.profiles = written
	linter, err := NewLinter(all)
	if err != nil {
		return err
	}
	a.linter = linter
	a.Issuers = issue.Issuers{}
	for _, each := range a.Hierarchy.Issuers {
		opened, err := a.Hierarchy.OpenIssuer(ctx, each.ID, pass)
		if err != nil {
			return err
		}
		a.closers = append(a.closers, opened)
		a.Issuers[each.ID], err = ca.NewIssuer(ca.IssuerConfig{ID: each.ID, Certificate: opened.Certificate, Signer: opened.Signer,
			Profiles: all, MayIssue: mayIssue[each.ID], Partitions: a.Config.Partitions, StatusURL: a.Hierarchy.StatusURL, Linter: linter})
		if err != nil {
			return err
		}
		signer, err := crl.NewSigner(opened.Certificate, opened.Signer)
		if err != nil {
			return err
		}
		a.crl = append(a.crl, signer)
	}
	return nil
}

func (a *App) wire(ctx context.Context, o Options) error {
	bureaus, err := a.bureaus()
	if err != nil {
		return err
	}
	a.watchAuthorities()
	provenance := map[policy.LoA]policy.Provenance{}
	for loa, p := range a.Config.Provenance {
		provenance[policy.LoA(loa)] = policy.Provenance(p)
	}
	if err := errors.Join(a.openClock(), a.watch(), a.lane()); err != nil {
		return err
	}
	if err := a.openLogs(ctx, o.PromptLogs); err != nil {
		return err
	}
	if err := a.openKeep(); err != nil {
		return err
	}
	lists, err := weakLists(a.Config)
	if err != nil {
		return err
	}
	stores := a.stores()
	a.precedence = precedence{numbers: a.Config.Capacity.Priority, view: stores.Register.View, failed: func(err error) { a.log.Error("reading who has priority", "err", err) }}
	d := a.Config.Download
	a.Services, err = service.New(service.Config{
		Stores: stores, Issuers: a.Issuers, For: issuesFor, CardCA: keys.CardCA, Bureaus: bureaus, Provenance: provenance, WeakKeys: lists,
		Owner: a.owner, Dead: a.dead, Now: a.now, Log: a.Logs,
		PendingTTL: time.Duration(d.PendingTTL), ArmedFor: time.Duration(d.ArmedFor), OrderOpen: time.Duration(d.OrderOpen), Validity: time.Duration(d.Validity),
	})
	if err != nil {
		return err
	}
	a.openSigners()
	a.Issue.May = a.authorities.mayIssueTechnical
	a.Issue.Log = technicalLog{a.Logs, a.held}
	a.Downloads.Gate = a.gate
	if a.mirrors, err = openTargets(a.Config, a.Hierarchy, a.now, a.log); err != nil {
		return err
	}
	a.Publisher = &publish.Publisher{Store: mode.Watch(a.Modes, a.DB.Revocation()), Dir: a.Hierarchy.PublicDir(), Now: a.now, Log: a.log,
		Lint: a.linter, Lifetime: time.Duration(a.Config.CRL.Lifetime), FullEvery: time.Duration(a.Config.CRL.FullEvery), AnnounceNext: a.Config.CRL.AnnounceNext}
	a.Publisher.Last, a.Publisher.Ahead = a.authorities.last, a.held
	if len(a.mirrors) > 0 {
		a.Publisher.Elsewhere = a.elsewhere
	}
	if a.presence != nil {
		a.Publisher.Leader = func(ctx context.Context) (bool, error) { return a.presence.Lead(ctx, leadLists) }
	}
	for i, each := range a.Hierarchy.Issuers {
		issuer := a.Issuers[each.ID]
		for p := range issuer.Partitions() {
			a.Publisher.Scopes = append(a.Publisher.Scopes, publish.Scope{Issuer: each.ID, Partition: p, URL: issuer.CRLURL(p), Signer: a.crl[i]})
		}
		a.Publisher.Scopes = append(a.Publisher.Scopes, publish.Scope{Issuer: each.ID, Partition: revocation.Whole, Signer: a.crl[i]})
	}
	return errors.Join(a.Publisher.Check(), a.checkAddresses())
}

// gate decides whether an issuing CA may issue a card's certificates now.
func (a *App) gate(id ca.IssuerID) policy.Decision {
	if d := a.Modes.MayIssue(id); !d.Allow {
		return d
	}
	return a.authorities.mayIssue(id)
}

// announce shows this process to others on the same database, where there may be
// any.
func (a *App) announce(ctx context.Context) error {
	p, err := a.DB.Announce(ctx, a.owner, func(err error) { a.log.Error("presence", "err", err) })
	if errors.Is(err, store.ErrNotShared) {
		return nil
	} else if err != nil {
		return err
	}
	a.presence = p
	a.closers = append(a.closers, p)
	return nil
}

// dead: with SQLite the lock on the directory means that every other owner is.
// With PostgreSQL another process may live, and its presence tells; where that
// can't be asked, only deadlines do.
func (a *App) dead(owner string) bool {
	if owner == a.owner {
		return false
	}
	if a.presence == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	gone, err := a.presence.Dead(ctx, owner)
	if err != nil {
		a.log.Error("presence", "err", err)
	}
	return gone
}

func (a *App) bureaus() (map[string]crypto.PublicKey, error) {
	out := map[string]crypto.PublicKey{}
	for name, file := range a.Config.Bureaus {
		text, err := os.ReadFile(a.Config.Path(file))
		if err != nil {
			return nil, fmt.Errorf("bureau %s: %w", name, err)
		}
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("bureau %s: %s is not a public key in PEM", name, file)
		}
		if out[name], err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("bureau %s: %w", name, err)
		}
	}
	return out, nil
}

// Close closes what Open opened, last first.
func (a *App) Close() error {
	var err error
	for i := len(a.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, a.closers[i].Close())
	}
	a.closers = nil
	return err
}
