package main

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/config"
	"sigill/internal/keys"
)

// rootFlags say where the root's key is and what it goes on from.
type rootFlags struct {
	dirFlag
	Root       string `placeholder:"DIR" help:"The root's directory where it is kept offline; no installation is needed beside it. Default: root in the installation's directory."`
	RootKey    string `name:"root-key" placeholder:"URI" help:"The root's key, if it is in a token: pkcs11:token=…;object=…"`
	Passphrase string `name:"passphrase-file" placeholder:"FILE" help:"File with the passphrase of the root's key, for TEST hierarchies only. Default: the terminal is asked."`
	Previous   string `placeholder:"FILE" help:"The root's CRL that is public now. Default: with --root the newest one signed there, otherwise the installation's."`
	Out        string `placeholder:"FILE" help:"Where to write the new list, DER. Default: root-NUMBER.crl here."`
}

// station is the root's directory, and the list that is public as far as is known
// there.
type station struct {
	root     *keys.Root
	cfg      *config.Config // nil with --root
	key      string
	previous *x509.RevocationList // nil: the newest one signed there
}

func (f *rootFlags) station() (*station, error) {
	s := &station{key: f.RootKey}
	dir, public := f.Root, f.Previous
	if dir == "" {
		h, cfg, err := loadHierarchy(f.Dir)
		if err != nil {
			return nil, err
		}
		if !h.RootKeyHere() && f.RootKey == "" {
			return nil, errors.New("the root's key is not here: sign where it is (--root), and bring the list back with `sigill ca import-crl`")
		}
		dir, s.cfg = h.RootDir(), cfg
		if public == "" {
			public = h.RootCRLPath()
		}
	}
	var err error
	if s.root, err = keys.LoadRoot(dir); err != nil || public == "" {
		return s, err
	}
	der, err := os.ReadFile(public)
	if err != nil {
		return nil, err
	}
	s.previous, err = s.root.ParseCRL(der)
	return s, err
}

func loadHierarchy(dir string) (*keys.Hierarchy, *config.Config, error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	h, err := keys.Load(cfg.Dir)
	return h, cfg, err
}

// passphrase returns that of the root's key.
func (f *rootFlags) passphrase(g *globals, s *station) (keys.Passphrase, error) {
	env := keys.Production
	if s.root.Test() {
		env = keys.Test
	}
	if f.Passphrase != "" {
		return keys.FromFile(f.Passphrase, env)
	}
	prompt := func() (keys.Passphrase, error) {
		in, ok := g.stdin.(*os.File)
		if !ok {
			return keys.Passphrase{}, errors.New("no terminal to ask for the passphrase on")
		}
		return keys.FromPrompt(in, g.stderr, "Passphrase of the root's key: ")
	}
	if s.cfg != nil {
		return app.RootPassphrase(s.cfg, prompt)
	}
	return prompt()
}

// sign signs next and writes it to the file that the flags name, which must not be
// there.
func (f *rootFlags) sign(g *globals, s *station, next *x509.RevocationList) (file string, der []byte, err error) {
	file = f.Out
	if file == "" {
		file = fmt.Sprintf("root-%v.crl", next.Number)
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // before a number is used up
	if err != nil {
		return "", nil, err
	}
	pass, err := f.passphrase(g, s)
	if err == nil {
		der, err = s.root.Sign(g.ctx, s.key, pass, next)
	}
	if err == nil {
		_, err = out.Write(der)
		err = errors.Join(err, out.Sync())
	}
	err = errors.Join(err, out.Close())
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(file))
	}
	return file, der, nil
}

// rootList is what is told of a root CRL.
type rootList struct {
	Number     *big.Int    `json:"number"`
	ThisUpdate time.Time   `json:"thisUpdate"`
	NextUpdate time.Time   `json:"nextUpdate"`
	Revoked    []revokedCA `json:"revoked"`
	// Signed is false for what a command only would do.
	Signed bool   `json:"signed"`
	File   string `json:"file,omitempty"`   // where it was written
	SHA256 string `json:"sha256,omitempty"` // of that file
}

type revokedCA struct {
	Serial string    `json:"serial"`
	Name   string    `json:"name,omitempty"` // where it is known
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// rootListOf describes a list; names are common names of CAs by serial.
func rootListOf(list *x509.RevocationList, names map[string]string) rootList {
	out := rootList{Number: list.Number, ThisUpdate: list.ThisUpdate.UTC(), NextUpdate: list.NextUpdate.UTC(), Revoked: []revokedCA{}, Signed: len(list.Raw) > 0}
	for _, e := range list.RevokedCertificateEntries {
		out.Revoked = append(out.Revoked, revokedCA{Serial: fmt.Sprintf("%x", e.SerialNumber), Name: names[e.SerialNumber.String()],
			Since: e.RevocationTime.UTC(), Reason: ca.Reason(e.ReasonCode).String()})
	}
	return out
}

func hierarchyNames(h *keys.Hierarchy) map[string]string {
	names := map[string]string{}
	for _, each := range h.Issuers {
		names[each.Certificate.SerialNumber.String()] = each.Certificate.Subject.CommonName
	}
	return names
}

func (l rootList) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "root CRL number %v, until %s, %d revoked\n", l.Number, l.NextUpdate.Format(time.DateOnly), len(l.Revoked))
	for _, r := range l.Revoked {
		fmt.Fprintf(&b, "  %s since %s for %s  %s\n", r.Serial, r.Since.Format(time.RFC3339), r.Reason, clean(r.Name))
	}
	return b.String()
}

