package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sigill/internal/app"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/internal/translog"
)

// dirFlag names an installation.
type dirFlag struct {
	Dir string `default:"./sigill-data" env:"SIGILL_DIR" help:"The installation's directory."`
}

type initCmd struct {
	dirFlag
	Organisation string            `default:"Sigill" help:"Organisation in the names of the CAs."`
	Status       string            `default:"127.0.0.1:8080" help:"Listen address for relying parties (http)."`
	Card         string            `default:"127.0.0.1:8444" help:"Listen address for cards and administrators (https)."`
	Ops          string            `default:"127.0.0.1:9090" help:"Listen address for operators (http)."`
	StatusURL    string            `name:"status-url" help:"Address of the status listener as relying parties see it; it stands in certificates. Default: http:// and the listen address, which must then be a host's and not 0.0.0.0 or port 0."`
	Host         []string          `default:"localhost,127.0.0.1" help:"Names and addresses of the card listener, for its certificate."`
	Size         string            `enum:"small,large" default:"small" help:"small: one CRL of each issuing CA; large: 256 partitions, for a million certificates."`
	Partitions   int               `help:"CRL partitions of each issuing CA, in place of --size." placeholder:"N"`
	Database     string            `default:"sqlite:sigill.db" help:"sqlite:FILE in the directory, or postgres://…"`
	Bureau       map[string]string `placeholder:"NAME=FILE" help:"Public keys (PEM) of those who may sign delivery files of cards."`
}

func (c *initCmd) Run(g *globals) error {
	s := config.Defaults()
	s.Organisation, s.Status, s.Card, s.Ops, s.Hosts = c.Organisation, c.Status, c.Card, c.Ops, c.Host
	s.Partitions, s.Database, s.StatusURL = config.Partitions(config.Scale(c.Size)), c.Database, c.StatusURL
	if c.Partitions != 0 {
		s.Partitions = c.Partitions
	}
	if s.StatusURL == "" {
		s.StatusURL = "http://" + c.Status
		if err := config.CheckStatusURL(s.StatusURL); err != nil {
			return usageError{fmt.Sprintf("--status %s is where to listen, and tells no address that relying parties can reach, which would stand in every certificate: say it with --status-url http://host[:port]", c.Status)}
		}
	} else if err := config.CheckStatusURL(s.StatusURL); err != nil {
		return usageError{"--status-url " + err.Error()}
	}
	o := app.InitOptions{Dir: c.Dir, Settings: s, Log: g.log(), Now: time.Now,
		Progress: func(step string) { fmt.Fprintf(g.stderr, "making %s …\n", step) }}
	if err := c.bureaus(&o); err != nil {
		return err
	}
	made, err := app.Init(g.ctx, o)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`Made %s in %s.

  sigill.yaml     the configuration, every key explained
  root/           the root's key: take it offline before production
  keys/           the issuing keys, encrypted
  logs/           the keys of the transparency logs, encrypted
  officers/       the two officers' cards, for the bootstrap
  profiles/       what the CAs may issue

Next:
  sigill serve --dir %s
  sigill ceremony found --help    the two officers found the first organisation
`, made.Root, c.Dir, c.Dir)
	return g.print(made, text)
}

// bureaus takes the bureaus' public keys into the installation.
func (c *initCmd) bureaus(o *app.InitOptions) error {
	o.Settings.Bureaus, o.Files = map[string]string{}, map[string][]byte{}
	for name, file := range c.Bureau {
		if !bureauName.MatchString(name) {
			return usageError{fmt.Sprintf("--bureau: %q is not lower-case letters, digits and hyphens", name)}
		}
		key, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if block, _ := pem.Decode(key); block == nil || block.Type != "PUBLIC KEY" {
			return fmt.Errorf("--bureau: %s is not a public key in PEM", file)
		}
		path := filepath.Join("bureaus", name+".pem")
		o.Settings.Bureaus[name], o.Files[path] = path, key
	}
	return nil
}

var bureauName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

type serveCmd struct {
	dirFlag
	RevokeSigners bool       `name:"revoke-signers" help:"Revoke the OCSP signers that earlier processes of this installation had: their keys were in memory, and a memory may have been seen."`
	LogLevel      slog.Level `name:"log-level" default:"info" help:"The least that is logged: debug, info, warn or error. At debug each request of a card or administrator is logged when it begins and when it has ended."`
}

