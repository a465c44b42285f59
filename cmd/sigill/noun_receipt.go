package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sigill/internal/adminclient"
	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/checkpoint"
	"sigill/internal/durable"
	"sigill/internal/keys"
	"sigill/internal/receipt"
	"sigill/internal/wire"
)

// logKeyFlag is for acts that leave a receipt.
type logKeyFlag struct {
	LogKey string `name:"log-key" env:"SIGILL_LOG_KEY" placeholder:"ORIGIN=FILE" help:"Public key of the log of acts (PEM), to verify receipts with, as sigill log show prints it. Default: that of --dir, unless --ca is given."`
}

// receiptFlags is for one act.
type receiptFlags struct {
	logKeyFlag
	Receipt string `placeholder:"FILE" help:"Keep the receipt here: it proves later, with the log's public key alone, that this was done (sigill audit verify-receipt)."`
}

// log returns the log that is believed; nil: none is known.
func (f logKeyFlag) log(from serverFlags) (*checkpoint.Log, error) {
	if f.LogKey != "" {
		origin, name, _ := strings.Cut(f.LogKey, "=")
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		l, err := checkpoint.ReadLog(origin, text)
		if err != nil {
			return nil, usageError{"--log-key: " + err.Error()}
		}
		return l, nil
	}
	if from.CA != "" {
		return nil, nil
	}
	logs, err := keys.LoadLogs(from.Dir)
	if errors.Is(err, keys.ErrNoLogs) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	public, err := logs.Acts.Key()
	if err != nil {
		return nil, err
	}
	return checkpoint.NewLog(logs.Acts.Origin, public)
}

// did is the act that somebody did, as its receipt must tell it.
type did struct {
	act    string
	fields []audit.Field
}

// didTo is an act with one field.
func didTo(act, name, value string) did {
	return did{act, []audit.Field{{Name: name, Value: value}}}
}

// keep tells of the receipt in an answer on the standard error, and writes it where that
// is asked for. The act is done, whatever is wrong with its receipt; but a receipt that
// does not verify, or is of something else, means that the server does not tell the truth
// of what it logged, and that must not go by unnoticed.
func (f receiptFlags) keep(s *session, r wire.Receipted, what did) error {
	text, err := f.check(s, r, what)
	if err != nil || text == nil || f.Receipt == "" {
		return err
	}
	if err := durable.WriteFile(f.Receipt, text, 0o644); err != nil {
		return fmt.Errorf("it is done, but its receipt cannot be kept: %w", err)
	}
	return nil
}

// check tells of a receipt and returns it as a document; nil: there is none.
func (f logKeyFlag) check(s *session, r wire.Receipted, what did) ([]byte, error) {
	if r.ReceiptLater != nil {
		fmt.Fprintf(s.stderr, "receipt: not there yet; later: sigill receipt %s\n", clean(r.ReceiptLater.Event))
		return nil, nil
	}
	if r.Receipt == nil {
		fmt.Fprintln(s.stderr, "receipt: none: this server gives none, or it was erased")
		return nil, nil
	}
	log, err := f.log(s.flags)
	if err != nil {
		return nil, err
	}
	bad := func(err error) error { return fmt.Errorf("it is done, but the receipt is WRONG: %w", err) }
	got, err := receipt.Parse(r.Receipt.Act, r.Receipt.Proof)
	if err != nil {
		return nil, bad(err)
	}
	if what.act != "" {
		if err := got.About(what.act, what.fields...); err != nil {
			return nil, bad(err)
		}
	}
	if log == nil {
		fmt.Fprintln(s.stderr, "receipt: not verified: name the log's public key by --log-key")
		return got.Document()
	}
	v, err := got.Verify(log, nil)
	if err != nil {
		return nil, bad(err)
	}
	fmt.Fprintf(s.stderr, "receipt: act %d of the log, verified\n", v.Number)
	return got.Document()
}

// checkEnded tells of the receipts of what ended with a person.
func (f logKeyFlag) checkEnded(s *session, e *wire.PersonEnded, assignment did) error {
	var failed error
	if e.Receipt != nil || e.ReceiptLater != nil {
		_, failed = f.check(s, e.Receipted, assignment)
	}
	for _, c := range e.Certificates {
		_, err := f.check(s, c.Receipted, didTo(audit.CertificateRevoked, "serial", c.Serial))
		failed = errors.Join(failed, err)
	}
	return failed
}