// written completes the description of a list that was written to a file.
func (l rootList) written(file string, der []byte) rootList {
	l.Signed, l.File, l.SHA256 = true, file, fmt.Sprintf("%x", sha256.Sum256(der))
	return l
}

const bringBack = "Bring it to each machine that serves, and: sigill ca import-crl --dir D %s\n"

type caRootCRLCmd struct{ rootFlags }

// Help implements kong.HelpProvider.
func (caRootCRLCmd) Help() string {
	return `The list says what the one before said, for a year more. Where the root's key is
kept offline nothing else is needed:

  sigill ca root-crl --root /mnt/safe/root --out root.crl
  sigill ca import-crl --dir ./sigill-data root.crl

With the key in the installation's directory, as in a TEST installation, the new
list is put in place at once, unless --out is given.`
}

func (c *caRootCRLCmd) Run(g *globals) error {
	s, err := c.station()
	if err != nil {
		return err
	}
	next, err := s.root.Next(time.Now(), s.previous, nil)
	if err != nil {
		return err
	}
	if c.Root != "" || c.Out != "" {
		file, der, err := c.sign(g, s, next)
		if err != nil {
			return err
		}
		out := rootListOf(next, nil).written(file, der)
		return g.print(out, "Signed "+out.text()+fmt.Sprintf(bringBack, file))
	}
	h, _, err := loadHierarchy(c.Dir)
	if err != nil {
		return err
	}
	pass, err := c.passphrase(g, s)
	if err != nil {
		return err
	}
	if err := h.SignRootCRL(g.ctx, pass, time.Now(), nil); err != nil {
		return err
	}
	list, err := h.RootCRL()
	if err != nil {
		return err
	}
	out := rootListOf(list, hierarchyNames(h))
	return g.print(out, "In place, and served from now on: "+out.text())
}

type caRevokeCACmd struct {
	rootFlags
	Certificate string `arg:"" type:"existingfile" help:"The issuing CA's certificate, PEM or DER: /aia/NAME.cer of the status address."`
	Reason      string `required:"" enum:"cACompromise,superseded,cessationOfOperation,affiliationChanged" help:"Why: cACompromise, superseded, cessationOfOperation or affiliationChanged."`
	Yes         bool   `help:"Do it. Without, it is only told what would be done."`
}

// Help implements kong.HelpProvider.
func (caRevokeCACmd) Help() string {
	return `Every certificate that the CA has issued is refused from then on, for ever, by
who looks at each level. Nothing leaves a root's list; revoking again with a graver
reason (cACompromise) replaces the reason and leaves the date.

  sigill ca revoke-ca person.cer --reason cACompromise --root /mnt/safe/root --out root.crl --yes
  sigill ca import-crl --dir ./sigill-data root.crl`
}

func (c *caRevokeCACmd) Run(g *globals) error {
	s, err := c.station()
	if err != nil {
		return err
	}
	certs, err := readCertificates(c.Certificate)
	if err != nil {
		return err
	}
	cert := certs[0]
	if err := s.root.CheckIssued(cert); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(c.Certificate), err)
	}
	serial, ok := ca.SerialOf(cert.SerialNumber)
	if !ok {
		return fmt.Errorf("%s: %x is no serial of ours", filepath.Base(c.Certificate), cert.SerialNumber)
	}
	reason, err := ca.ParseReason(c.Reason)
	if err != nil {
		return usageError{err.Error()}
	}
	now := time.Now()
	next, err := s.root.Next(now, s.previous, []keys.RevokedCA{{Serial: serial, At: now, Reason: reason}})
	if err != nil {
		return err
	}
	names := map[string]string{cert.SerialNumber.String(): cert.Subject.CommonName}
	if before := s.root.Previous(s.previous); keys.SameRevoked(before, next) {
		out := rootListOf(before, names)
		return g.print(out, "Nothing is signed: it is revoked already, for no lesser reason: "+out.text())
	}
	if !c.Yes {
		out := rootListOf(next, names)
		return g.print(out, fmt.Sprintf("This would revoke %s and with it every certificate below, for ever. It would sign %sNothing was done: repeat it with --yes.\n",
			clean(cert.Subject.CommonName), out.text()))
	}
	file, der, err := c.sign(g, s, next)
	if err != nil {
		return err
	}
	out := rootListOf(next, names).written(file, der)
	return g.print(out, "Signed "+out.text()+fmt.Sprintf(bringBack, file))
}
