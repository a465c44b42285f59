package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/auditor"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/proof"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/remote"
	"sigill/internal/checkpoint"
	"sigill/internal/profiles"
)

// auditNouns are what auditors do, from outside: with public keys, and the right to read
// the logs. They open no installation.
type auditNouns struct {
	Follow        auditFollowCmd        `cmd:"" help:"Follow both logs of an installation and say what does not fit. Exit 0, 1 with findings."`
	Findings      auditFindingsCmd      `cmd:"" help:"List all that was ever found."`
	Prove         auditProveCmd         `cmd:"" help:"Is a certificate in the log, under which checkpoint, and which acts belong to it."`
	Compare       auditCompareCmd       `cmd:"" help:"Compare what two auditors have seen of a log: one history, or two."`
	Export        auditExportCmd        `cmd:"" help:"A period of the log of acts with what proves it."`
	VerifyExport  auditVerifyExportCmd  `cmd:"" help:"Verify such a period with public keys alone."`
	VerifyReceipt auditVerifyReceiptCmd `cmd:"" help:"Say what the receipt of an act proves, with public keys alone."`
}

// knownLogs are the logs and witnesses that an auditor believes, by their keys alone.
type knownLogs struct {
	Log       []string `required:"" sep:"none" placeholder:"ORIGIN=FILE" help:"A log by its name and public key (PEM), which sigill log show --out writes. May be repeated: follow takes …/log/certificates and …/log/acts, prove the former, export and receipts the latter, compare those that are to be compared."`
	Witness   []string `sep:"none" placeholder:"VKEY" help:"A witness that is believed, by its key: name+hash+base64. May be repeated."`
	Witnesses int      `placeholder:"N" help:"How many of the witnesses must have cosigned. Default: all of them."`
}

// read returns the logs by tree. need names those that must be there.
func (k knownLogs) read(need ...auditor.Tree) (map[auditor.Tree]*checkpoint.Log, []checkpoint.Witness, error) {
	logs := map[auditor.Tree]*checkpoint.Log{}
	for _, each := range k.Log {
		origin, name, _ := strings.Cut(each, "=")
		_, tree, ok := strings.Cut(origin, "/log/")
		if name == "" || !ok || tree != string(auditor.Certificates) && tree != string(auditor.Acts) {
			return nil, nil, usageError{fmt.Sprintf("--log: %q is not HOST/log/certificates=FILE or HOST/log/acts=FILE", each)}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, nil, err
		}
		l, err := checkpoint.ReadLog(origin, text)
		if err != nil {
			return nil, nil, usageError{"--log: " + err.Error()}
		}
		logs[auditor.Tree(tree)] = l
	}
	for _, tree := range need {
		if logs[tree] == nil {
			return nil, nil, usageError{fmt.Sprintf("--log: the key of the log of %s is missing: HOST/log/%s=FILE, which sigill log show --out writes", tree, tree)}
		}
	}
	var witnesses []checkpoint.Witness
	for _, vkey := range k.Witness {
		w, err := checkpoint.NewWitness(strings.TrimSpace(vkey))
		if err != nil {
			return nil, nil, usageError{"--witness: " + err.Error()}
		}
		witnesses = append(witnesses, w)
	}
	if k.Witnesses < 0 || k.Witnesses > len(witnesses) {
		return nil, nil, usageError{fmt.Sprintf("--witnesses %d: %d are named", k.Witnesses, len(witnesses))}
	}
	return logs, witnesses, nil
}

// statusFlag is where everybody asks.
type statusFlag struct {
	Status string `placeholder:"URL" help:"Address of the status service. Default: http:// and the host in the logs' names."`
}

func (f statusFlag) public(logs map[auditor.Tree]*checkpoint.Log) *remote.Public {
	base := f.Status
	for _, l := range logs {
		if base == "" {
			host, _, _ := strings.Cut(l.Origin(), "/log/")
			base = "http://" + host
		}
	}
	return remote.NewPublic(base)
}

// issuerFlag are the CAs that are believed.
type issuerFlag struct {
	Issuer []string `required:"" sep:"none" placeholder:"FILE" help:"Certificates of the issuing CAs, PEM or DER, or a directory of them: the auditor's own copies. May be repeated."`
}