type receiptCmd struct {
	ownCard
	receiptFlags
	Event string `arg:"" help:"The act, evt_…"`
}

// Help implements kong.HelpProvider.
func (receiptCmd) Help() string {
	return `For a receipt that did not come with the answer, or to have it again with what
witnesses have signed since. It is given to who did it and to whom it was done.

  sigill receipt evt_… --receipt order.receipt --identity soft:anna.card`
}

func (c *receiptCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		r, err := a.Receipt(g.ctx, c.Event)
		if err != nil {
			return err
		}
		got, err := receipt.Parse(r.Act, r.Proof)
		if err == nil && got.Event() != c.Event {
			err = receipt.ErrOther
		}
		if err != nil {
			return fmt.Errorf("the receipt is WRONG: %w", err)
		}
		if err := c.keep(s, wire.Receipted{Receipt: r}, did{}); err != nil || c.Receipt != "" {
			return err
		}
		text, err := got.Document()
		if err != nil {
			return err
		}
		_, err = g.stdout.Write(text)
		return err
	})
}

type auditVerifyReceiptCmd struct {
	knownLogs
	Status     string `placeholder:"URL" help:"Ask the log too, at its public address, whether it still has the act: http:// and the host in the log's name, mostly."`
	Checkpoint string `placeholder:"FILE" help:"Hold it against this checkpoint too, which somebody else was shown."`
	Receipt    string `arg:"" help:"The receipt, as it was kept; - reads the standard input."`
}

// Help implements kong.HelpProvider.
func (auditVerifyReceiptCmd) Help() string {
	return `Says what a receipt proves, with the log's public key and nothing else: what was
done, when, by whom, and since which checkpoint nobody can take it out of the log
unnoticed.

  sigill audit verify-receipt order.receipt --log status.example/log/acts=acts.pem

Exit 0: it proves what is printed; 1: it does not; 2: wrong use.`
}

func (c *auditVerifyReceiptCmd) Run(g *globals) error {
	logs, witnesses, err := c.knownLogs.read(auditor.Acts)
	if err != nil {
		return err
	}
	text, err := readReceipt(g, c.Receipt)
	if err != nil {
		return err
	}
	r, err := receipt.Read(text)
	if err != nil {
		return fmt.Errorf("%s is no receipt, as --receipt FILE or sigill receipt writes it: %w", c.Receipt, err)
	}
	log := logs[auditor.Acts]
	v, err := r.Verify(log, witnesses)
	if err != nil {
		return err
	}
	out := proved(v)
	if err := c.further(g, r, v, out, log, witnesses); err != nil {
		return err
	}
	if quorum := c.quorum(); len(v.Seen) < quorum && (out.Later == nil || len(out.Later.Witnesses) < quorum) {
		return fmt.Errorf("it is in the log, by the log's word; %d of the witnesses have cosigned that, and %d are wanted: ask for the receipt again when they have", len(v.Seen), quorum)
	}
	return g.print(out, out.text())
}

// further does what was asked for beside the receipt itself.
func (c *auditVerifyReceiptCmd) further(g *globals, r *receipt.Receipt, v *receipt.Verified, out *provedAct, log *checkpoint.Log, witnesses []checkpoint.Witness) error {
	if c.Checkpoint != "" {
		note, err := os.ReadFile(c.Checkpoint)
		if err != nil {
			return err
		}
		if _, err := r.Against(note, log); err != nil && !errors.Is(err, receipt.ErrSizes) {
			return fmt.Errorf("%s: %w", c.Checkpoint, err)
		} else if err != nil {
			return fmt.Errorf("the receipt holds by itself, and held against %s it does not help: %w. An auditor who has followed the log compares any sizes (sigill audit compare); --status asks the log itself", c.Checkpoint, err)
		}
	}
	if c.Status == "" {
		return nil
	}
	public := statusFlag{c.Status}.public(map[auditor.Tree]*checkpoint.Log{auditor.Acts: log})
	defer public.Close()
	text, err := public.Proof(g.ctx, auditor.Acts, v.Leaf, v.Number-1)
	if errors.Is(err, auditor.ErrNoAnswer) {
		return fmt.Errorf("the receipt holds by itself; whether the log still has the act is not known: %w", err)
	} else if err != nil {
		return fmt.Errorf("whether the log still has it: %w", err)
	}
	now, err := r.Later(text, log, witnesses)
	if err != nil {
		return err
	}
	note, err := public.Checkpoint(g.ctx, auditor.Acts)
	if err != nil {
		return fmt.Errorf("the log's newest checkpoint: %w", err)
	}
	if err := r.Outgrown(note, log); err != nil {
		return err
	}
	head := headOf(now)
	out.Later = &head
	return nil
}

