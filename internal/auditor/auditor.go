// Package auditor follows the two logs of an installation as somebody who does not
// believe it: with public keys and access to the logs, and nothing else. It verifies
// that the logs only grow, that what is shown is what was signed, derives every
// certificate anew, joins the acts into the story that must stand behind each, and
// says what does not fit.
//
// It owns the judgement. Where the logs are fetched from is behind [Source], what is
// kept between two looks in package book, what a certificate may say in package
// rederive. It must not know the service's database, its orders or how it makes
// certificates: what it shares with them is forms (statements, events, checkpoints).
package auditor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
	"sigill/internal/checkpoint"
)

// What is read, and from where.
type (
	// Tree names one of the two logs.
	Tree = source.Tree
	// Leaf is an entry of the log of certificates.
	Leaf = source.Leaf
	// Evidence is what an order rests on, or one statement.
	Evidence = source.Evidence
	// Source is where the logs are read.
	Source = source.Source
)

// The logs of an installation.
const (
	Certificates = source.Certificates
	Acts         = source.Acts
)

// What is reported.
type (
	// Finding is one thing that does not fit.
	Finding = finding.Finding
	// Kind names a kind of finding.
	Kind = finding.Kind
)

// What a Source answers for what it has not.
var (
	ErrErased   = source.ErrErased
	ErrUnshown  = source.ErrUnshown
	ErrNoAnswer = source.ErrNoAnswer
)

// Status is what relying parties are told. It is asked for what the log of acts says.
type Status interface {
	// List fetches a CRL from its address.
	List(ctx context.Context, address string) ([]byte, error)
	// OCSP asks for a certificate by the address in it.
	OCSP(ctx context.Context, address string, request []byte) ([]byte, error)
}

// Config is what an Auditor works with.
type Config struct {
	Source  Source // nil: Watch alone
	Book    *book.Book
	Logs    map[Tree]*checkpoint.Log
	Issuers *rederive.Issuers
	// Profiles that all certificates are held against; nil: those that the log of acts
	// recorded, each in its time.
	Profiles ca.Profiles
	// Witnesses whose cosignatures count; nil: none are looked at.
	Witnesses []checkpoint.Witness
	// Quorum is how many of them must have cosigned; 0: all.
	Quorum int
	// Proof returns the public proof of the leaf at a place, under the newest checkpoint
	// that witnesses have cosigned; nil: only the newest checkpoint is looked at for
	// cosignatures.
	Proof func(ctx context.Context, tree Tree, leaf tlog.Hash, index int64) ([]byte, error)
	// Status; nil: relying parties' view is not compared.
	Status Status
	// Late is how long after its cause a revocation may come; 0: a minute.
	Late time.Duration
	// Public is how long after its act a revocation may be missing for relying parties;
	// 0: an hour.
	Public time.Duration
	// Grace is how far the two logs may be apart; 0: five minutes.
	Grace time.Duration
	// HeadAge is how old the newest head may be by this auditor's clock; 0: two hours. A log
	// signs its head anew after an hour; the second one is for a service that is away.
	HeadAge time.Duration
	// Ask is for how many revoked certificates OCSP is asked in one look; 0: 100.
	Ask int
	// Progress is told how far it is; nil: nobody.
	Progress func(stage string, done, total int64)
	Now      func() time.Time
}

// Auditor follows one installation. It is used by one goroutine at a time.
type Auditor struct {
	Config
}

// New returns an auditor.
func New(c Config) (*Auditor, error) {
	if c.Book == nil || c.Issuers == nil || c.Now == nil {
		return nil, errors.New("auditor: something to audit with is missing")
	}
	for _, tree := range []Tree{Certificates, Acts} {
		if c.Logs[tree] == nil {
			return nil, fmt.Errorf("auditor: no key of the log of %s", tree)
		}
	}
	for d, standard := range map[*time.Duration]time.Duration{&c.Late: time.Minute, &c.Public: time.Hour, &c.Grace: 5 * time.Minute, &c.HeadAge: 2 * time.Hour} {
		if *d == 0 {
			*d = standard
		}
	}
	if c.Quorum == 0 {
		c.Quorum = len(c.Witnesses)
	}
	if c.Quorum < 0 || c.Quorum > len(c.Witnesses) {
		return nil, fmt.Errorf("auditor: %d of %d witnesses cannot be demanded", c.Quorum, len(c.Witnesses))
	}
	if c.Ask <= 0 {
		c.Ask = 100
	}
	if c.Progress == nil {
		c.Progress = func(string, int64, int64) {}
	}
	return &Auditor{c}, nil
}

// Seen is how far a tree was followed.
type Seen struct {
	Log  Tree      `json:"log"`
	Size int64     `json:"size"`
	Root string    `json:"root"`
	Time time.Time `json:"time"` // by the log's clock
	New  int64     `json:"new"`  // entries since the last look
	// Witnessed is the largest size that enough witnesses have cosigned; 0: none was seen.
	Witnessed int64 `json:"witnessed"`
	// Public: it is what everybody is shown, and was not read.
	Public bool `json:"public,omitempty"`
}

// Report is what one look has found.
type Report struct {
	Logs     []Seen    `json:"logs"`
	Findings []Finding `json:"findings"`
	// Certificates that were derived anew in this look.
	Rederived int64 `json:"rederived"`
	// OCSP is what it was asked for; nil: it was not.
	OCSP *Asked `json:"ocsp,omitempty"`
	// Stopped: a log could not be followed further, because it is not the one of before.
	Stopped bool `json:"stopped,omitempty"`
}

// Clean reports whether nothing was found that somebody must look at.
func (r *Report) Clean() bool {
	for _, f := range r.Findings {
		if f.Severity != finding.Note {
			return false
		}
	}
	return true
}
