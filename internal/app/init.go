package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/durable"
	"sigill/internal/keys"
	"sigill/internal/profiles"
	"sigill/internal/store"
	"sigill/internal/token"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// InitOptions say what installation to make.
type InitOptions struct {
	Dir      string
	Settings config.Settings
	Log      *slog.Logger
	Now      func() time.Time
	// Passphrase, RootPassphrase and LogPassphrase protect the keys; in a TEST installation
	// with passphrase "file" all are made and written if they are not given.
	Passphrase     keys.Passphrase
	RootPassphrase keys.Passphrase
	LogPassphrase  keys.Passphrase
	// OfficerPIN gives the PIN of each officer's card; nil (TEST only): random
	// ones, written beside the cards.
	OfficerPIN func(officer int) (string, error)
	// Files are further files, by path below Dir, that the settings name.
	Files map[string][]byte
	// Progress is told each step.
	Progress func(step string)
}

// Made tells what Init made.
type Made struct {
	Dir      string    `json:"dir"`
	Root     string    `json:"root"`     // common name of the root
	Officers [2]string `json:"officers"` // names of the officers' cards, "soft:FILE"
}

// officerCards are the numbers of the officers' soft cards; they are no cards of
// the register.
var officerCards = [2]string{"9752000000000000001", "9752000000000000002"}

// Init makes an installation: configuration, profiles, keys, database, officers.
// It works in a directory beside and renames it when everything is there, so that
// the directory either has a whole installation or does not exist. It never
// overwrites.
func Init(ctx context.Context, o InitOptions) (made *Made, err error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	final, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(final); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: init never overwrites; choose another directory, or start what is there with `sigill serve --dir %s`", o.Dir, o.Dir)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(filepath.Dir(final), ".sigill-init-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	if made, err = build(ctx, work, &o); err != nil {
		return nil, err
	}
	if err := os.Remove(final); err != nil && !errors.Is(err, os.ErrNotExist) { // an empty one
		return nil, err
	}
	if err := os.Rename(work, final); err != nil {
		return nil, err
	}
	made.Dir = o.Dir
	for i := range made.Officers {
		made.Officers[i] = "soft:" + filepath.Join(o.Dir, "officers", officerFile(i))
	}
	return made, nil
}

func given(p keys.Passphrase) func() (keys.Passphrase, error) {
	return func() (keys.Passphrase, error) { return p, nil }
}

func officerFile(i int) string { return fmt.Sprintf("officer-%d.json", i+1) }

func build(ctx context.Context, dir string, o *InitOptions) (*Made, error) {
	o.Progress("configuration and profiles")
	text, err := o.Settings.Text()
	if err != nil {
		return nil, err
	}
	if _, err := config.Parse(text); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, config.File), text, 0o644); err != nil {
		return nil, err
	}
	for _, sub := range []string{"profiles", "secrets", "officers"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if err := profiles.WriteDefaults(filepath.Join(dir, "profiles")); err != nil {
		return nil, err
	}
	for name, content := range o.Files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return nil, err
		}
		if err := durable.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return nil, err
		}
	}
	if err := o.hierarchy(ctx, dir); err != nil {
		return nil, err
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	o.Progress("keys of the transparency logs")
	if _, err := CreateLogs(ctx, cfg, keys.LogsPlan{Passphrase: o.LogPassphrase}); err != nil {
		return nil, err
	}
	o.Progress("database")
	if err := store.Create(ctx, store.Config{URL: cfg.DatabaseURL()}); err != nil {
		return nil, err
	}
	a, err := Open(ctx, dir, Options{Log: o.Log, Now: o.Now, Prompt: given(o.Passphrase), PromptLogs: given(o.LogPassphrase)})
	if err != nil {
		return nil, err
	}
	o.Progress("two officers for the bootstrap ceremony")
	if err = a.recordConfiguration(ctx); err == nil {
		err = a.officers(ctx, dir, o)
	}
	made := &Made{Root: a.Hierarchy.Root.Certificate.Subject.CommonName}
	return made, errors.Join(err, a.Close())
}

