package main

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sigill/internal/adminclient"
	"sigill/internal/strictjson"
	"sigill/internal/wire"
)

type keyCmd struct {
	Show  keyShowCmd  `cmd:"" help:"Show a key: whether it is blocked, which certificates carry it."`
	Prove keyProveCmd `cmd:"" help:"Make the proof that you have a private key that you should not have."`
	Block keyBlockCmd `cmd:"" help:"Block a key, by a proof or by two administrators: every certificate with it is revoked."`
}

// keyFlags name a key.
type keyFlags struct {
	Fingerprint string `arg:"" optional:"" help:"Fingerprint of the key, 64 hexadecimal digits."`
	Certificate string `placeholder:"FILE" help:"The key of this certificate, PEM or DER."`
	Serial      string `placeholder:"SERIAL" help:"The key of the certificate with this serial, 32 hexadecimal digits."`
}

// fingerprint returns the fingerprint of the key that was named.
func (f keyFlags) fingerprint(s *session, a *adminclient.Client) (string, error) {
	named := 0
	for _, v := range []string{f.Fingerprint, f.Certificate, f.Serial} {
		if v != "" {
			named++
		}
	}
	if named != 1 {
		return "", usageError{"name the key by one of FINGERPRINT, --certificate and --serial"}
	}
	if f.Fingerprint != "" {
		return strings.ToLower(f.Fingerprint), nil
	}
	if f.Certificate != "" {
		certs, err := readCertificates(f.Certificate)
		if err != nil {
			return "", err
		}
		return adminclient.KeyFingerprint(certs[0].PublicKey)
	}
	c, err := a.Certificate(s.ctx, f.Serial)
	if err != nil {
		return "", err
	}
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return "", fmt.Errorf("the server's answer is no certificate: %w", err)
	}
	return adminclient.KeyFingerprint(cert.PublicKey)
}

type keyShowCmd struct {
	ownCard
	keyFlags
}

func (c *keyShowCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		fp, err := c.fingerprint(s, a)
		if err != nil {
			return err
		}
		k, err := a.Key(g.ctx, fp)
		if err != nil {
			return err
		}
		return g.print(k, keyText(k))
	})
}

func keyText(k *wire.Key) string {
	blocked := "no"
	if k.Blocked != nil {
		blocked = fmt.Sprintf("since %s (%s)", moment(k.Blocked.At), k.Blocked.Cause)
	}
	lines := [][]string{{"serial", "profile", "slot", "state", "valid until"}}
	for _, c := range k.Certificates {
		lines = append(lines, []string{c.Serial, c.Profile, c.Slot, c.State, moment(c.NotAfter)})
	}
	text := facts("key", k.Fingerprint, "blocked", blocked, "certificates", strconv.Itoa(k.Count))
	if len(k.Certificates) > 0 {
		text += table(lines...)
	}
	return text
}

type keyProveCmd struct {
	Key string `required:"" placeholder:"FILE" help:"The private key, PEM without a passphrase. It is not sent anywhere."`
}

// Help implements kong.HelpProvider.
func (keyProveCmd) Help() string {
	return `Whoever finds a private key that belongs in a card shows it without giving it
away: the proof is a signature with it over its own fingerprint.

  sigill key prove --key found.pem > proof.json
  sigill key block --proof proof.json --identity soft:anna.card`
}

func (c *keyProveCmd) Run(g *globals) error {
	text, err := readInput(g, c.Key)
	if err != nil {
		return err
	}
	key, err := privateKey(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Key, err)
	}
	proof, err := adminclient.ProveKey(key)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Key, err)
	}
	e := json.NewEncoder(g.stdout) // a file for the next command, whoever reads it
	e.SetIndent("", "  ")
	return e.Encode(proof)
}

// privateKey reads the first private key of a PEM file.
func privateKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, errors.New("no private key in PEM without a passphrase")
}

type keyBlockCmd struct {
	ownCard
	keyFlags
	yesFlag
	waitFlag
	Second string `placeholder:"CARD" help:"Card of the second administrator who signs, where there is no proof."`
	Proof  string `placeholder:"FILE" help:"A proof of sigill key prove; - reads the standard input."`
}

