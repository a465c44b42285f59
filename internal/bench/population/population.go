// Package population makes TEST installations with millions of certificates, for
// measuring: what is there at once after years of issuing.
//
// It owns the rows that such a past would have left, written straight into a new
// database; every certificate has a key of its own and the issuing CA's signature
// over bytes that the real issuer built and the real linter passed. It must not be
// used on an installation that was not made by it, and changes none.
//
// What it leaves out: orders, statements, assignments, the memory of keys, and the
// events of issuing. Nothing that tells the status of a certificate reads those,
// and they would be three quarters of the file. What is there obeys every rule of
// the store's Check, and the chain of events verifies.
package population

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sigill/internal/app"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/durable"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/policy"
)

// Issuer is the issuing CA of all certificates of a population.
const Issuer = keys.PersonHSA3

const (
	// past is how long ago the installation was made; certificates are issued
	// evenly over this time, and live for validity.
	past     = 90 * 24 * time.Hour
	validity = 4 * 365 * 24 * time.Hour
	// file says what is in an installation's directory that Make has made.
	file = "population.json"
)

// Options say what population to make.
type Options struct {
	Dir        string // must not exist, or be empty
	Certs      int
	Revoked    int // of them
	Partitions int // of the CRL; 0: 256
	Now        time.Time
	Progress   func(Progress)
}

// Progress is how far Make has come.
type Progress struct {
	Step string  `json:"step"`
	Done int     `json:"done"`
	Of   int     `json:"of"`
	Rate float64 `json:"perSecond"`
	// Left is an estimate from the rate so far.
	Left time.Duration `json:"leftNanoseconds"`
}

// String is Progress for people.
func (p Progress) String() string {
	if p.Done == 0 {
		return p.Step
	}
	return fmt.Sprintf("%s: %d of %d, %.0f a second, %s left", p.Step, p.Done, p.Of, p.Rate, p.Left.Round(time.Second))
}

// Population is what Make has made and Open finds.
type Population struct {
	Dir            string                `json:"-"`
	Certs          int                   `json:"certs"`
	Revoked        int                   `json:"revoked"`
	Partitions     int                   `json:"partitions"`
	Organisation   policy.OrganisationID `json:"organisation"`
	Administrators [2]policy.PersonID    `json:"administrators"`
	EIDs           [2]EID                `json:"eids"` // of the administrators
	// First is the rowid of the first certificate of the population: those of
	// the founding come before it.
	First int64 `json:"first"`
	// Certificate is the octets of a certificate: all but a few of its fields
	// have the same length.
	Certificate int `json:"certificateOctets"`
	Made        `json:"made"`
}

// Made is what making it has cost.
type Made struct {
	Rows          int64         `json:"rows"`
	RowsPerSecond float64       `json:"rowsPerSecond"`
	Octets        int64         `json:"octets"` // of the database
	Took          time.Duration `json:"tookNanoseconds"`
}

func (o *Options) check() error {
	if o.Partitions == 0 {
		o.Partitions = 256
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	switch {
	case o.Dir == "":
		return errors.New("no directory")
	case o.Certs < 1 || o.Certs > maxCerts:
		return fmt.Errorf("%d certificates: 1 to %d can be made", o.Certs, maxCerts)
	case o.Revoked < 0 || o.Revoked > o.Certs:
		return fmt.Errorf("%d of %d certificates can't be revoked", o.Revoked, o.Certs)
	case o.Partitions < 1 || o.Partitions > 1<<16:
		return fmt.Errorf("%d partitions: 1 to %d are possible", o.Partitions, 1<<16)
	}
	return nil
}

// Make makes an installation with a population. What was begun when it fails is
// removed.
func Make(ctx context.Context, o Options) (p *Population, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := room(o); err != nil {
		return nil, err
	}
	began := time.Now()
	o.Progress(Progress{Step: "installation and founding"})
	made := o.Now.Add(-past)
	settings := config.Defaults()
	settings.Partitions, settings.Organisation = o.Partitions, organisation
	settings.Status, settings.Card, settings.Ops = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	_, err = app.Init(ctx, app.InitOptions{Dir: o.Dir, Settings: settings, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return made }})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(o.Dir))
		}
	}()
	p = &Population{Dir: o.Dir, Certs: o.Certs, Revoked: o.Revoked, Partitions: o.Partitions}
	m := &maker{Options: o, p: p, made: made}
	if err := m.found(ctx); err != nil {
		return nil, fmt.Errorf("founding: %w", err)
	}
	if err := m.fill(ctx); err != nil {
		return nil, err
	}
	if err := m.number(ctx); err != nil {
		return nil, err
	}
	p.Took = time.Since(began)
	p.Rows, p.RowsPerSecond = m.rows, float64(m.rows)/p.Took.Seconds()
	if info, err := os.Stat(filepath.Join(o.Dir, "sigill.db")); err == nil {
		p.Octets = info.Size()
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, err
	}
	return p, durable.WriteFile(filepath.Join(o.Dir, file), append(text, '\n'), 0o644)
}

// Open reads what the population in dir is.
func Open(dir string) (*Population, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, fmt.Errorf("no population: %w", err)
	}
	p := &Population{Dir: dir}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// Database returns the address of the population's database.
func (p *Population) Database() string { return "sqlite:" + filepath.Join(p.Dir, "sigill.db") }

// number lets the real sequencer number and chain the events.
func (m *maker) number(ctx context.Context) (err error) {
	db, err := store.Open(ctx, store.Config{URL: m.p.Database()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s := &audit.Sequencer{Store: db.Audit(), Batch: numberAtOnce}
	step := m.step("numbering and chaining events", m.Revoked)
	for done := 0; ; {
		n, err := s.Pass(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		done += n
		step(done)
	}
}

// numberAtOnce bounds what one transaction of the sequencer holds in memory.
const numberAtOnce = 50_000

// step returns a function that tells how far a step has come, not too often.
func (m *maker) step(name string, of int) func(done int) {
	began, last := time.Now(), time.Now()
	return func(done int) {
		now := time.Now()
		if now.Sub(last) < time.Second && done < of {
			return
		}
		last = now
		rate := float64(done) / now.Sub(began).Seconds()
		m.Progress(Progress{Step: name, Done: done, Of: of, Rate: rate,
			Left: time.Duration(float64(max(of-done, 0)) / rate * float64(time.Second))})
	}
}