// hierarchy makes the CAs with their keys.
func (o *InitOptions) hierarchy(ctx context.Context, dir string) (err error) {
	env := environment(o.Settings.Environment)
	o.Progress("keys and certificates of the root and the issuing CAs")
	all, err := profiles.Default()
	if err != nil {
		return err
	}
	linter, err := NewLinter(all)
	if err != nil {
		return err
	}
	if o.Settings.Passphrase == "file" && o.Passphrase.IsZero() {
		if o.Passphrase, err = keys.GenerateFile(filepath.Join(dir, "secrets", "passphrase"), env); err != nil {
			return err
		}
	}
	if o.RootPassphrase.IsZero() && env == keys.Test {
		if o.RootPassphrase, err = keys.GenerateFile(filepath.Join(dir, "secrets", "root-passphrase"), env); err != nil {
			return err
		}
	}
	plan := keys.DefaultPlan(env, dir, o.Settings.StatusURL, o.Settings.Organisation, o.Now())
	plan.Profiles, plan.Passphrase, plan.RootPassphrase, plan.Lint = all, o.Passphrase, o.RootPassphrase, linter.Lint
	_, err = keys.Create(ctx, plan)
	return err
}

// officers gives each officer a card with a certificate of the Function CA and
// opens the ceremony.
func (a *App) officers(ctx context.Context, dir string, o *InitOptions) error {
	cer := &register.Ceremony{OfficerNames: [2]string{"Officer 1", "Officer 2"}}
	for i := range cer.Officers {
		pin, err := o.officerPIN(dir, i)
		if err != nil {
			return err
		}
		cert, err := a.officer(ctx, filepath.Join(dir, "officers", officerFile(i)), i, pin)
		if err != nil {
			return fmt.Errorf("officer %d: %w", i+1, err)
		}
		cer.Officers[i] = cert.Fingerprint
	}
	return a.DB.Register().Update(ctx, func(tx *register.Tx) error {
		if err := tx.PutCeremony(cer); err != nil {
			return err
		}
		root := a.Hierarchy.Root.Certificate
		return tx.Events.Append(issue.NewEvent(audit.Initialised, a.now(), "system", issue.F("root", root.Subject.CommonName),
			issue.F("certificate", ca.FingerprintOf(root.Raw).String()), issue.F("environment", a.Config.Environment),
			issue.F("officer1", cer.Officers[0].String()), issue.F("officer2", cer.Officers[1].String())))
	})
}

func (o *InitOptions) officerPIN(dir string, i int) (string, error) {
	if o.OfficerPIN != nil {
		return o.OfficerPIN(i + 1)
	}
	if o.Settings.Environment != config.Test {
		return "", errors.New("in production each officer chooses a PIN")
	}
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", err
	}
	pin := fmt.Sprintf("%06d", n)
	return pin, durable.WriteFile(filepath.Join(dir, "officers", fmt.Sprintf("officer-%d.pin", i+1)), []byte(pin+"\n"), 0o600)
}

func (a *App) officer(ctx context.Context, path string, i int, pin string) (*issue.Certificate, error) {
	err := token.CreateSoft(path, token.SoftConfig{Number: officerCards[i], Label: fmt.Sprintf("TEST officer %d", i+1), PIN1: pin})
	if err != nil {
		return nil, err
	}
	card, err := token.OpenSoft(path, func(context.Context, policy.Slot) ([]byte, error) { return []byte(pin), nil })
	if err != nil {
		return nil, err
	}
	defer card.Close()
	id, err := card.GenerateKey(ctx, policy.Authentication, token.P256)
	if err != nil {
		return nil, err
	}
	key, err := card.Signer(ctx, id)
	if err != nil {
		return nil, err
	}
	issuer, err := a.Issuers.Issuer(keys.FunctionCA)
	if err != nil {
		return nil, err
	}
	notAfter := a.now().AddDate(1, 0, 0)
	if end := issuer.Certificate().NotAfter; end.Before(notAfter) {
		notAfter = end
	}
	req := ca.Request{Profile: policy.ProfileOfficer, PublicKey: key.Public(), NotBefore: a.now().Add(-register.Backdate), NotAfter: notAfter,
		Content: ca.Content{Country: "SE", Organisation: a.Config.Organisation, CommonName: fmt.Sprintf("Officer %d", i+1)}}
	cert, err := a.Issue.Issue(ctx, keys.FunctionCA, req, issue.Binding{}, nil)
	if err != nil {
		return nil, err
	}
	return cert, card.WriteCertificate(ctx, id, cert.DER)
}
