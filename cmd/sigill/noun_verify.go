package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"sigill/internal/checkpoint"
	"sigill/internal/profiles"
	"sigill/revocation"
	"sigill/revocation/logged"
	"sigill/revocation/transcript"
)

type verifyCmd struct {
	Roots  []string `required:"" placeholder:"FILE" help:"Trusted root certificates, PEM or DER."`
	Issuer []string `placeholder:"FILE" help:"Certificates between the root and this one, in any order."`
	AIA    bool     `name:"aia" help:"Fetch an issuer's certificate that is missing from where the certificate says that it is."`
	Trust  []string `sep:"none" placeholder:"FILE[,OID=N...]" help:"Trust these certificates of another organisation too: roots, or issuing CAs where the root shall not be trusted as a whole. The OIDs are its own levels of assurance. May be repeated."`
	LoA    []string `name:"loa" placeholder:"OID=N" help:"What a policy OID means below --roots. Default: the built-in profiles' example OIDs."`

	MinLoA  int      `name:"min-loa" placeholder:"N" help:"Demand this level of assurance or a higher one."`
	Policy  []string `placeholder:"OID" help:"Demand one of these policies."`
	Kind    string   `enum:"hsa-id,person-number," default:"" help:"Demand this kind of identifier: hsa-id or person-number."`
	Purpose string   `enum:"login,signature," default:"" help:"Demand that the certificate is for this: login or signature."`

	Stapled  []string      `placeholder:"FILE" help:"OCSP answer that came along, DER."`
	CRL      []string      `name:"crl" placeholder:"FILE" help:"Judge by these lists alone, PEM or DER, and fetch nothing."`
	OCSPOnly bool          `name:"ocsp-only" xor:"sources" help:"Look at no CRL of the certificate's, and at none of a CA's that names an OCSP responder."`
	CRLOnly  bool          `name:"crl-only" xor:"sources" help:"Ask no OCSP responder."`
	Nonce    bool          `help:"Send a nonce and demand it back: no answer from a cache, and none that came along, is taken."`
	MaxAge   time.Duration `placeholder:"DURATION" help:"OCSP answers, and lists taken in their place, may be this old at most, whatever they say themselves."`
	Fail     string        `enum:"closed,open" default:"closed" help:"open: a certificate whose status nobody tells is let pass, and the verdict says so. Never one whose status is told and not believed."`
	At       string        `placeholder:"TIME" help:"Judge as of a past time, 2026-03-14T09:26:53Z."`

	Log       []string `sep:"none" placeholder:"ORIGIN=FILE[,URL]" help:"A transparency log that is known: its name, its public key (PEM), and where it tells proofs if that is not http://ORIGIN. May be repeated."`
	Witness   []string `sep:"none" placeholder:"VKEY" help:"A witness that is believed, by its key: name+hash+base64. May be repeated."`
	Witnesses int      `placeholder:"N" help:"How many of the witnesses must have cosigned. Default: all of them."`
	Require   string   `enum:"sct,logged," default:"" help:"Demand of the logs: sct, the promise of one to show the certificate; logged, proof that it is in one, as the witnesses see it."`
	Proof     []string `placeholder:"FILE" help:"Proof of inclusion that came along (c2sp.org/tlog-proof@v1). May be repeated."`

	Transcript bool `help:"Tell what was asked and answered, for a help desk to read and copy."`
	NoSubject  bool `help:"Leave the subject, which names the holder, out of the transcript."`

	Certificate string `arg:"" help:"The certificate, PEM or DER; further ones in the file are taken as issuers."`
}

// Help implements kong.HelpProvider.
func (verifyCmd) Help() string {
	return `Exit 0 means good: the chain leads to a trusted certificate, everything is valid,
the certificate is for what was demanded, and the status of every certificate
below the trusted one was told by OCSP or a CRL. All else is 1.

  sigill verify eid.pem --roots sigill-data/public/aia/root.cer --issuer person-ca.pem
  sigill verify eid.pem --roots root.cer --issuer person-ca.pem --min-loa 3 --kind hsa-id --transcript
  sigill verify eid.pem --roots root.cer --trust siths.pem,1.2.752.74.8.512=3

A timestamp of a log in the certificate (sct) is a promise, which a thief of the log's
key can make. It is proved (logged) by the very entry under a tree head that witnesses
have cosigned. Without --require what logs say is told and decides nothing.

  sigill verify eid.pem --roots root.cer --issuer person-ca.pem --require logged \
    --log status.example.se/log/certificates=log.pem --witness "$(cat witness.vkey)"

Of a past time (--at): who is not revoked now was not revoked then, and who was
revoked later was not revoked yet. It proves neither that the certificate was used
then, nor, where a key was stolen, that the holder used it. Of an expired
certificate a CRL proves nothing, and OCSP only as far back as it says.`
}