// Help implements kong.HelpProvider.
func (keyBlockCmd) Help() string {
	return `With a proof anybody blocks a key. Without one two administrators of the
organisation that all its certificates belong to sign.

  sigill key block --proof proof.json --identity soft:anna.card
  sigill key block --serial 4a…9f --identity soft:anna.card --second soft:bo.card`
}

func (c *keyBlockCmd) Run(g *globals) error {
	byProof := c.Proof != ""
	if byProof == (c.Fingerprint != "" || c.Certificate != "" || c.Serial != "") {
		return usageError{"name the key, or a proof of it by --proof"}
	}
	if !byProof && c.Second == "" {
		return usageError{"two administrators block a key without a proof: name the other's card by --second"}
	}
	return c.run(g, func(s *session, a *adminclient.Client) error {
		c.on(g, a)
		if byProof {
			return c.prove(s, a)
		}
		return c.state(s, a)
	})
}

func (c *keyBlockCmd) would(s *session, k *wire.Key) error {
	return s.confirm(c.yesFlag, fmt.Sprintf("Block this key for ever and revoke as keyCompromise the %d certificates that carry it, with what ends with them.\n%s", k.Count, keyText(k)))
}

func (c *keyBlockCmd) prove(s *session, a *adminclient.Client) error {
	text, err := readInput(s.globals, c.Proof)
	if err != nil {
		return err
	}
	var proof wire.Compromise
	if err := strictjson.Unmarshal(text, &proof); err != nil {
		return fmt.Errorf("%s: %w", c.Proof, err)
	}
	proof.DryRun = true
	k, err := a.CompromisedKey(s.ctx, proof)
	if err != nil {
		return err
	}
	if err := c.would(s, k); err != nil {
		return err
	}
	proof.DryRun = false
	if k, err = a.CompromisedKey(s.ctx, proof); err != nil {
		return err
	}
	return s.print(k, keyText(k))
}

func (c *keyBlockCmd) state(s *session, a *adminclient.Client) error {
	fp, err := c.fingerprint(s, a)
	if err != nil {
		return err
	}
	k, err := a.Key(s.ctx, fp)
	if err != nil {
		return err
	}
	document, st, err := adminclient.KeyBlockDocument(k)
	if err != nil {
		return err
	}
	if err := c.would(s, k); err != nil {
		return err
	}
	signed, err := s.states(a, c.Second, st)
	if err != nil {
		return err
	}
	if k, err = a.BlockKey(s.ctx, document, signed); err != nil {
		return err
	}
	return s.print(k, keyText(k))
}

type incidentCmd struct {
	List incidentListCmd `cmd:"" help:"List incidents that concern an organisation."`
	Show incidentShowCmd `cmd:"" help:"Show an incident."`
}

type incidentListCmd struct {
	ownCard
	orgFlag
	pageFlags
}

func (c *incidentListCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		org, err := s.organisation(a, c.Org)
		if err != nil {
			return err
		}
		list, err := a.Incidents(g.ctx, org, c.After, c.Limit)
		if err != nil {
			return err
		}
		lines := [][]string{{"incident", "kind", "at", "card", "proved on", "state"}}
		last := ""
		for _, i := range list.Incidents {
			lines = append(lines, []string{i.ID, i.Kind, moment(i.At), i.Card, i.ProvedOn, i.State})
			last = i.ID
		}
		return g.print(list, table(lines...)+more(len(list.Incidents), c.Limit, last))
	})
}

type incidentShowCmd struct {
	ownCard
	ID string `arg:"" help:"The incident, inc_…"`
}

func (c *incidentShowCmd) Run(g *globals) error {
	return c.run(g, func(s *session, a *adminclient.Client) error {
		i, err := a.Incident(g.ctx, c.ID)
		if err != nil {
			return err
		}
		others := ""
		if i.Others > 0 {
			others = fmt.Sprintf("%d, of another organisation", i.Others)
		}
		lines := [][]string{{"serial", "role", "profile", "state", "valid until"}}
		for _, k := range i.Certificates {
			lines = append(lines, []string{k.Serial, k.Role, k.Profile, k.State, moment(k.NotAfter)})
		}
		return g.print(i, facts("incident", i.ID, "kind", i.Kind, "at", moment(i.At), "state", i.State, "key", i.Key,
			"card", i.Card, "proved on", i.ProvedOn, "others", others)+table(lines...))
	})
}