func (f issuerFlag) read() (*rederive.Issuers, error) {
	var all [][]byte
	for _, path := range f.Issuer {
		files, err := certificateFiles(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			for _, cert := range file.certs {
				if cert.IsCA {
					all = append(all, cert.Raw)
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, usageError{"--issuer: no CA certificate is there"}
	}
	return rederive.NewIssuers(all...)
}

// stateFlag is the auditor's own memory.
type stateFlag struct {
	State string `required:"" env:"SIGILL_AUDIT_STATE" placeholder:"DIR" help:"The auditor's own memory: what was verified, and an index. Kept where those who run the installation cannot write. sigill audit follow makes a new one where none is."`
}

type auditFollowCmd struct {
	serverFlags
	stateFlag
	knownLogs
	issuerFlag
	statusFlag
	Identity  string        `env:"SIGILL_IDENTITY" placeholder:"CARD" help:"Your card: soft:FILE, or pkcs11:module-path=FILE;token=LABEL. Without one, the checkpoints that everybody is shown are looked at, and nothing else."`
	LoginWith string        `placeholder:"ID" help:"Log in with this object of the card. Default: the newest that is accepted."`
	Profiles  string        `type:"existingdir" placeholder:"DIR" help:"Hold certificates against these profiles at all times. Default: those that the log of acts recorded, each in its time."`
	Late      time.Duration `default:"1m" help:"How long after its cause a revocation may come."`
	Public    time.Duration `default:"1h" help:"How long a revocation may be missing from the lists, and witnesses may be behind."`
	Grace     time.Duration `default:"5m" help:"How far the two logs may be apart."`
	OCSP      int           `name:"ocsp" default:"100" placeholder:"N" help:"How many revoked certificates OCSP is asked for in one look. All are asked for in time, and then again: what was revoked since the last look comes first."`
	NoPublic  bool          `name:"no-public" help:"Do not compare what relying parties are told: lists, OCSP and public checkpoints."`
}

// Help implements kong.HelpProvider.
func (auditFollowCmd) Help() string {
	return `Needs nothing of the installation but public keys and the right to read its logs
(role auditor). Goes on where it stopped the last time, verifies that both logs have
only grown and that what is shown was signed, derives every certificate anew, and
joins the acts behind each.

  sigill audit follow --server https://card.example:8444 --ca root.cer --identity soft:mine.json \
      --state /var/lib/audit --issuer cas/ --log status.example/log/certificates=certificates.pem \
      --log status.example/log/acts=acts.pem --witness "$(cat witness.vkey)"

Exit 0: nothing is wrong; 1: something is, or it could not look; 2: wrong use.`
}

func (c *auditFollowCmd) Run(g *globals) error {
	logs, witnesses, err := c.knownLogs.read(auditor.Certificates, auditor.Acts)
	if err != nil {
		return err
	}
	issuers, err := c.issuerFlag.read()
	if err != nil {
		return err
	}
	var given ca.Profiles
	if c.Profiles != "" {
		if given, err = profiles.Load(c.Profiles); err != nil {
			return err
		}
	}
	b, err := book.Open(g.ctx, c.State)
	if err != nil {
		return err
	}
	defer b.Close()
	p := progress{to: g.stderr, now: time.Now, next: time.Now().Add(progressEvery)}
	config := auditor.Config{Book: b, Logs: logs, Issuers: issuers, Profiles: given, Witnesses: witnesses, Quorum: c.Witnesses, Late: c.Late, Public: c.Public,
		Grace: c.Grace, Ask: c.OCSP, Now: time.Now, Progress: func(stage string, done, total int64) { p.at(stage, int(done), int(total)) }}
	public := c.public(logs)
	defer public.Close()
	if !c.NoPublic {
		config.Status, config.Proof = public, public.Proof
	}
	report, err := c.look(g, config, public)
	if report == nil {
		return err
	}
	return auditReport(g, report, err)
}

// look follows the logs with the auditor's card, and watches what the public is shown.
func (c *auditFollowCmd) look(g *globals, config auditor.Config, public *remote.Public) (*auditor.Report, error) {
	report := &auditor.Report{Logs: []auditor.Seen{}, Findings: []auditor.Finding{}}
	var s *session
	if c.Identity != "" {
		var err error
		if s, err = c.serverFlags.open(g); err != nil {
			return nil, err
		}
		defer s.close()
		source, err := c.source(s)
		if err != nil {
			return nil, err
		}
		defer source.Close()
		config.Source = source
	} else if c.NoPublic {
		return nil, usageError{"without --identity and with --no-public there is nothing to look at"}
	}
	a, err := auditor.New(config)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	if config.Source != nil {
		if report, err = a.Follow(g.ctx); err != nil {
			return report, err
		}
	}
	if c.NoPublic || report.Stopped {
		return report, nil // what is public is held against what was followed
	}
	watched, err := a.Watch(g.ctx, public.Checkpoint)
	report.Logs, report.Findings = append(report.Logs, watched.Logs...), append(report.Findings, watched.Findings...)
	return report, err
}

// source logs in with the auditor's card.
func (c *auditFollowCmd) source(s *session) (*remote.Source, error) {
	opened, err := s.card(c.Identity)
	if err != nil {
		return nil, err
	}
	with, err := ownCard{LoginWith: c.LoginWith}.object()
	if err != nil {
		return nil, err
	}
	return remote.Open(s.ctx, remote.Login{Server: c.Server, Roots: s.roots, Card: opened, With: with, Language: s.lang})
}

// auditReport prints a report. err is that it could not be finished.
func auditReport(g *globals, r *auditor.Report, err error) error {
	var text strings.Builder
	wrong := 0
	for _, f := range r.Findings {
		fmt.Fprintln(&text, clean(f.String()))
		if f.Severity != finding.Note {
			wrong++
		}
	}
	for _, l := range r.Logs {
		whose := "log of " + string(l.Log)
		if l.Public {
			whose = "public " + whose
		}
		fmt.Fprintf(&text, "%s: %d entries (%d new), signed %s", whose, l.Size, l.New, moment(l.Time))
		if l.Witnessed > 0 {
			fmt.Fprintf(&text, ", cosigned by witnesses up to %d", l.Witnessed)
		}
		fmt.Fprintln(&text)
	}
	if o := r.OCSP; o != nil {
		fmt.Fprintf(&text, "OCSP asked for %d revoked certificates; %d were not asked for yet (what was revoked in the last minutes comes later), and %d are still to come in the round over all that were revoked\n", o.Now, o.Waiting, o.Round)
	}
	fmt.Fprintf(&text, "%d certificates derived anew, %d findings\n", r.Rederived, wrong)
	if printed := g.print(r, text.String()); printed != nil {
		return errors.Join(printed, err)
	}
	if err == nil && !r.Clean() {
		err = errTold
	}
	return err
}

type auditFindingsCmd struct {
	stateFlag
	Notes bool `help:"Notes too: what was told and is not wrong."`
}

func (c *auditFindingsCmd) Run(g *globals) error {
	b, err := openBook(g, c.State)
	if err != nil {
		return err
	}
	defer b.Close()
	followed, err := followedIn(g, b)
	if err != nil {
		return err
	}
	r := &auditor.Report{Logs: []auditor.Seen{}, Findings: []auditor.Finding{}}
	err = b.View(g.ctx, func(tx *book.Tx) error {
		return tx.Findings(func(k book.Finding) error {
			f, err := finding.Of(k)
			if err == nil && (c.Notes || f.Severity != finding.Note) {
				r.Findings = append(r.Findings, f)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintln(&text, clean(f.String()))
	}
	fmt.Fprintf(&text, "%d findings, of %s\n", len(r.Findings), followed)
	if err := g.print(r.Findings, text.String()); err != nil {
		return err
	}
	if !r.Clean() {
		return errTold
	}
	return nil
}

// followedIn tells how far a memory goes. That nothing was found means nothing where
// nothing was looked at: then it is an error.
func followedIn(g *globals, b *book.Book) (string, error) {
	var parts []string
	for _, tree := range []auditor.Tree{auditor.Certificates, auditor.Acts} {
		h, err := b.Head(g.ctx, string(tree))
		if err != nil && !errors.Is(err, book.ErrNotFound) {
			return "", err
		}
		parts = append(parts, fmt.Sprintf("%d %s", h.Done, tree))
	}
	watched, err := b.Head(g.ctx, auditor.PublicHead(auditor.Acts))
	if err != nil && !errors.Is(err, book.ErrNotFound) {
		return "", err
	}
	text := strings.Join(parts, " and ") + " that were followed"
	switch {
	case text != "0 certificates and 0 acts that were followed":
		return text, nil
	case watched.Size > 0:
		return "public checkpoints alone: nothing was followed", nil
	}
	return "", fmt.Errorf("nothing was followed into %s yet: sigill audit follow --state %s", b.Dir(), b.Dir())
}

// openBook opens a memory that must be there.
func openBook(g *globals, dir string) (*book.Book, error) {
	if _, err := os.Stat(filepath.Join(dir, "index.db")); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no auditor's memory: sigill audit follow --state %s makes one", dir, dir)
	} else if err != nil {
		return nil, err
	}
	return book.Open(g.ctx, dir)
}

type auditProveCmd struct {
	knownLogs
	issuerFlag
	statusFlag
	State       string `env:"SIGILL_AUDIT_STATE" placeholder:"DIR" help:"The auditor's own memory, to tell the acts that belong to the certificate."`
	Proof       string `placeholder:"FILE" help:"Proof of inclusion that came along (c2sp.org/tlog-proof@v1). Default: the log is asked, at its public address."`
	Certificate string `arg:"" help:"The certificate, PEM or DER."`
}

// Help implements kong.HelpProvider.
func (auditProveCmd) Help() string {
	return `For a certificate that a relying party presents: is it in the log, under which
checkpoint, seen by whom, and which acts belong to it. One that is not in the log was
forged, or signed with a stolen key outside of the service. Needs no card.

  sigill audit prove eid.pem --issuer cas/ --log status.example/log/certificates=certificates.pem

Exit 0: it is in the log; 1: it is not, or that could not be found out; 2: wrong use.`
}

func (c *auditProveCmd) Run(g *globals) error {
	logs, witnesses, err := c.knownLogs.read(auditor.Certificates)
	if err != nil {
		return err
	}
	issuers, err := c.issuerFlag.read()
	if err != nil {
		return err
	}
	certs, err := readCertificates(c.Certificate)
	if err != nil {
		return err
	}
	public := c.public(logs)
	defer public.Close()
	prover := proof.Prover{Issuers: issuers, Log: logs[auditor.Certificates], Witnesses: witnesses,
		Proof: func(ctx context.Context, leaf tlog.Hash) ([]byte, error) {
			if c.Proof != "" {
				return os.ReadFile(c.Proof)
			}
			return public.Proof(ctx, auditor.Certificates, leaf, 0)
		}}
	if c.State != "" {
		if prover.Book, err = openBook(g, c.State); err != nil {
			return err
		}
		defer prover.Book.Close()
	}
	found, err := prover.Prove(g.ctx, certs[0].Raw)
	if errors.Is(err, auditor.ErrNoAnswer) {
		return fmt.Errorf("%w. So nothing is known of the certificate: ask elsewhere with --status URL, or give a proof that came along with --proof FILE", err)
	} else if err != nil {
		return err
	}
	if err := g.print(found, proven(found)); err != nil {
		return err
	}
	if quorum := c.quorum(); !found.Logged || len(found.Witnesses) < quorum {
		return errTold
	}
	return nil
}

// quorum is how many witnesses must have cosigned.
func (k knownLogs) quorum() int {
	if k.Witnesses > 0 {
		return k.Witnesses
	}
	return len(k.Witness)
}

func proven(p *proof.Proven) string {
	if !p.Logged {
		return "NOT in the log: " + clean(p.Why) + "\n"
	}
	var acts []string
	for _, a := range p.Acts {
		acts = append(acts, fmt.Sprintf("%s (%d)", a.Act, a.Index))
	}
	seen := strings.Join(p.Witnesses, ", ")
	if seen == "" {
		seen = "nobody: the log's word alone"
	}
	return "in the log\n" + facts("serial", p.Serial, "entry", fmt.Sprint(p.Index), "leaf", p.Leaf, "checkpoint", fmt.Sprintf("%d entries, signed %s", p.Size, moment(p.Time)),
		"cosigned by", seen, "acts", strings.Join(acts, ", "))
}