// verdict is the judgement in JSON.
type verdict struct {
	Status     revocation.Status     `json:"status"`
	Reason     string                `json:"reason,omitempty"`
	At         *time.Time            `json:"at,omitempty"`
	Cause      string                `json:"cause"`
	Summary    string                `json:"summary"`
	Next       string                `json:"next"`
	Soft       string                `json:"soft,omitempty"` // why it passed without a status
	Source     revocation.Source     `json:"source,omitempty"`
	Judged     time.Time             `json:"judged"`
	Level      int                   `json:"level,omitempty"`
	Kind       revocation.Kind       `json:"kind,omitempty"`
	Identifier string                `json:"identifier,omitempty"`
	Log        logged.Finding        `json:"log,omitzero"`
	Policies   []string              `json:"policies"`
	Chain      []string              `json:"chain"` // serials, the certificate's first
	Steps      []string              `json:"steps"`
	Exchanges  []revocation.Exchange `json:"exchanges"`
}

// clockSkew is how wrong clocks may be.
const clockSkew = 5 * time.Minute

func (c *verifyCmd) Run(g *globals) error {
	v, err := c.verifier()
	if err != nil {
		return err
	}
	p, err := c.presented()
	if err != nil {
		return err
	}
	now := v.Now()
	v.Now = func() time.Time { return now } // the transcript tells the same clock
	found := v.Judge(g.ctx, p)
	text := transcript.Text(found, p, now, transcript.Options{Language: g.lang, Subject: !c.NoSubject})
	if !c.Transcript {
		text = brief(found, g.lang)
	}
	if err := g.print(c.verdict(found, g.lang), cleanLines(text)); err != nil {
		return err
	}
	if found.Status != revocation.Good {
		return errTold
	}
	return nil
}

// verifier makes the verifier that the flags describe.
func (c *verifyCmd) verifier() (*revocation.Verifier, error) {
	v := &revocation.Verifier{Fetch: fetch, Now: time.Now, Skew: clockSkew, FetchIssuers: c.AIA, Nonce: c.Nonce, MaxAge: c.MaxAge,
		Open:   revocation.Open{Unreachable: c.Fail == "open"},
		Demand: revocation.Demand{MinLevel: c.MinLoA, Policies: c.Policy, Kind: revocation.Kind(c.Kind)}}
	switch {
	case c.CRLOnly, len(c.CRL) > 0:
		v.Sources = revocation.CRLOnly
	case c.OCSPOnly:
		v.Sources = revocation.OCSPOnly
	}
	if len(c.CRL) > 0 {
		if c.OCSPOnly {
			return nil, usageError{"--crl and --ocsp-only leave nothing to judge by"}
		}
		v.Fetch = nil
	}
	switch c.Purpose {
	case "login":
		v.Demand.KeyUsage, v.Demand.ExtKeyUsages = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case "signature":
		v.Demand.KeyUsage = x509.KeyUsageContentCommitment
	}
	for _, oid := range c.Policy {
		if _, err := x509.ParseOID(oid); err != nil {
			return nil, usageError{fmt.Sprintf("--policy %s is no OID", oid)}
		}
	}
	if err := c.logs(v); err != nil {
		return nil, err
	}
	return v, c.anchors(v)
}

// logs reads which logs and witnesses are known, and what is demanded of them.
func (c *verifyCmd) logs(v *revocation.Verifier) error {
	var known logged.Config
	for _, each := range c.Log {
		origin, rest, _ := strings.Cut(each, "=")
		name, at, _ := strings.Cut(rest, ",")
		if origin == "" || name == "" {
			return usageError{fmt.Sprintf("--log: %q is not ORIGIN=FILE", each)}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		l, err := checkpoint.ReadLog(origin, text)
		if err != nil {
			return usageError{"--log: " + err.Error()}
		}
		known.Logs = append(known.Logs, logged.Log{Log: l, URL: at})
	}
	for _, vkey := range c.Witness {
		w, err := checkpoint.NewWitness(strings.TrimSpace(vkey))
		if err != nil {
			return usageError{"--witness: " + err.Error()}
		}
		known.Witnesses = append(known.Witnesses, w)
	}
	known.Quorum = c.Witnesses
	var err error
	if v.Logs, err = logged.New(known); err != nil {
		return usageError{err.Error()}
	}
	v.AskLogs = true
	switch c.Require {
	case "sct":
		v.Demand.Log = logged.DemandSCT
	case "logged":
		v.Demand.Log = logged.DemandLogged
		if len(c.Witness) == 0 {
			return usageError{"--require logged wants a --witness: a log alone can show each what it likes"}
		}
	}
	if v.Demand.Log != logged.DemandNone && len(c.Log) == 0 {
		return usageError{"--require " + c.Require + " wants a --log"}
	}
	return nil
}

// anchors reads whom to trust, and what their policies mean.
func (c *verifyCmd) anchors(v *revocation.Verifier) error {
	own, err := levels(c.LoA, "--loa")
	if err == nil && len(c.LoA) == 0 {
		own, err = builtInLevels()
	}
	if err != nil {
		return err
	}
	add := func(name string, table map[string]revocation.Level) error {
		certs, err := readCertificates(name)
		for _, cert := range certs {
			v.Anchors = append(v.Anchors, revocation.Anchor{Certificate: cert, Levels: table})
		}
		return err
	}
	for _, name := range c.Roots {
		if err := add(name, own); err != nil {
			return err
		}
	}
	for _, each := range c.Trust {
		parts := strings.Split(each, ",")
		table, err := levels(parts[1:], "--trust")
		if err != nil {
			return err
		}
		if err := add(parts[0], table); err != nil {
			return err
		}
	}
	return nil
}

// levels reads OID=N.
func levels(pairs []string, flag string) (map[string]revocation.Level, error) {
	table := map[string]revocation.Level{}
	for _, pair := range pairs {
		oid, number, _ := strings.Cut(pair, "=")
		n, err := strconv.Atoi(number)
		if _, bad := x509.ParseOID(oid); bad != nil || err != nil || n < 1 || n > 9 {
			return nil, usageError{fmt.Sprintf("%s: %q is not OID=N", flag, pair)}
		}
		table[oid] = revocation.Level{Number: n}
	}
	return table, nil
}

// builtInLevels are those of the profiles that init writes.
func builtInLevels() (map[string]revocation.Level, error) {
	all, err := profiles.Default()
	if err != nil {
		return nil, err
	}
	table := map[string]revocation.Level{}
	for _, p := range all {
		for routine, oid := range p.Assurance() {
			kind, number, _ := strings.Cut(routine, "/")
			n, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("built-in profile %s: routine %q has no level", p.Name(), routine)
			}
			table[oid] = revocation.Level{Number: n, Name: kind}
		}
	}
	return table, nil
}