func (c *serveCmd) Run(g *globals) error {
	a, err := app.Open(g.ctx, c.Dir, app.Options{Log: g.logFrom(c.LogLevel), Now: time.Now, RevokeSigners: c.RevokeSigners,
		Prompt: g.passphrase("Passphrase of the issuing keys: "), PromptLogs: g.passphrase("Passphrase of the logs' keys: ")})
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Serve(g.ctx, func(at app.Addresses) {
		g.print(at, fmt.Sprintf(`Sigill serves %s.

  %-8s %s   OCSP, CRLs, CA certificates
  %-8s %s   cards and administrators (mutual TLS)
  %-8s %s   /metrics, /healthz, /readyz

Trust:   %s
Next:    sigill ceremony found --help    the first organisation and its administrators
         sigill demo                     the whole journey in a directory of its own
Stop with Ctrl-C.
%s`, c.Dir, "status", at.Status, "card", at.Card, "ops", at.Ops, a.Hierarchy.CertificatePath(keys.RootID), notProven(a.Unproven())))
	})
}

// notProven tells what is not to be relied on.
func notProven(sentences []string) string {
	var b strings.Builder
	for _, s := range sentences {
		fmt.Fprintf(&b, "Not proven: %s.\n", s)
	}
	return b.String()
}

// passphrase asks on the terminal.
func (g *globals) passphrase(text string) func() (keys.Passphrase, error) {
	return func() (keys.Passphrase, error) {
		in, ok := g.stdin.(*os.File)
		if !ok {
			return keys.Passphrase{}, errors.New("no terminal to ask for the passphrase on")
		}
		return keys.FromPrompt(in, g.stderr, text)
	}
}

type migrateCmd struct{ dirFlag }

func (c *migrateCmd) Run(g *globals) error {
	from, to, err := app.Migrate(g.ctx, c.Dir)
	if err != nil {
		return err
	}
	return g.print(map[string]int64{"from": from, "to": to}, fmt.Sprintf("schema %d → %d\n", from, to))
}

type doctorCmd struct {
	All  doctorAllCmd  `cmd:"" default:"withargs" help:"Database, event chain, CRLs, certificates, lists of weak keys."`
	Keys doctorKeysCmd `cmd:"" help:"Every key that was ever certified, by the rules and lists of today: weak ones, duplicates, shared primes."`
}

type doctorAllCmd struct{ dirFlag }

func (c *doctorAllCmd) Run(g *globals) error {
	at, end := g.waiting()
	findings, err := app.DoctorTelling(g.ctx, c.Dir, time.Now, at)
	end()
	if err != nil {
		return err
	}
	return g.findings(findings, findings)
}

// findings prints v as JSON or the findings as text; a red one is a failure.
func (g *globals) findings(v any, findings []app.Finding) error {
	var text strings.Builder
	bad := false
	for _, f := range findings {
		fmt.Fprintf(&text, "%-6s %-12s %s\n", f.Grade, f.Area, f.Text)
		bad = bad || f.Grade == app.Red
	}
	if err := g.print(v, text.String()); err != nil {
		return err
	}
	if bad {
		return errTold
	}
	return nil
}

type doctorKeysCmd struct {
	dirFlag
	Batch int `default:"32768" help:"How many RSA moduli are compared at once. More is faster, and needs more memory: 350 MB for the default and 2048 bits."`
}

// Help implements kong.HelpProvider.
func (doctorKeysCmd) Help() string {
	return `Changes nothing, and may run while the installation is served. Exit 1 when a
certificate that is believed has a key that would be refused today, that another
card has too, or whose modulus shares a prime with another.

  sigill doctor keys --dir ./sigill-data --json`
}

func (c *doctorKeysCmd) Run(g *globals) error {
	p := progress{to: g.stderr, now: time.Now, next: time.Now().Add(progressEvery)}
	report, err := app.DoctorKeys(g.ctx, c.Dir, app.KeyOptions{Now: time.Now, Progress: p.at, Batch: c.Batch})
	if err != nil {
		return err
	}
	return g.findings(report, report.Findings)
}

// progressEvery is how long a person waits without a word.
const progressEvery = 2 * time.Second