// readReceipt reads no more than a receipt may have.
func readReceipt(g *globals, name string) ([]byte, error) {
	from := g.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	return io.ReadAll(io.LimitReader(from, receipt.MaxOctets+1)) // one more is refused
}

// provedAct is a verified receipt for people and programs.
type provedAct struct {
	What   string            `json:"what"` // in words
	Act    string            `json:"act"`
	Event  string            `json:"event"`
	Number int64             `json:"number"` // in the log, from 1
	At     string            `json:"at"`
	By     string            `json:"by"`
	Fields map[string]string `json:"fields"`
	// Committed are the names of personal values that the log binds and does not show.
	Committed []string    `json:"committed"`
	Under     provedHead  `json:"checkpoint"`
	Later     *provedHead `json:"later,omitempty"`

	order []string // of Fields
}

// provedHead is a checkpoint that covers an act.
type provedHead struct {
	Origin    string   `json:"origin"`
	Size      int64    `json:"size"`
	Time      string   `json:"time"` // when the log signed it
	Witnesses []string `json:"witnesses"`
}

const exactly = "2006-01-02 15:04:05.000000 UTC"

func headOf(v *receipt.Verified) provedHead {
	h := provedHead{Origin: v.Checkpoint.Origin, Size: v.Checkpoint.Size, Time: v.Checkpoint.Time.UTC().Format(exactly), Witnesses: []string{}}
	for _, s := range v.Seen {
		h.Witnesses = append(h.Witnesses, s.Name+", "+s.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return h
}

func proved(v *receipt.Verified) *provedAct {
	out := &provedAct{What: inWords(v.Act.Act), Act: v.Act.Act, Event: v.Act.ID, Number: v.Number, At: v.Act.At.UTC().Format(exactly), By: v.Act.By,
		Fields: map[string]string{}, Committed: []string{}, Under: headOf(v)}
	for _, f := range v.Act.Public {
		out.Fields[f.Name], out.order = f.Value, append(out.order, f.Name)
	}
	for _, c := range v.Act.Commitments {
		out.Committed = append(out.Committed, c.Name)
	}
	return out
}

// text is for people. [facts] cleans every value.
func (p *provedAct) text() string {
	pairs := []string{"act", p.Act, "done at", p.At, "done by", p.By}
	for _, name := range p.order {
		pairs = append(pairs, "  "+name, p.Fields[name])
	}
	pairs = append(pairs, "personal values", strings.Join(p.Committed, ", "), "event", p.Event, "in the log", p.Under.Origin+", number "+fmt.Sprint(p.Number))
	heads := []struct {
		name string
		*provedHead
	}{{"checkpoint", &p.Under}, {"still there", p.Later}}
	for _, h := range heads {
		if h.provedHead == nil {
			continue
		}
		seen := strings.Join(h.Witnesses, "; ")
		if seen == "" {
			seen = "nobody: the log's word alone"
		}
		pairs = append(pairs, h.name, fmt.Sprintf("%d acts, signed %s", h.Size, h.Time), "cosigned by", seen)
	}
	return p.What + "\n" + facts(pairs...)
}

// inWords says what an act is.
func inWords(act string) string {
	words := map[string]string{
		audit.OrderPlaced:           "An eID was ordered to a card.",
		audit.OrderApproved:         "An order of an eID was approved.",
		audit.CardHandedOut:         "A card was handed out to its holder.",
		audit.CardBlocked:           "A card was reported lost or stolen: it is blocked, and all on it revoked.",
		audit.DownloadConfirmed:     "A download was confirmed by the new eID itself: from then on that is the current one.",
		audit.CertificateRevoked:    "A certificate was revoked.",
		audit.CertificateSuperseded: "A certificate was revoked because another took its place.",
		audit.AssignmentChanged:     "A person's assignment in an organisation was changed.",
		audit.RevocationOrdered:     "The revocation of everything on a list was ordered.",
		audit.RevocationApproved:    "The revocation of everything on a list was approved.",
	}
	if w := words[act]; w != "" {
		return w
	}
	return "An act was logged: " + clean(act) + "."
}