// presented reads what is judged.
func (c *verifyCmd) presented() (revocation.Presented, error) {
	var p revocation.Presented
	certs, err := readCertificates(c.Certificate)
	if err != nil {
		return p, err
	}
	p.Certificate, p.Issuers = certs[0], certs[1:]
	for _, name := range c.Issuer {
		certs, err := readCertificates(name)
		if err != nil {
			return p, err
		}
		p.Issuers = append(p.Issuers, certs...)
	}
	for _, name := range c.Stapled {
		der, err := os.ReadFile(name)
		if err != nil {
			return p, err
		}
		p.OCSP = append(p.OCSP, der)
	}
	for _, name := range c.CRL {
		b, err := os.ReadFile(name)
		if err != nil {
			return p, err
		}
		if block, _ := pem.Decode(b); block == nil {
			p.CRLs = append(p.CRLs, b)
		}
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			p.CRLs = append(p.CRLs, block.Bytes)
		}
	}
	for _, name := range c.Proof {
		text, err := os.ReadFile(name)
		if err != nil {
			return p, err
		}
		p.Proofs = append(p.Proofs, text)
	}
	if c.At != "" {
		if p.At, err = time.Parse(time.RFC3339, c.At); err != nil {
			return p, usageError{"--at wants a time such as 2026-03-14T09:26:53Z"}
		}
	}
	return p, nil
}

// brief tells the steps and the verdict.
func brief(found revocation.Verification, language string) string {
	text := ""
	for _, step := range found.Steps {
		text += "  " + step.Text + "\n"
	}
	if found.Status == revocation.Good && len(found.PolicyOIDs) > 0 {
		text += facts("policies", strings.Join(found.PolicyOIDs, " "))
	}
	if found.Status == revocation.Good && found.Level.Number > 0 {
		text += facts("level", strings.TrimSpace(fmt.Sprintf("%d %s", found.Level.Number, found.Level.Name)))
	}
	if found.Soft {
		text += found.SoftWhy + "\n"
	}
	return text + found.Summary(language) + "\n" + found.String() + "\n"
}

// cleanLines makes what strangers wrote into the lines harmless to a terminal.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

func (c *verifyCmd) verdict(found revocation.Verification, language string) verdict {
	out := verdict{Status: found.Status, Cause: found.Cause.String(), Summary: found.Summary(language), Next: found.Next(language), Soft: found.SoftWhy,
		Source: found.Source, Judged: found.Judged, Level: found.Level.Number, Kind: found.Identifier.Kind, Log: found.Log,
		Policies: append([]string{}, found.PolicyOIDs...), Chain: []string{}, Steps: []string{}, Exchanges: []revocation.Exchange{}}
	if !c.NoSubject {
		out.Identifier = found.Identifier.Value
	}
	if found.Status == revocation.Revoked {
		out.Reason, out.At = found.Reason.String(), &found.At
	}
	for _, cert := range found.Chain {
		out.Chain = append(out.Chain, fmt.Sprintf("%x", cert.SerialNumber))
	}
	for _, step := range found.Steps {
		out.Steps = append(out.Steps, step.Text)
		if step.Exchange != nil {
			out.Exchanges = append(out.Exchanges, *step.Exchange)
		}
	}
	return out
}