// waiting tells every two seconds at what something is whose steps may each take long.
// Call end before anything else is printed.
func (g *globals) waiting() (at func(step string, done, total int), end func()) {
	var now atomic.Pointer[string]
	began, stop := time.Now(), make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() {
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				if step := now.Load(); step != nil {
					fmt.Fprintf(g.stderr, "%s, %d s …\n", *step, int(time.Since(began).Seconds()))
				}
			}
		}
	})
	return func(step string, done, total int) {
		if total > 0 {
			step = fmt.Sprintf("%s (%d of %d)", step, done+1, total)
		}
		now.Store(&step)
	}, func() { close(stop); told.Wait() }
}

// progress tells how far something is, if it takes long.
type progress struct {
	to   io.Writer
	now  func() time.Time
	next time.Time
}

func (p *progress) at(stage string, done, total int) {
	now := p.now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	if total > 0 {
		fmt.Fprintf(p.to, "%s: %d of %d\n", stage, done, total)
	} else {
		fmt.Fprintf(p.to, "%s: %d\n", stage, done)
	}
}

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Verify the chain of events and the trees of both logs, in the database: changed, missing, reordered, inserted rows, changed personal values."`

	auditNouns
}

type auditVerifyCmd struct {
	dirFlag
	Heads []string `type:"existingfile" help:"Files with heads of the chain that were kept elsewhere. Default: the installation's own, which proves less."`
}

func (c *auditVerifyCmd) Run(g *globals) error {
	cfg, err := config.Load(c.Dir)
	if err != nil {
		return err
	}
	files := c.Heads
	if len(files) == 0 {
		files = []string{cfg.Path(app.HeadFile)}
	}
	var kept []audit.Head
	for _, name := range files {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		heads, err := audit.ParseHeads(text)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		kept = append(kept, heads...)
	}
	db, err := store.Open(g.ctx, store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		return err
	}
	defer db.Close()
	logs, err := app.LogReader(cfg.Dir, db)
	if err != nil {
		return err
	}
	return verifyChain(g, db, logs, kept)
}

// auditAnswer is what audit verify prints with --json.
type auditAnswer struct {
	Head       string   `json:"head"` // as it is kept elsewhere
	Links      int64    `json:"links"`
	Personal   int64    `json:"personal"`
	Erased     int64    `json:"erased"` // personal values
	Bodies     int64    `json:"bodies"` // events of which retention left number and hash
	Unnumbered int      `json:"unnumbered"`
	Proven     int64    `json:"proven"` // up to here a head kept elsewhere agrees
	Findings   []string `json:"findings"`
	Unproven   []string `json:"unproven"`
}

func verifyChain(g *globals, db *store.DB, logs *translog.Reader, kept []audit.Head) error {
	findings := []string{}
	found := func(f audit.Finding) { findings = append(findings, f.String()) }
	sum, err := audit.Verify(g.ctx, db.Audit(), kept, found)
	if err != nil {
		return err
	}
	if err := logs.VerifyTrees(g.ctx, found); err != nil {
		return err
	}
	var text strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&text, "FOUND  %s\n", f)
	}
	head := ""
	fmt.Fprintf(&text, "%d events in the chain, %d findings in it and in the trees of both logs, %d personal values agree with their commitments\n", sum.Links, len(findings), sum.Personal)
	if sum.Links > 0 {
		sum.Head.At = time.Now()
		head = sum.Head.String()
		fmt.Fprintf(&text, "head: %s\n", head)
	}
	for _, s := range sum.Unproven() {
		fmt.Fprintf(&text, "not proven: %s\n", s)
	}
	err = g.print(auditAnswer{Head: head, Links: sum.Links, Personal: sum.Personal, Erased: sum.Erased, Bodies: sum.Bodies, Unnumbered: sum.Unnumbered,
		Proven: sum.Proven, Findings: findings, Unproven: sum.Unproven()}, text.String())
	if err == nil && len(findings) > 0 {
		return errTold
	}
	return err
}

type configCmd struct{}

func (configCmd) Run(g *globals) error {
	text, err := config.Defaults().Text()
	if err != nil {
		return err
	}
	if g.json {
		c, err := config.Parse(text)
		if err != nil {
			return err
		}
		return g.print(c, "")
	}
	_, err = g.stdout.Write(text)
	return err
}
